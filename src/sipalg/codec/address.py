"""IPv4 literals and ports as they stand in SIP and SDP text: which bytes are an address, and which addresses count.

The codec's lowest floor: every other reader of a message asks here whether some bytes are an address at all. An
address in this project is its canonical dotted text, since that is what messages, logs and rule sets show.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Final

#: What may stand where a host stands: an IPv6 reference, an IPv4 literal or a name (RFC 3261 §25.1 `host`).
HOST: Final = rb"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"

#: The highest port; 0 is never one that a packet can be sent to.
MAX_PORT: Final = 65535

#: Ports below this one belong to the system's services (RFC 6335 §6): never a pinhole there.
FIRST_UNPRIVILEGED_PORT: Final = 1024

_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rb"(?:" + _OCTET + rb"\.){3}" + _OCTET)


def is_ipv4(host: bytes) -> bool:
    """Whether `host` is an IPv4 literal in canonical text; leading zeros are not, since readers disagree on them."""
    return _IPV4.fullmatch(host) is not None


def is_unspecified(host: bytes) -> bool:
    """Whether `host` is 0.0.0.0 or `::`, the address that puts a call on hold (RFC 3264 §8.4, RFC 2543 B.5)."""
    return host in (b"0.0.0.0", b"::")


def in_networks(host: str, networks: tuple[IPv4Network, ...]) -> bool:
    """Whether the IPv4 literal `host` lies in one of `networks`; what isn't an IPv4 literal lies in none."""
    if not networks or not is_ipv4(host.encode("ascii", "replace")):
        return False
    address = IPv4Address(host)
    return any(address in network for network in networks)


def authority(host: bytes, port: int, *, with_port: bool, default_port: int) -> bytes:
    """`host` or `host:port`: the port is written if the text had one (`with_port`) or isn't the default."""
    if with_port or port != default_port:
        return b"%b:%d" % (host, port)
    return host
