from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sniffer.packets import ethernet, tcp, transport, udp

from sipalg.sniffer.frames import Seen, look

ENDS = ("192.168.20.100", 5060, "207.252.1.148", 5061)
ENDS6 = ("2001:db8::1", 5060, "2001:db8::2", 5061)


@pytest.mark.parametrize(("ends", "protocol", "header_bytes"), [(ENDS, "ip", 42), (ENDS6, "ipv6", 62)])
def test_udp(ends: tuple[str, int, str, int], protocol: str, header_bytes: int) -> None:
    seen = look(ethernet(udp(*ends, b"payload")))
    assert seen == Seen(protocol, header_bytes, 0, "udp", ends[0], ends[2], ends[1], ends[3])


def test_a_tag_moves_all() -> None:
    seen = look(ethernet(udp(*ENDS), vlan=5 << 13 | 20))
    assert (seen.vlan, seen.header_bytes, seen.source_port) == (20, 46, 5060)


def test_tcp_with_its_options() -> None:
    seen = look(ethernet(tcp(ENDS, 1000, b"abc", b"\x01\x02\x04\x05\xb4\x00\x00\x00")))
    assert (seen.ip_protocol, seen.header_bytes) == ("tcp", 14 + 20 + 28)
    assert (seen.sequence, seen.data_bytes, seen.mss) == (1000, 3, 1460)


@pytest.mark.parametrize("options", [b"\x08\x00\x00\x00", b"\x02\x04\x05", b""])
def test_tcp_options_that_say_nothing(options: bytes) -> None:
    assert look(ethernet(tcp(ENDS, 1, b"", options + bytes(-len(options) % 4)))).mss in (0, 1280)


def test_icmp_and_protocols_without_a_name() -> None:
    seen = look(ethernet(transport(1, bytes(20), "10.0.0.1", "10.0.0.2")))
    assert (seen.ip_protocol, seen.source_port, seen.header_bytes) == ("icmp", 0, 42)
    assert look(ethernet(transport(253, bytes(20), "10.0.0.1", "10.0.0.2"))).ip_protocol == "253"


def test_a_later_piece_has_no_ports() -> None:
    seen = look(ethernet(transport(17, struct.pack("!HHHH", 5060, 5060, 8, 0), "10.0.0.1", "10.0.0.2", fragment=185)))
    assert (seen.ip_protocol, seen.source_port, seen.header_bytes) == ("udp", 0, 34)


def test_what_is_not_ip() -> None:
    assert look(ethernet(bytes(28), kind=0x0806)) == Seen("arp", 14)
    assert look(ethernet(bytes(28), kind=0x1234)).protocol == "0x1234"
    assert look(ethernet(bytes(28), kind=38)).protocol == "802.2"
    assert look(b"short") == Seen("", 5)


@given(
    st.binary(max_size=200), st.sampled_from([0x0800, 0x86DD, 0x8100]), st.sampled_from([b"\x45", b"\x4f", b"\x60"])
)
def test_any_bytes_are_looked_at(rest: bytes, kind: int, first: bytes) -> None:
    frame = bytes(12) + kind.to_bytes(2, "big") + first + rest
    assert 0 <= look(frame).header_bytes <= len(frame)
    assert look(rest).header_bytes <= len(rest)


@given(st.integers(0, 60))
def test_a_cut_frame_keeps_what_is_there(size: int) -> None:
    whole = ethernet(udp(*ENDS, b"payload"))
    assert look(whole[:size]).header_bytes <= min(size, 42)
