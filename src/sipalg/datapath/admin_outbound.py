"""Do the administrator's forward chains let a phone's first packet out? Told from the rules, erring to "yes". Pure.

Off a packet's way, see `admin_conclusions`. The question is one packet's: UDP, of a new flow, from an inside interface
through the outside one to a SIP port. What its addresses are isn't known, so that a rule which asks for them may hold
or not: a rule that perhaps accepts counts as accepting, and only one that certainly drops as dropping.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from sipalg.datapath.admin_model import Chain, ChainKey, Rule, interface_matches
from sipalg.engine.verdict import UDP

_DEEPEST_JUMP: Final = 16


class ClosedWay(NamedTuple):
    """A chain that lets nothing out from an inside interface to any of the SIP ports."""

    interface: str
    chain: ChainKey


class _Outcome(Enum):
    ACCEPTED = "perhaps or certainly"
    DROPPED = "certainly"
    ON = "back to where it came from, perhaps or certainly"


class _Packet(NamedTuple):
    inside: str
    outside: str
    port: int


def closed_ways(
    chains: Mapping[ChainKey, Chain], inside: Sequence[str], outside: str, ports: Collection[int]
) -> Iterator[ClosedWay]:
    """Yield the forward chains that certainly drop what comes from an inside interface for each of the SIP ports."""
    for chain in chains.values():
        if chain.hook == "forward" and chain.kind == "filter":
            for name in inside:
                if ports and all(_drops(chains, chain, _Packet(name, outside, port)) for port in ports):
                    yield ClosedWay(name, chain.key)


def _drops(chains: Mapping[ChainKey, Chain], base: Chain, packet: _Packet) -> bool:
    outcome = _through(chains, base, packet, 0)
    return outcome is _Outcome.DROPPED or (outcome is _Outcome.ON and base.policy == "drop")


def _through(chains: Mapping[ChainKey, Chain], chain: Chain, packet: _Packet, depth: int) -> _Outcome:
    """Return what becomes of the packet in a chain."""
    may_have_left = False
    for rule in chain.rules:
        if not _may_hold(rule, packet):
            continue
        outcome = _verdict(chains, chain, rule, packet, depth)
        if outcome is _Outcome.ACCEPTED:
            return outcome
        if outcome is None:
            continue
        if not _holds(rule):
            may_have_left = may_have_left or outcome is _Outcome.ON
        elif outcome is _Outcome.DROPPED and not may_have_left:
            return outcome
        else:
            return _Outcome.ON
    return _Outcome.ON


def _verdict(
    chains: Mapping[ChainKey, Chain], chain: Chain, rule: Rule, packet: _Packet, depth: int
) -> _Outcome | None:
    """Return what a rule that holds does; None where the next rule is next."""
    if rule.action in ("jump", "goto"):
        target = chains.get((*chain.key[:2], rule.target))
        if target is None or depth >= _DEEPEST_JUMP:
            return _Outcome.ACCEPTED
        outcome = _through(chains, target, packet, depth + 1)
        # What a jump leads into comes back here, what a goto leads into doesn't.
        return None if outcome is _Outcome.ON and rule.action == "jump" else outcome
    if rule.action in ("accept", "other"):
        return _Outcome.ACCEPTED
    return {"drop": _Outcome.DROPPED, "return": _Outcome.ON}.get(rule.action)


def _may_hold(rule: Rule, packet: _Packet) -> bool:
    """Tell whether all conditions may hold for the packet. Nothing that goes out was sent elsewhere by the router."""
    return (
        (not rule.protocols or UDP in rule.protocols)
        and (not rule.in_interfaces or any(interface_matches(name, packet.inside) for name in rule.in_interfaces))
        and not any(interface_matches(name, packet.inside) for name in rule.not_in_interfaces)
        and (not rule.out_interfaces or any(interface_matches(name, packet.outside) for name in rule.out_interfaces))
        and (not rule.connection_states or "new" in rule.connection_states)
        and (not rule.ports or any(low <= packet.port <= high for low, high in rule.ports))
        and not rule.dnat_status
    )


def _holds(rule: Rule) -> bool:
    """Tell of a rule that may hold whether it certainly does."""
    return not (rule.other or rule.ipsec or rule.sources or rule.destinations or rule.not_destinations)
