"""What exists when sipalg starts becomes the engine's: port forwards, mappings in our maps, flows in conntrack.

Before the first packet. A phone that registered through plain NAT, or through an earlier process, keeps the public
address that the world knows it by. The administrator's port forwards come first, then what our own table holds, then
what conntrack translates; what contradicts something earlier is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from ipaddress import IPv4Network
from operator import itemgetter
from socket import AF_INET6, inet_aton, inet_pton
from typing import Final, NamedTuple

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, Network, in_networks
from sipalg.codec.machine import new
from sipalg.datapath.addresses import Address, Interface
from sipalg.datapath.admin_rules import AdminRules
from sipalg.datapath.ctnetlink import DESTINATION_NAT, SOURCE_NAT, Tracked
from sipalg.datapath.nft_elements import Elements, StandingMapping, StandingPeer
from sipalg.engine.existing import Restored
from sipalg.engine.outside import nat_host
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import TCP, UDP, CloseMapping, DismissPeer, Endpoint, Flow, Mapping

#: A protocol and a public address with its port.
PublicEnd = tuple[int, Endpoint]

#: How long a media mapping of an earlier process lives if conntrack has no flow of it.
_UNUSED_MEDIA_S: Final = 600.0


class StandingFlow(NamedTuple):
    """A signalling flow that conntrack has: its mapping, the far end, and whether the phone chose that one.

    `known` says that the mapping was there before, `left_s` how long the flow lives unrefreshed.
    """

    mapping: Mapping
    remote: Endpoint
    chosen: bool
    known: bool
    left_s: float


class InsideNetworks:
    """Which inside interface an address is behind."""

    def __init__(self, names: Sequence[str], interfaces: Iterable[Interface], addresses: Iterable[Address]) -> None:
        by_number = {interface.number: interface.name for interface in interfaces}
        found = [
            (_number(address.host), address.prefix_length, by_number[address.interface])
            for address in addresses
            if by_number.get(address.interface) in names
        ]
        #: By family: how far an address is to be shifted, what is left then, and the interface; longest prefix first.
        self._networks: dict[bool, list[tuple[int, int, str]]] = {False: [], True: []}
        for (ipv6, number), prefix_length, name in sorted(found, key=itemgetter(1, 2), reverse=True):
            shift = (128 if ipv6 else 32) - prefix_length
            self._networks[ipv6].append((shift, number >> shift, name))

    def interface_of(self, host: str) -> str:
        """Return the name of the interface with the host's network; "" for a host behind another router, or none."""
        ipv6, number = _number(host)
        for shift, network, name in self._networks[ipv6]:
            if number >> shift == network:
                return name
        return ""


def _number(host: str) -> tuple[bool, int]:
    """Return whether an IP literal is IPv6, and its number."""
    ipv6 = ":" in host
    packed = inet_pton(AF_INET6, host) if ipv6 else inet_aton(host)
    return ipv6, int.from_bytes(packed, "big")


def forwards(rules: AdminRules, nat_address: str, ports: Sequence[int]) -> Iterator[Mapping]:
    """Yield the administrator's port forwards on `nat_address` as mappings.

    One to or from a SIP port is for signalling; others may be a PBX's media, and mustn't bring that into the queue.
    Of TCP only those for signalling count. A port that is forwarded twice goes where the first rule says; a host that
    has two gets messages with the first.
    """
    known: set[PublicEnd] = set()
    for forward in rules.forwards if nat_address else ():
        protocol, private = forward.protocol, forward.private
        public = Endpoint(nat_address, forward.public.port)
        signalling = private.port in ports or public.port in ports
        ends = ((protocol, public), (protocol, private))
        if (
            (protocol == UDP or (protocol == TCP and signalling))
            and forward.public.host in ("", nat_address)
            and not known.intersection(ends)
        ):
            known.update(ends)
            yield Mapping(protocol, private, public, "sip" if signalling else "media", adopted=True)


def exempt_networks(rules: AdminRules) -> tuple[IPv4Network, ...]:
    """Return the networks that the administrator's rules don't translate packets to, wherever these come from."""
    return tuple(dict.fromkeys(one.destination for one in rules.exemptions if not one.sources))


def keepable(standing: Elements, settings: Settings, adopted: Iterable[Mapping]) -> list[StandingMapping]:
    """Return what of our maps still is true: mappings of this address, and adopted ones that are still forwarded.

    One without an end in time was written by somebody else.
    """
    still = {(mapping.protocol, mapping.private, mapping.public) for mapping in adopted}
    return [
        one
        for one in standing.mappings
        if one.mapping.public.host == nat_host(settings, one.mapping.private.host) != ""
        and math.isfinite(one.timeout_s)
        and (not one.mapping.adopted or one.mapping[:3] in still)
    ]


def closing(standing: Elements, kept: Iterable[StandingMapping]) -> list[CloseMapping | DismissPeer]:
    """Return the commands that take the rest out of the maps, with the peers that were let in to it."""
    keep = {one.mapping for one in kept}
    ending = [one.mapping for one in standing.mappings if one.mapping not in keep]
    peers = peers_of(standing.peers) if ending else {}
    commands: list[CloseMapping | DismissPeer] = []
    for mapping in ending:
        commands += [DismissPeer(mapping, peer) for peer in peers.get((mapping.protocol, mapping.public), ())]
        commands.append(CloseMapping(mapping))
    return commands


