"""Which address SIP leaves by, given addresses, `public` and the administrator's rules."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from sipalg.datapath import addresses
from sipalg.datapath.addresses import Address, Interface
from sipalg.datapath.admin_conclusions import AdminRules, SourceNat
from sipalg.datapath.admin_ipv6 import Ipv6Nat
from sipalg.datapath.nat_address import NatAddress, choose, choose_ipv6, find, find_ipv6, in_words
from sipalg.engine.settings import Ipv6

FIRST, SECOND, ROUTED = "203.0.113.1", "203.0.113.2", "198.51.100.1"
OUTSIDE = [Address(1, FIRST, 24, False, 0), Address(1, SECOND, 24, True, 0)]
INSIDE = [IPv4Network("192.168.20.0/24")]


def to(host: str | None, *sources: str, always: bool | None = None) -> SourceNat:
    networks = tuple(IPv4Network(source) for source in sources)
    return SourceNat(host, networks, not sources if always is None else always, f"to {host} from {sources}")


@pytest.mark.parametrize(
    ("rules", "chosen", "others"),
    [
        ([], FIRST, []),
        ([to("")], FIRST, []),
        ([to(FIRST)], FIRST, []),
        ([to(SECOND)], SECOND, []),
        # The administrator's rules win, whoever has the address.
        ([to(ROUTED)], ROUTED, []),
        # All that may translate agree.
        ([to(SECOND, "192.168.20.0/24")], SECOND, []),
        ([to(SECOND, "192.168.20.0/25"), to(SECOND, "192.168.20.128/25")], SECOND, []),
        ([to(FIRST, "192.168.20.0/25"), to("")], FIRST, []),
        # Containers have an address of their own.
        ([to("", "172.17.0.0/16"), to(SECOND)], SECOND, []),
        # Phones are behind other routers of the inside.
        ([to(SECOND, "10.0.0.0/8")], SECOND, []),
        # Some leave by another.
        ([to(SECOND, "192.168.20.5/32"), to("")], FIRST, [0]),
        ([to("", "192.168.20.5/32"), to(SECOND)], SECOND, [0]),
        ([to(SECOND, always=False), to("", always=False)], FIRST, [0]),
        ([to(None)], FIRST, [0]),
        ([to(None, "192.168.20.5/32"), to(SECOND)], SECOND, [0]),
    ],
)
def test_what_the_rules_make_it(rules: list[SourceNat], chosen: str, others: list[int]) -> None:
    assert choose(OUTSIDE, INSIDE, None, rules) == NatAddress(chosen, tuple(rules[number] for number in others))


def test_public_is_the_address_where_the_outside_has_it() -> None:
    assert choose(OUTSIDE, INSIDE, SECOND, [to(FIRST)]) == NatAddress(SECOND)
    # Else another router is ahead, which has it.
    assert choose(OUTSIDE, INSIDE, "192.0.2.1", [to(SECOND)]) == NatAddress(SECOND)


def test_without_an_address_there_is_none() -> None:
    assert choose([], INSIDE, SECOND, [to(SECOND)]) == NatAddress("")


def test_it_is_found_among_the_router_s_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {1: "wan0", 2: "lan0", 3: "docker0"}
    known = {number: Interface(number, name, True, 1500) for number, name in names.items()}
    own = [*OUTSIDE, Address(2, "192.168.20.1", 24, False, 0), Address(3, "172.17.0.1", 16, False, 0)]
    monkeypatch.setattr(addresses, "interfaces", lambda: known)
    monkeypatch.setattr(addresses, "addresses", lambda: own)
    rules = AdminRules(source_nats=(to("", "172.17.0.0/16"), to(SECOND, "192.168.20.0/24")))
    assert find("wan0", ["lan0"], None, rules) == NatAddress(SECOND)
    assert find("wan0", ["lan0", "docker0"], None, rules).host == FIRST
    assert find("wan0", ["lan0"], None, None) == NatAddress(FIRST)
    assert find("ppp0", ["lan0"], None, rules) == NatAddress("")


def test_another_address_is_told_with_its_rule_and_ours() -> None:
    rules = (to(SECOND), to(None), to(""))
    lines = list(in_words("wan0", NatAddress(ROUTED, rules)))
    assert [line.partition(", but SIP and media leave from ")[0] for line in lines] == [
        f"{rules[0].where}: translates to {SECOND}",
        f"{rules[1].where}: translates to an address that depends on the packet",
        f"{rules[2].where}: translates to wan0's first address",
    ]
    assert all(ROUTED in line and "--public" in line for line in lines)


# IPv6

OWN6, OTHER6 = "2001:db8::1", "2001:db8::2"
OUTSIDE6 = [Address(1, "fe80::1", 64, False, 253), Address(1, OWN6, 64, False, 0), Address(1, OTHER6, 64, True, 0)]
ULA = IPv6Network("fd00::/64")
PREFIXES = ((ULA, IPv6Network("2001:db8:1::/64")),)


@pytest.mark.parametrize(
    ("rules", "public", "chosen"),
    [
        (Ipv6Nat(), None, Ipv6()),
        (Ipv6Nat(), OTHER6, Ipv6()),
        (Ipv6Nat(prefixes=PREFIXES), None, Ipv6(prefixes=PREFIXES)),
        (Ipv6Nat(""), None, Ipv6(OWN6, OWN6)),
        (Ipv6Nat("", (ULA,), PREFIXES), None, Ipv6(OWN6, OWN6, (ULA,), PREFIXES)),
        (Ipv6Nat("2001:db8::7"), None, Ipv6("2001:db8::7", "2001:db8::7")),
        (Ipv6Nat(""), OTHER6, Ipv6(OTHER6, OTHER6)),
        (Ipv6Nat(""), "2001:db8:9::9", Ipv6(OWN6, "2001:db8:9::9")),
    ],
)
def test_how_ipv6_leaves(rules: Ipv6Nat, public: str | None, chosen: Ipv6) -> None:
    assert choose_ipv6(OUTSIDE6, public, rules) == chosen


def test_an_address_that_isnt_there_yet_is_waited_for() -> None:
    assert choose_ipv6([], None, Ipv6Nat("")) is None
    assert choose_ipv6([], None, Ipv6Nat()) == Ipv6()


def test_ipv6_is_served_where_it_is_forwarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "interfaces", lambda: {1: Interface(1, "wan0", True, 1500)})
    monkeypatch.setattr(addresses, "addresses", lambda _family: OUTSIDE6)
    switch = tmp_path / "forwarding"
    rules = AdminRules(ipv6=Ipv6Nat(""))
    assert find_ipv6("wan0", None, rules, switch) is None
    switch.write_text("0\n")
    assert find_ipv6("wan0", None, rules, switch) is None
    switch.write_text("1\n")
    assert find_ipv6("wan0", None, rules, switch) == Ipv6(OWN6, OWN6)
    assert find_ipv6("wan1", None, rules, switch) is None
    assert find_ipv6("wan0", None, None, switch) == Ipv6()
