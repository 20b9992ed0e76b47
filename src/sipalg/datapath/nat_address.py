"""The address that SIP and media leave by: what the administrator's own NAT would use, as far as its rules tell.

Asked at start, and when addresses, rules or settings change; never on a packet's way. `public` wins where it names an
address of the outside interface. Then comes what a `snat` rule names, then the interface's first address, which
masquerading takes. Where rules say several things, the way out of doubt is for the administrator to choose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from socket import AF_INET6
from typing import Final, NamedTuple

from sipalg.datapath import addresses
from sipalg.datapath.addresses import Address, choose_primary
from sipalg.datapath.admin_conclusions import AdminRules, SourceNat
from sipalg.datapath.admin_ipv6 import Ipv6Nat
from sipalg.engine.settings import Ipv6

#: Does the router forward IPv6 at all? As of the calling thread's network namespace.
_FORWARDING: Final = Path("/proc/sys/net/ipv6/conf/all/forwarding")


class NatAddress(NamedTuple):
    """The address, "" where the outside interface has none; `others` are rules that use another, or may."""

    host: str
    others: tuple[SourceNat, ...] = ()


def find(outside: str, inside: Sequence[str], public: str | None, rules: AdminRules | None) -> NatAddress:
    """Return what these settings and rules (None: they can't be read) make it now. Raises NetlinkError."""
    numbers = {interface.name: interface.number for interface in addresses.interfaces().values()}
    own = addresses.addresses()
    ours = [address for address in own if address.interface == numbers.get(outside)]
    within = {numbers.get(name) for name in inside}
    networks = [_network(address) for address in own if address.interface in within]
    return choose(ours, networks, public, () if rules is None else rules.source_nats)


def find_ipv6(
    outside: str, public: str | None, rules: AdminRules | None, forwarding: Path = _FORWARDING
) -> Ipv6 | None:
    """Return how IPv6 leaves through the outside interface; None where the router doesn't forward it.

    `public` is as for IPv4: one of the interface's addresses is what the NAT uses, any other one what is written in
    its place. Raises NetlinkError.
    """
    try:
        forwards = forwarding.read_text().strip() != "0"
    except OSError:
        forwards = False
    if not forwards:
        return None
    number = next((one.number for one in addresses.interfaces().values() if one.name == outside), None)
    own = [address for address in addresses.addresses(AF_INET6) if address.interface == number]
    return choose_ipv6(own, public, Ipv6Nat() if rules is None else rules.ipv6)


def choose_ipv6(outside: Sequence[Address], public: str | None, rules: Ipv6Nat) -> Ipv6 | None:
    """Choose as `find_ipv6` does; None also where the rules want an address and there is none yet."""
    if rules.address is None:
        return Ipv6(prefixes=rules.prefixes)
    own = public if any(address.host == public for address in outside) else None
    host = own or rules.address or choose_primary(outside)
    return Ipv6(host, public or host, rules.sources, rules.prefixes) if host else None


def choose(
    outside: Sequence[Address], inside: Sequence[IPv4Network], public: str | None, rules: Sequence[SourceNat]
) -> NatAddress:
    """Choose among the outside interface's addresses, and what the rules name; `inside` are the phones' networks."""
    primary = choose_primary(outside)
    if not primary or any(address.host == public for address in outside):
        return NatAddress(public if primary and public else primary)
    # A rule for others, such as containers, says nothing of phones; unless all are behind routers of the inside.
    ours = [rule for rule in rules if _concerns(rule, inside)] or list(rules)
    hosts = [primary if rule.host == "" else rule.host for rule in ours]
    chosen = primary
    if hosts and hosts[-1] and (ours[-1].always or len(set(hosts)) == 1):
        chosen = hosts[-1]
    return NatAddress(chosen, tuple(rule for rule, host in zip(ours, hosts, strict=True) if host != chosen))


def in_words(outside: str, found: NatAddress) -> Iterator[str]:
    """Yield a line for each rule by which the administrator's NAT uses another address, or may."""
    for rule in found.others:
        to = rule.host or f"{outside}'s first address"
        if rule.host is None:
            to = "an address that depends on the packet"
        yield (
            f"{rule.where}: translates to {to}, but SIP and media leave from {found.host}, whoever sends them; if "
            f"that is wrong, name one of {outside}'s addresses as public (--public)"
        )


def _concerns(rule: SourceNat, inside: Sequence[IPv4Network]) -> bool:
    return not rule.sources or any(source.overlaps(network) for source in rule.sources for network in inside)


def _network(address: Address) -> IPv4Network:
    return IPv4Interface(f"{address.host}/{address.prefix_length}").network
