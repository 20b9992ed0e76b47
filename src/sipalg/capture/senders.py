"""Who sent the packets of a capture: told where none of them came from the inside that was given.

Then nothing was translated, mostly for a mistyped network or a capture of the other side of the router. On a packet's
way this only looks on. Pure.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from sipalg.capture.arguments import PRIVATE_NETWORKS
from sipalg.codec.address import in_networks

#: Where an IPv4 header has its source address (RFC 791 section 3.1).
_SOURCE: Final = slice(12, 16)


class Senders:
    """The number of packets by source address."""

    def __init__(self, inside: tuple[IPv4Network, ...]) -> None:
        self._inside = inside
        self._packets: Counter[bytes] = Counter()

    def count(self, packet: bytes) -> None:
        """Take note of an IPv4 packet of at least 20 bytes."""
        self._packets[packet[_SOURCE]] += 1

    @property
    def from_inside(self) -> int:
        """How many packets the inside sent."""
        return sum(count for host, count in self._by_host().items() if in_networks(host, self._inside))

    def advice(self) -> str:
        """Say that no packet came from inside, and who it could have been."""
        said = f"no packet comes from --inside {', '.join(map(str, self._inside))}"
        private = {host: count for host, count in self._by_host().items() if in_networks(host, PRIVATE_NETWORKS)}
        if not private:
            return f"{said}, nor from any private address: give a capture of the router's inside interface"
        host, count = max(private.items(), key=lambda item: item[1])
        network = IPv4Network((host, 24), strict=False)
        return f"{said}; {host} sent the most with a private address, {count}: is it --inside {network}?"

    def _by_host(self) -> dict[str, int]:
        return {str(IPv4Address(host)): count for host, count in self._packets.items()}
