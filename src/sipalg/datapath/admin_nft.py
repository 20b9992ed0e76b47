"""`nft -j list ruleset` as chains of rules. Off a packet's way, see `admin_model`.

The format is libnftables-json(5). Each expression of a rule is a dict with one key; the two tables at the bottom say
which of them are conditions that we understand and which are actions. All others make the rule one that has
conditions we don't know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Final

from sipalg.datapath.admin_model import (
    NOT_OURS,
    Action,
    Chain,
    ChainKey,
    FlowTable,
    NatTarget,
    PortRange,
    Rule,
    RuleSet,
    Unevaluable,
    both_protocols,
    networks,
)

#: What a JSON text may hold.
Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

_PROTOCOLS: Final = {"tcp": 6, "udp": 17}
_FAMILIES: Final = ("ip", "inet", "netdev")


class _UnknownExpressionError(ValueError):
    """An expression that the reader has no meaning for."""


@dataclass(frozen=True, slots=True)
class NftRules:
    """The rule set and which chains hold rules of iptables-nft, whose JSON doesn't say what they match."""

    rules: RuleSet
    xt_chains: frozenset[ChainKey]


def read_nft(document: Json, own_table: str) -> NftRules:
    """Read the document; the table `own_table` is left out. ValueError if it isn't nft's JSON at all."""
    entries = document.get("nftables") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("nft -j list ruleset: no \"nftables\" list in its output")
    rules = RuleSet()
    helpers: dict[tuple[str, str, str], str] = {}
    xt_chains: set[ChainKey] = set()
    flows_used: set[tuple[str, str, str]] = set()
    flow_tables: list[tuple[tuple[str, str, str], tuple[str, ...]]] = []
    # An object may stand behind the rule that uses it, so that everything but rules is read first.
    for kind, item in _items(entries, own_table):
        key = (str(item.get("family")), str(item.get("table")), str(item.get("name")))
        if kind == "chain":
            rules.chains[key] = _chain(key, item)
        elif kind == "ct helper":
            helpers[key] = str(item.get("type"))
        elif kind == "flowtable":
            flow_tables.append((key, tuple(_strings(item.get("dev")))))
    for kind, item in _items(entries, own_table):
        if kind != "rule":
            continue
        family, table = str(item.get("family")), str(item.get("table"))
        rule = _rule(item, family, table, helpers)
        chain = rules.chains.get((family, table, str(item.get("chain"))))
        expressions = item.get("expr")
        if isinstance(expressions, list) and any(isinstance(e, dict) and "xt" in e for e in expressions):
            xt_chains.add((family, table, str(item.get("chain"))))
        if chain is None:
            rules.unevaluable.append(Unevaluable(rule.where, "a rule of a chain that isn't listed"))
            continue
        chain.rules.append(rule)
        if rule.action == "flow":
            flows_used.add((family, table, rule.target))
    for key, devices in flow_tables:
        rules.flow_tables.append(FlowTable(f"flowtable {' '.join(key)}", devices, key in flows_used))
    return NftRules(rules, frozenset(xt_chains))


def _items(entries: Sequence[Json], own_table: str) -> Iterator[tuple[str, dict[str, Json]]]:
    for entry in entries:
        if isinstance(entry, dict):
            for kind, item in entry.items():
                if isinstance(item, dict) and item.get("family") in _FAMILIES and item.get("table") != own_table:
                    yield kind, item


def _chain(key: ChainKey, item: dict[str, Json]) -> Chain:
    priority = item.get("prio")
    return Chain(
        key,
        hook=str(item.get("hook", "")),
        kind=str(item.get("type", "filter")),
        priority=priority if isinstance(priority, int) else 0,
        policy="drop" if item.get("policy") == "drop" else "accept",
    )


def _rule(item: dict[str, Json], family: str, table: str, helpers: dict[tuple[str, str, str], str]) -> Rule:
    rule = Rule(where=f"table {family} {table} chain {item.get('chain')} handle {item.get('handle')}", action="none")
    expressions = item.get("expr")
    for expression in expressions if isinstance(expressions, list) else ():
        try:
            rule = _apply(rule, expression)
        except ValueError:
            rule = replace(rule, other=True)
    if rule.action == "helper":
        rule = replace(rule, target=helpers.get((family, table, rule.target), rule.target))
    return rule


