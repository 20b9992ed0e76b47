"""The administrator's rules, as nft and iptables-save print them, and what they mean for us."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath.admin_conclusions import AdminRules, Exemption, PortForward, TakenPorts
from sipalg.datapath.admin_model import FlowTable, PortRange, interface_matches
from sipalg.datapath.admin_rules import AdminRulesError, evaluate, run_program
from sipalg.engine.verdict import TCP, UDP, Endpoint

WAN = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "wan0"}}
LAN = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lan0"}}
TO_WAN = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "wan0"}}
DNAT_STATUS = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
MASQUERADE = {"masquerade": None}
ACCEPT = {"accept": None}


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


def read(*items: object, saves: Iterable[str] = ()) -> AdminRules:
    return evaluate(json.dumps({"nftables": [*items]}), "wan0", ["lan0"], iptables_legacy="\n".join(saves))


def prerouting(*expressions: object) -> AdminRules:
    return read(chain("pre", "prerouting"), rule("pre", *expressions))


def postrouting(*rules: Iterable[object]) -> AdminRules:
    return read(chain("post", "postrouting"), *(rule("post", *expressions) for expressions in rules))


def forward(*rules: Iterable[object], policy: str = "drop") -> AdminRules:
    return read(chain("fwd", "forward", "filter", policy), *(rule("fwd", *expressions) for expressions in rules))


def nat_table(*lines: str) -> str:
    return "\n".join(["*nat", ":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]", *lines, "COMMIT"])


WHERE = "table ip t chain pre handle 7"
PBX = "192.168.20.5"


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


@pytest.mark.parametrize(
    "expressions",
    [
        [{"dnat": {"addr": {"map": {"key": {}, "data": {}}}}}],
        [payload("udp", "dport", "@ports"), {"dnat": {"addr": PBX}}],
        [{"vmap": {"key": {"payload": {"protocol": "udp", "field": "dport"}}, "data": {"set": []}}}],
        [{"mystery": 1}, {"dnat": {"addr": PBX}}],
    ],
    ids=["map", "named set", "verdict map", "unknown condition"],
)
def test_what_depends_on_the_packet_is_unevaluable(expressions: list[object]) -> None:
    rules = prerouting(*expressions)
    assert not rules.taken
    assert not rules.forwards
    assert [u.where for u in rules.unevaluable] == [WHERE]


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


def test_the_own_table_is_left_out() -> None:
    own = chain("pre", "prerouting")
    own["chain"] = {**own["chain"], "table": "sipalg"} if isinstance(own["chain"], dict) else {}
    assert read(own, rule("pre", {"dnat": {"addr": PBX}}, table="sipalg")) == AdminRules()


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


def test_what_a_forward_chain_lets_in() -> None:
    established = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
    masked = {"match": {"op": "==", "left": {"&": [{"ct": {"key": "status"}}, "dnat"]}, "right": "dnat"}}
    strict = forward([established, ACCEPT], [LAN, ACCEPT])
    assert (strict.forward_policy, strict.dnat_accepted) == ("drop", "no")
    for condition in (DNAT_STATUS, masked):
        assert forward([established, ACCEPT], [WAN, condition, ACCEPT]).dnat_accepted == "yes"
    assert forward(policy="accept").dnat_accepted == "yes"
    assert forward([WAN, {"drop": None}], policy="accept").dnat_accepted == "no"
    assert forward([WAN, {"drop": None}], [DNAT_STATUS, ACCEPT]).dnat_accepted == "no"
    assert forward([{"mystery": 1}, DNAT_STATUS, ACCEPT]).dnat_accepted == "unknown"
    states = {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", ACCEPT]]}}}
    assert forward([states]).dnat_accepted == "no"
    interfaces = {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["lan0", ACCEPT]]}}}
    assert forward([interfaces]).dnat_accepted == "unknown"


def test_flow_tables_and_whether_a_rule_uses_them() -> None:
    table = {"flowtable": {"family": "ip", "table": "t", "name": "f", "hook": "ingress", "prio": 0, "dev": ["lan0"]}}
    assert read(table).flow_tables == (FlowTable("flowtable ip t f", ("lan0",), used=False),)
    used = read(
        chain("fwd", "forward", "filter"), table, rule("fwd", {"flow": {"op": "add", "flowtable": "@f"}})
    )
    assert used.flow_tables == (FlowTable("flowtable ip t f", ("lan0",), used=True),)


def test_the_kernels_helper_and_its_ports() -> None:
    helper = {"ct helper": {"family": "ip", "table": "t", "name": "h", "type": "sip", "protocol": "udp"}}
    rules = read(
        chain("pre", "prerouting", "filter"),
        rule("pre", payload("udp", "dport", {"set": [5060, 5070]}), {"ct helper": "h"}),
        helper,
    )
    assert [h.ports for h in rules.sip_helpers] == [((5060, 5060), (5070, 5070))]
    assert evaluate('{"nftables": []}', "wan0", automatic_helpers=True).sip_helpers[0].ports == ((5060, 5060),)


def test_iptables_forwards_exemptions_helpers_and_filter() -> None:
    nat = nat_table(
        ":DOCKER - [0:0]",
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        '-A PREROUTING -i wan0 -p udp -m udp --dport 5090 -m comment --comment "the PBX" -j DNAT '
        "--to-destination 192.168.20.9:5060",
        "-A PREROUTING -i wan0 -p udp -m multiport --dports 80,90:91 -j REDIRECT --to-ports 8080",
        "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        "-A POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT",
        "-A POSTROUTING -d 10.9.0.0/16 -j ACCEPT",
        "-A POSTROUTING -o wan0 -j MASQUERADE",
    )
    other = "\n".join([
        "*raw", ":PREROUTING ACCEPT [0:0]", "-A PREROUTING -p udp -m udp --dport 5060 -j CT --helper sip", "COMMIT",
        "*filter", ":FORWARD DROP [0:0]", "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -j LOG", "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT", "COMMIT",
    ])
    rules = read(saves=[nat, other])
    assert [(f.protocol, f.public.port, f.private) for f in rules.forwards] == [
        (TCP, 8080, Endpoint("172.17.0.2", 80)),
        (UDP, 5090, Endpoint("192.168.20.9", 5060)),
    ]
    assert [t.ports for t in rules.taken] == [(8080, 8080), (5090, 5090), (80, 80), (90, 91)]
    assert [str(e.destination) for e in rules.exemptions] == ["10.9.0.0/16"]
    assert rules.source_nat == ("iptables-legacy -t nat, line 11",)
    assert [h.ports for h in rules.sip_helpers] == [((5060, 5060),)]
    assert (rules.forward_policy, rules.dnat_accepted) == ("drop", "yes")
    assert rules.unevaluable == ()


def test_iptables_that_cant_be_evaluated() -> None:
    for condition in ("-m set --match-set phones dst", "! -s 10.0.0.0/8", "-d a.example", '-m comment --comment "a'):
        rules = read(saves=[nat_table(f"-A PREROUTING {condition} -j DNAT --to-destination 10.0.0.1")])
        assert not rules.taken
        assert not rules.forwards
        assert len(rules.unevaluable) == 1
    for target in ("DNAT --to-destination 10.0.0.1-10.0.0.9", "NETMAP --to 10.0.0.0/24"):
        rules = read(saves=[nat_table(f"-A PREROUTING -p udp -m udp --dport 7 -j {target}")])
        assert [t.ports for t in rules.taken] == [(7, 7)]
        assert rules.forwards == ()


def test_rules_of_iptables_nft_are_taken_from_iptables_and_the_others_of_its_table_stay() -> None:
    xt = {"xt": {"type": "target", "name": "DNAT"}}
    document = json.dumps({
        "nftables": [
            chain("PREROUTING", "prerouting"),
            chain("mine", "prerouting"),
            rule("PREROUTING", payload("udp", "dport", 7), xt),
            rule("mine", payload("udp", "dport", 8), {"dnat": {"addr": PBX}}),
        ]
    }).replace('"table": "t"', '"table": "nat"')
    alone = evaluate(document, "wan0")
    assert [f.public.port for f in alone.forwards] == [8]
    assert "iptables-save" in alone.unevaluable[0].what
    save = nat_table("-A PREROUTING -p udp -m udp --dport 7 -j DNAT --to-destination 10.0.0.1")
    both = evaluate(document, "wan0", iptables_nft=save)
    assert [f.public.port for f in both.forwards] == [7, 8]
    assert both.unevaluable == ()
    # What nft shows in full isn't counted twice.
    plain = document.replace('"xt"', '"counter"')
    assert evaluate(plain, "wan0", iptables_nft=save).forwards == alone.forwards


def test_flow_offload_of_iptables() -> None:
    save = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j FLOWOFFLOAD\nCOMMIT"
    assert read(saves=[save]).flow_tables == (FlowTable("iptables-legacy -t filter, line 3", (), used=True),)


def test_conditions_that_would_need_an_intersection_arent_understood() -> None:
    one, other = payload("ip", "daddr", "203.0.113.1"), payload("ip", "daddr", prefix("203.0.113.0", 24))
    rules = prerouting(one, other, payload("udp", "dport", 7), {"dnat": {"addr": PBX}})
    assert [t.ports for t in rules.taken] == [(7, 7)]
    assert rules.forwards == ()
    inner = read(
        chain("pre", "prerouting"),
        chain("sub"),
        rule("pre", one, {"jump": {"target": "sub"}}),
        rule("sub", other, payload("udp", "dport", 7), {"dnat": {"addr": PBX}}),
    )
    assert [t.ports for t in inner.taken] == [(7, 7)]
    assert inner.forwards == ()


@pytest.mark.parametrize(
    "odd",
    [
        payload("udp", "dport", {"range": [1]}),
        payload("udp", "dport", "sip"),
        payload("udp", "dport", 7, "<"),
        payload("ip", "daddr", {"odd": 1}),
        payload("ip", "daddr", "router.example"),
        {"match": {"op": "==", "left": {"&": ["x"]}, "right": "dnat"}},
        {"match": {"op": "==", "left": "x", "right": "dnat"}},
        {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "snat"}},
        {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 1}},
        {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "multicast"}},
        {"match": 1, "more": 2},
        "a text",
    ],
)
def test_odd_conditions_make_no_forward(odd: object) -> None:
    rules = prerouting(odd, {"dnat": {"addr": PBX, "port": 5060}})
    assert rules.forwards == ()
    assert len(rules.unevaluable) == 1


def test_conditions_that_ask_nothing_of_ours() -> None:
    conditions = (
        {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}},
        {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv4"}},
        payload("ip", "protocol", "udp"),
        payload("udp", "dport", 7),
    )
    assert [f.public.port for f in prerouting(*conditions, {"dnat": {"addr": PBX}}).forwards] == [7]
    six = {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv6"}}
    assert prerouting(six, *conditions, {"dnat": {"addr": PBX}}) == AdminRules()


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


def test_rules_of_chains_that_arent_listed() -> None:
    assert [u.what for u in read(rule("nowhere", ACCEPT)).unevaluable] == ["a rule of a chain that isn't listed"]
    assert len(read(saves=["*nat\n-A NOWHERE -j ACCEPT\n-A 'x"]).unevaluable) == 2


def test_more_of_iptables() -> None:
    rules = read(saves=[nat_table(
        "-A PREROUTING -d 203.0.113.1/32 -p 17 -m udp --dport 7 -j DNAT --to-destination 10.0.0.1:8-9",
        "-A PREROUTING -d 203.0.113.1/32 -p udp -m udp --dport 9 -j DNAT --to-destination 10.0.0.1:x",
        "-A PREROUTING -p icmp -j DNAT --to-destination 10.0.0.1",
        "-A PREROUTING -m addrtype --dst-type MULTICAST -p udp -m udp --dport 11 -j DNAT --to-destination 10.0.0.1",
        "-A PREROUTING -p udp -m udp --dport 90000 -j DNAT --to-destination 10.0.0.1",
        "-A PREROUTING",
        "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE",
        "-A POSTROUTING -s 192.168.20.0/24 -m iprange --dst-range 10.0.0.0-10.0.0.255 -j RETURN",
        "-A POSTROUTING -s 192.168.20.0/24 -o wan0 -j SNAT --to-source 203.0.113.1",
        "-A POSTROUTING -m policy --dir out --pol none -j ACCEPT",
    ), "\n".join(["*filter", ":FORWARD DROP [0:0]", "-A FORWARD -m conntrack --ctstatus DNAT -j ACCEPT",
                  "-A FORWARD -m conntrack --ctstatus SEEN_REPLY -j ACCEPT", "-A FORWARD -p all -j REJECT"])])
    assert [t.ports for t in rules.taken] == [(7, 7), (9, 9), (11, 11)]
    assert rules.forwards == ()
    assert [(str(e.destination), str(e.sources[0])) for e in rules.exemptions] == [
        ("192.168.122.0/24", "192.168.122.0/24"),
        ("10.0.0.0/24", "192.168.20.0/24"),
    ]
    assert len(rules.unevaluable) == 4
    assert rules.dnat_accepted == "yes"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nftables": 1}', "no JSON"])
def test_output_that_isnt_nfts_is_one_clear_error(text: str) -> None:
    with pytest.raises(AdminRulesError, match="nft -j list ruleset: "):
        evaluate(text, "wan0")


def test_a_program_that_fails_is_one_clear_error() -> None:
    with pytest.raises(AdminRulesError, match="no-such-program-here: program not found"):
        run_program("no-such-program-here")
    with pytest.raises(AdminRulesError, match=r"ls /nonexistent/x: "):
        run_program("ls", "/nonexistent/x")
    assert run_program("echo", "x") == "x\n"


def test_interface_patterns() -> None:
    assert interface_matches("wan0", "wan0")
    assert not interface_matches("wan", "wan0")
    assert interface_matches("wan*", "wan0")
    assert interface_matches("wan+", "wan0")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.sampled_from(["", "dnat", "10.0.0.0", "@s", "ip", "sip"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["match", "op", "left", "right", "payload", "meta", "ct", "key", "set", "range", "prefix",
                         "addr", "len", "port", "dnat", "vmap", "jump", "target", "&", "data", "field", "protocol"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)


@given(st.lists(values, max_size=4), st.sampled_from(["prerouting", "postrouting", "forward"]))
def test_any_expressions_are_read_without_raising(expressions: list[object], hook: str) -> None:
    kind = "filter" if hook == "forward" else "nat"
    rules = read(chain("c", hook, kind), rule("c", *expressions, {"dnat": {"addr": PBX}}))
    assert isinstance(rules, AdminRules)


words_of_iptables = ["!", "-p", "udp", "--dport", "7", "-j", "DNAT", "--to-destination", "1.2.3.4:x", "-d", "'"]


@given(st.lists(st.sampled_from(words_of_iptables)))
def test_any_iptables_words_are_read_without_raising(words: list[str]) -> None:
    assert isinstance(read(saves=[nat_table(" ".join(["-A PREROUTING", *words]), "-A", ":")]), AdminRules)
