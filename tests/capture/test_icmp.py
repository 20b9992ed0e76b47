from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture import icmp
from sipalg.codec.datagram import addresses, checksums_right, replace_addresses

P, S, N, R = "192.168.33.10", "203.0.113.50", "203.0.113.1", "198.51.100.1"

Build = Callable[..., bytes]


def test_echo_has_an_identifier(ping: Build) -> None:
    assert icmp.echo_identifier(ping(P, S, 77)) == 77
    assert icmp.echo_identifier(ping(S, P, 78, reply=True)) == 78


def test_other_messages_have_none(unreachable: Build, udp: Build) -> None:
    assert icmp.echo_identifier(unreachable(R, P, udp(f"{P}:1", f"{S}:2"))) is None
    assert icmp.echo_identifier(b"") is None


def test_identifier_is_replaced_with_a_right_checksum(ping: Build) -> None:
    changed = icmp.replace_identifier(ping(P, S, 77), 40000)
    assert icmp.echo_identifier(changed) == 40000
    assert checksums_right(changed)


def test_error_quotes_a_packet(unreachable: Build, udp: Build, ping: Build) -> None:
    about = udp(f"{P}:4000", f"{S}:5000")
    assert icmp.quoted(unreachable(R, P, about)) == (17, (P, 4000), (S, 5000))
    assert icmp.quoted(unreachable(R, P, about[:10])) is None
    assert icmp.quoted(ping(P, S, 1)) is None


def test_quoted_echo_has_its_identifier_for_ports(unreachable: Build, ping: Build) -> None:
    assert icmp.quoted(unreachable(R, P, ping(P, S, 77), 11)) == (1, (P, 77), (S, 77))


@pytest.mark.parametrize("kept_bytes", [28, 36, 100])
def test_quoted_addresses_are_replaced_however_short_the_quotation(
    unreachable: Build, tcp: Build, kept_bytes: int
) -> None:
    about = tcp(f"{N}:4000", f"{S}:5000", b"payload")
    changed = icmp.replace_quoted(unreachable(R, N, about[:kept_bytes]), source=(P, 1024))
    assert icmp.quoted(changed) == (6, (P, 1024), (S, 5000))
    assert checksums_right(changed)
    inner = changed[28:]
    assert inner[10:12] == tcp(f"{P}:1024", f"{S}:5000", b"payload")[10:12], "the quoted IP header's checksum"


def test_quoted_destination_is_replaced(unreachable: Build, udp: Build) -> None:
    changed = icmp.replace_quoted(unreachable(P, S, udp(f"{S}:5000", f"{P}:4000")), destination=(N, 1024))
    assert icmp.quoted(changed) == (17, (S, 5000), (N, 1024))
    assert changed[28:] == udp(f"{S}:5000", f"{N}:1024")


def test_quoted_echo_gets_its_identifier_back(unreachable: Build, ping: Build) -> None:
    changed = icmp.replace_quoted(unreachable(R, N, ping(N, S, 1024), 11), source=(P, 77))
    assert changed[28:] == ping(P, S, 77)
    assert checksums_right(changed)


def test_quoted_later_fragment_has_no_ports_to_replace(
    unreachable: Build, udp: Build, fragmented: Callable[[bytes, int], list[bytes]]
) -> None:
    later = fragmented(udp(f"{N}:4000", f"{S}:5000", bytes(40)), 16)[1]
    changed = icmp.replace_quoted(unreachable(R, N, later), source=(P, 1024))
    assert changed[28:] == replace_addresses(later, (P, 0))
    assert changed[48:] == later[20:]


def test_checksum_stays_right_where_the_capture_cut_the_quotation(unreachable: Build, udp: Build) -> None:
    whole = unreachable(R, N, udp(f"{N}:4000", f"{S}:5000", b"payload!"))
    changed = icmp.replace_quoted(whole[:-8], source=(P, 1024))
    assert checksums_right(changed + whole[-8:])


@given(st.binary(max_size=80), st.sampled_from([0, 3, 8, 11]))
def test_any_bytes_are_survived(body: bytes, kind: int) -> None:
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, 1, 0) + bytes(8) + bytes((kind,)) + body
    if icmp.quoted(packet) is not None:
        changed = icmp.replace_quoted(packet, (P, 1), (S, 2))
        assert len(changed) == len(packet)
        assert addresses(changed[28:]) is not None
    elif icmp.echo_identifier(packet) is not None:
        assert len(icmp.replace_identifier(packet, 5)) == len(packet)
