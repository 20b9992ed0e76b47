from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from sipalg.engine.outside import advertised, advertised_for, nat_host, shares_address, space
from sipalg.engine.settings import Ipv6, Settings

PREFIXES = (
    (IPv6Network("fd00:1::/64"), IPv6Network("2001:db8:1::/64")),
    (IPv6Network("fd00:2::/56"), IPv6Network("2001:db8:2::/56")),
)
P4, P6, N4, N6, OTHER6 = "192.168.33.10", "fd00:9::10", "203.0.113.1", "2001:db8::1", "2001:db8::2"


def settings(ipv6: Ipv6 | None) -> Settings:
    return Settings(frozenset(("lan0",)), N4, "198.51.100.1", ipv6=ipv6)


def test_ipv4_has_one_address_for_all() -> None:
    for ipv6 in (None, Ipv6(), Ipv6(N6, N6)):
        assert nat_host(settings(ipv6), P4) == N4
        assert advertised_for(settings(ipv6), P4.encode()) == b"198.51.100.1"
        assert space(settings(ipv6), N4) == b""
        assert shares_address(settings(ipv6), P4)


@pytest.mark.parametrize(
    ("ipv6", "host", "named", "shared"),
    [
        (None, "", b"198.51.100.1", False),
        (Ipv6(), P6, b"[fd00:9::10]", False),
        (Ipv6(N6, N6), N6, b"[2001:db8::1]", True),
        (Ipv6(N6, OTHER6), N6, b"[2001:db8::2]", True),
        (Ipv6(N6, N6, prefixes=PREFIXES), N6, b"[2001:db8::1]", True),
        (Ipv6(N6, N6, (IPv6Network("fd00:9::/64"),)), N6, b"[2001:db8::1]", True),
        (Ipv6(N6, N6, (IPv6Network("fd00:8::/64"),)), P6, b"[fd00:9::10]", False),
        (Ipv6(prefixes=PREFIXES), P6, b"[fd00:9::10]", False),
    ],
)
def test_ipv6_leaves_as_it_is_or_by_one_address(ipv6: Ipv6 | None, host: str, named: bytes, shared: bool) -> None:
    assert nat_host(settings(ipv6), P6) == host
    assert shares_address(settings(ipv6), P6) is shared
    if ipv6 is not None:
        assert advertised_for(settings(ipv6), b"[fd00:9::10]") == named
        assert space(settings(ipv6), host) == named


def test_a_prefix_keeps_the_rest_of_the_address() -> None:
    ipv6 = settings(Ipv6(prefixes=PREFIXES))
    assert nat_host(ipv6, "fd00:1::a:0:b:c") == "2001:db8:1:0:a:0:b:c"
    assert nat_host(ipv6, "fd00:2:0:ff::1") == "2001:db8:2:ff::1"
    assert not shares_address(ipv6, "fd00:1::1")


def test_what_is_no_address_of_ours_is_named_as_it_is() -> None:
    assert advertised(settings(None), OTHER6) == b"[2001:db8::2]"
