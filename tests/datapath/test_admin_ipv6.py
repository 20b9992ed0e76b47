"""What the administrator's rules do to IPv6, from rule sets as nft 1.0.6 and ip6tables-save 1.8.9 print them."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Any

import pytest

from sipalg.datapath.admin_ipv6 import AS_IT_IS, Ipv6Nat, read_ipv6_nat

UNCERTAIN = Ipv6Nat(unevaluable=("table ip6tables nat chain POSTROUTING",))
ULA, GUA = IPv6Network("fd00:1::/64"), IPv6Network("2001:db8:1::/64")
MASQUERADE = {"masquerade": None}
OUT = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "wan0"}}


def prefix(network: IPv6Network) -> dict[str, Any]:
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def match(protocol: str, field: str, right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def meta(key: str, right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


FROM_ULA = match("ip6", "saddr", prefix(ULA))
TO_PREFIX = {"snat": {"addr": prefix(GUA), "flags": "netmap", "type_flags": "prefix"}}
BY_MAP = {
    "snat": {
        "family": "ip6",
        "addr": {
            "map": {
                "key": {"payload": {"protocol": "ip6", "field": "saddr"}},
                "data": {"set": [[prefix(ULA), prefix(GUA)]]},
            }
        },
        "flags": "netmap",
        "type_flags": "prefix",
    }
}


def ruleset(*rules: list[Any], family: str = "ip6", table: str = "nat", hook: str = "postrouting") -> dict[str, Any]:
    base = {"family": family, "table": table, "name": "post", "type": "nat", "hook": hook, "prio": 100}
    return {
        "nftables": [
            {"metainfo": {}},
            {"chain": base},
            {"chain": {"family": family, "table": table, "name": "more"}},
            *({"rule": {"family": family, "table": table, "chain": "post", "expr": rule}} for rule in rules),
        ]
    }


def read(*rules: list[Any], **where: str) -> Ipv6Nat:
    return read_ipv6_nat(ruleset(*rules, **where), "wan0", "sipalg")


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([], AS_IT_IS),
        ([[MASQUERADE]], Ipv6Nat("")),
        ([[OUT, {"counter": {}}, MASQUERADE]], Ipv6Nat("")),
        ([[meta("oifname", {"set": ["wan1", "wan*"]}), MASQUERADE]], Ipv6Nat("")),
        ([[meta("oifname", "lan0", "!="), MASQUERADE]], Ipv6Nat("")),
        ([[meta("oif", "wan1"), MASQUERADE]], AS_IT_IS),
        ([[meta("oifname", "wan0", "!="), MASQUERADE]], AS_IT_IS),
        ([[OUT, {"snat": {"addr": "2001:db8::7"}}]], Ipv6Nat("2001:db8::7")),
        ([[OUT, FROM_ULA, MASQUERADE]], Ipv6Nat("", (ULA,))),
        ([[OUT, FROM_ULA, MASQUERADE], [match("ip6", "saddr", str(GUA)), MASQUERADE]], Ipv6Nat("", (ULA, GUA))),
        # What a packet meets first counts.
        ([[OUT, MASQUERADE], [{"snat": {"addr": "2001:db8::7"}}]], Ipv6Nat("")),
        ([[FROM_ULA, MASQUERADE], [{"snat": {"addr": "2001:db8::7"}}]], Ipv6Nat("", (ULA,))),
        # IPv4's rules in a table of both.
        ([[meta("nfproto", "ipv4"), MASQUERADE]], AS_IT_IS),
        ([[match("ip", "saddr", "10.0.0.0/8"), MASQUERADE]], AS_IT_IS),
        ([[meta("nfproto", "ipv6"), MASQUERADE]], Ipv6Nat("")),
        # Prefixes.
        ([[OUT, BY_MAP]], Ipv6Nat(prefixes=((ULA, GUA),))),
        ([[OUT, FROM_ULA, TO_PREFIX], [OUT, MASQUERADE]], Ipv6Nat("", prefixes=((ULA, GUA),))),
        # What isn't known here.
        ([[match("udp", "dport", 53), MASQUERADE]], Ipv6Nat(unevaluable=("table ip6 nat chain post",))),
        ([[match("ip6", "saddr", "@guests"), MASQUERADE]], Ipv6Nat(unevaluable=("table ip6 nat chain post",))),
        ([[OUT, TO_PREFIX]], Ipv6Nat(unevaluable=("table ip6 nat chain post",))),
        ([[OUT, {"snat": {"addr": {"map": "@other"}}}]] * 2, Ipv6Nat(unevaluable=("table ip6 nat chain post",))),
        ([[OUT, {"snat": None}]], Ipv6Nat(unevaluable=("table ip6 nat chain post",))),
        ([["odd", {"match": "odd"}, {"accept": None}]], AS_IT_IS),
    ],
)
def test_rules_of_nft(rules: list[list[Any]], found: Ipv6Nat) -> None:
    assert read(*rules) == found


def test_chains_are_followed_and_ours_is_left_out() -> None:
    document = ruleset([OUT, {"jump": {"target": "more"}}], family="inet", table="fw4")
    more = {"family": "inet", "table": "fw4", "chain": "more", "expr": [meta("nfproto", "ipv6"), MASQUERADE]}
    document["nftables"].append({"rule": more})
    assert read_ipv6_nat(document, "wan0", "sipalg") == Ipv6Nat("")
    assert read_ipv6_nat(document, "wan1", "sipalg") == AS_IT_IS
    assert read_ipv6_nat(document, "wan0", "fw4") == AS_IT_IS
    more["expr"] = [{"goto": {"target": "more"}}]
    assert read_ipv6_nat(document, "wan0", "sipalg") == AS_IT_IS


def test_other_chains_do_not_count() -> None:
    assert read([MASQUERADE], hook="prerouting") == AS_IT_IS
    assert read([MASQUERADE], family="ip") == AS_IT_IS
    assert read_ipv6_nat(None, "wan0", "sipalg") == AS_IT_IS
    odd: Any = {"nftables": [1, {"rule": 1}, {"rule": {"family": "ip6", "table": "nat", "chain": "post"}}]}
    assert read_ipv6_nat(odd, "wan0", "sipalg") == AS_IT_IS


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("-A POSTROUTING -o wan0 -j MASQUERADE", Ipv6Nat("")),
        ("-A POSTROUTING -o wan+ -j MASQUERADE", Ipv6Nat("")),
        ("-A POSTROUTING -o wan1 -j MASQUERADE", AS_IT_IS),
        ("-A POSTROUTING -s fd00:1::/64 -j SNAT --to-source 2001:db8::7", Ipv6Nat("2001:db8::7", (ULA,))),
        ("-A POSTROUTING -s fd00:1::/64 -j NETMAP --to 2001:db8:1::/64", Ipv6Nat(prefixes=((ULA, GUA),))),
        ("-A POSTROUTING -j NETMAP --to 2001:db8:1::/64", UNCERTAIN),
        ("-A POSTROUTING -p udp -j MASQUERADE", UNCERTAIN),
        ("-A POSTROUTING -o wan0 -j ACCEPT", AS_IT_IS),
        ("-A PREROUTING -j MASQUERADE", AS_IT_IS),
        (":POSTROUTING ACCEPT [0:0]", AS_IT_IS),
    ],
)
def test_rules_of_ip6tables(line: str, found: Ipv6Nat) -> None:
    assert read_ipv6_nat({"nftables": []}, "wan0", "sipalg", f"*nat\n{line}\nCOMMIT\n") == found
