from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from sipalg.analysis.files import Captures
from sipalg.analysis.selection import (
    UnknownCallError,
    as_facts,
    as_row,
    choose,
    conversations,
    export,
    read_chosen,
)
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import open_capture
from sipalg.engine.verdict import Endpoint

Write = Callable[..., Path]
Talk = list[tuple[str, str, bytes]]

PRIVATE = "192.168.33.10"
ALL = frozenset({"reg@x", "call@x"})
CALL = frozenset({"call@x"})


def test_rows_of_all_conversations(talk: Talk, write: Write) -> None:
    rows = [as_row(number, one) for number, one in enumerate(conversations(Captures([write(talk)])), 1)]
    same = {"from": "alice@example.com", "to": "bob@example.com", "failure": "", "private_addresses": [PRIVATE]}
    assert rows == [
        {"number": 1, "kind": "registration", "state": "registered", "packets": 2, "call_id": "reg@x", **same},
        {"number": 2, "kind": "call", "state": "ended", "packets": 5, "call_id": "call@x", **same},
    ]


@pytest.mark.parametrize(
    ("wanted", "call_id"),
    [("1", "reg@x"), ("2", "call@x"), ("call@x", "call@x"), ("r", "reg@x")],
)
def test_choose(wanted: str, call_id: str, talk: Talk, write: Write) -> None:
    assert choose(conversations(Captures([write(talk)])), wanted).call_id == call_id


@pytest.mark.parametrize("wanted", ["0", "3", "nobody", "", "²"])
def test_unknown_call(wanted: str, talk: Talk, write: Write) -> None:
    with pytest.raises(UnknownCallError, match="no such call; a number from 1 to 2, or a Call-ID"):
        choose(conversations(Captures([write(talk)])), wanted)


def test_beginning_of_two_call_ids(talk: Talk, write: Write) -> None:
    other = (*talk[0][:2], talk[0][2].replace(b"reg@x", b"reg@y"))
    found = conversations(Captures([write([*talk, other])]))
    with pytest.raises(UnknownCallError, match="2 Call-IDs begin so"):
        choose(found, "reg")
    with pytest.raises(UnknownCallError, match="there is no call at all"):
        choose([], "1")


def test_chosen_messages_and_media(talk: Talk, write: Write) -> None:
    chosen = read_chosen(Captures([write(talk)]), CALL)
    assert [located.message.number for located in chosen.messages] == [4, 5, 6, 13, 14]
    assert Endpoint("192.168.33.10", 16000) in chosen.media
    assert Endpoint("203.0.113.60", 4001) in chosen.media


def test_facts_of_a_message(talk: Talk, write: Write) -> None:
    chosen = read_chosen(Captures([write(talk)]), CALL)
    facts = as_facts(1, chosen.messages[0].message)
    assert facts["text"].encode() == talk[3][2]
    assert (facts["packet"], facts["time"], facts["protocol"]) == (4, "2023-11-14T22:13:20.060000000Z", "udp")
    assert (facts["source"], facts["name"], facts["problem"]) == ("192.168.33.10:5060", "INVITE", "")


@pytest.mark.parametrize(("call_ids", "count"), [(CALL, 11), (ALL, 13), (frozenset({"reg@x"}), 2)])
def test_export_has_the_packets_and_the_media(
    call_ids: frozenset[str], count: int, talk: Talk, write: Write, tmp_path: Path
) -> None:
    path = write(talk)
    captures = Captures([path])
    out = tmp_path / "out.pcap"
    assert export(captures, read_chosen(captures, call_ids), out) == count
    with open_capture(path) as before, open_capture(out) as after:
        originals = {(frame.time_ns, frame.data, frame.wire_bytes) for frame in before}
        exported = [(frame.time_ns, frame.data, frame.wire_bytes) for frame in after]
    assert len(exported) == count
    assert set(exported) <= originals


def test_export_never_writes_what_it_reads(talk: Talk, write: Write) -> None:
    path = write(talk)
    before = path.read_bytes()
    captures = Captures([path])
    with pytest.raises(CaptureError, match="give the name of another file"):
        export(captures, read_chosen(captures, ALL), path)
    assert path.read_bytes() == before


def test_export_of_nothing_writes_nothing(talk: Talk, write: Write, tmp_path: Path) -> None:
    captures = Captures([write(talk)])
    with pytest.raises(CaptureError, match="there is no packet to write"):
        export(captures, read_chosen(captures, frozenset()), tmp_path / "out.pcap")
    assert not (tmp_path / "out.pcap").exists()


def test_export_of_different_link_types_is_refused(talk: Talk, write: Write, tmp_path: Path) -> None:
    raw = tmp_path / "raw.pcap"
    content = write(talk).read_bytes()
    at, out = 24, struct.pack("<IHHQII", 0xA1B23C4D, 2, 4, 0, 262144, 101)
    while at < len(content):
        seconds, rest_ns, size, _ = struct.unpack_from("<IIII", content, at)
        out += struct.pack("<IIII", seconds, rest_ns, size - 14, size - 14) + content[at + 30 : at + 16 + size]
        at += 16 + size
    raw.write_bytes(out)
    captures = Captures([write(talk), raw])
    with pytest.raises(CaptureError, match="link types 1 and 101"):
        export(captures, read_chosen(captures, ALL), tmp_path / "out.pcap")
    assert not (tmp_path / "out.pcap").exists()
