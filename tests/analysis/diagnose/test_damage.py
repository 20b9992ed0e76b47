"""Whatever stands in a capture: `diagnose` reads what can be read, and never fails."""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, SERVER, Story, sdp

from sipalg import cli
from sipalg.capture.records import Captured, Pcapng

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"


def content(path: Path) -> bytes:
    story = Story()
    story.register()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 3)
    story.rtcp("192.168.20.100:4001", "207.252.1.148:9001")
    story.hang_up()
    story.request("INVITE", PHONE, SERVER, call_id="big", body=sdp(MEDIA, "a=candidate:1 typ relay"))
    return story.write(path).read_bytes()


def diagnosed(path: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> int:
    path.write_bytes(data)
    code = cli.main(["diagnose", str(path)])
    assert capsys.readouterr().err.count("\n") <= 1
    return code


def small(path: Path) -> bytes:
    """A registration and some voice: so little that it can be cut everywhere."""
    story = Story()
    story.register()
    story.rtp(MEDIA, FAR_MEDIA, 4)
    return story.write(path).read_bytes()


def as_pcapng(pcap: bytes) -> bytes:
    written, at = [(kind := Pcapng()).header()], 24
    while at < len(pcap):
        seconds, fraction, size_bytes, _ = struct.unpack_from("<IIII", pcap, at)
        frame = pcap[at + 16 : at + 16 + size_bytes]
        written.append(kind.packet(Captured(seconds * 10**9 + fraction * 1000, frame, size_bytes, "eth0")))
        at += 16 + size_bytes
    return b"".join(written)


@pytest.mark.parametrize("shape", ["pcap", "pcapng", "gz"])
def test_capture_cut_at_any_byte(shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = small(tmp_path / "whole.pcap")
    data = {"pcap": whole, "pcapng": as_pcapng(whole), "gz": gzip.compress(whole)}[shape]
    path = tmp_path / "cut.pcap"
    before = 0
    for end in range(len(data) + 1):
        path.write_bytes(data[:end])
        code = cli.main(["diagnose", "--json", str(path)])
        said = capsys.readouterr()
        told = json.loads(said.out)
        (file,) = told["files"]
        lines = [line for line in (file["error"], file["damage"]) if line]
        # One line that says what and where, and never less of what could be read than a shorter file had.
        assert said.err.splitlines() == [f"sipalg diagnose: {line}" for line in lines]
        assert all(line.startswith(str(path)) for line in lines)
        assert len(lines) <= 1
        # Between two packets nothing tells that there was more; an ALG that is needed is a warning.
        assert code == (1 if told["messages"] else 2)
        assert file["packets"] >= before
        before = file["packets"]
    assert (before, lines) == (6, [])


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("is empty; give a pcap or pcapng file", lambda whole: whole[:0]),
        ("is no capture; give a pcap or pcapng file", lambda whole: b"\x7fELF" + whole),
        ("packet 1: says that it has 4294967295 bytes", lambda whole: whole[:32] + b"\xff" * 4 + whole[36:]),
        ("packet 2: is cut off", lambda whole: whole + whole[24:60]),
        ("link type 147 isn't one that is read here", lambda whole: whole[:20] + b"\x93\0\0\0" + whole[24:]),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    what: str, data: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.request("REGISTER", PHONE, SERVER)
    whole = story.write(tmp_path / "whole.pcap").read_bytes()
    path = tmp_path / "damaged.pcap"
    path.write_bytes(data(whole))
    code = cli.main(["diagnose", str(path)])
    said = capsys.readouterr()
    assert what in said.err
    assert said.err.count("\n") == 1
    assert code == (1 if "packet 2" in said.err else 2)
    assert ("1 SIP message" in said.out) == ("packet 2" in said.err)


def test_huge_snapshot_length_is_no_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = content(tmp_path / "whole.pcap")
    told = []
    for data in (whole, whole[:16] + b"\xff" * 4 + whole[20:]):
        (tmp_path / "a.pcap").write_bytes(data)
        cli.main(["diagnose", str(tmp_path / "a.pcap")])
        told.append(capsys.readouterr())
    assert told[0] == told[1]
    assert told[0].err == ""


@pytest.mark.parametrize("seed", range(40))
def test_capture_with_bytes_changed_anywhere(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(seed)
    data = bytearray(content(tmp_path / "whole.pcap"))
    for _ in range(30):
        data[chance.randrange(len(data))] = chance.randrange(256)
    assert diagnosed(tmp_path / "changed.pcap", bytes(data), capsys) in (0, 1, 2)


@pytest.mark.parametrize("seed", range(40))
def test_messages_whose_lines_are_shuffled(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(seed)
    story = Story()
    lines = content(tmp_path / "whole.pcap").split(b"\r\n")
    for _ in range(40):
        text = b"\r\n".join(chance.choices(lines, k=chance.randrange(3, 14)))
        starts = (b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"REGISTER sip:b SIP/2.0\r\n", b"")
        first = chance.choice(starts)
        ends = (PHONE, SERVER) if chance.random() < 0.5 else (SERVER, PHONE)
        story.udp(*ends, first + text + chance.choice((b"", b"\r\n\r\n", b"\r\n\r\nv=0\r\n")))
    assert diagnosed(tmp_path / "shuffled.pcap", story.write(tmp_path / "a.pcap").read_bytes(), capsys) in (0, 1, 2)