def _apply(rule: Rule, expression: Json) -> Rule:
    """Return the rule with one more expression; ValueError if it isn't understood."""
    if not isinstance(expression, dict) or len(expression) != 1:
        raise _UnknownExpressionError
    ((name, value),) = expression.items()
    if name in _WITHOUT_EFFECT:
        return rule
    if name == "match" and isinstance(value, dict):
        return _match(rule, value)
    if name in _ACTIONS:
        return replace(rule, action=_ACTIONS[name], target=_target(value))
    if name in ("dnat", "redirect"):
        return replace(rule, action="dnat", nat=_nat_target(value))
    if name in ("snat", "masquerade"):
        return replace(rule, action="snat", nat=_nat_target(value))
    if name == "vmap" and isinstance(value, dict):
        return rule if _without_new(value) else replace(rule, action="other", other=True)
    raise _UnknownExpressionError


def _target(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return str(value.get("target", value.get("flowtable", ""))).lstrip("@")
    return ""


def _nat_target(value: Json) -> NatTarget | None:
    """Read the translation; None where its address or port depends on the packet (a map and its like)."""
    if value is None:
        return NatTarget("", None)
    if not isinstance(value, dict):
        return None
    address, port = value.get("addr", ""), value.get("port")
    if not isinstance(address, str):
        return None
    if port is None:
        return NatTarget(address, None)
    try:
        ranges = _ports(port)
    except ValueError:
        return None
    return NatTarget(address, ranges[0]) if len(ranges) == 1 else None


def _match(rule: Rule, match: dict[str, Json]) -> Rule:
    left, right, operator = match.get("left"), match.get("right"), match.get("op")
    if isinstance(left, dict) and "&" in left and operator == "==":
        # `ct status & dnat == dnat`, as older nft programs print it.
        masked = left["&"]
        if not isinstance(masked, list) or len(masked) != 2 or masked[1] != right or not isinstance(right, str):
            raise _UnknownExpressionError
        left, operator = masked[0], "in"
    key = _left_key(left)
    if key[0] in ("ip6", "icmp", "icmpv6"):
        return replace(rule, protocols=NOT_OURS)
    if operator == "!=" and key == ("ip", "daddr"):
        _first(rule.not_destinations)
        return replace(rule, not_destinations=_networks(right))
    if operator == "!=" and key in (("meta", "iifname"), ("meta", "iif")):
        _first(rule.not_in_interfaces)
        return replace(rule, not_in_interfaces=tuple(_strings(right)))
    if operator not in ("==", "in"):
        raise _UnknownExpressionError
    reader = _CONDITIONS.get(key)
    if reader is None:
        raise _UnknownExpressionError
    return reader(rule, right)


def _without_new(verdict_map: dict[str, Json]) -> bool:
    """Tell whether the map is `ct state vmap { established : accept, … }` that says nothing of new flows."""
    data = verdict_map.get("data")
    elements = data.get("set") if isinstance(data, dict) else None
    if _left_key(verdict_map.get("key")) != ("ct", "state") or not isinstance(elements, list):
        return False
    return all(isinstance(element, list) and element[0] != "new" for element in elements)


def _left_key(left: Json) -> tuple[str, str]:
    if isinstance(left, dict) and len(left) == 1:
        ((kind, detail),) = left.items()
        if isinstance(detail, dict):
            if kind == "payload":
                return str(detail.get("protocol")), str(detail.get("field"))
            return kind, str(detail.get("key", detail.get("result")))
    return "", ""


def _values(right: Json) -> list[Json]:
    """Return a right side as its elements: a set, a list of flags, or the one value. Named sets aren't known."""
    if isinstance(right, dict) and "set" in right:
        inner = right["set"]
        return inner if isinstance(inner, list) else [inner]
    return right if isinstance(right, list) else [right]


def _strings(right: Json) -> list[str]:
    values = [value for value in _values(right) if isinstance(value, str) and not value.startswith("@")]
    if len(values) != len(_values(right)):
        raise _UnknownExpressionError
    return values


def _ports(right: Json) -> tuple[PortRange, ...]:
    ranges: list[PortRange] = []
    for value in _values(right):
        if isinstance(value, dict):
            value = value.get("range")
            if not isinstance(value, list) or len(value) != 2:
                raise _UnknownExpressionError
            low, high = value
        else:
            low = high = value
        if not isinstance(low, int) or not isinstance(high, int):
            raise _UnknownExpressionError
        ranges.append(PortRange(low, high))
    return tuple(ranges)


def _networks(right: Json) -> tuple[IPv4Network, ...]:
    answer: tuple[IPv4Network, ...] = ()
    for value in _values(right):
        if isinstance(value, dict):
            prefix, bounds = value.get("prefix"), value.get("range")
            if isinstance(prefix, dict):
                value = f"{prefix.get('addr')}/{prefix.get('len')}"
            elif isinstance(bounds, list) and len(bounds) == 2:
                value = f"{bounds[0]}-{bounds[1]}"
        if not isinstance(value, str):
            raise _UnknownExpressionError
        answer += networks(value)
    return answer


def _first(asked: tuple[object, ...]) -> None:
    """Refuse a second condition on one field, which would need an intersection."""
    if asked:
        raise _UnknownExpressionError


def _in_interface(rule: Rule, right: Json) -> Rule:
    _first(rule.in_interfaces)
    return replace(rule, in_interfaces=tuple(_strings(right)))


def _out_interface(rule: Rule, right: Json) -> Rule:
    _first(rule.out_interfaces)
    return replace(rule, out_interfaces=tuple(_strings(right)))


def _source(rule: Rule, right: Json) -> Rule:
    _first(rule.sources)
    return replace(rule, sources=_networks(right))


def _destination(rule: Rule, right: Json) -> Rule:
    _first(rule.destinations)
    return replace(rule, destinations=_networks(right))


def _protocol(rule: Rule, right: Json) -> Rule:
    found = tuple(_PROTOCOLS.get(str(value), value if isinstance(value, int) else -1) for value in _values(right))
    return replace(rule, protocols=both_protocols(rule.protocols, found))


def _family(rule: Rule, right: Json) -> Rule:
    return rule if right in ("ipv4", "ip") else replace(rule, protocols=NOT_OURS)


def _port(rule: Rule, right: Json) -> Rule:
    _first(rule.ports)
    return replace(rule, ports=_ports(right))


def _udp_port(rule: Rule, right: Json) -> Rule:
    return _protocol(_port(rule, right), "udp")


def _tcp_port(rule: Rule, right: Json) -> Rule:
    return _protocol(_port(rule, right), "tcp")


def _status(rule: Rule, right: Json) -> Rule:
    if "dnat" not in _strings(right):
        raise _UnknownExpressionError
    return replace(rule, dnat_status=True)


def _state(rule: Rule, right: Json) -> Rule:
    return replace(rule, connection_states=tuple(_strings(right)))


def _address_type(rule: Rule, right: Json) -> Rule:
    # `fib daddr type local`: true of all packets that come for the router's own addresses, and only those concern us.
    if right != "local":
        raise _UnknownExpressionError
    return rule


def _ipsec(rule: Rule, right: Json) -> Rule:
    return replace(rule, ipsec=right in (True, 1, "exists"))


_WITHOUT_EFFECT: Final = frozenset({"counter", "log"})

_ACTIONS: Final[dict[str, Action]] = {
    "accept": "accept",
    "return": "return",
    "drop": "drop",
    "reject": "drop",
    "jump": "jump",
    "goto": "goto",
    "ct helper": "helper",
    "flow": "flow",
    # To another program, which decides.
    "queue": "other",
}

_CONDITIONS: Final[dict[tuple[str, str], Callable[[Rule, Json], Rule]]] = {
    ("meta", "iifname"): _in_interface,
    ("meta", "iif"): _in_interface,
    ("meta", "oifname"): _out_interface,
    ("meta", "oif"): _out_interface,
    ("meta", "l4proto"): _protocol,
    ("meta", "nfproto"): _family,
    ("ip", "protocol"): _protocol,
    ("ip", "saddr"): _source,
    ("ip", "daddr"): _destination,
    ("udp", "dport"): _udp_port,
    ("tcp", "dport"): _tcp_port,
    ("th", "dport"): _port,
    ("ct", "status"): _status,
    ("ct", "state"): _state,
    ("fib", "type"): _address_type,
    ("rt", "ipsec"): _ipsec,
    ("meta", "secpath"): _ipsec,
    ("meta", "ipsec"): _ipsec,
}
