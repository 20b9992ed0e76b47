"""What exists when sipalg starts becomes the engine's: port forwards, mappings in our maps, flows in conntrack.

Before the first packet. A phone that registered through plain NAT, or through an earlier process, keeps the public
address that the world knows it by. The administrator's port forwards come first, then what our own table holds, then
what conntrack translates; what contradicts something earlier is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NamedTuple

from sipalg.datapath.addresses import Address, Interface
from sipalg.datapath.admin_rules import AdminRules
from sipalg.datapath.ctnetlink import SOURCE_NAT, Entry
from sipalg.datapath.nft_table import Elements, StandingMapping
from sipalg.engine.verdict import UDP, CloseMapping, Endpoint, Mapping


class StandingFlow(NamedTuple):
    """A signalling flow that conntrack has: its mapping, and the server."""

    mapping: Mapping
    remote: Endpoint


class InsideNetworks:
    """Which inside interface an address is behind."""

    def __init__(self, names: Sequence[str], interfaces: Iterable[Interface], addresses: Iterable[Address]) -> None:
        by_number = {interface.number: interface.name for interface in interfaces}
        self._networks: list[tuple[IPv4Network, str]] = [
            (IPv4Interface(f"{address.host}/{address.prefix_length}").network, by_number[address.interface])
            for address in addresses
            if by_number.get(address.interface) in names
        ]

    def interface_of(self, host: str) -> str:
        """Return the name of the interface with the host's network; "" for a host behind another router, or none."""
        address = IPv4Address(host)
        found = [(network.prefixlen, name) for network, name in self._networks if address in network]
        return max(found)[1] if found else ""


def forwards(rules: AdminRules, nat_address: str, ports: Sequence[int]) -> Iterator[Mapping]:
    """Yield the administrator's port forwards on `nat_address` as mappings.

    One to or from a SIP port is for signalling; others may be a PBX's media, and mustn't bring that into the queue.
    """
    for forward in rules.forwards:
        if forward.protocol == UDP and forward.public.host in ("", nat_address):
            public = Endpoint(nat_address, forward.public.port)
            signalling = forward.private.port in ports or public.port in ports
            yield Mapping(UDP, forward.private, public, "sip" if signalling else "media", adopted=True)


def keepable(standing: Elements, nat_address: str, adopted: Iterable[Mapping]) -> list[StandingMapping]:
    """Return what of our maps still is true: mappings of this address, and adopted ones that are still forwarded."""
    still = {(mapping.private, mapping.public) for mapping in adopted}
    return [
        one
        for one in standing.mappings
        if one.mapping.public.host == nat_address
        and (not one.mapping.adopted or (one.mapping.private, one.mapping.public) in still)
    ]


def closing(standing: Elements, kept: Iterable[StandingMapping]) -> list[CloseMapping]:
    """Return the commands that take the rest out of the maps."""
    keep = {one.mapping for one in kept}
    return [CloseMapping(one.mapping) for one in standing.mappings if one.mapping not in keep]


def signalling_flows(
    entries: Iterable[Entry], nat_address: str, ports: Sequence[int], exempt: Sequence[IPv4Network]
) -> Iterator[StandingFlow]:
    """Yield the translated flows from inside to a SIP port, as conntrack has them."""
    for entry in entries:
        remote = entry.original_destination
        if (
            entry.protocol == UDP
            and entry.status & SOURCE_NAT
            and entry.reply_destination.host == nat_address
            and entry.original_source.host != nat_address
            and remote.port in ports
            and not any(IPv4Address(remote.host) in network for network in exempt)
        ):
            yield StandingFlow(Mapping(UDP, entry.original_source, entry.reply_destination, "sip"), remote)
