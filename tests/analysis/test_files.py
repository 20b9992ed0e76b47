from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sipalg.analysis import files
from sipalg.analysis.files import Captures
from sipalg.capture.pcap import CaptureError

Write = Callable[..., Path]
Talk = list[tuple[str, str, bytes]]

CORPUS = Path(__file__).parents[2] / "../shared/corpora/pcaps"
FOUND = sorted(path for path in CORPUS.rglob("*") if path.is_file())
#: What tshark counts and we don't, by the file's name: how many, and why.
DIFFERENCES = {
    "gtp-iphone.pcap": (17, "packets 14 to 105: SIP inside GTP tunnels, which aren't opened"),
}


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


def test_damage_is_noted(talk: Talk, write: Write) -> None:
    path = write(talk)
    path.write_bytes(path.read_bytes()[:-1])
    captures = Captures([path])
    assert len(names(captures)) == 6
    assert list(captures.damage) == [path]


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
    monkeypatch.setattr(files, "BAR_FROM_BYTES", 1)
    monkeypatch.setattr(files, "_FRAMES_PER_STEP", 1)
    path = write(talk)
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert len(names(Captures([path]))) == 7
        assert (path.name in stream.getvalue()) == stream.isatty()


@pytest.mark.skipif(not FOUND, reason="the public captures aren't beside the checkout")
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")
@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.relative_to(CORPUS).as_posix())
def test_tshark_finds_the_same_messages(path: Path) -> None:
    fields = ["-e", "frame.number", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "sip.Call-ID"]
    command = ["tshark", "-r", str(path), "-Y", "sip", "-T", "fields", *fields]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs: Counter[tuple[int, str]] = Counter()
    their_calls: set[str] = set()
    for line in done.stdout.splitlines():
        number, methods, statuses, calls = line.split("\t")
        theirs.update((int(number), name) for name in filter(None, f"{methods},{statuses}".split(",")))
        their_calls.update(filter(None, calls.split(",")))
    captures = Captures([path])
    messages = [located.message for located in captures.messages()]
    ours = Counter((message.number, message.method or str(message.status)) for message in messages)
    missing, _ = DIFFERENCES.get(path.name, (0, ""))
    assert ours - theirs == Counter()
    assert (theirs - ours).total() == missing
    assert missing or {message.call_id for message in messages} == their_calls