def peers_of(standing: Iterable[StandingPeer]) -> dict[PublicEnd, tuple[str, ...]]:
    """Return the addresses that are let in, by protocol and public end."""
    peers: dict[PublicEnd, tuple[str, ...]] = {}
    #: Most have one, and all the same.
    alone: dict[str, tuple[str, ...]] = {}
    for protocol, public, peer, _ in standing:
        end = (protocol, public)
        before = peers.get(end)
        if before is None:
            peers[end] = alone.setdefault(peer, (peer,))
        else:
            peers[end] = (*before, peer)
    return peers


def admitted(standing: Iterable[StandingPeer], kept: Iterable[StandingMapping]) -> dict[tuple[Mapping, str], float]:
    """Return who is let in to the mappings that are kept, and for how many seconds more."""
    by_public = {(one.mapping.protocol, one.mapping.public): one.mapping for one in kept}
    found = {}
    for protocol, public, peer, left_s in standing:
        mapping = by_public.get((protocol, public))
        if mapping is not None:
            found[mapping, peer] = left_s
    return found


def restored(
    kept: Iterable[StandingMapping],
    peers: dict[PublicEnd, tuple[str, ...]],
    used: Collection[Endpoint],
    inside: InsideNetworks,
    sip_timeout_s: float,
) -> Iterator[Restored]:
    """Yield what the engine is to take note of, for as long as it lives if nobody takes hold of it.

    `used` are the private ends of media flows that conntrack has: no mapping of theirs ends before its element does.
    """
    for mapping, left_s in kept:
        idle_s = sip_timeout_s
        if mapping.purpose == "media":
            idle_s = left_s if mapping.private in used else _UNUSED_MEDIA_S
        interface = inside.interface_of(mapping.private.host)
        let_in = peers.get((mapping.protocol, mapping.public), ())
        yield new(Restored, (mapping, min(left_s, idle_s), interface, let_in))


def signalling_flows(
    entries: Iterable[Tracked],
    nat_address: str,
    ports: Sequence[int],
    exempt: tuple[Network, ...],
    is_known: Callable[[Endpoint, Endpoint], bool],
) -> Iterator[StandingFlow]:
    """Yield the translated flows from inside to a SIP port, and those of `known` mappings, as conntrack has them.

    Mappings for signalling are known by private and public end: their flows may be with any port, and may have been
    opened from outside. Privileged ports are no phone's, and never become a public port of ours. Flows between phones
    by public addresses are left out: they have two mappings.
    """
    for entry in entries:
        translated = entry.status & (SOURCE_NAT | DESTINATION_NAT)
        if translated == SOURCE_NAT:
            private, public, remote = entry.original_source, entry.reply_destination, entry.original_destination
        elif translated == DESTINATION_NAT:
            private, public, remote = entry.reply_source, entry.original_destination, entry.original_source
        else:
            continue
        chosen = translated == SOURCE_NAT and remote.port in ports
        if entry.protocol != UDP or public.host != nat_address or private.host == nat_address:
            continue
        known = is_known(private, public)
        if (
            (chosen or known)
            and min(private.port, public.port) >= FIRST_UNPRIVILEGED_PORT
            and not in_networks(remote.host, exempt)
        ):
            mapping = new(Mapping, (UDP, private, public, "sip", False))
            yield new(StandingFlow, (mapping, remote, chosen, known, entry.timeout_s))


def media_flows(entries: Iterable[Tracked], kept: Iterable[StandingMapping]) -> list[Flow]:
    """Return the flows of the media mappings that are kept, as conntrack has them: calls that go on, or just ended."""
    media = {(one.mapping.private, one.mapping.public) for one in kept if one.mapping.purpose != "sip"}
    return [
        Flow(UDP, entry.original_source, entry.reply_destination, entry.original_destination)
        for entry in entries
        if entry.protocol == UDP
        and (entry.status & SOURCE_NAT or ":" in entry.original_source.host)
        and (entry.original_source, entry.reply_destination) in media
    ]


def stranded(
    entries: Iterable[Tracked], router: Collection[str], ports: Sequence[int], former: Iterable[Mapping]
) -> list[Tracked]:
    """Return the SIP flows, and those of `former` mappings, that are translated to an address of the router no more.

    It changed while nobody looked. The phone's next packets would go on to leave as the old address, for as long as
    they keep the flow alive, and no answer would come back. `router` are the addresses that the router has.
    """
    mapped = {(mapping.private, mapping.public) for mapping in former}
    found = []
    for entry in entries:
        if entry.protocol != UDP:
            continue
        if entry.status & SOURCE_NAT:
            public, private, remote = entry.reply_destination, entry.original_source, entry.original_destination
        elif entry.status & DESTINATION_NAT:
            public, private, remote = entry.original_destination, entry.reply_source, entry.original_source
        else:
            continue
        if public.host not in router and (remote.port in ports or (private, public) in mapped):
            found.append(entry)
    return found
