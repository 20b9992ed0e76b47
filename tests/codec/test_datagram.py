"""Packets taken apart and put together: every branch of sipalg.codec.datagram, against a slow second reading."""

from __future__ import annotations

from struct import pack, unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.datagram import (
    BAD_LENGTH,
    FRAGMENT,
    ICMP,
    NOT_IP,
    NOT_UDP,
    TCP,
    TRUNCATED,
    UDP,
    Address,
    UdpPacket,
    addresses,
    checksum,
    checksums_right,
    fill_checksums,
    host_bytes,
    host_text,
    parse_udp,
    replace_addresses,
    replace_payload,
)

PHONE = ("192.168.33.10", 5060)
ROUTER = ("203.0.113.1", 1024)
SERVER = ("203.0.113.50", 5060)

hosts = st.binary(min_size=4, max_size=4).map(lambda four: ".".join(str(byte) for byte in four))
ports = st.integers(0, 65535)
endpoints = st.tuples(hosts, ports)
payloads = st.binary(max_size=300)
ip_options = st.sampled_from([b"", b"\x94\x04\x00\x00", b"\x01" * 40])


def slow_checksum(data: bytes) -> int:
    """RFC 1071 as it is written: add 16-bit words, fold the carries, complement."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ip_packet(
    body: bytes,
    source: str = PHONE[0],
    destination: str = SERVER[0],
    *,
    protocol: int = UDP,
    options: bytes = b"",
    fragment: int = 0,
    packet_id: int = 0,
) -> bytes:
    head = pack(
        "!BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        0xB8,
        20 + len(options) + len(body),
        packet_id,
        fragment,
        63,
        protocol,
        0,
        host_bytes(source),
        host_bytes(destination),
    )
    right = pack("!H", slow_checksum(head + options))
    return head[:10] + right + head[12:] + options + body


def udp_packet(
    payload: bytes,
    source: Address = PHONE,
    destination: Address = SERVER,
    *,
    options: bytes = b"",
    fragment: int = 0,
    packet_id: int = 0,
    unchecked: bool = False,
) -> bytes:
    size = 8 + len(payload)
    ends = host_bytes(source[0]) + host_bytes(destination[0])
    head = pack("!HHHH", source[1], destination[1], size, 0)
    right = 0 if unchecked else slow_checksum(ends + pack("!HH", UDP, size) + head + payload) or 0xFFFF
    body = head[:6] + pack("!H", right) + payload
    return ip_packet(body, source[0], destination[0], options=options, fragment=fragment, packet_id=packet_id)


def tcp_packet(payload: bytes, source: Address = PHONE, destination: Address = SERVER) -> bytes:
    body = pack("!HHIIBBHHH", source[1], destination[1], 1, 2, 0x50, 0x18, 512, 0, 0) + payload
    return fill_checksums(ip_packet(body, source[0], destination[0], protocol=TCP))


def icmp_packet(body: bytes = b"\x08\x00\x00\x00ping") -> bytes:
    return fill_checksums(ip_packet(body, protocol=ICMP))


def with_bytes(packet: bytes, offset: int, new: bytes) -> bytes:
    return packet[:offset] + new + packet[offset + len(new) :]


# Text of addresses


@given(hosts)
def test_the_text_of_an_address_and_its_bytes_are_each_others_reverse(host: str) -> None:
    assert host_text(host_bytes(host)) == host


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.x", "1.2..3", "1.2.3.-4", "\u0661.2.3.4", ":1", "::1::"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an IP address|range|permitted|parts"):
        host_bytes(text)


# Reading


@given(st.binary(max_size=100))
def test_checksum_agrees_with_the_rfcs_own_words(data: bytes) -> None:
    # All zero bytes are the one block that no packet has: there the sum is 0 and not a multiple of 65535 above it.
    if any(data):
        assert checksum(data) == slow_checksum(data)


@given(payloads, endpoints, endpoints, ip_options, st.binary(max_size=20))
def test_a_datagram_is_read_whatever_options_and_padding_it_has(
    payload: bytes, source: Address, destination: Address, options: bytes, padding: bytes
) -> None:
    packet = udp_packet(payload, source, destination, options=options) + padding
    assert parse_udp(packet) == UdpPacket(source, destination, payload)


def test_bytes_behind_the_udp_length_are_no_payload() -> None:
    packet = ip_packet(pack("!HHHH", 5060, 5060, 11, 0) + b"abcdef")
    parsed = parse_udp(packet)
    assert isinstance(parsed, UdpPacket)
    assert parsed.payload == b"abc"


WHOLE = udp_packet(b"OPTIONS", options=b"\x01" * 4)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", TRUNCATED),
        (WHOLE[:19], TRUNCATED),
        (WHOLE[:-1], TRUNCATED),
        (with_bytes(WHOLE, 0, b"\x75"), NOT_IP),
        (with_bytes(WHOLE, 0, b"\x44"), BAD_LENGTH),
        (with_bytes(WHOLE, 2, b"\x00\x1f"), BAD_LENGTH),
        (with_bytes(WHOLE, 28, b"\x00\x07"), BAD_LENGTH),
        (with_bytes(WHOLE, 28, b"\x00\x10"), BAD_LENGTH),
        (tcp_packet(b"OPTIONS"), NOT_UDP),
        (udp_packet(b"first", fragment=0x2000), FRAGMENT),
        (udp_packet(b"last", fragment=1), FRAGMENT),
    ],
)
def test_what_is_no_whole_datagram_is_told_why(packet: bytes, reason: str) -> None:
    assert parse_udp(packet) == reason


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\x46\x00\x00\x20" + tail))
def test_no_bytes_make_the_readers_raise(packet: bytes) -> None:
    assert isinstance(parse_udp(packet), (UdpPacket, str))
    assert len(fill_checksums(packet)) == len(packet)
    assert len(replace_addresses(packet, ROUTER, SERVER)) == len(packet)
    found = addresses(packet)
    assert found is None or 0 <= found[0] <= 255
    assert checksums_right(packet) in (False, True)


@given(st.integers(0, 34), st.integers(0, 255), st.integers(0, 40))
def test_no_damage_to_a_datagram_makes_the_readers_raise(position: int, value: int, cut: int) -> None:
    packet = with_bytes(WHOLE, position, bytes([value]))[:cut]
    assert isinstance(parse_udp(packet), (UdpPacket, str))
    assert len(replace_addresses(packet, ROUTER, SERVER)) == len(packet)
    assert len(fill_checksums(packet)) == len(packet)
    assert checksums_right(packet) in (False, True)


# Another payload


@given(payloads, payloads, endpoints, endpoints, ip_options)
def test_another_payload_in_the_same_packet(
    before: bytes, after: bytes, source: Address, destination: Address, options: bytes
) -> None:
    packet = udp_packet(before, source, destination, options=options, packet_id=7)
    assert replace_payload(packet, after) == udp_packet(after, source, destination, options=options, packet_id=7)


def test_the_same_payload_gives_the_same_packet() -> None:
    packet = udp_packet(b"REGISTER", fragment=0x4000)
    assert replace_payload(packet, b"REGISTER") == packet


@given(payloads)
def test_no_checksum_stays_none(payload: bytes) -> None:
    packet = udp_packet(b"x", unchecked=True)
    assert replace_payload(packet, payload) == udp_packet(payload, unchecked=True)


def test_a_checksum_that_comes_out_as_zero_is_sent_as_all_ones() -> None:
    packet = udp_packet(b"ab")
    ends = host_bytes(PHONE[0]) + host_bytes(SERVER[0])
    rest = slow_checksum(ends + pack("!HHHHH", UDP, 10, PHONE[1], SERVER[1], 10))
    replaced = replace_payload(packet, pack("!H", rest))
    assert replaced[26:28] == b"\xff\xff"
    assert checksums_right(replaced)


def test_a_packet_that_grows_past_the_mtu_may_be_fragmented() -> None:
    packet = udp_packet(b"x" * 1472, fragment=0x4000)
    assert len(packet) == 1500
    grown = replace_payload(packet, b"y" * 1473, identification=0xBEEF)
    assert grown == udp_packet(b"y" * 1473, packet_id=0xBEEF)


def test_a_fragmentable_packet_that_grows_past_the_mtu_keeps_its_id() -> None:
    packet = udp_packet(b"x" * 1472, packet_id=9)
    assert replace_payload(packet, b"y" * 1473, identification=1) == udp_packet(b"y" * 1473, packet_id=9)


@pytest.mark.parametrize(("before", "after", "mtu"), [(1471, 1472, 1500), (2000, 1900, 1500), (2000, 2001, 9000)])
def test_df_stays_where_the_path_held_it(before: int, after: int, mtu: int) -> None:
    packet = udp_packet(b"x" * before, fragment=0x4000)
    assert replace_payload(packet, b"y" * after, mtu, 5) == udp_packet(b"y" * after, fragment=0x4000)


def test_a_payload_that_no_packet_can_hold_is_refused() -> None:
    assert len(replace_payload(WHOLE, b"x" * (65535 - 32))) == 65535
    with pytest.raises(ValueError, match="65504 bytes"):
        replace_payload(WHOLE, b"x" * (65535 - 31))


# Other addresses


@given(payloads, endpoints, endpoints, endpoints, ip_options)
def test_nat_of_a_datagram(payload: bytes, before: Address, after: Address, far: Address, options: bytes) -> None:
    outbound = udp_packet(payload, before, far, options=options)
    assert replace_addresses(outbound, source=after) == udp_packet(payload, after, far, options=options)
    inbound = udp_packet(payload, far, before, options=options)
    assert replace_addresses(inbound, destination=after) == udp_packet(payload, far, after, options=options)


@given(payloads, endpoints, endpoints)
def test_nat_of_a_tcp_segment(payload: bytes, before: Address, after: Address) -> None:
    packet = replace_addresses(tcp_packet(payload, before, SERVER), after, SERVER)
    assert packet == tcp_packet(payload, after, SERVER)
    assert checksums_right(packet)


def test_nat_leaves_no_checksum_none() -> None:
    packet = replace_addresses(udp_packet(b"x", unchecked=True), source=ROUTER)
    assert packet == udp_packet(b"x", ROUTER, unchecked=True)


def test_nat_of_what_has_no_ports_changes_the_hosts() -> None:
    packet = replace_addresses(icmp_packet(), source=ROUTER)
    assert addresses(packet) == (ICMP, (ROUTER[0], 0), (SERVER[0], 0))
    assert packet[20:] == icmp_packet()[20:]
    assert checksums_right(packet)


def test_nat_of_fragments_touches_ports_in_the_first_only() -> None:
    first = replace_addresses(udp_packet(b"first", fragment=0x2000), source=ROUTER)
    assert first == udp_packet(b"first", ROUTER, fragment=0x2000)
    later = replace_addresses(ip_packet(b"12345678later", fragment=1), source=ROUTER)
    assert later == ip_packet(b"12345678later", ROUTER[0], fragment=1)


def test_nat_keeps_a_wrong_checksum_wrong() -> None:
    packet = with_bytes(udp_packet(b"x"), 28, b"y")
    assert not checksums_right(replace_addresses(packet, source=ROUTER))


def test_nat_of_a_cut_packet_changes_the_hosts() -> None:
    cut = replace_addresses(udp_packet(b"x")[:26], source=ROUTER)
    assert addresses(cut) == (UDP, (ROUTER[0], PHONE[1]), SERVER)


def test_nat_of_other_bytes_changes_nothing() -> None:
    assert replace_addresses(b"\x60" + bytes(60), source=ROUTER) == b"\x60" + bytes(60)


# Addresses, checksums


def test_addresses_of_packets() -> None:
    assert addresses(udp_packet(b"")) == (UDP, PHONE, SERVER)
    assert addresses(tcp_packet(b"")) == (TCP, PHONE, SERVER)
    assert addresses(ip_packet(b"12345678", fragment=1)) == (UDP, (PHONE[0], 0), (SERVER[0], 0))
    assert addresses(ip_packet(b"123")) == (UDP, (PHONE[0], 0), (SERVER[0], 0))
    assert addresses(b"\x45") is None
    assert addresses(b"\x60" + bytes(39)) is None
    assert addresses(b"\x44" + bytes(39)) is None
    assert addresses(b"\x4f" + bytes(39)) is None


@given(payloads, endpoints, endpoints, ip_options, st.binary(max_size=4))
def test_checksums_are_filled_as_a_slow_reader_would(
    payload: bytes, source: Address, destination: Address, options: bytes, padding: bytes
) -> None:
    right = udp_packet(payload, source, destination, options=options)
    start = 20 + len(options) + 6
    wrong = with_bytes(with_bytes(right, 10, b"\x12\x34"), start, b"\0\0")
    assert checksums_right(right + padding)
    assert not checksums_right(wrong + padding)
    assert fill_checksums(wrong + padding) == right + padding


@pytest.mark.parametrize(
    "packet", [icmp_packet(), icmp_packet(b"\x08\x00\x00\x00odd"), tcp_packet(b"x"), tcp_packet(b"")]
)
def test_a_flipped_bit_is_seen(packet: bytes) -> None:
    assert checksums_right(packet)
    for position in (8, len(packet) - 1):
        assert not checksums_right(with_bytes(packet, position, bytes([packet[position] ^ 1])))


def test_checksums_of_fragments_other_protocols_and_stubs() -> None:
    fragment = ip_packet(b"12345678later", fragment=1)
    assert checksums_right(fragment)
    assert fill_checksums(fragment) == fragment
    gre = ip_packet(b"12345678", protocol=47)
    assert checksums_right(gre)
    assert fill_checksums(with_bytes(gre, 10, b"\0\0")) == gre
    stub = ip_packet(b"1234567")
    assert fill_checksums(stub) == stub
    assert checksums_right(udp_packet(b"x", unchecked=True))
    for other in (b"", b"\x60" + bytes(60), WHOLE[:-1], with_bytes(WHOLE, 2, b"\x00\x13")):
        assert not checksums_right(other)
        assert fill_checksums(other) == other
