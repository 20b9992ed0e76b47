"""What is read of public captures is what tshark reads of them, or the difference is listed here with its cause."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from sipalg.analysis.diagnose.command import diagnose
from sipalg.analysis.diagnose.findings import Wanted
from sipalg.analysis.diagnose.look import look
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.dialogs import CALL
from sipalg.analysis.files import Captures
from sipalg.analysis.rtp import Streams
from sipalg.analysis.selection import conversations
from sipalg.capture.reading import open_capture

CORPUS = Path(__file__).parents[2] / "../shared/corpora/pcaps"
FOUND = sorted(path for path in CORPUS.rglob("*") if path.is_file())

#: The packets with messages that tshark alone finds, and its conversations of those, by the file's name: SIP inside of
#: GTP tunnels, which aren't opened.
MESSAGES_MISSED = {
    "gtp-iphone.pcap": (
        {14, 16, 27, 29, 31, 34, 40, 43, 45, 47, 52, 80, 86, 90, 91, 100, 102},
        {"5PC5dBCGDQ0csFmFPQXQjE57", "5E6Cykks9Q8hoKaqHXRaeWJr"}
        | {"zTHDK1uOm6wLihi3m15pRfSR", "Ibayc7qnh1PkQzsM6S0TeFJ6"},
    ),
}
#: Streams (source, destination) that one of both doesn't find. gtp-iphone.pcap's are in the same tunnels, from packet
#: 48 on. In MichalCab's files the server's voice, from packet 18 on, is mere data to tshark, as it took packets 12 to
#: 16 between the same ends for STUN.
STREAMS_MISSED = {
    "gtp-iphone.pcap": {
        ("fd00:183:1:1:1886:9040:8605:32b8:49120", "fd01::183:19956"),
        ("fd01::183:19956", "fd00:183:1:1:1886:9040:8605:32b8:49120"),
    },
}
STREAMS_MORE = {"MichalCab+ISA": {("10.0.2.15:15264", "10.0.2.4:7078")}}

WANTED = Wanted((5060, 5061), 3600.0, Networks())

pytestmark = [
    pytest.mark.skipif(not FOUND, reason="the public captures aren't beside the checkout"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed"),
    pytest.mark.parametrize("path", FOUND, ids=lambda path: path.relative_to(CORPUS).as_posix()),
]


def tshark(path: Path, *arguments: str) -> list[str]:
    command = ["tshark", "-r", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_messages_and_dialogs(path: Path) -> None:
    fields = ["-e", "frame.number", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "sip.Call-ID"]
    theirs: Counter[tuple[int, str]] = Counter()
    their_calls: set[str] = set()
    for line in tshark(path, "-Y", "sip", "-T", "fields", *fields):
        number, methods, statuses, calls = line.split("\t")
        theirs.update((int(number), name) for name in filter(None, f"{methods},{statuses}".split(",")))
        their_calls.update(filter(None, calls.split(",")))
    captures = Captures([path])
    messages = [located.message for located in captures.messages()]
    ours = Counter((message.number, message.method or str(message.status)) for message in messages)
    packets, calls_missed = MESSAGES_MISSED.get(path.name, (set(), set()))
    assert ours - theirs == Counter()
    assert {number for number, _ in theirs - ours} == packets
    assert their_calls - {message.call_id for message in messages} == calls_missed
    assert {message.call_id for message in messages} <= their_calls


def test_diagnose_counts_what_calls_counts(path: Path) -> None:
    rows = conversations(Captures([path]))
    facts = diagnose([path], WANTED).facts
    assert facts.messages == sum(row.messages for row in rows)
    assert facts.call_count == sum(row.kind == CALL for row in rows)


def test_streams_of_voice(path: Path) -> None:
    theirs: Counter[tuple[str, str, int, int]] = Counter()
    for line in tshark(path, "-q", "-z", "rtp,streams"):
        words = line.split()
        if "0x" in line:
            ends = ":".join(words[2:4]), ":".join(words[4:6])
            packets = next(int(words[at - 2]) for at in range(len(words)) if words[at].startswith("("))
            theirs[(*ends, int(words[6], 16), packets)] += 1
    streams = Streams()
    with open_capture(path) as source:
        source.tallies = streams.tallies
        facts = look(source, WANTED, streams).finish(0, 0)
    ours = Counter(
        (str(one.source), str(one.destination), int.from_bytes(one.tally.ssrc, "big"), one.tally.count)
        for one in streams.all
        if not one.is_rtcp
    )
    assert facts.streams == ours.total()
    more = STREAMS_MORE.get(path.relative_to(CORPUS).parts[0], set())
    assert {(stream[0], stream[1]) for stream in ours - theirs} == more
    assert {(stream[0], stream[1]) for stream in theirs - ours} == STREAMS_MISSED.get(path.name, set())
