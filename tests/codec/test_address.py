"""IPv4 literals and ports in text, against the standard library's reading of the same text."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.address import HOST, authority, in_networks, is_ipv4, is_unspecified

ZERO = b"0.0.0.0"
LAN = (IPv4Network("192.168.33.0/24"), IPv4Network("10.0.0.0/8"))


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
