from __future__ import annotations

import contextlib
from argparse import ArgumentTypeError
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture import arguments
from sipalg.engine.verdict import Endpoint


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (arguments.address, "203.0.113.1", "203.0.113.1"),
        (arguments.network, "192.168.20.0/24", IPv4Network("192.168.20.0/24")),
        (arguments.network, "192.168.20.7", IPv4Network("192.168.20.7/32")),
        (arguments.port, "1", 1),
        (arguments.port, "65535", 65535),
        (arguments.endpoint, "203.0.113.1:5060", Endpoint("203.0.113.1", 5060)),
        (arguments.endpoint_or_address, "203.0.113.1", Endpoint("203.0.113.1", 0)),
        (arguments.endpoint_or_address, "203.0.113.1:9", Endpoint("203.0.113.1", 9)),
        (arguments.ports, "5060, 5061", (5060, 5061)),
        (arguments.port_range, "1024-65535", (1024, 65535)),
        (arguments.port_range, "1025-1027", (1025, 1027)),
    ],
)
def test_right_texts_become_values(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "complaint"),
    [
        (arguments.address, "203.0.113", "no IPv4 address"),
        (arguments.address, "2001:db8::1", "no IPv4 address"),
        (arguments.address, "203.0.113.01", "no IPv4 address"),
        (arguments.network, "192.168.20.0/33", "no IPv4 network"),
        (arguments.network, "192.168.20.7/24", "192.168.20.0/24"),
        (arguments.network, "inside", "no IPv4 network"),
        (arguments.port, "0", "from 1 to 65535"),
        (arguments.port, "65536", "from 1 to 65535"),
        (arguments.port, "-1", "from 1 to 65535"),
        (arguments.port, "٥", "from 1 to 65535"),
        (arguments.endpoint, "203.0.113.1", "with a port"),
        (arguments.endpoint, "phone.lan:5060", "with a port"),
        (arguments.endpoint, "203.0.113.1:", "no port"),
        (arguments.ports, "", "no port"),
        (arguments.ports, "5060,5060", "twice"),
        (arguments.ports, "5060-5070", "ranges aren't taken"),
        (arguments.ports, "1,2,3,4,5,6,7,8,9", "up to 8"),
        (arguments.yes_or_no, "maybe", "neither yes nor no"),
        (arguments.port_range, "16384", "no range"),
        (arguments.port_range, "1000-2000", "below 1024"),
        (arguments.port_range, "3000-2000", "begins above its end"),
        (arguments.port_range, "2001-2002", "no even port"),
    ],
)
def test_wrong_texts_are_refused_with_what_would_be_right(
    read: Callable[[str], object], text: str, complaint: str
) -> None:
    with pytest.raises(ArgumentTypeError, match=complaint):
        read(text)


def test_yes_and_no_in_routeros_words() -> None:
    assert [arguments.yes_or_no(text) for text in ("yes", "true", "no", "false")] == [True, True, False, False]


@pytest.mark.parametrize(("text", "seconds"), [("01:00:00", 3600), ("1d2h", 93600), (" 90M ", 5400), ("3600", 3600)])
def test_times_in_routeros_words(text: str, seconds: int) -> None:
    assert arguments.duration(text) == seconds


@pytest.mark.parametrize(("text", "complaint"), [("soon", "is no time; examples"), ("9", "is out of range")])
def test_what_is_no_time(text: str, complaint: str) -> None:
    with pytest.raises(ArgumentTypeError, match=complaint):
        arguments.duration(text)


READERS = [
    arguments.yes_or_no,
    arguments.address,
    arguments.network,
    arguments.port,
    arguments.endpoint,
    arguments.endpoint_or_address,
    arguments.ports,
    arguments.port_range,
    arguments.duration,
]


@given(st.sampled_from(READERS), st.text(max_size=20))
def test_readers_raise_nothing_else(read: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(ArgumentTypeError):
        assert read(text) is not None


def test_an_ipv6_network_is_read_as_an_ipv4_one_is() -> None:
    assert arguments.network6("2001:db8:20::/64") == IPv6Network("2001:db8:20::/64")
    with pytest.raises(ArgumentTypeError, match="host bits set; the network would be 2001:db8::/64"):
        arguments.network6("2001:db8::1/64")
    with pytest.raises(ArgumentTypeError, match="'2001:db8' is no IPv6 network; an example: 2001"):
        arguments.network6("2001:db8")
