"""Conclusions from the administrator's chains: what they forward, translate, exempt and let in. Pure.

Off a packet's way: `admin_rules` reads the rule set and asks here. Each conclusion errs to one side on purpose. A port
counts as taken if a rule might take it; a forward, an exemption or "lets in" counts only if the rule can't mean less.
What lies between is listed as unevaluable, for a person to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Final, Literal, NamedTuple

from sipalg.datapath.admin_ipv6 import AS_IT_IS, Ipv6Nat
from sipalg.datapath.admin_model import (
    ALL_PORTS,
    Chain,
    ChainKey,
    FlowTable,
    PortRange,
    Rule,
    Unevaluable,
    both_protocols,
    interface_matches,
)
from sipalg.datapath.admin_outbound import ClosedWay, closed_ways
from sipalg.engine.verdict import TCP, UDP, Endpoint

#: A port forward of a range is listed port by port up to this many; a wider one only as ports that are taken.
_MOST_FORWARDS_OF_A_RULE: Final = 1024
_DEEPEST_JUMP: Final = 16

LetsIn = Literal["yes", "no", "unknown"]


class PortForward(NamedTuple):
    """`public` on the router is `private` inside. `public.host` "" is any address of the router."""

    protocol: int
    public: Endpoint
    private: Endpoint
    where: str


class TakenPorts(NamedTuple):
    """Ports that a destination NAT rule takes from everybody else, on addresses in `networks` (empty: on any)."""

    protocol: int
    networks: tuple[IPv4Network, ...]
    ports: PortRange
    where: str

    def on(self, address: str) -> bool:
        """Tell whether the rule takes them on this address; on "", one that isn't known yet, it may."""
        return not self.networks or not address or any(IPv4Address(address) in n for n in self.networks)


class Exemption(NamedTuple):
    """A network that packets to it from `sources` (empty: anybody) leave untranslated."""

    destination: IPv4Network
    sources: tuple[IPv4Network, ...]
    where: str


class SourceNat(NamedTuple):
    """A rule that may translate phones' packets: to `host` ("": the interface's own address; None: it depends).

    `sources` empty is anybody; `always`: it translates all that comes to it.
    """

    host: str | None
    sources: tuple[IPv4Network, ...]
    always: bool
    where: str


class SipHelper(NamedTuple):
    """A rule that gives flows to the kernel's own SIP helper; `ports` empty is all."""

    ports: tuple[PortRange, ...]
    where: str


