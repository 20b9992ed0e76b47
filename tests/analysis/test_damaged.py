"""Captures cut at every byte and damaged at any, through the commands that take two of them or write one anew.

Whatever a file holds: an exit code, at most one line of complaint, and no traceback; what was whole is compared and
written.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.exchange import NAT, PHONE, conversation, write

from sipalg import cli
from sipalg.analysis import compare
from sipalg.capture import rewrite
from sipalg.capture.pcap import CaptureWriter
from sipalg.capture.reading import open_capture


class Command(Protocol):
    """A command's module."""

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def main(self, args: argparse.Namespace) -> int: ...


SUFFIXES = ("pcap", "pcapng")


def captures(directory: Path, suffix: str) -> tuple[Path, Path]:
    """A registration on both sides, in files of one kind."""
    paths = write(directory, conversation()[:2])
    return paths if suffix == "pcap" else (as_pcapng(paths[0]), as_pcapng(paths[1]))


def as_pcapng(path: Path) -> Path:
    with open_capture(path) as source, CaptureWriter(path.with_suffix(".pcapng"), 1) as writer:
        for frame in source:
            writer.write(frame.time_ns, frame.data, frame.wire_bytes, interface="lan0")
        writer.commit()
    return path.with_suffix(".pcapng")


def packets_in(path: Path) -> int:
    with open_capture(path) as source:
        return sum(1 for _ in source)


def command(module: Command, *argv: str) -> int:
    """Run a command without all the others' options, which take longer to declare than it takes."""
    parser = argparse.ArgumentParser()
    module.configure(parser)
    return module.main(parser.parse_args(argv))


def rewritten(capture: Path, result: Path) -> int:
    return command(rewrite, str(capture), str(result), "--inside", f"{PHONE}/32", "--public", NAT, "--json")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("side", [0, 1], ids=["before", "after"])
def test_compare_with_one_side_cut_at_every_byte(
    side: int, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = captures(tmp_path, suffix)
    content = paths[side].read_bytes()
    seen = set()
    for cut in range(len(content)):
        paths[side].write_bytes(content[:cut])
        code = command(compare, *map(str, paths), "--json")
        out, err = capsys.readouterr()
        assert err.count("\n") <= 1 + (code == 2), (cut, err)
        pairs = len(json.loads(out)["pairs"]) if out else 0
        # A file that ends between two packets isn't damaged: nobody can tell.
        assert code in ((0, 1) if pairs else (2,)), cut
        assert (code == 1) == bool(pairs and err), cut
        seen.add((code, pairs))
    assert seen == {(0, 1), (1, 1), (2, 0)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rewrite_of_a_file_cut_at_every_byte(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    capture, _ = captures(tmp_path, suffix)
    content = capture.read_bytes()
    seen = set()
    for cut in range(len(content)):
        capture.write_bytes(content[:cut])
        result = tmp_path / f"out.{suffix}"
        result.unlink(missing_ok=True)
        code = rewritten(capture, result)
        err = capsys.readouterr().err
        assert err.count("\n") == (code != 0), (cut, err)
        assert result.exists() == (code != 2), cut
        if code != 2:
            assert packets_in(result) == packets_in(capture) == 1, cut
        seen.add(code)
    assert seen == {0, 1, 2}


@settings(max_examples=80, deadline=None)
@given(
    side=st.integers(0, 1),
    suffix=st.sampled_from(SUFFIXES),
    at=st.integers(0, 1500),
    put=st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)]),
)
def test_any_damage_ends_in_a_verdict_or_a_line(
    side: int, suffix: str, at: int, put: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("damaged")
    paths = captures(directory, suffix)
    content = paths[side].read_bytes()
    paths[side].write_bytes(content[:at] + put + content[at + len(put) :])
    assert command(compare, *map(str, paths), "--show", "all") in (0, 1, 2)
    result = directory / f"out.{suffix}"
    code = rewritten(paths[side], result)
    assert result.exists() == (code != 2)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFFFFFF, 1), ""),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 147), "link type 147 isn't one that is read here"),
        (b"", "is empty"),
        (b"This is a letter, and no capture at all.", "is no capture"),
    ],
    ids=["huge snaplen", "unknown link type", "empty", "no capture"],
)
def test_strange_files_are_told_in_the_same_words(
    header: bytes, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = captures(tmp_path, "pcap")
    packets = before.read_bytes()[24:]
    before.write_bytes(header + packets if len(header) == 24 else header)
    expected = 2 if what else 0
    for argv in (
        ["compare", str(before), str(after)],
        ["compare", str(after), str(before)],
        ["rewrite", str(before), str(tmp_path / "out.pcap"), "--inside", f"{PHONE}/32", "--public", NAT, "--json"],
        ["follow", str(before)],
    ):
        assert cli.main(argv) == expected, argv
        err = capsys.readouterr().err
        assert err.count("\n") == bool(what)
        assert what in err
    assert (tmp_path / "out.pcap").exists() == (not what)
