"""IP literals and ports in text, against the standard library's reading of the same text."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.address import (
    HOST,
    HOSTS,
    SDP_HOSTS,
    authority,
    in_networks,
    ipv6_reference,
    is_ipv4,
    is_literal,
    is_reference,
    is_unspecified,
    literal,
    reference,
)

ZERO = b"0.0.0.0"
LAN = (IPv4Network("192.168.33.0/24"), IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8:1::/64"))


@given(st.integers(0, 2**32 - 1))
def test_every_address_is_one(number: int) -> None:
    assert is_ipv4(str(IPv4Address(number)).encode())


@given(st.one_of(st.text(alphabet="0123456789.", max_size=16), st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){2,4}\n?")))
def test_only_canonical_text_is_an_address(text: str) -> None:
    try:
        canonical = str(IPv4Address(text)) == text
    except AddressValueError:
        canonical = False
    assert is_ipv4(text.encode()) == canonical


@pytest.mark.parametrize(
    "host", [b"", b"1.2.3", b"1.2.3.4.5", b"01.2.3.4", b"256.1.1.1", b" 1.2.3.4", b"1.2.3.4\n", b"a"]
)
def test_what_is_no_address(host: bytes) -> None:
    assert not is_ipv4(host)


def test_unspecified_in_both_families() -> None:
    assert is_unspecified(ZERO)
    assert is_unspecified(b"::")
    assert is_unspecified(b"[::]")
    assert not is_unspecified(b"192.168.33.10")
    assert not is_unspecified(b"")


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("192.168.33.10", True),
        ("10.255.255.255", True),
        ("192.168.34.1", False),
        ("phone.lan", False),
        ("::1", False),
        ("", False),
        ("１92.168.33.10", False),
        ("192.168.033.10", False),
        ("2001:db8:1::10", True),
        ("2001:db8:2::10", False),
        ("2001:db8:::10", False),
    ],
)
def test_in_networks(host: str, inside: bool) -> None:
    assert in_networks(host, LAN) is inside


def test_in_no_network_at_all() -> None:
    assert not in_networks("192.168.33.10", ())


@pytest.mark.parametrize(
    ("port", "with_port", "text"),
    [(5060, False, b"h"), (5060, True, b"h:5060"), (1024, False, b"h:1024"), (1024, True, b"h:1024")],
)
def test_authority(port: int, with_port: bool, text: bytes) -> None:
    assert authority(b"h", port, with_port=with_port, default_port=5060) == text


@pytest.mark.parametrize(
    "host", [b"a.example", b"1.2.3.4", b"[2001:db8::1]", b"[::ffff:192.0.2.1]", b"under_score", b"a-b."]
)
def test_what_may_stand_for_a_host(host: bytes) -> None:
    assert re.fullmatch(HOST, host)


@pytest.mark.parametrize(
    "host", [b"", b"[]", b"2001:db8::1", b"[2001:db8::g]", b"a b", b"a:1", b"[::1", b"\xff", b"a\0"]
)
def test_what_may_not(host: bytes) -> None:
    assert not re.fullmatch(HOST, host)


@given(st.integers(0, 2**128 - 1))
def test_an_ipv6_address_is_one_however_it_is_written(number: int) -> None:
    address = IPv6Address(number)
    canonical = f"[{address.compressed}]".encode()
    for text in (address.compressed, address.exploded, address.exploded.upper()):
        assert ipv6_reference(text.encode()) == ipv6_reference(f"[{text}]".encode()) == canonical
        assert HOSTS[f"[{text}]".encode()] == SDP_HOSTS[text.encode()] == canonical
    assert reference(address.compressed) == canonical
    assert literal(canonical) == address.compressed
    assert is_reference(canonical)
    assert is_literal(address.compressed)


def test_an_address_that_holds_an_ipv4_one() -> None:
    assert HOSTS[b"[2001:db8::192.0.2.1]"] == b"[2001:db8::c000:201]"


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"[::1", b"::1]", b"2001:db8:::1", b"[2001:db8:::192.0.2.1]", b"1.2.3.4", b"fe80::1%1", b"\xff::1"],
)
def test_what_is_no_ipv6_address(text: bytes) -> None:
    assert ipv6_reference(text) == b""


def test_all_other_hosts_stay_as_they_are() -> None:
    for host in (b"1.2.3.4", b"phone.lan", b"[2001:db8:::1]", b""):
        assert HOSTS[host] == host
    for host in (b"1.2.3.4", b"phone.lan", b"[2001:db8::1]", b"1:2"):
        assert SDP_HOSTS[host] == host
    assert reference("1.2.3.4") == b"1.2.3.4"
    assert literal(b"1.2.3.4") == "1.2.3.4"
    assert is_literal("1.2.3.4")
    for text in ("phone.lan", "2001:DB8::1", "2001:db8:::1", "１.2.3.4", ""):
        assert not is_literal(text)
