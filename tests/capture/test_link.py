from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture import link

PACKET = struct.pack("!BBH", 0x45, 0, 24).ljust(20, b"\1") + b"body"
MACS = bytes(12)

FRAMES = {
    "ethernet": (link.ETHERNET, MACS + b"\x08\x00"),
    "vlan": (link.ETHERNET, MACS + b"\x81\x00\x00\x14\x08\x00"),
    "two tags": (link.ETHERNET, MACS + b"\x88\xa8\x00\x01\x81\x00\x00\x14\x08\x00"),
    "cooked": (link.LINUX_SLL, bytes(14) + b"\x08\x00"),
    "cooked vlan": (link.LINUX_SLL, bytes(14) + b"\x81\x00\x00\x14\x08\x00"),
    "cooked 2": (link.LINUX_SLL2, b"\x08\x00" + bytes(18)),
    "cooked 2 vlan": (link.LINUX_SLL2, b"\x81\x00" + bytes(18) + b"\x00\x14\x08\x00"),
    "null, little-endian": (link.NULL, b"\2\0\0\0"),
    "null, big-endian": (link.NULL, b"\0\0\0\2"),
    "loop": (link.LOOP, b"\0\0\0\2"),
    "raw in memory": (link.RAW_DLT, b""),
    "raw in a file": (link.RAW, b""),
    "ipv4": (link.IPV4, b""),
}


@pytest.mark.parametrize(("link_type", "header"), FRAMES.values(), ids=FRAMES)
def test_packet_is_found_behind_its_link_header(link_type: int, header: bytes) -> None:
    assert link.find_packet(link_type, header + PACKET) == link.Span(len(header), len(header) + 24, whole=True)


@pytest.mark.parametrize(("link_type", "header"), FRAMES.values(), ids=FRAMES)
def test_padding_is_no_part_of_the_packet(link_type: int, header: bytes) -> None:
    span = link.find_packet(link_type, header + PACKET + b"\0" * 9)
    assert span is not None
    assert (header + PACKET)[span.start : span.end] == PACKET


@pytest.mark.parametrize(("link_type", "header"), FRAMES.values(), ids=FRAMES)
def test_cut_packet_isnt_whole(link_type: int, header: bytes) -> None:
    assert link.find_packet(link_type, (header + PACKET)[:-1]) == link.Span(len(header), len(header) + 23, whole=False)
    assert link.find_packet(link_type, (header + PACKET)[:-5]) is None


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        (link.ETHERNET, MACS + b"\x08\x06" + PACKET),
        (link.ETHERNET, MACS + b"\x86\xdd" + PACKET),
        (link.ETHERNET, MACS + b"\x08\x00" + b"\x65" + PACKET[1:]),
        (link.ETHERNET, b""),
        (link.LINUX_SLL2, b"\x08"),
        (link.NULL, b"\x1e\0\0\0" + PACKET),
        (9, PACKET),
        (link.RAW, PACKET[:2] + b"\0\x13" + PACKET[4:]),
    ],
    ids=["arp", "ipv6", "version", "empty", "one byte", "null ipv6", "ppp", "length"],
)
def test_what_isnt_ipv4_has_no_packet(link_type: int, frame: bytes) -> None:
    assert link.find_packet(link_type, frame) is None


def test_total_length_of_zero_means_all_of_the_frame() -> None:
    offloaded = PACKET[:2] + b"\0\0" + PACKET[4:] + b"more"
    assert link.find_packet(link.RAW, offloaded) == link.Span(0, len(offloaded), whole=True)


PPPOE = MACS + b"\x88\x64\x11\x00\x00\x01"
UNDER_PPP = b"\0\x21"


@pytest.mark.parametrize(
    ("header", "length_at"),
    [(PPPOE, 18), (MACS + b"\x81\x00\x00\x07" + PPPOE[12:], 22)],
    ids=["ethernet", "vlan"],
)
def test_pppoe_has_a_length_that_follows_the_packet(header: bytes, length_at: int) -> None:
    frame = header + b"\0\x1a" + UNDER_PPP + PACKET + b"pad"
    span = link.find_packet(link.ETHERNET, frame)
    start = len(header) + 4
    assert span == link.Span(start, start + 24, whole=True, length_at=length_at)
    longer = link.replace_packet(frame, span, PACKET + b"123456")
    assert longer == header + b"\0\x20" + UNDER_PPP + PACKET + b"123456" + b"pad"
    assert link.replace_packet(frame, span, PACKET) == frame
    assert link.find_packet(link.ETHERNET, header + b"\0\x1a\0\x57" + PACKET) is None
    assert link.find_packet(link.ETHERNET, header) is None


@given(st.sampled_from([*{kind for kind, _ in FRAMES.values()}, 9]), st.binary(max_size=60))
def test_any_frame_has_a_span_within_it_or_none(link_type: int, frame: bytes) -> None:
    span = link.find_packet(link_type, frame)
    assert span is None or 0 <= span.start <= span.end - 20 <= len(frame) - 20
