"""Which hosts are behind the NAT, and which addresses nobody can reach from the other side of it.

Asked for each message's ends and for each address that a message names, so the answers are remembered. On a packet's
way offline this stands beside the collectors. Pure.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

from sipalg.capture.arguments import PRIVATE_NETWORKS
from sipalg.codec.address import in_networks
from sipalg.codec.memory import Memory

#: Reachable from nowhere outside, besides RFC 1918's: a carrier's NAT (RFC 6598), link-local (RFC 3927), loopback.
_UNREACHABLE: Final = (
    *PRIVATE_NETWORKS,
    *(IPv4Network(text) for text in ("100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8")),
)
_REMEMBERED: Final = 16384


class Networks:
    """The two sides of a NAT. Without `inside`, RFC 1918's addresses are inside, and all others outside.

    What is inside may be public: the router's own address, in a capture from outside.
    """

    def __init__(self, inside: tuple[IPv4Network, ...] = ()) -> None:
        networks = inside or PRIVATE_NETWORKS
        self._inside = Memory(lambda host: in_networks(host.decode(), networks), _REMEMBERED)
        self._private = Memory(lambda host: in_networks(host.decode(), _UNREACHABLE), _REMEMBERED)

    def is_inside(self, host: str) -> bool:
        """Whether a host is behind the NAT."""
        return self._inside[host.encode()]

    def is_private(self, host: str) -> bool:
        """Whether an address can't be reached from outside; what isn't an IPv4 address can."""
        return self._private[host.encode()]
