"""What `rewrite` makes of a capture is judged packet by packet."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.capture_corpus import PUBLIC, write
from bench.diagnose import Use
from bench.rewriting import PORTS, RewriteError, Rewritten, check, table

from sipalg import cli


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    folder = tmp_path_factory.mktemp("rewriting")
    before, after = folder / "before.pcap", folder / "after.pcap"
    truth = write(before, 1, 15, 15 * 60_000)
    words = ["rewrite", str(before), str(after), "--inside", "10.0.0.0/8", "--public", PUBLIC, "--ports", PORTS]
    assert cli.main(words) == 0
    return before, after, truth.packets


def test_every_packet_is_right(captures: tuple[Path, Path, int]) -> None:
    before, after, packets = captures
    assert check(before, after) == packets


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"\xcb\x00\x71\x01", b"\xcb\x00\x71\x02", "it goes from 203.0.113.2"),
        (b"v=0\r\no=- 1 1 IN IP4 203.0.113.1", b"v=0\r\no=- 1 1 IN IP4 10.0.0.10\r\n", "is left in it"),
        (b"example\x03com", b"exAmple\x03com", "its payload has changed"),
        (b"SIP/2.0 200", b"SIP/2.0 201", "it came from outside and has changed"),
    ],
)
def test_a_wrong_packet_is_found(
    captures: tuple[Path, Path, int], old: bytes, new: bytes, problem: str, tmp_path: Path
) -> None:
    before, after, _ = captures
    content = after.read_bytes()
    assert old in content
    wrong = tmp_path / "wrong.pcap"
    wrong.write_bytes(content.replace(old, new[: len(old)].ljust(len(old))))
    with pytest.raises(RewriteError, match=problem):
        check(before, wrong)


def test_a_missing_packet_is_found(captures: tuple[Path, Path, int], tmp_path: Path) -> None:
    before, after, _ = captures
    short = tmp_path / "short.pcap"
    content = after.read_bytes()
    first = 24 + 16 + int.from_bytes(content[32:36], "little")
    short.write_bytes(content[:first])
    assert check(before, short) == -1


def test_both_programs_stand_in_the_table() -> None:
    found = Rewritten(2**21, 10, [Use(2.0, 1.5, 2**26)], [Use(3.0, 3.0, 2**28)])
    assert "| `sipalg rewrite` | 2.0 | 1.5 | 64 |" in table(found, "python -m bench.rewriting")