@dataclass(frozen=True, slots=True)
class AdminRules:
    """What the rule set says, as far as it concerns flows through one outside interface."""

    forwards: tuple[PortForward, ...] = ()
    taken: tuple[TakenPorts, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    #: Where the rules are that translate what leaves through the outside interface; without any there is no NAT.
    source_nat: tuple[str, ...] = ()
    #: Those of them that phones' packets may meet, in their order, up to one that translates always.
    source_nats: tuple[SourceNat, ...] = ()
    flow_tables: tuple[FlowTable, ...] = ()
    sip_helpers: tuple[SipHelper, ...] = ()
    #: drop if any chain on the forward hook drops what no rule accepts.
    forward_policy: Literal["accept", "drop"] = "accept"
    #: Does the firewall let in what destination NAT asked for? Needed for media from where no SDP says.
    dnat_accepted: LetsIn = "yes"
    #: The chains that don't, or perhaps don't: program or family, table, name.
    closed_chains: tuple[ChainKey, ...] = ()
    #: The chains that let no SIP out from an inside interface, as far as that is certain.
    closed_ways: tuple[ClosedWay, ...] = ()
    #: Where the rules are that name an inside interface as the one to translate on.
    inside_source_nat: tuple[str, ...] = ()
    unevaluable: tuple[Unevaluable, ...] = ()
    #: What they do to IPv6.
    ipv6: Ipv6Nat = AS_IT_IS


class _Step(NamedTuple):
    """A rule as reached through jumps: its conditions and those on the way; the chain that it stands in."""

    rule: Rule
    chain: ChainKey
    depth: int


class _SourceStep(NamedTuple):
    base: ChainKey
    place: int
    step: _Step


class Conclusions:
    """Reads chains for one outside interface; `inside` are the interfaces that phones are behind, where known.

    `ports` are the SIP servers'.
    """

    def __init__(
        self, chains: dict[ChainKey, Chain], outside: str, inside: Sequence[str] = (), ports: Collection[int] = ()
    ) -> None:
        self._chains = chains
        self._outside = outside
        self._inside = tuple(inside)
        self._ports = ports
        self._unevaluable: list[Unevaluable] = []

    def draw(
        self,
        flow_tables: Sequence[FlowTable] = (),
        helpers: Sequence[SipHelper] = (),
        unevaluable: Sequence[Unevaluable] = (),
    ) -> AdminRules:
        """Return everything; the arguments are what is known already and goes through as it is."""
        taken, forwards = self._destination_nat()
        source_nat = list(self._source_nat())
        exemptions = tuple(self._exemptions(source_nat))
        lets_in = {chain.key: self._lets_in(chain) for chain in self._hooked("forward", "filter")}
        closed = {key: said for key, said in lets_in.items() if said != "yes"}
        policies = {chain.policy for chain in self._hooked("forward", "filter")}
        return AdminRules(
            forwards=tuple(forwards),
            taken=tuple(taken),
            exemptions=exemptions,
            source_nat=tuple(found.step.rule.where for found in source_nat),
            source_nats=tuple(self._source_nats(found.step.rule for found in source_nat)),
            flow_tables=tuple(flow_tables),
            sip_helpers=(*helpers, *self._helpers()),
            forward_policy="drop" if "drop" in policies else "accept",
            dnat_accepted="no" if "no" in closed.values() else "unknown" if closed else "yes",
            closed_chains=tuple(closed),
            closed_ways=tuple(closed_ways(self._chains, self._inside, self._outside, self._ports)),
            inside_source_nat=tuple(self._inside_source_nat()),
            unevaluable=(*unevaluable, *dict.fromkeys(self._unevaluable)),
        )

    def _hooked(self, hook: str, kind: str) -> list[Chain]:
        found = [chain for chain in self._chains.values() if chain.hook == hook and chain.kind == kind]
        return sorted(found, key=lambda chain: chain.priority)

    def _walk(self, chain: Chain, conditions: Rule | None = None, depth: int = 0) -> Iterator[_Step]:
        """Yield a base chain's rules in the order that a packet meets them, those of chains jumped to included."""
        for own in chain.rules:
            rule = own if conditions is None else _joined(conditions, own)
            if rule.action in ("jump", "goto"):
                target = self._chains.get((*chain.key[:2], rule.target))
                if target is not None and depth < _DEEPEST_JUMP:
                    yield from self._walk(target, rule, depth + 1)
                    continue
            yield _Step(rule, chain.key, depth)

    # Inbound: destination NAT.

    def _destination_nat(self) -> tuple[list[TakenPorts], list[PortForward]]:
        taken: list[TakenPorts] = []
        forwards: list[PortForward] = []
        for chain in self._hooked("prerouting", "nat"):
            for rule, _, _ in self._walk(chain):
                protocols = [number for number in rule.protocols or (UDP, TCP) if number in (UDP, TCP)]
                if not protocols:
                    continue
                if rule.action == "other" and self._concerns_outside(rule):
                    self._note(rule, "a verdict map; name the ports that it may forward in reserved-ports")
                # In a prerouting chain an action that translates sources is iptables' NETMAP, which does both.
                if rule.action not in ("dnat", "snat") or not self._concerns_outside(rule):
                    continue
                if not rule.ports and (rule.other or rule.nat is None):
                    self._note(rule, "destination NAT of ports that depend on the packet; name them in reserved-ports")
                    continue
                ranges = rule.ports or (ALL_PORTS,)
                taken += [TakenPorts(p, rule.destinations, r, rule.where) for p in protocols for r in ranges]
                forwards += self._forwards(rule, protocols, ranges)
        return taken, forwards

    def _concerns_outside(self, rule: Rule) -> bool:
        """Tell whether packets from outside, or hairpin ones to the router's named address, can meet the rule."""
        return self._from_outside(rule) or bool(rule.destinations)

    def _from_outside(self, rule: Rule) -> bool:
        if any(interface_matches(i, self._outside) for i in rule.not_in_interfaces):
            return False
        return not rule.in_interfaces or any(interface_matches(i, self._outside) for i in rule.in_interfaces)

    def _to_outside(self, rule: Rule) -> bool:
        return not rule.out_interfaces or any(interface_matches(i, self._outside) for i in rule.out_interfaces)

    def _forwards(self, rule: Rule, protocols: Sequence[int], ranges: Sequence[PortRange]) -> list[PortForward]:
        if (rule.nat is not None and not rule.nat.host) or not self._from_outside(rule):
            return []
        ports = [port for low, high in ranges for port in range(low, high + 1)]
        hosts = [str(n.network_address) for n in rule.destinations if n.prefixlen == 32] or [""]
        target = None if rule.nat is None else rule.nat.ports
        if [target] == [*ranges]:
            # A port that is in the range already is kept (get_unique_tuple in net/netfilter/nf_nat_core.c).
            target = None
        if (
            rule.nat is None
            or rule.other
            or rule.sources
            or rule.not_destinations
            or len(hosts) != max(len(rule.destinations), 1)
            or len(ports) > _MOST_FORWARDS_OF_A_RULE
            or (target is not None and (len(ports) > 1 or target.low != target.high))
        ):
            if UDP in protocols:
                self._note(rule, "forwards ports in a way that can't be taken over as mappings; they count as taken")
            return []
        private = rule.nat.host
        return [
            PortForward(
                protocol, Endpoint(host, port), Endpoint(private, port if target is None else target.low), rule.where
            )
            for protocol in protocols
            for host in hosts
            for port in ports
        ]

    # Outbound: source NAT and what is exempt from it.

    def _source_nat(self) -> Iterator[_SourceStep]:
        for chain in self._hooked("postrouting", "nat"):
            for place, step in enumerate(self._walk(chain)):
                if step.rule.action == "snat" and self._to_outside(step.rule) and _may_be_udp(step.rule):
                    yield _SourceStep(chain.key, place, step)

    def _source_nats(self, rules: Iterable[Rule]) -> Iterator[SourceNat]:
        for rule in rules:
            named = (interface_matches(pattern, name) for pattern in rule.in_interfaces for name in self._inside)
            if rule.in_interfaces and self._inside and not any(named):
                continue
            in_it = (low <= port <= high for low, high in rule.ports for port in self._ports)
            if rule.ports and self._ports and not any(in_it):
                continue
            asks = rule.in_interfaces or rule.not_in_interfaces or rule.sources or rule.destinations or rule.ports
            always = not (asks or rule.connection_states or rule.dnat_status or rule.ipsec or rule.other)
            yield SourceNat(None if rule.nat is None else rule.nat.host, rule.sources, always, rule.where)
            if always:
                return

    def _inside_source_nat(self) -> Iterator[str]:
        for chain in self._hooked("postrouting", "nat"):
            for rule, _, _ in self._walk(chain):
                named = any(interface_matches(o, name) for o in rule.out_interfaces for name in self._inside)
                if rule.action == "snat" and named and not self._to_outside(rule):
                    yield rule.where

    def _exemptions(self, source_nat: Sequence[_SourceStep]) -> Iterator[Exemption]:
        for found in source_nat:
            rule = found.step.rule
            rivals = [other for other in source_nat if other is not found and _share_sources(other.step.rule, rule)]
            if rule.not_destinations and not rivals and not rule.other:
                yield from (Exemption(network, rule.sources, rule.where) for network in rule.not_destinations)
        for chain in self._hooked("postrouting", "nat"):
            for place, step in enumerate(self._walk(chain)):
                yield from self._exempt_step(chain.key, place, step, source_nat)

    def _exempt_step(
        self, base: ChainKey, place: int, step: _Step, source_nat: Sequence[_SourceStep]
    ) -> Iterator[Exemption]:
        rule = step.rule
        if rule.action not in ("accept", "return", "other") or rule.ipsec or not _may_be_udp(rule):
            return
        concerned = [found for found in source_nat if _share_sources(found.step.rule, rule)]
        # "accept" ends the whole base chain, "return" from a chain that was jumped to only that one.
        whole = rule.action != "return" or step.depth == 0
        saved = [f for f in concerned if f.base == base and f.place > place and (whole or f.step.chain == step.chain)]
        if not self._to_outside(rule) or not saved:
            return
        narrow = rule.other or rule.ports or rule.protocols or rule.in_interfaces or rule.not_in_interfaces
        if narrow or not rule.destinations or rule.not_destinations:
            self._note(rule, "spares flows source NAT, not by destination alone; name networks with --except")
        elif len(saved) != len(concerned):
            self._note(rule, "spares flows source NAT that another rule translates; see which one wins")
        else:
            yield from (Exemption(network, rule.sources, rule.where) for network in rule.destinations)

    # The filter.

    def _lets_in(self, chain: Chain) -> LetsIn:
        """Tell whether a chain on the forward hook lets a new flow in that destination NAT asked for."""
        doubt = False
        for rule, _, depth in self._walk(chain):
            if (
                not self._from_outside(rule)
                or not _may_be_udp(rule)
                or (rule.connection_states and "new" not in rule.connection_states)
                or not self._to_inside(rule)
            ):
                continue
            sure = not (rule.other or rule.sources or rule.destinations or rule.not_destinations or rule.ports)
            if rule.action == "other":
                doubt = True
            elif not sure:
                doubt = doubt or (rule.action == "accept" and rule.dnat_status)
            elif rule.action == "accept":
                return "yes"
            elif rule.action == "drop":
                return "unknown" if doubt else "no"
            elif rule.action == "return" and depth == 0:
                break
        if doubt:
            return "unknown"
        return "no" if chain.policy == "drop" else "yes"

    def _to_inside(self, rule: Rule) -> bool:
        if not rule.out_interfaces or not self._inside:
            return True
        return all(any(interface_matches(o, name) for o in rule.out_interfaces) for name in self._inside)

    def _helpers(self) -> Iterator[SipHelper]:
        for chain in self._chains.values():
            if chain.hook:
                for rule, _, _ in self._walk(chain):
                    if rule.action == "helper" and rule.target.startswith("sip"):
                        yield SipHelper(rule.ports, rule.where)

    def _note(self, rule: Rule, what: str) -> None:
        self._unevaluable.append(Unevaluable(rule.where, what))


def _may_be_udp(rule: Rule) -> bool:
    return not rule.protocols or UDP in rule.protocols


def _share_sources(one: Rule, other: Rule) -> bool:
    if not one.sources or not other.sources:
        return True
    return any(a.overlaps(b) for a in one.sources for b in other.sources)


def _joined(outer: Rule, inner: Rule) -> Rule:
    """Return `inner` with the conditions of the jump that led to it; two on one field aren't intersected."""
    unclear = any(
        before and own and before != own for before, own in zip(outer.conditions, inner.conditions, strict=True)
    )
    return replace(
        inner,
        protocols=both_protocols(outer.protocols, inner.protocols),
        in_interfaces=inner.in_interfaces or outer.in_interfaces,
        not_in_interfaces=inner.not_in_interfaces or outer.not_in_interfaces,
        out_interfaces=inner.out_interfaces or outer.out_interfaces,
        sources=inner.sources or outer.sources,
        destinations=inner.destinations or outer.destinations,
        not_destinations=inner.not_destinations or outer.not_destinations,
        ports=inner.ports or outer.ports,
        connection_states=inner.connection_states or outer.connection_states,
        dnat_status=inner.dnat_status or outer.dnat_status,
        ipsec=inner.ipsec or outer.ipsec,
        other=inner.other or outer.other or unclear,
    )
