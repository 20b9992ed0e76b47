"""What an administrator may decide, as the engine needs it: one frozen value, checked before it gets here.

The engine reads these and nothing else: no file, no environment. Names in the comments are the users' words
(RouterOS's, where it has one). On a packet's way they are asked at every step and changed at none.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Literal

from sipalg.codec.address import Network


@dataclass(frozen=True, slots=True)
class Ipv6:
    """How the router sends IPv6 out: translated to one address, by prefix, or, most often, as it came.

    What is sent as it came keeps its address and port, so that nothing of its messages is edited; the firewall is
    opened for it all the same.
    """

    #: The address that the kernel's NAT uses for all that no prefix translates, "" where it isn't translated.
    nat_address: str = ""
    #: The address that is written in its place; the same, but for a 1:1 NAT before this router.
    advertised_address: str = ""
    #: The inside networks that are translated to that address; empty: all of them.
    sources: tuple[IPv6Network, ...] = ()
    #: Inside prefixes and the outside ones of the same length that they are translated to, ports unchanged (NPTv6).
    prefixes: tuple[tuple[IPv6Network, IPv6Network], ...] = ()

    def public_host(self, private: str) -> str:
        """The address that an inside host's packets leave from."""
        if not self.prefixes and not self.sources:
            return self.nat_address or private
        address = IPv6Address(private)
        for inside, outside in self.prefixes:
            if address in inside:
                within = int(address) & int(inside.hostmask)
                return IPv6Address(int(outside.network_address) | within).compressed
        translated = not self.sources or any(address in network for network in self.sources)
        return (self.nat_address if translated else "") or private


@dataclass(frozen=True, slots=True)
class Settings:
    """The engine's settings; durations in seconds, ports 1–65535."""

    #: Names of the interfaces that phones are behind; a datagram from any other comes from outside.
    inside_interfaces: frozenset[str]
    #: The address that the kernel's NAT uses (`nat_address`), an IPv4 literal; "" while the outside has none.
    nat_address: str
    #: The address that is written into messages; the same, unless `--public` names a 1:1 NAT's before this router.
    advertised_address: str
    #: `ports`: the remote SIP servers' ports, at most eight.
    ports: tuple[int, ...] = (5060, 5061)
    #: `media-ports`: where public ports are taken from when the phone's own isn't free; both ends are in it.
    media_ports: tuple[int, int] = (16384, 32767)
    #: `sip-timeout`: how long a SIP flow may be silent. RouterOS's default is one hour.
    sip_timeout_s: float = 3600.0
    #: `call-timeout`: how long a call without SIP and session timer keeps its media.
    call_timeout_s: float = 14400.0
    #: How often media flows are looked at; less than half of the kernel's UDP stream timeout (120 s by default).
    flow_check_s: float = 50.0
    #: `except`: remote networks that aren't NATed (VPN sites, routed phones).
    exempt: tuple[Network, ...] = ()
    #: `trusted-peers`: remote networks that may signal to any mapping.
    trusted_peers: tuple[Network, ...] = ()
    #: `sip-direct-signalling`: may anybody signal to a mapping?
    direct_signalling: bool = False
    #: `mode`: observe decides and counts, and the driver changes nothing.
    mode: Literal["enforce", "observe"] = "enforce"
    #: `sip-direct-media`: may an inside server hand a call's media over to another inside device?
    direct_media: bool = True
    #: `media-filter`: do a call's mappings let in only its own addresses once it is answered?
    media_filter: bool = False
    #: `inside-servers`: inside networks of proxies that name a phone's media in a call's first offer already.
    inside_servers: tuple[Network, ...] = ()
    #: `disabled`: no new mapping and no new dialog; what stands is served to its end.
    disabled: bool = False
    #: How IPv6 leaves; None: it isn't served.
    ipv6: Ipv6 | None = None

    def __post_init__(self) -> None:
        """Refuse an address that is translated to and never named; ValueError."""
        for family, outside in (("", self), ("ipv6.", self.ipv6)):
            if outside is not None and outside.nat_address and not outside.advertised_address:
                raise ValueError(
                    f"{family}advertised_address: is empty while {family}nat_address is {outside.nat_address}; "
                    "give the address that messages are to name, the same if there is no other NAT"
                )
