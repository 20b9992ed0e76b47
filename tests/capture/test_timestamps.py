from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.pcap import CaptureReader
from sipalg.capture.timestamps import NS_PER_S, precise_times

TIME_NS = 1_700_000_000_123_456_789
NANO = b"\x09\x00\x01\x00\x09\0\0\0"
BINARY = b"\x09\x00\x01\x00\x9e\0\0\0"


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, options: bytes) -> bytes:
    return block(order, 1, struct.pack(order + "HHI", 1, 0, 65535) + options)


def packet(order: str, units: int, number: int = 0) -> bytes:
    return block(order, 6, struct.pack(order + "IIIII", number, units >> 32, units & 0xFFFFFFFF, 4, 4) + b"data")


def times_of(path: Path, content: bytes) -> list[int] | None:
    path.write_bytes(content)
    times = precise_times(path)
    return None if times is None else list(times)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcap_with_nanoseconds(tmp_path: Path, order: str) -> None:
    header = struct.pack(order + "IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    record = struct.pack(order + "IIII", *divmod(TIME_NS, NS_PER_S), 4, 4) + b"data"
    assert times_of(tmp_path / "a", header + record + record) == [TIME_NS, TIME_NS]


def test_pcap_with_microseconds_has_nothing_to_add(tmp_path: Path) -> None:
    assert times_of(tmp_path / "a", struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)) is None


def test_pcapng_with_nanoseconds(tmp_path: Path) -> None:
    little = section("<") + interface("<", NANO + bytes(4)) + packet("<", TIME_NS)
    big = section(">") + interface(">", b"\0\x09\0\x01\x09\0\0\0" + bytes(4)) + packet(">", TIME_NS + 1)
    assert times_of(tmp_path / "a", little + big) == [TIME_NS, TIME_NS + 1]


def test_pcapng_with_binary_units_and_an_offset(tmp_path: Path) -> None:
    offset = struct.pack("<HHq", 14, 8, 100)
    content = section("<") + interface("<", BINARY + offset) + packet("<", 3 << 29)
    assert times_of(tmp_path / "a", content) == [101_500_000_000]


def test_pcapng_with_microseconds_has_nothing_to_add(tmp_path: Path) -> None:
    assert times_of(tmp_path / "a", section("<") + interface("<", b"") + packet("<", 1)) is None
    assert times_of(tmp_path / "a", section("<")) is None


def test_other_blocks_are_skipped_and_packets_without_time_count(tmp_path: Path) -> None:
    start = section("<") + interface("<", NANO) + packet("<", 5)
    simple = block("<", 3, struct.pack("<I", 4) + b"data")
    old = block("<", 2, struct.pack("<HHIIII", 0, 0, 0, 7, 4, 4) + b"data")
    assert times_of(tmp_path / "a", start + block("<", 5, b"statistics") + simple + old) == [5, 0, 7]


@pytest.mark.parametrize(
    "rest",
    [
        packet("<", 6, number=1),
        block("<", 6, b"short"),
        struct.pack("<III", 6, 13, 0),
        struct.pack("<III", 6, 1 << 31, 0),
        b"\x0a\x0d\x0d\x0a" + struct.pack("<II", 28, 0),
        b"torn",
    ],
    ids=["unknown interface", "short packet", "odd length", "huge length", "byte order", "torn"],
)
def test_walk_ends_where_it_cant_follow(tmp_path: Path, rest: bytes) -> None:
    start = section("<") + interface("<", NANO) + packet("<", 5)
    assert times_of(tmp_path / "a", start + rest + packet("<", 6)) == [5]


def test_reader_takes_the_finer_time_of_pcapng(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(section("<") + interface("<", NANO) + packet("<", TIME_NS) + packet("<", TIME_NS + 1))
    with CaptureReader(path) as reader:
        assert [found.time_ns for found in reader] == [TIME_NS, TIME_NS + 1]


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_section_are_survived(tmp_path_factory: pytest.TempPathFactory, rest: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pcapng"
    times = times_of(path, section("<") + interface("<", NANO) + packet("<", 5) + rest)
    assert times is not None
    assert times[0] == 5
