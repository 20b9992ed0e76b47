from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.blocks import Blocks, Interface
from sipalg.capture.reading import open_capture

TIME_NS = 1_700_000_000_123_456_789


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link_type: int = 1, options: bytes = b"", order: str = "<", snaplen: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snaplen) + options, order)


def packet(number: int, units: int, data: bytes, order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", number, units >> 32, units & 0xFFFFFFFF, len(data), len(data) + 1)
    return block(6, head + data, order)


NANOSECONDS = option(9, b"\x09")


def test_packets_of_several_interfaces() -> None:
    interfaces: list[Interface] = []
    blocks = Blocks(interfaces, {})
    content = (
        section()
        + interface(1, option(2, b"lan") + NANOSECONDS)
        + interface(101, option(2, b"wan"))
        + block(5, b"statistics")
        + packet(0, TIME_NS, b"in")
        + packet(1, TIME_NS // 1000, b"out")
    )
    assert list(blocks.packets(content)) == [
        (TIME_NS, b"in", 3, 1, 0),
        (TIME_NS // 1000 * 1000, b"out", 4, 101, 1),
    ]
    assert [described.name for described in interfaces] == ["lan", "wan"]
    assert blocks.used_bytes == len(content)


def test_big_endian_section_behind_a_little_one() -> None:
    interfaces: list[Interface] = []
    content = section() + interface() + section(">") + interface(113, order=">") + packet(0, 7, b"x", ">")
    assert list(Blocks(interfaces, {}).packets(content)) == [(7000, b"x", 2, 113, 1)]


@pytest.mark.parametrize(
    ("options", "time_ns"),
    [
        (option(9, b"\x83"), 2_000_000_000),
        (option(9, b"\x00"), 16_000_000_000),
        (option(14, struct.pack("<q", 5)), 5_000_016_000),
        (option(9, b"\x7f"), 16_000),
        (option(14, struct.pack("<q", -5)), 0),
        (option(14, struct.pack("<q", 1 << 32)), (1 << 32) * 10**9 - 1),
        (b"\x09\0\xff", 16_000),
    ],
    ids=["eighths", "seconds", "offset", "unbelievable", "before-1970", "no-date", "torn"],
)
def test_clock_of_an_interface(options: bytes, time_ns: int) -> None:
    found = list(Blocks([], {}).packets(section() + interface(1, options) + packet(0, 16, b"x")))
    assert [content[0] for content in found] == [time_ns]


def test_older_packet_blocks() -> None:
    obsolete = block(2, struct.pack("<HHIIII", 0, 0, 0, 5, 3, 9) + b"abc")
    simple = block(3, struct.pack("<I", 9) + b"abcdefghi")
    found = list(Blocks([], {}).packets(section() + interface(1, snaplen=6) + obsolete + simple))
    assert found == [(5000, b"abc", 9, 1, 0), (0, b"abcdef", 9, 1, 0)]


@pytest.mark.parametrize(
    ("content", "damage"),
    [
        (section() + packet(0, 1, b"x"), "interface 0"),
        (section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99) + b"abc"), "99 bytes"),
        (section() + struct.pack("<II", 6, 13) + bytes(20), "13 bytes"),
        (section() + struct.pack("<II", 6, 0x40000000) + bytes(20), "1073741824 bytes"),
        (struct.pack("<III", 0x0A0D0D0A, 28, 0) + bytes(16), "byte order"),
    ],
)
def test_damage_is_said(content: bytes, damage: str) -> None:
    blocks = Blocks([], {})
    assert list(blocks.packets(content)) == []
    assert damage in blocks.damage


@given(cut=st.integers(0, 400))
def test_file_cut_anywhere_gives_what_is_whole(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    row = [section(), interface(), packet(0, 1, b"one"), packet(0, 2, b"two" * 30), packet(0, 3, b"three")]
    content = b"".join(row)
    cut = 24 + cut % (len(content) - 23)
    path = tmp_path_factory.mktemp("cut") / "a.pcapng"
    path.write_bytes(content[:cut])
    with open_capture(path) as source:
        data = [frame.data for frame in source]
    ends = [sum(map(len, row[: number + 1])) for number in range(len(row))]
    assert data == [b"one", b"two" * 30, b"three"][: sum(end <= cut for end in ends[2:])]
    assert (source.damage is None) == (cut in ends)
