"""Which host stands where in a ladder: phones left, the router's public addresses in the middle, servers right.

A capture of both sides of a router has each message twice: a request from the phone and from the router, an answer to
the router and to the phone. That tells who is who, whatever the addresses are; where nothing does, private ones are
inside. Between a call's messages and its ladder. Pure.
Sources: RFC 1918, RFC 4193, RFC 6598; RFC 3261 §17.1.3 (a transaction's branch).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Final

from sipalg.analysis.messages import SipMessage

INSIDE: Final = 0
ROUTER: Final = 1
OUTSIDE: Final = 2

_PRIVATE: Final = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)

#: Source and destination.
_Way = tuple[str, str]


def is_private(host: str) -> bool:
    """Whether an address isn't one of the Internet's: private, link-local, or a carrier's own."""
    address = ip_address(host)
    return any(address.version == network.version and address in network for network in _PRIVATE)


def places(messages: Iterable[SipMessage]) -> dict[str, int]:
    """Return where each host of some messages in order stands: INSIDE, ROUTER or OUTSIDE."""
    inside, routers, servers, hosts = set[str](), set[str](), set[str](), dict[str, None]()
    ways: dict[tuple[object, ...], list[_Way]] = {}
    for one in messages:
        source, destination = way = one.source.host, one.destination.host
        hosts.update(dict.fromkeys(way))
        name = (one.call_id, one.cseq, one.cseq_method, one.method, one.status, one.branch)
        seen = ways.setdefault(name, [])
        if not one.branch or way in seen:
            continue
        for other in seen:
            # Before a router and behind it, the same message has one of its ends in common.
            near, far, server = "", "", ""
            if other[1] == destination:
                near, far, server = other[0], source, destination
            elif other[0] == source:
                near, far, server = destination, other[1], source
            if near and is_private(far) and not is_private(near):
                # The clocks of two captures may differ.
                near, far = far, near
            inside.add(near)
            routers.add(far)
            servers.add(server)
        seen.append(way)
    return {host: _place(host, inside, routers, servers) for host in hosts}


def _place(host: str, inside: set[str], routers: set[str], servers: set[str]) -> int:
    if host in routers:
        return ROUTER
    if host in inside:
        return INSIDE
    return OUTSIDE if host in servers or not is_private(host) else INSIDE
