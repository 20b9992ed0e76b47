"""The administrator's firewall in one form, whichever program wrote it: chains of rules with what they ask and do.

`admin_nft` and `admin_iptables` read their formats into these types, `admin_rules` draws the conclusions. Off a
packet's way: it is read at start and whenever the rule set changes. Nothing here guesses: a condition that isn't
understood sets `Rule.other`, and whoever concludes from the rule has to say that it can't be evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from typing import Final, Literal, NamedTuple

#: A chain's identity: family, table, chain. iptables' tables have the family "iptables".
ChainKey = tuple[str, str, str]

Action = Literal["none", "accept", "return", "drop", "jump", "goto", "dnat", "snat", "helper", "flow", "other"]

#: The protocols of a rule that no IPv4 packet of a protocol with ports can meet.
NOT_OURS: Final = (-1,)


class PortRange(NamedTuple):
    """Ports `low` to `high`, both in it, 0–65535."""

    low: int
    high: int


ALL_PORTS: Final = PortRange(0, 65535)


class NatTarget(NamedTuple):
    """Where a NAT rule translates to: `host` "" is "the router itself or unchanged", `ports` None is "unchanged"."""

    host: str
    ports: PortRange | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: every condition must hold, then `action` happens. Empty tuples and None mean "not asked".

    `other` is true where there are conditions that these fields don't carry. `nat` is None where the translation
    couldn't be evaluated (a map, several targets). `target` is the chain of a jump, the helper's kernel name (`sip`)
    or the flow table's name.
    """

    where: str
    action: Action
    protocols: tuple[int, ...] = ()
    in_interfaces: tuple[str, ...] = ()
    not_in_interfaces: tuple[str, ...] = ()
    out_interfaces: tuple[str, ...] = ()
    sources: tuple[IPv4Network, ...] = ()
    destinations: tuple[IPv4Network, ...] = ()
    not_destinations: tuple[IPv4Network, ...] = ()
    ports: tuple[PortRange, ...] = ()
    dnat_status: bool = False
    connection_states: tuple[str, ...] = ()
    ipsec: bool = False
    other: bool = False
    target: str = ""
    nat: NatTarget | None = None

    @property
    def conditions(self) -> tuple[tuple[object, ...], ...]:
        """What the rule asks, field by field, but for protocols: to see whether two rules ask on one field."""
        return (
            self.in_interfaces,
            self.not_in_interfaces,
            self.out_interfaces,
            self.sources,
            self.destinations,
            self.not_destinations,
            self.ports,
            self.connection_states,
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain and its rules in order; `hook` is "" for one that is only jumped to."""

    key: ChainKey
    hook: str = ""
    kind: str = "filter"
    priority: int = 0
    policy: Literal["accept", "drop"] = "accept"
    rules: list[Rule] = field(default_factory=list)


class FlowTable(NamedTuple):
    """A flow table: packets of flows on `devices` (empty: any) go past every chain, our queue included."""

    where: str
    devices: tuple[str, ...]
    used: bool


class Unevaluable(NamedTuple):
    """Something in the rule set that bears on us but that can't be evaluated: where it is, and what it is."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Everything that one program's output says."""

    chains: dict[ChainKey, Chain] = field(default_factory=dict)
    flow_tables: list[FlowTable] = field(default_factory=list)
    unevaluable: list[Unevaluable] = field(default_factory=list)


def interface_matches(pattern: str, interface: str) -> bool:
    """Tell whether a rule's pattern covers `interface`; `*` (nft) or `+` (iptables) at its end is any tail."""
    if pattern[-1:] in ("*", "+"):
        return interface.startswith(pattern[:-1])
    return pattern == interface


def both_protocols(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the protocols that two conditions leave; an empty one asks nothing, (-1,) is met by no packet of ours."""
    if not one or not other:
        return one or other
    return tuple(number for number in one if number in other) or NOT_OURS


def networks(text: str) -> tuple[IPv4Network, ...]:
    """`a.b.c.d`, `a.b.c.d/len`, `a.b.c.d/mask` or `a.b.c.d-e.f.g.h` as networks; ValueError for anything else."""
    low, dash, high = text.partition("-")
    if dash:
        return tuple(summarize_address_range(IPv4Address(low.strip()), IPv4Address(high.strip())))
    return (IPv4Network(text, strict=False),)


def port_range(text: str, separator: str) -> PortRange:
    """`80` or `80:90` (with `separator` between) as a range; ValueError for anything else, names included."""
    low, found, high = text.partition(separator)
    answer = PortRange(int(low), int(high) if found else int(low))
    if not 0 <= answer.low <= answer.high <= 65535:
        raise ValueError(f"not a port range: {text}")
    return answer
