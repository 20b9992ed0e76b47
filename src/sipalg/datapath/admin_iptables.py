"""`iptables-save` as chains of rules. Off a packet's way, see `admin_model`.

nft's JSON doesn't say what rules of iptables-nft match, and doesn't know those of iptables-legacy at all, so these are
read from iptables' own text, which always prints the long and canonical form of an option. An option that the tables
at the bottom don't know makes the rule one with conditions that aren't understood. Comments are skipped, also the one
that a table holds chains of nft's: those nft lists itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sipalg.datapath.admin_model import (
    Action,
    Chain,
    FlowTable,
    NatTarget,
    PortRange,
    Rule,
    RuleSet,
    Unevaluable,
    networks,
    port_range,
)

_PROTOCOLS: Final = {"tcp": 6, "udp": 17}

#: Where a built-in chain hooks in, and with which priority (include/uapi/linux/netfilter_ipv4.h).
_HOOKS: Final = {
    "PREROUTING": "prerouting",
    "INPUT": "input",
    "FORWARD": "forward",
    "OUTPUT": "output",
    "POSTROUTING": "postrouting",
}
_PRIORITIES: Final = {
    ("raw", "PREROUTING"): -300,
    ("mangle", "PREROUTING"): -150,
    ("mangle", "FORWARD"): -150,
    ("mangle", "POSTROUTING"): -150,
    ("nat", "PREROUTING"): -100,
    ("nat", "POSTROUTING"): 100,
    ("security", "FORWARD"): 50,
}


def read_iptables(text: str, program: str = "iptables") -> RuleSet:
    """Read what `iptables-save` printed; `program` is the family of its chains, and what places are named after."""
    rules = RuleSet()
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = [*line[1:].split(), "", ""][:2]
            rules.chains[program, table, name] = Chain(
                (program, table, name),
                hook=_HOOKS.get(name, ""),
                kind="nat" if table == "nat" else "filter",
                priority=_PRIORITIES.get((table, name), 0),
                policy="drop" if policy == "DROP" else "accept",
            )
        elif line.startswith("-A "):
            _append(rules, (program, table), line, f"{program} -t {table}, line {number}")
    return rules


def _append(rules: RuleSet, table: tuple[str, str], line: str, where: str) -> None:
    try:
        words = shlex.split(line)
    except ValueError:
        rules.unevaluable.append(Unevaluable(where, line))
        return
    chain = rules.chains.get((*table, words[1]))
    if chain is None:
        rules.unevaluable.append(Unevaluable(where, line))
        return
    rule = _rule(words, where)
    if rule.action == "jump" and (*table, rule.target) not in rules.chains:
        # A target that is neither a chain of this table nor one that we know: MARK, LOG and the like go on.
        rule = replace(rule, action="none" if rule.target in _GO_ON else "other")
    chain.rules.append(rule)
    if rule.action == "flow":
        rules.flow_tables.append(FlowTable(where, (), used=True))


def _rule(words: Sequence[str], where: str) -> Rule:
    rule = Rule(where, "none")
    target: list[str] = []
    index = 2
    while index < len(words):
        negated = words[index] == "!"
        index += negated
        option = words[index] if index < len(words) else ""
        index += 1
        values: list[str] = []
        while index < len(words) and words[index] != "!" and not words[index].startswith("-"):
            values.append(words[index])
            index += 1
        if target:
            target.extend([option, *values])
        elif option in ("-j", "-g") and values:
            target = values
            rule = replace(rule, action="jump" if option == "-j" else "goto", target=values[0])
        else:
            rule = _condition(rule, option, values, negated)
    return _with_target(rule, target)


def _condition(rule: Rule, option: str, values: Sequence[str], negated: bool) -> Rule:
    if option in _WITHOUT_EFFECT:
        return rule
    reader = (_NEGATED if negated else _CONDITIONS).get(option)
    if reader is None or len(values) != 1:
        return replace(rule, other=True)
    try:
        return reader(rule, values[0])
    except ValueError:
        return replace(rule, other=True)


def _with_target(rule: Rule, target: Sequence[str]) -> Rule:
    if not target:
        return rule
    name, options = target[0], dict(zip(target[1::2], target[2::2], strict=False))
    if name in ("DNAT", "SNAT"):
        translation = options.get("--to-destination" if name == "DNAT" else "--to-source", "")
        return replace(rule, action="dnat" if name == "DNAT" else "snat", nat=_nat_target(translation))
    if name == "REDIRECT":
        return replace(rule, action="dnat", nat=_nat_target(":" + options.get("--to-ports", "")))
    if name in ("MASQUERADE", "NETMAP"):
        return replace(rule, action="snat", nat=None if name == "NETMAP" else NatTarget("", None))
    if name == "CT":
        helper = options.get("--helper", "")
        return replace(rule, action="helper" if helper else "none", target=helper)
    action = _ACTIONS.get(name)
    return rule if action is None else replace(rule, action=action, target="")


def _nat_target(text: str) -> NatTarget | None:
    """Read `address[:port[-port]]`; None for a range of addresses, which makes the target depend on the packet."""
    host, _, ports = text.partition(":")
    if "-" in host:
        return None
    if not ports:
        return NatTarget(host, None)
    try:
        return NatTarget(host, port_range(ports.partition("/")[0], "-"))
    except ValueError:
        return None


def _protocol(rule: Rule, value: str) -> Rule:
    if value == "all":
        return rule
    return replace(rule, protocols=(_PROTOCOLS.get(value, int(value) if value.isdecimal() else -1),))


def _in_interface(rule: Rule, value: str) -> Rule:
    return replace(rule, in_interfaces=(value,))


def _not_in_interface(rule: Rule, value: str) -> Rule:
    return replace(rule, not_in_interfaces=(value,))


def _address_type(rule: Rule, value: str) -> Rule:
    # True of all packets that come for the router's own addresses, and only those concern us.
    if value != "LOCAL":
        raise ValueError(value)
    return rule


def _out_interface(rule: Rule, value: str) -> Rule:
    return replace(rule, out_interfaces=(value,))


def _source(rule: Rule, value: str) -> Rule:
    return replace(rule, sources=networks(value))


def _destination(rule: Rule, value: str) -> Rule:
    return replace(rule, destinations=networks(value))


def _not_destination(rule: Rule, value: str) -> Rule:
    return replace(rule, not_destinations=networks(value))


def _ports(rule: Rule, value: str) -> Rule:
    ranges: tuple[PortRange, ...] = tuple(port_range(part, ":") for part in value.split(","))
    return replace(rule, ports=ranges)


def _states(rule: Rule, value: str) -> Rule:
    states = value.split(",")
    if states == ["DNAT"]:
        return replace(rule, dnat_status=True)
    return replace(rule, connection_states=tuple(state.lower() for state in states))


def _status(rule: Rule, value: str) -> Rule:
    if value != "DNAT":
        raise ValueError(value)
    return replace(rule, dnat_status=True)


def _ipsec(rule: Rule, value: str) -> Rule:
    if value != "ipsec":
        raise ValueError(value)
    return replace(rule, ipsec=True)


#: Targets that do something else and let the packet go on to the next rule.
_GO_ON: Final = frozenset({"MARK", "CONNMARK", "LOG", "NFLOG", "TCPMSS", "CLASSIFY", "TRACE", "CHECKSUM", "DSCP"})
_WITHOUT_EFFECT: Final = frozenset({"-m", "--comment", "--dir"})

_ACTIONS: Final[dict[str, Action]] = {
    "ACCEPT": "accept",
    "RETURN": "return",
    "DROP": "drop",
    "REJECT": "drop",
    "FLOWOFFLOAD": "flow",
}

_CONDITIONS: Final[dict[str, Callable[[Rule, str], Rule]]] = {
    "-p": _protocol,
    "-i": _in_interface,
    "-o": _out_interface,
    "-s": _source,
    "-d": _destination,
    "--dport": _ports,
    "--dports": _ports,
    "--ctstate": _states,
    "--state": _states,
    "--ctstatus": _status,
    "--dst-range": _destination,
    "--src-range": _source,
    "--dst-type": _address_type,
    "--pol": _ipsec,
}

_NEGATED: Final[dict[str, Callable[[Rule, str], Rule]]] = {"-d": _not_destination, "-i": _not_in_interface}
