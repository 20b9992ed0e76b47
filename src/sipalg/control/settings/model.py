"""Everything that an administrator may decide: one frozen value, with units, defaults and where they come from.

Made of the defaults, the settings file and the command line, and changed over the control socket; `properties` says
how each field is written by people. What engine and table need of it is handed on by `options`. On a packet's way this
is before the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sipalg.codec.address import Network
from sipalg.datapath.admin_model import PortRange

DEFAULT_CAPTURES: Final = Path("/var/lib/sipalg/captures")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a whole router; durations in seconds, ports 1–65535. Each is checked before it gets here.

    What fields contradict each other is what `contradiction` tells.
    """

    #: `inside`: the interfaces with phones. No default: the router decides.
    inside: tuple[str, ...] = ()
    #: `outside`: the interface towards the SIP servers. No default.
    outside: str = ""
    #: `public`: the address that is written, behind a 1:1 NAT before this router; None: the outside interface's own.
    public: str | None = None
    #: `ports`: the SIP servers' ports, one to eight; 5060 and 5061 as in RouterOS (RFC 3261 §19.1.2 has both).
    ports: tuple[int, ...] = (5060, 5061)
    #: `sip-direct-media`: may media go straight between two devices? Yes, as in RouterOS.
    direct_media: bool = True
    #: `sip-timeout`: how long a SIP flow may be silent, 10 s to 30 days; one hour as in RouterOS.
    sip_timeout_s: float = 3600.0
    #: `disabled`: no new mapping and no new call, plain NAT for the rest. No, as in RouterOS.
    disabled: bool = False
    #: `mode`: observe decides, counts and shows, and changes no packet.
    mode: Literal["enforce", "observe"] = "enforce"
    #: `media-ports`: public ports for media where the phone's own is taken, both ends in it. 16384–32767, the range
    #: that SIP phones commonly use for RTP, and below Linux's own ports (ip_local_port_range, 32768–60999).
    media_ports: tuple[int, int] = (16384, 32767)
    #: `reserved-ports`: public ports that are never used. None.
    reserved_ports: tuple[PortRange, ...] = ()
    #: `except`: remote networks that packets aren't translated to. None.
    exempt: tuple[Network, ...] = ()
    #: `trusted-peers`: remote networks that may signal to any phone. None.
    trusted_peers: tuple[Network, ...] = ()
    #: `inside-servers`: inside networks of proxies that name a phone's media in a call's first offer. None.
    inside_servers: tuple[Network, ...] = ()
    #: `sip-direct-signalling`: may anybody signal to a phone? No: a stranger's INVITE rings nobody.
    direct_signalling: bool = False
    #: `media-filter`: once a call is answered, do media come in from its own addresses only? No: many servers send
    #: from elsewhere than they said.
    media_filter: bool = False
    #: `call-timeout`: how long a call without SIP and session timer keeps its media, 10 s to 30 days; four hours.
    call_timeout_s: float = 14400.0
    #: `tcp`: what happens to SIP over TCP: it goes through a relay and is translated, or is plain NAT.
    tcp: Literal["relay", "plain"] = "relay"
    #: `captures`: the directory of captures.
    captures: Path = DEFAULT_CAPTURES
    #: `queue`: the number of the kernel's packet queue, 0–65535.
    queue_number: int = 5060
    #: `allow-offload`: start although a flow table carries packets past the ALG? No.
    allow_offload: bool = False
    #: `log-edits`: log a line for each edited message? No.
    log_edits: bool = False
    #: `ipv6`: serve IPv6 where the router forwards it (auto), or nowhere?
    ipv6: Literal["auto", "no"] = "auto"
    #: `public-ipv6`: as `public`, for IPv6 where that is translated to one address; None: what the rules say.
    public_ipv6: str | None = None


def contradiction(settings: Settings) -> tuple[str, str] | None:
    """Return the first key whose value can't be together with the others, and what would be right; None if all can."""
    if settings.outside and settings.outside in settings.inside:
        return "outside", f"{settings.outside} is also in inside; it can only be one of them"
    low, high = settings.media_ports
    reserved = {
        port for first, last in settings.reserved_ports for port in range(max(first, low), min(last, high) + 1)
    }
    if all(port in reserved or port + 1 in reserved for port in range(low + low % 2, high, 2)):
        return "reserved-ports", f"leaves no two ports of media-ports {low}-{high}, for RTP and RTCP"
    return None


def lacking(settings: Settings) -> dict[str, str]:
    """Return the keys without which nothing can be started, each with what would be right; none if all is there."""
    found = {}
    if not settings.inside:
        found["inside"] = "is missing; name the interface with the phones, such as lan0"
    if not settings.outside:
        found["outside"] = "is missing; name the interface towards the SIP servers, such as wan0"
    return found


def incomplete(settings: Settings) -> tuple[str, str] | None:
    """Return the first of what is lacking, None if all is there."""
    return next(iter(lacking(settings).items()), None)
