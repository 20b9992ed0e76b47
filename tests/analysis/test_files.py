from __future__ import annotations

import io
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from sipalg.analysis.files import Captures
from sipalg.capture import progress
from sipalg.capture.pcap import CaptureError
from sipalg.capture.tally import Tally

Write = Callable[..., Path]
Talk = list[tuple[str, str, bytes]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def names(captures: Captures) -> list[tuple[int, str]]:
    return [(located.file, located.message.name) for located in captures.messages()]


def test_messages_of_one_file(talk: Talk, write: Write) -> None:
    captures = Captures([write(talk)])
    kinds = ["REGISTER", "200 OK", "INVITE", "200 OK", "ACK", "BYE", "200 OK"]
    assert names(captures) == [(0, name) for name in kinds]
    assert names(captures) == [(0, name) for name in kinds], "a second reading is the same"
    assert captures.damage == {}


def test_several_files_are_one_in_time(talk: Talk, write: Write) -> None:
    early, late = write(talk[:2], "late.pcap", begin_ns=5), write(talk[3:6], "early.pcap")
    found = names(Captures([early, late]))
    assert found == [(1, "INVITE"), (0, "REGISTER"), (1, "200 OK"), (0, "200 OK"), (1, "ACK")]


def test_messages_of_several_files_name_theirs(talk: Talk, write: Write) -> None:
    paths = [write(talk[:1], "a.pcap"), write(talk[:1], "b.pcap", begin_ns=1)]
    assert [located.message.origin for located in Captures(paths).messages()] == ["a.pcap", "b.pcap"]
    assert [located.message.origin for located in Captures(paths[:1]).messages()] == [""]


def test_known_media_is_counted_and_not_given(talk: Talk, write: Write) -> None:
    source, destination, _ = talk[0]
    voice = b"\x80\0\0\1\0\0\0\0ssrc" + bytes(20)
    path = write([talk[0], *[(source, destination, voice)] * 5, talk[1]])
    captures = Captures([path])
    frames = list(captures.frames(0))
    tally = Tally(b"ssrc")
    given = list(captures.frames(0, {frames[1].data[26:38]: tally}))
    assert ([frame.number for frame in given], tally.count, tally.last) == ([1, 7], 5, 6)


def test_damage_is_noted(talk: Talk, write: Write) -> None:
    path = write(talk)
    path.write_bytes(path.read_bytes()[:-1])
    captures = Captures([path])
    assert len(names(captures)) == 6
    assert list(captures.damage) == [path]


def test_memory_does_not_grow_with_the_file(talk: Talk, write: Write) -> None:
    peaks = []
    for count in (3_000, 24_000):
        path = write([*talk, *[talk[6]] * count])
        tracemalloc.start()
        assert len(names(Captures([path]))) == 7
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000 < path.stat().st_size


def test_what_is_no_capture_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a text that is longer than a header of a capture")
    with pytest.raises(CaptureError, match="is no capture"):
        Captures([tmp_path / "a"])


def test_unknown_link_type_is_refused(talk: Talk, write: Write) -> None:
    captures = Captures([write(talk, link_type=147)])
    with pytest.raises(CaptureError, match="link type 147 isn't one that is read here; capture Ethernet"):
        names(captures)


def test_unknown_link_type_beside_a_known_one_is_noted(tmp_path: Path, talk: Talk) -> None:
    # A section header, an interface of Ethernet and one of something else, without packets.
    blocks = "0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000"
    for link_type in ("0100", "9300"):
        blocks += f"0100000014000000{link_type}00000000000014000000"
    path = tmp_path / "a.pcapng"
    path.write_bytes(bytes.fromhex(blocks))
    captures = Captures([path])
    assert names(captures) == []
    assert captures.damage[path].endswith("link type 147 isn't one that is read here: those packets are left out")
    assert talk


def test_large_file_has_a_bar_on_a_terminal_only(talk: Talk, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BAR_FROM_BYTES", 1)
    monkeypatch.setattr(progress, "_FRAMES_PER_STEP", 1)
    path = write(talk)
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert len(names(Captures([path]))) == 7
        assert (path.name in stream.getvalue()) == stream.isatty()
