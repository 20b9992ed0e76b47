"""The administrator's rules, as nft shows them, and what they mean for us."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Network

from sipalg.datapath.admin_conclusions import AdminRules, Exemption, PortForward, TakenPorts
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.admin_rules import evaluate
from sipalg.engine.verdict import TCP, UDP, Endpoint

WAN = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "wan0"}}
LAN = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lan0"}}
TO_WAN = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "wan0"}}
DNAT_STATUS = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
MASQUERADE = {"masquerade": None}
ACCEPT = {"accept": None}
WHERE = "table ip t chain pre handle 7"
PBX = "192.168.20.5"


def payload(protocol: str, field: str, right: object, operator: str = "==") -> dict[str, object]:
    return {"match": {"op": operator, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def prefix(address: str, length: int) -> dict[str, object]:
    return {"prefix": {"addr": address, "len": length}}


def chain(name: str, hook: str = "", kind: str = "nat", policy: str = "accept") -> dict[str, object]:
    body: dict[str, object] = {"family": "ip", "table": "t", "name": name, "handle": 1}
    if hook:
        body |= {"type": kind, "hook": hook, "prio": 0, "policy": policy}
    return {"chain": body}


def rule(chain_name: str, *expressions: object, table: str = "t") -> dict[str, object]:
    return {"rule": {"family": "ip", "table": table, "chain": chain_name, "handle": 7, "expr": list(expressions)}}


def read(*items: object) -> AdminRules:
    return evaluate(json.dumps({"nftables": [*items]}), "wan0", ["lan0"], ports=(5060, 5061))


def prerouting(*expressions: object) -> AdminRules:
    return read(chain("pre", "prerouting"), rule("pre", *expressions))


def postrouting(*rules: Iterable[object]) -> AdminRules:
    return read(chain("post", "postrouting"), *(rule("post", *expressions) for expressions in rules))


def forward(*rules: Iterable[object], policy: str = "drop") -> AdminRules:
    return read(chain("fwd", "forward", "filter", policy), *(rule("fwd", *expressions) for expressions in rules))


def test_nothing_there_means_nothing() -> None:
    assert read() == AdminRules()


def test_a_port_forward_of_one_port() -> None:
    rules = prerouting(WAN, payload("udp", "dport", 5070), {"counter": {}}, {"dnat": {"addr": PBX, "port": 5060}})
    assert rules.forwards == (PortForward(UDP, Endpoint("", 5070), Endpoint(PBX, 5060), WHERE),)
    assert rules.taken == (TakenPorts(UDP, (), PortRange(5070, 5070), WHERE),)
    assert rules.unevaluable == ()


def test_a_forward_on_named_addresses_of_both_protocols() -> None:
    both = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["tcp", "udp"]}}}
    rules = prerouting(
        payload("ip", "daddr", "203.0.113.1"), both, payload("th", "dport", 99), {"dnat": {"addr": PBX, "port": 98}}
    )
    assert [(f.protocol, f.public) for f in rules.forwards] == [
        (TCP, Endpoint("203.0.113.1", 99)),
        (UDP, Endpoint("203.0.113.1", 99)),
    ]
    assert rules.taken[0].networks == (IPv4Network("203.0.113.1/32"),)


def test_a_range_keeps_its_ports_and_a_set_is_expanded() -> None:
    ports = {"set": [{"range": [7000, 7002]}, 7005]}
    rules = prerouting(payload("udp", "dport", ports), {"dnat": {"addr": PBX}})
    assert [f.private.port for f in rules.forwards] == [f.public.port for f in rules.forwards]
    assert [f.public.port for f in rules.forwards] == [7000, 7001, 7002, 7005]
    assert [t.ports for t in rules.taken] == [(7000, 7002), (7005, 7005)]


def test_a_range_onto_a_range_is_taken_but_no_forward() -> None:
    rules = prerouting(
        payload("udp", "dport", {"range": [7100, 7110]}), {"dnat": {"addr": PBX, "port": {"range": [7200, 7210]}}}
    )
    assert rules.forwards == ()
    assert [t.ports for t in rules.taken] == [(7100, 7110)]
    assert [u.where for u in rules.unevaluable] == [WHERE]


def test_a_range_onto_itself_keeps_its_ports() -> None:
    both = {"range": [7100, 7101]}
    rules = prerouting(payload("udp", "dport", both), {"dnat": {"addr": PBX, "port": both}})
    assert [(f.public.port, f.private.port) for f in rules.forwards] == [(7100, 7100), (7101, 7101)]
    assert rules.unevaluable == ()


def test_a_whole_host_takes_every_port() -> None:
    rules = prerouting(payload("ip", "daddr", "203.0.113.9"), {"dnat": {"addr": PBX}})
    assert {(t.protocol, t.ports) for t in rules.taken} == {(UDP, (0, 65535)), (TCP, (0, 65535))}
    assert rules.forwards == ()
    assert rules.unevaluable


def test_a_known_port_with_an_unknown_condition_is_taken_and_no_forward() -> None:
    rules = prerouting({"mystery": 1}, payload("udp", "dport", 5070), {"dnat": {"addr": PBX, "port": 5060}})
    assert [t.ports for t in rules.taken] == [(5070, 5070)]
    assert rules.forwards == ()


def test_a_redirect_takes_the_port_and_forwards_to_nobody() -> None:
    rules = prerouting(payload("tcp", "dport", 8080), {"redirect": {"port": 80}})
    assert [(t.protocol, t.ports) for t in rules.taken] == [(TCP, (8080, 8080))]
    assert not rules.forwards
    assert not rules.unevaluable


def test_rules_for_the_inside_only_and_for_other_protocols_dont_count() -> None:
    other = {"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "wan0"}}
    six = payload("ip6", "daddr", "2001:db8::1")
    for condition in (LAN, other, six):
        assert prerouting(condition, payload("udp", "dport", 53), {"dnat": {"addr": PBX}}) == AdminRules()
    named = payload("ip", "daddr", "203.0.113.1")
    hairpin = prerouting(LAN, named, payload("udp", "dport", 53), {"dnat": {"addr": PBX}})
    assert [t.ports for t in hairpin.taken] == [(53, 53)]
    assert hairpin.forwards == ()
    assert hairpin.unevaluable == ()


def test_conditions_of_a_jump_go_with_it() -> None:
    items = [
        chain("pre", "prerouting"),
        chain("sub"),
        rule("pre", LAN, {"jump": {"target": "sub"}}),
        rule("sub", payload("udp", "dport", 77), {"dnat": {"addr": PBX, "port": 77}}),
    ]
    assert read(*items) == AdminRules()
    items[2] = rule("pre", WAN, {"jump": {"target": "sub"}})
    assert [f.public.port for f in read(*items).forwards] == [77]


def test_a_loop_of_jumps_ends() -> None:
    rules = read(chain("pre", "prerouting"), rule("pre", {"jump": {"target": "pre"}}))
    assert rules == AdminRules()


def test_exemptions_stand_before_the_masquerade() -> None:
    ranges = {"set": [prefix("10.1.0.0", 16), "10.2.0.1", {"range": ["10.3.0.0", "10.3.0.3"]}]}
    rules = postrouting([TO_WAN, payload("ip", "daddr", ranges), ACCEPT], [TO_WAN, MASQUERADE])
    assert [str(e.destination) for e in rules.exemptions] == ["10.1.0.0/16", "10.2.0.1/32", "10.3.0.0/30"]
    assert len(rules.source_nat) == 1
    behind = postrouting([TO_WAN, MASQUERADE], [TO_WAN, payload("ip", "daddr", ranges), ACCEPT])
    assert behind.exemptions == ()


def test_a_masquerade_of_all_but_a_network_exempts_it() -> None:
    rules = postrouting([TO_WAN, payload("ip", "daddr", prefix("192.168.0.0", 16), "!="), MASQUERADE])
    assert [str(e.destination) for e in rules.exemptions] == ["192.168.0.0/16"]
    twice = postrouting([payload("ip", "daddr", prefix("192.168.0.0", 16), "!="), MASQUERADE], [MASQUERADE])
    assert twice.exemptions == ()


def test_exemptions_of_some_sources_say_so_and_others_are_left_to_people() -> None:
    source = payload("ip", "saddr", prefix("192.168.20.0", 24))
    net = payload("ip", "daddr", prefix("10.1.0.0", 16))
    rules = postrouting([source, net, {"return": None}], [TO_WAN, {"snat": {"addr": "203.0.113.1"}}])
    where = "table ip t chain post handle 7"
    assert rules.exemptions == (Exemption(IPv4Network("10.1.0.0/16"), (IPv4Network("192.168.20.0/24"),), where),)
    unclear = postrouting([{"mystery": 1}, ACCEPT], [MASQUERADE])
    assert unclear.exemptions == ()
    assert unclear.unevaluable
    by_port = postrouting([net, payload("udp", "dport", 500), ACCEPT], [MASQUERADE])
    assert by_port.exemptions == ()
    from_lan1 = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lan1"}}
    of_one_side = postrouting([from_lan1, net, ACCEPT], [MASQUERADE])
    assert of_one_side.exemptions == ()
    assert of_one_side.unevaluable
    ipsec = {"match": {"op": "==", "left": {"rt": {"key": "ipsec"}}, "right": True}}
    assert postrouting([ipsec, ACCEPT], [MASQUERADE]).unevaluable == ()


def test_an_exemption_in_one_table_that_another_table_doesnt_keep() -> None:
    rules = read(
        chain("one", "postrouting"),
        chain("two", "postrouting"),
        rule("one", payload("ip", "daddr", "10.1.0.1"), ACCEPT),
        rule("one", MASQUERADE),
        rule("two", MASQUERADE),
    )
    assert rules.exemptions == ()
    assert "that another rule translates" in rules.unevaluable[0].what


def test_source_nat_elsewhere_is_none() -> None:
    other = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "wan1"}}
    assert postrouting([other, MASQUERADE]).source_nat == ()


def test_to_which_addresses_phones_are_translated() -> None:
    to_second = {"snat": {"addr": "203.0.113.2"}}
    phones = payload("ip", "saddr", prefix("192.168.20.0", 24))
    found = postrouting([TO_WAN, phones, to_second], [TO_WAN, MASQUERADE], [TO_WAN, to_second]).source_nats
    # What comes after one that always translates is never met.
    assert [(nat.host, nat.sources, nat.always) for nat in found] == [
        ("203.0.113.2", (IPv4Network("192.168.20.0/24"),), False),
        ("", (), True),
    ]
    # Rules for others, or for other ports.
    assert postrouting([TO_WAN, WAN, to_second], [TO_WAN, payload("udp", "dport", 53), to_second]).source_nats == ()
    sip = postrouting([TO_WAN, LAN, payload("udp", "dport", 5060), {"snat": {"addr": {"map": 1}}}]).source_nats
    assert [(nat.host, nat.always) for nat in sip] == [(None, False)]


def test_source_nat_of_the_inside_is_named_as_such() -> None:
    to_lan = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "lan0"}}
    swapped = postrouting([to_lan, MASQUERADE])
    assert (len(swapped.source_nat), len(swapped.inside_source_nat)) == (0, 1)
    everywhere = postrouting([MASQUERADE])
    assert (len(everywhere.source_nat), len(everywhere.inside_source_nat)) == (1, 0)


def test_what_a_forward_chain_lets_in() -> None:
    established = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
    masked = {"match": {"op": "==", "left": {"&": [{"ct": {"key": "status"}}, "dnat"]}, "right": "dnat"}}
    strict = forward([established, ACCEPT], [LAN, ACCEPT])
    assert (strict.forward_policy, strict.dnat_accepted) == ("drop", "no")
    for condition in (DNAT_STATUS, masked):
        assert forward([established, ACCEPT], [WAN, condition, ACCEPT]).dnat_accepted == "yes"
    assert [key[-1] for key in strict.closed_chains] == ["fwd"]
    assert forward(policy="accept").closed_chains == ()
    assert forward(policy="accept").dnat_accepted == "yes"
    assert forward([WAN, {"drop": None}], policy="accept").dnat_accepted == "no"
    assert forward([WAN, {"drop": None}], [DNAT_STATUS, ACCEPT]).dnat_accepted == "no"
    assert forward([{"mystery": 1}, DNAT_STATUS, ACCEPT]).dnat_accepted == "unknown"
    states = {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", ACCEPT]]}}}
    assert forward([states]).dnat_accepted == "no"
    interfaces = {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["lan0", ACCEPT]]}}}
    assert forward([interfaces]).dnat_accepted == "unknown"


def test_the_kernels_helper_and_its_ports() -> None:
    helper = {"ct helper": {"family": "ip", "table": "t", "name": "h", "type": "sip", "protocol": "udp"}}
    rules = read(
        chain("pre", "prerouting", "filter"),
        rule("pre", payload("udp", "dport", {"set": [5060, 5070]}), {"ct helper": "h"}),
        helper,
    )
    assert [h.ports for h in rules.sip_helpers] == [((5060, 5060), (5070, 5070))]
    assert evaluate('{"nftables": []}', "wan0", automatic_helpers=True).sip_helpers[0].ports == ((5060, 5060),)


def test_a_return_ends_only_its_own_chain() -> None:
    ten = payload("ip", "daddr", prefix("10.0.0.0", 8))
    items = [chain("post", "postrouting"), chain("sub"), rule("post", {"jump": {"target": "sub"}})]
    inner = [rule("sub", ten, {"return": None}), rule("sub", MASQUERADE)]
    assert [str(e.destination) for e in read(*items, *inner).exemptions] == ["10.0.0.0/8"]
    assert read(*items, *inner, rule("post", MASQUERADE)).exemptions == ()
    assert read(*items, inner[0], rule("post", MASQUERADE)).exemptions == ()


def test_a_return_or_a_narrow_rule_decides_nothing_for_all_flows() -> None:
    narrow = payload("ip", "saddr", "203.0.113.50")
    assert forward([narrow, ACCEPT]).dnat_accepted == "no"
    assert forward([{"return": None}], [ACCEPT]).dnat_accepted == "no"
    to_lan = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "lan0"}}
    assert forward([to_lan, DNAT_STATUS, ACCEPT]).dnat_accepted == "yes"
    assert forward([TO_WAN, DNAT_STATUS, ACCEPT]).dnat_accepted == "no"
