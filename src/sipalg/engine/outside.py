"""What an inside address is outside: the address that its packets leave from, and the one that messages name for it.

IPv4 has one address for all. IPv6 has one, or a prefix, or leaves as it is, each host by its own rule. On a packet's
way the mappings ask here, which put a port to it.
"""

from __future__ import annotations

from sipalg.codec.address import literal, reference
from sipalg.engine.settings import Settings


def nat_host(settings: Settings, private: str) -> str:
    """The address that an inside host's packets leave from; "" if the outside has none for it."""
    if ":" not in private:
        return settings.nat_address
    return "" if settings.ipv6 is None else settings.ipv6.public_host(private)


def advertised(settings: Settings, public: str) -> bytes:
    """What messages name where the kernel's NAT uses `public`."""
    if ":" not in public:
        return settings.advertised_address.encode()
    ipv6 = settings.ipv6
    return reference(ipv6.advertised_address if ipv6 is not None and public == ipv6.nat_address else public)


def advertised_for(settings: Settings, private: bytes) -> bytes:
    """What messages name in place of an inside host."""
    return advertised(settings, nat_host(settings, literal(private)))


def space(settings: Settings, public: str) -> bytes:
    """What tells the ports of one public address from another's: b"" for IPv4, which has one, else `advertised`."""
    return advertised(settings, public) if ":" in public else b""


def shares_address(settings: Settings, private: str) -> bool:
    """Whether an inside host leaves by an address that it shares with others, and with the router itself."""
    ipv6 = settings.ipv6
    return ":" not in private or (ipv6 is not None and ipv6.public_host(private) == ipv6.nat_address)
