"""IPv6 packets taken apart and put together, with `datagram`, which hands them on; against a slow second reading."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.codec.test_datagram import slow_checksum

from sipalg.codec.datagram import (
    BAD_LENGTH,
    FRAGMENT,
    NOT_UDP,
    TRUNCATED,
    UDP,
    Address,
    UdpPacket,
    ends_of,
    host_bytes,
    parse_udp,
    replace_payload,
    split_udp,
)
from sipalg.codec.datagram6 import host_bytes6, host_text6, replace_payload6

PHONE: Address = ("2001:db8:1::10", 5060)
SERVER: Address = ("2001:db8:2::50", 5060)

hosts = st.binary(min_size=16, max_size=16).map(lambda sixteen: IPv6Address(sixteen).compressed)
endpoints = st.tuples(hosts, st.integers(0, 65535))
payloads = st.binary(max_size=300)

HOP_BY_HOP = (0, b"\x01\x04\0\0\0\0")
DESTINATION = (60, b"\x01\x0c" + bytes(12))
ROUTING = (43, b"\0\0\0\0\0\0")
FIRST_FRAGMENT = (44, b"\0\1\0\0\0\7")
extensions = st.lists(st.sampled_from([HOP_BY_HOP, DESTINATION]), max_size=3).map(tuple)


def udp6_packet(
    payload: bytes,
    source: Address = PHONE,
    destination: Address = SERVER,
    headers: tuple[tuple[int, bytes], ...] = (),
    protocol: int = UDP,
) -> bytes:
    """A packet with extension headers, each of a kind and what stands behind its first two bytes."""
    ends = IPv6Address(source[0]).packed + IPv6Address(destination[0]).packed
    size = 8 + len(payload)
    head = pack("!HHHH", source[1], destination[1], size, 0)
    right = slow_checksum(ends + pack("!II", size, UDP) + head + payload) or 0xFFFF
    body = head[:6] + pack("!H", right) + payload
    kind = protocol
    for its_kind, rest in reversed(headers):
        body = bytes((kind, (len(rest) + 2) // 8 - 1)) + rest + body
        kind = its_kind
    return pack("!IHBB", 0x6B8ABCDE, len(body), kind, 63) + ends + body


WHOLE = udp6_packet(b"REGISTER", headers=(HOP_BY_HOP,))


def with_bytes(packet: bytes, offset: int, new: bytes) -> bytes:
    return packet[:offset] + new + packet[offset + len(new) :]


@given(hosts)
def test_the_text_of_an_address_and_its_bytes_are_each_others_reverse(host: str) -> None:
    assert host_text6(host_bytes6(host)) == host
    assert host_bytes(host) == host_bytes6(host)


@given(payloads, endpoints, endpoints, extensions)
def test_what_was_put_in_comes_out(
    payload: bytes, source: Address, destination: Address, headers: tuple[tuple[int, bytes], ...]
) -> None:
    packet = udp6_packet(payload, source, destination, headers) + b"padding"
    assert parse_udp(packet) == UdpPacket(source, destination, payload)
    parts = split_udp(packet)
    assert not isinstance(parts, str)
    assert len(parts[0]) == 36
    assert ends_of(parts[0]) == (source, destination)


@given(payloads, payloads, endpoints, endpoints, extensions)
def test_another_payload_is_the_packet_that_it_would_have_been(
    before: bytes, after: bytes, source: Address, destination: Address, headers: tuple[tuple[int, bytes], ...]
) -> None:
    packet = udp6_packet(before, source, destination, headers)
    assert replace_payload(packet, after, 1280, 7) == udp6_packet(after, source, destination, headers)


def test_a_checksum_of_zero_is_written_as_ones() -> None:
    packet = udp6_packet(b"\0\0", ("::", 0), ("::", 0))
    right = slow_checksum(pack("!II", 10, UDP) + pack("!HHHH", 0, 0, 10, 0))
    changed = replace_payload(packet, pack("!H", right))
    assert changed[46:48] == b"\xff\xff"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (WHOLE[:39], TRUNCATED),
        (WHOLE[:-1], TRUNCATED),
        (WHOLE[:44], TRUNCATED),
        (with_bytes(WHOLE, 4, pack("!H", 15)), BAD_LENGTH),
        (with_bytes(WHOLE, 52, pack("!H", 7)), BAD_LENGTH),
        # A jumbogram's length (RFC 2675 section 4).
        (with_bytes(WHOLE, 52, pack("!H", 0)), BAD_LENGTH),
        (with_bytes(WHOLE, 52, pack("!H", 17)), BAD_LENGTH),
        (udp6_packet(b"x", headers=(FIRST_FRAGMENT,)), FRAGMENT),
        (udp6_packet(b"x", headers=(HOP_BY_HOP, FIRST_FRAGMENT)), FRAGMENT),
        (udp6_packet(b"x", headers=(ROUTING,)), NOT_UDP),
        (udp6_packet(b"x", headers=(DESTINATION,) * 4), NOT_UDP),
        (udp6_packet(b"x", protocol=6), NOT_UDP),
    ],
)
def test_what_is_no_whole_udp_datagram(packet: bytes, reason: str) -> None:
    assert parse_udp(packet) == reason


@given(st.binary(max_size=100))
def test_any_bytes_can_be_read(tail: bytes) -> None:
    parse_udp(b"\x60" + tail)
    parse_udp(with_bytes(WHOLE, 0, (b"\x60" + tail)[: len(WHOLE)]))


def test_a_payload_that_no_packet_can_hold_is_refused() -> None:
    assert len(replace_payload(WHOLE, b"x" * (65535 - 16))) == 40 + 65535
    with pytest.raises(ValueError, match="65520 bytes"):
        replace_payload(WHOLE, b"x" * (65535 - 15))
    with pytest.raises(ValueError, match="no UDP datagram: not-udp"):
        replace_payload6(udp6_packet(b"x", protocol=6), b"y")
