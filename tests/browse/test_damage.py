"""`sipalg calls` and `follow` of captures that are damaged anywhere: one line, and what could be read is shown."""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import struct
from pathlib import Path

import pytest
from tests.analysis.conftest import PHONE, SERVER, udp
from tests.sniffer.packets import ethernet, tcp, transport

from sipalg import cli
from sipalg.capture.records import Captured, Format, Pcap, Pcapng

Capsys = pytest.CaptureFixture[str]
ENDS = ("192.168.33.10", 40000, "203.0.113.50", 5060)
INVITE, BYE, LONG = (
    f"{method} sip:bob@example.com SIP/2.0\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n{more}\r\n".encode()
    for method, call_id, more in (("INVITE", "udp", ""), ("BYE", "tcp", ""), ("OPTIONS", "long", "X: y\r\n" * 4))
)
BODY = udp(PHONE, SERVER, LONG)[34:]
#: A message over UDP, one over TCP in two segments, one in two fragments; how many are whole behind each frame.
FRAMES = [
    udp(PHONE, SERVER, INVITE),
    ethernet(tcp(ENDS, 1, BYE[:-10])),
    ethernet(tcp(ENDS, len(BYE) - 9, BYE[-10:])),
    ethernet(transport(17, BODY[:80], "192.168.33.10", "203.0.113.50", 0x2000)),
    ethernet(transport(17, BODY[80:], "192.168.33.10", "203.0.113.50", 10)),
]
WHOLE = [0, 1, 1, 2, 2, 3]


def written(kind: Format) -> tuple[bytes, list[int]]:
    """A capture, and where its packets end."""
    content, ends = kind.header(), []
    for number, frame in enumerate(FRAMES):
        content += kind.packet(Captured(number * 10**9, frame, len(frame)))
        ends.append(len(content))
    return content, ends


@functools.cache
def parsed(*arguments: str) -> argparse.Namespace:
    return cli.build_parser(arguments).parse_args(arguments)


def run(capsys: Capsys, *arguments: str) -> tuple[int, str, str]:
    args = parsed(*arguments)
    code: int = args.module.main(args)
    captured = capsys.readouterr()
    assert captured.err.count("\n") <= 1
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def messages(out: str) -> int:
    """How many whole messages the table has."""
    rows = json.loads(out)["calls"]
    return sum(1 for row in rows if row["call_id"] != "")


@pytest.mark.parametrize("kind", [Pcap, Pcapng])
@pytest.mark.parametrize("command", ["calls", "follow"])
def test_cut_at_every_byte(kind: type[Pcap | Pcapng], command: str, tmp_path: Path, capsys: Capsys) -> None:
    content, ends = written(kind())
    path = tmp_path / "cut"
    for at in range(len(content) + 1):
        path.write_bytes(content[:at])
        code, out, err = run(capsys, command, str(path), "--json")
        whole = sum(end <= at for end in ends)
        if command == "calls" and code < 2:
            # What is torn at the end of a TCP stream is shown as far as it came.
            torn = whole == 2
            assert messages(out) == WHOLE[whole] + torn, at
        elif code < 2:
            assert len(json.loads(out)["streams"]) == (whole > 0), at
        assert bool(err) == (code > 0), at
        if whole and at not in ends:
            # pcapng's description of an interface is no packet; there is only one, before the first.
            assert (code, str(path) in err) == (1, True), at


@pytest.mark.parametrize("command", ["calls", "follow"])
def test_cut_compression(command: str, tmp_path: Path, capsys: Capsys) -> None:
    content = gzip.compress(written(Pcap())[0], mtime=0)
    path = tmp_path / "cut.gz"
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at])
        code, _, err = run(capsys, command, str(path))
        assert (code in (1, 2), str(path) in err) == (True, True), at


@pytest.mark.parametrize("command", ["calls", "follow"])
@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", 2, "is empty; give a pcap or pcapng file"),
        (b"Dear Alice, this is a letter and no capture.", 2, "is no capture; give a pcap or pcapng file"),
        (Pcap(147).header() + Pcap().packet(Captured(0, FRAMES[0], 400)), 2, "link type 147 isn't one that is read"),
        (written(Pcap())[0][:-1] + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31), 1, "packet 6: is cut off"),
        (written(Pcap())[0] + b"\xff" * 40, 1, "packet 6: says that it has 4294967295 bytes"),
        (written(Pcapng())[0] + b"\xff" * 40, 1, "packet 6: "),
    ],
)
def test_what_is_wrong_is_one_line(
    command: str, content: bytes, code: int, said: str, tmp_path: Path, capsys: Capsys
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    found, out, err = run(capsys, command, str(path))
    assert (found, said in err) == (code, True), err
    assert bool(out) == (code < 2)


def test_a_stream_that_is_not_before_the_damage(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "file"
    path.write_bytes(written(Pcap())[0][:-1])
    code, out, err = run(capsys, "follow", str(path), "--stream", "3")
    assert (code, out) == (2, "")
    assert "cut off: the file ends in its middle; before that it has no UDP stream 3; give a number from 0 to 0" in err


def test_a_snapshot_length_that_is_huge_says_nothing(tmp_path: Path, capsys: Capsys) -> None:
    content = written(Pcap())[0]
    path = tmp_path / "file"
    path.write_bytes(content[:16] + b"\xff\xff\xff\xff" + content[20:])
    assert run(capsys, "calls", str(path))[0] == 0
