from __future__ import annotations

import shutil
import struct
import subprocess
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
    find_packets,
    read_messages,
)
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import open_capture

Write = Callable[..., Path]
Talk = list[tuple[str, str, bytes]]

PRIVATE = "192.168.33.10"
ALL = frozenset({"reg@x", "call@x"})
CALL = frozenset({"call@x"})


def test_rows_of_all_conversations(talk: Talk, write: Write) -> None:
    rows = [as_row(number, one) for number, one in enumerate(conversations(Captures([write(talk)])), 1)]
    same = {
        "from": "alice@example.com", "to": "bob@example.com", "failure": "", "private_addresses": [PRIVATE],
        "source": "192.168.33.10:5060", "destination": "203.0.113.50:5070",
    }  # fmt: skip
    assert rows == [
        {"number": 1, "kind": "registration", "state": "registered", "sip_packets": 2, "call_id": "reg@x", **same},
        {"number": 2, "kind": "call", "state": "ended", "sip_packets": 5, "call_id": "call@x", **same},
    ]


@pytest.mark.parametrize(
    ("wanted", "call_id"),
    [("1", "reg@x"), ("2", "call@x"), ("call@x", "call@x"), ("r", "reg@x")],
)
def test_choose(wanted: str, call_id: str, talk: Talk, write: Write) -> None:
    assert choose(conversations(Captures([write(talk)])), wanted).call_id == call_id


@pytest.mark.parametrize("wanted", ["0", "3", "nobody", "", "²", "9" * 5000])
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


def test_messages_and_packets_of_a_call(talk: Talk, write: Write) -> None:
    captures = Captures([write(talk)])
    messages = read_messages(captures, CALL)
    assert [message.number for message in messages["call@x"]] == [4, 5, 6, 13, 14]
    packets = find_packets(captures, CALL)
    assert packets.numbers == ({4, 5, 6, 13, 14},)
    ends = {("192.168.33.10", 16000), ("192.168.33.10", 16001), ("203.0.113.60", 4000), ("203.0.113.60", 4001)}
    assert packets.media == ends


def test_facts_of_a_message(talk: Talk, write: Write) -> None:
    facts = as_facts(1, read_messages(Captures([write(talk)]), CALL)["call@x"][0])
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
    assert export(captures, call_ids, out) == count
    with open_capture(path) as before, open_capture(out) as after:
        originals = {(frame.time_ns, frame.data, frame.wire_bytes) for frame in before}
        exported = [(frame.time_ns, frame.data, frame.wire_bytes) for frame in after]
    assert len(exported) == count
    assert set(exported) <= originals


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")
@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
def test_tshark_opens_what_is_exported(name: str, talk: Talk, write: Write, tmp_path: Path) -> None:
    export(Captures([write(talk)]), ALL, tmp_path / name)
    command = ["tshark", "-r", str(tmp_path / name), "-Y", "rtp", "-T", "fields", "-e", "rtp.ssrc"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0x00000007"] * 3 + ["0x00000008"] * 3


def test_export_never_writes_what_it_reads(talk: Talk, write: Write) -> None:
    path = write(talk)
    before = path.read_bytes()
    captures = Captures([path])
    with pytest.raises(CaptureError, match="give the name of another file"):
        export(captures, ALL, path)
    assert path.read_bytes() == before


def test_export_of_nothing_writes_nothing(talk: Talk, write: Write, tmp_path: Path) -> None:
    captures = Captures([write(talk)])
    with pytest.raises(CaptureError, match="there is no packet to write"):
        export(captures, frozenset(), tmp_path / "out.pcap")
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
        export(captures, ALL, tmp_path / "out.pcap")
    assert not (tmp_path / "out.pcap").exists()
