"""Captures that have only the first bytes of each packet: every command says so, and takes nothing for well.

Written as `tcpdump -s` and the sniffer's only-headers leave them: the size on the wire stays.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.analysis.exchange import NAT, PHONE, conversation, write

from sipalg import cli
from sipalg.capture.pcap import CaptureWriter
from sipalg.capture.reading import open_capture

WHY = "cut short (snaplen); capture whole ones, with -s 0 or only-headers=no"
HEADERS_BYTES = 42


def cut(path: Path, most_bytes: int, suffix: str = "pcap") -> Path:
    """A copy with so many bytes of each packet."""
    result = path.with_name(f"cut-{path.stem}.{suffix}")
    with open_capture(path) as source, CaptureWriter(result, 1) as writer:
        for frame in source:
            writer.write(frame.time_ns, frame.data[:most_bytes], frame.wire_bytes, interface="lan0")
        writer.commit()
    return result


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path, conversation())


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
@pytest.mark.parametrize("command", ["calls", "diagnose", "follow"])
def test_cut_packets_are_said(
    command: str, suffix: str, whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = cut(whole[0], 100, suffix)
    code = cli.main([command, str(path)])
    said = capsys.readouterr()
    with open_capture(path) as source:
        count = sum(len(frame.data) < frame.wire_bytes for frame in source)
    assert count > 5
    assert said.err == f"sipalg {command}: {path}: {count} packets are {WHY}\n"
    assert "nothing is wrong" not in said.out
    assert code == (2 if "breaks" in said.out else 1)


@pytest.mark.parametrize("command", ["calls", "diagnose"])
def test_headers_alone_are_nothing_to_work_on(
    command: str, whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = cut(whole[0], HEADERS_BYTES)
    assert cli.main([command, str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert WHY in said


def test_one_packet_is_one(whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with open_capture(whole[0]) as source:
        longest = max(len(frame.data) for frame in source)
    path = cut(whole[0], longest - 1)
    assert cli.main(["calls", str(path)]) == 1
    assert capsys.readouterr().err == f"sipalg calls: {path}: 1 packet is {WHY}\n"


def test_messages_without_a_call_id_arent_one_call(
    whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(cut(whole[0], 100))
    cli.main(["calls", path, "--json"])
    calls = json.loads(capsys.readouterr().out)["calls"]
    assert {call["kind"] for call in calls} >= {"registration", "call", "unknown"}
    assert len({call["call_id"] for call in calls}) == len(calls)
    assert cli.main(["calls", path, "--call", "1"]) == 1
    assert capsys.readouterr().out.startswith("registration 1, ? → ?: sent, no answer, Call-ID (none: packet 1)")


def test_compare_names_the_cut_and_not_another_cause(
    whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    near = cut(whole[0], 100)
    assert cli.main(["compare", str(near), str(whole[1])]) in (1, 2)
    said = capsys.readouterr().err
    assert WHY in said
    assert "no message of the one" not in said


def test_rewrite_ends_with_one(whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near = cut(whole[0], 100)
    out = tmp_path / "out.pcap"
    assert cli.main(["rewrite", str(near), str(out), "--inside", f"{PHONE}/32", "--public", NAT]) == 1
    assert "cut short (snaplen)" in capsys.readouterr().err
