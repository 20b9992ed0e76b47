"""nft's JSON: what is understood, and what is said not to be."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath.admin_conclusions import AdminRules
from sipalg.datapath.admin_model import FlowTable
from sipalg.datapath.admin_rules import evaluate

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
    return evaluate(json.dumps({"nftables": [*items]}), "wan0", ["lan0"])


def prerouting(*expressions: object) -> AdminRules:
    return read(chain("pre", "prerouting"), rule("pre", *expressions))


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


def test_the_own_table_is_left_out() -> None:
    own = chain("pre", "prerouting")
    own["chain"] = {**own["chain"], "table": "sipalg"} if isinstance(own["chain"], dict) else {}
    assert read(own, rule("pre", {"dnat": {"addr": PBX}}, table="sipalg")) == AdminRules()


def test_rules_of_chains_that_arent_listed() -> None:
    assert [u.what for u in read(rule("nowhere", ACCEPT)).unevaluable] == ["a rule of a chain that isn't listed"]


def test_flow_tables_and_whether_a_rule_uses_them() -> None:
    table = {"flowtable": {"family": "ip", "table": "t", "name": "f", "hook": "ingress", "prio": 0, "dev": ["lan0"]}}
    assert read(table).flow_tables == (FlowTable("flowtable ip t f", ("lan0",), used=False),)
    used = read(
        chain("fwd", "forward", "filter"), table, rule("fwd", {"flow": {"op": "add", "flowtable": "@f"}})
    )
    assert used.flow_tables == (FlowTable("flowtable ip t f", ("lan0",), used=True),)


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
