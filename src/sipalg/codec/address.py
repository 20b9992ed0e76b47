"""IP literals and ports as they stand in SIP and SDP text: which bytes are an address, and which addresses count.

The codec's lowest floor: every other reader of a message asks here whether some bytes are an address at all. An
address in this project is its canonical text, since that is what messages, logs and rule sets show. Read out of a
message, an IPv6 address is that text in brackets, however it was written there (RFC 5952, RFC 3261 §25.1
IPv6reference), so that equal addresses are equal bytes.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from sipalg.codec.memory import SAME, Memory

#: A network of either family.
Network = IPv4Network | IPv6Network

#: What may stand where a host stands: an IPv6 reference, an IPv4 literal or a name (RFC 3261 §25.1 `host`).
HOST: Final = rb"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"

#: The highest port; 0 is never one that a packet can be sent to.
MAX_PORT: Final = 65535

#: In place of a default port: the text is a host alone, as of a URI's `maddr` (RFC 3261 §25.1).
NO_PORT: Final = 0

#: Ports below this one belong to the system's services (RFC 6335 §6): never a pinhole there.
FIRST_UNPRIVILEGED_PORT: Final = 1024

_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rb"(?:" + _OCTET + rb"\.){3}" + _OCTET)


def is_ipv4(host: bytes) -> bool:
    """Whether `host` is an IPv4 literal in canonical text; leading zeros are not, since readers disagree on them."""
    return _IPV4.fullmatch(host) is not None


def is_unspecified(host: bytes) -> bool:
    """Whether `host` is 0.0.0.0 or `::`, the address that puts a call on hold (RFC 3264 §8.4, RFC 2543 B.5)."""
    return host in (b"0.0.0.0", b"[::]", b"::")


def is_reference(host: bytes) -> bool:
    """Whether a host, as the codec hands it on, is an IPv6 address."""
    return host[:1] == b"["


def reference(host: str) -> bytes:
    """An IP literal's canonical text as the codec hands hosts on: an IPv6 address in brackets."""
    return b"[%b]" % host.encode() if ":" in host else host.encode()


def literal(host: bytes) -> str:
    """The reverse of `reference`: a host that the codec handed on as text, an IPv6 address without brackets.

    What isn't an address, since anybody may write anything, becomes a text that is none either.
    """
    return host.strip(b"[]").decode("latin-1")


def is_literal(host: str) -> bool:
    """Whether a text is an IP literal, of either family, in its canonical form."""
    text = host.encode("ascii", "replace")
    return ipv6_reference(text) == reference(host) if ":" in host else is_ipv4(text)


def ipv6_reference(text: bytes) -> bytes:
    """An IPv6 address, in brackets or not, as its canonical text in brackets; b"" for anything else."""
    bare = text[1:-1] if text[:1] == b"[" and text[-1:] == b"]" else text
    if b"%" in bare:
        # A zone means something on one machine only (RFC 4007 §11.2).
        return b""
    try:
        return b"[%b]" % IPv6Address(bare.decode("ascii")).compressed.encode()
    except (AddressValueError, UnicodeDecodeError):
        return b""


def _read_host(host: bytes) -> bytes:
    return SAME[(ipv6_reference(host) or host) if host[:1] == b"[" else host]


#: A host of a URI or a Via as the codec hands it on: an IPv6 reference in its canonical text, all else as it stands.
HOSTS: Final = Memory(_read_host, 16384)


def _read_sdp_host(host: bytes) -> bytes:
    return SAME[ipv6_reference(host) or host] if b":" in host and host[:1] != b"[" else host


#: The same for a host of a session description, where an IPv6 address stands without brackets (RFC 8866 §9).
SDP_HOSTS: Final = Memory(_read_sdp_host, 16384)


def in_networks(host: str, networks: tuple[Network, ...]) -> bool:
    """Whether the IP literal `host` lies in one of `networks`; what isn't an IP literal lies in none."""
    if not networks:
        return False
    try:
        address = IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return False
    return any(address in network for network in networks)


def authority(host: bytes, port: int, *, with_port: bool, default_port: int) -> bytes:
    """`host` or `host:port`: the port is written if the text had one (`with_port`) or isn't the default.

    Where no port may stand, the default is NO_PORT.
    """
    if default_port != NO_PORT and (with_port or port != default_port):
        return b"%b:%d" % (host, port)
    return host
