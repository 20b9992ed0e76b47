from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from sipalg.capture.decode import Decoder
from sipalg.capture.reading import open_capture
from sipalg.capture.tally import Tally
from sipalg.codec.datagram import host_bytes

ENDS = host_bytes("192.168.20.100") + host_bytes("207.252.1.148") + struct.pack("!HH", 4000, 9000)
Write = Callable[[list[bytes], int], bytes]

#: What stands before the IPv4 packet, by link type.
HEADERS = {1: bytes(12) + b"\x08\0", 113: bytes(14) + b"\x08\0", 276: b"\x08\0" + bytes(18), 101: b"", 0: b"\2\0\0\0"}
SSRC = b"ssrc"
RTP = b"\x80\x00" + bytes(6) + SSRC + bytes(8)
STUN = b"\0\1" + bytes(18)


def packet(payload: bytes, ends: bytes = ENDS) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 7, 0, 64, 17, 0) + ends[:8]
    return head + ends[8:] + struct.pack("!HH", 8 + len(payload), 0) + payload


def pcap(frames: list[bytes], link_type: int) -> bytes:
    records = (struct.pack("<IIII", 1, 2, len(frame), len(frame)) + frame for frame in frames)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type) + b"".join(records)


def pcapng(frames: list[bytes], link_type: int) -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    start = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    start += block(1, struct.pack("<HHI", link_type, 0, 0))
    packets = (block(6, struct.pack("<IIIII", 0, 0, 5, len(frame), len(frame)) + frame) for frame in frames)
    return start + b"".join(packets)


@pytest.mark.parametrize("link_type", HEADERS)
@pytest.mark.parametrize("write", [pcap, pcapng])
def test_packets_of_a_known_way_are_counted_and_the_others_come(link_type: int, write: Write, tmp_path: Path) -> None:
    other = packet(RTP, ENDS[:-1] + b"\x29")
    frames = [HEADERS[link_type] + one for one in (packet(RTP), other, packet(STUN), packet(RTP))]
    path = tmp_path / "a.pcap"
    path.write_bytes(write(frames, link_type))
    tally = Tally(SSRC)
    with open_capture(path) as source:
        source.tallies[ENDS] = tally
        numbers = [frame.number for frame in source]
    assert (numbers, tally.count, source.packets) == ([2, 3], 2, 4)


@pytest.mark.parametrize("write", [pcap, pcapng])
def test_way_that_becomes_known_while_reading_is_counted_from_then_on(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(gzip.compress(write([HEADERS[1] + packet(RTP)] * 9, 1)))
    tally = Tally(SSRC)
    with open_capture(path) as source:
        for segment in Decoder().segments(source):
            assert segment.number <= 1
            source.tallies[segment.ends] = tally
    assert (tally.count, source.packets, source.damage) == (8, 9, None)
    assert source.last_ns == tally.last_ns == (1_000_002_000 if write is pcap else 5000)
    assert tally.last == 9


@pytest.mark.parametrize("write", [pcap, pcapng])
def test_numbers_go_on_from_other_files(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(write([HEADERS[1] + packet(one) for one in (STUN, RTP, STUN, RTP)], 1)[:-1])
    tally = Tally(SSRC)
    with open_capture(path) as source:
        source.tallies[ENDS] = tally
        source.before = 100
        assert [frame.number for frame in source] == [101, 103]
    assert (tally.last, source.packets) == (102, 3)
    assert source.damage == f"{path}, packet 4: is cut off: the file ends in its middle"


def test_tally_outside_of_the_reader() -> None:
    tally = Tally(SSRC)
    assert (tally.count, tally.last_ns) == (0, 0)
    tally.add(7, 5_000_000_001)
    assert (tally.count, tally.last, tally.last_ns) == (1, 7, 5_000_000_001)


@pytest.mark.parametrize("write", [pcap, pcapng])
def test_other_shapes_and_cut_frames_come_as_frames(write: Write, tmp_path: Path) -> None:
    tagged = bytes(12) + b"\x81\0\0\5\x08\0" + packet(RTP)
    frames = [tagged, HEADERS[1] + packet(RTP)[:20], b"", HEADERS[1] + packet(b"")]
    path = tmp_path / "a.pcap"
    path.write_bytes(write(frames, 1))
    tally = Tally(SSRC)
    with open_capture(path) as source:
        source.tallies[ENDS] = tally
        assert [frame.data for frame in source] == frames
    assert tally.count == 0


def test_unknown_link_type_is_counted_nowhere(tmp_path: Path) -> None:
    for write in (pcap, pcapng):
        path = tmp_path / "a.pcap"
        path.write_bytes(write([packet(RTP)], 147))
        with open_capture(path) as source:
            source.tallies[ENDS] = Tally(SSRC)
            assert len(list(source)) == 1
