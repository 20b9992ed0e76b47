"""IPv6 packets as bytes: out of one comes a UDP payload with its addresses, and one is built around another payload.

What `datagram` is for IPv4, which hands IPv6 packets on to here. There is no header checksum, no identification to set
and no fragment that a router may make (RFC 8200 §5); what it forwards was put together again by the connection
tracker, and UDP's checksum has to be there (§8.1).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address
from struct import Struct
from typing import Final

IP6_HEADER_BYTES: Final = 40
_UDP: Final = 17
_UDP_HEADER_BYTES: Final = 8
_LARGEST_PAYLOAD_BYTES: Final = 65535

#: Why a packet isn't one whole UDP datagram; the words are `datagram`'s.
_TRUNCATED: Final = "truncated"
_FRAGMENT: Final = "fragment"
_NOT_UDP: Final = "not-udp"
_BAD_LENGTH: Final = "bad-length"

#: Extension headers of type, length in units of 8 bytes beyond the first, options: hop-by-hop and destination
#: (RFC 8200 §4.3 and §4.6). A routing header (§4.4) makes the checksum cover another destination; IPsec's hide or
#: seal what follows. Neither is looked behind.
_OPTIONS: Final = frozenset({0, 60})
_FRAGMENT_HEADER: Final = 44
#: As many as make sense at all, each once and destination options twice (§4.1).
_MOST_HEADERS: Final = 4

_WORD: Final = Struct("!H")
_TWO_WORDS: Final = Struct("!HH")


@lru_cache(maxsize=65536)
def host_text6(sixteen: bytes) -> str:
    """Return the canonical text of an IPv6 address in network byte order (RFC 5952)."""
    return IPv6Address(sixteen).compressed


@lru_cache(maxsize=65536)
def host_bytes6(host: str) -> bytes:
    """Return the sixteen bytes of an IPv6 literal; ValueError if `host` is none."""
    return IPv6Address(host).packed


def split_udp6(packet: bytes) -> tuple[bytes, bytes] | str:
    """Return the ends and the payload of a full IPv6 packet, or the reason why it has none.

    The ends are 36 bytes: both addresses, then both ports.
    """
    size_bytes = len(packet)
    if size_bytes < IP6_HEADER_BYTES:
        return _TRUNCATED
    start = _udp_offset(packet)
    if isinstance(start, str):
        return start
    total_bytes = IP6_HEADER_BYTES + _WORD.unpack_from(packet, 4)[0]
    if total_bytes > size_bytes:
        return _TRUNCATED
    behind = start + _UDP_HEADER_BYTES
    if total_bytes < behind:
        return _BAD_LENGTH
    end = start + _WORD.unpack_from(packet, start + 4)[0]
    if not behind <= end <= total_bytes:
        return _BAD_LENGTH
    return packet[8:40] + packet[start : start + 4], packet[behind:end]


def replace_payload6(packet: bytes, payload: bytes) -> bytes:
    """Return the packet with another UDP payload: lengths and checksum are right again, everything else stays.

    ValueError if `packet` isn't one that `split_udp6` takes, or if no IPv6 packet can hold the payload.
    """
    start = _udp_offset(packet)
    if isinstance(start, str):
        raise ValueError(f"no UDP datagram: {start}")
    udp_bytes = _UDP_HEADER_BYTES + len(payload)
    payload_bytes = start - IP6_HEADER_BYTES + udp_bytes
    if payload_bytes > _LARGEST_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes doesn't fit into an IPv6 packet")
    ports = packet[start : start + 4]
    words = (
        # The remainder first: all that is added to it is small then.
        int.from_bytes(payload, "big") % 65535 * (256 if udp_bytes & 1 else 1)
        + int.from_bytes(packet[8:40] + ports, "big")
        + _UDP
        + udp_bytes * 2  # once in the header, once in the pseudo-header
    )
    checksum = -words % 65535 or 65535
    head = packet[:4] + _WORD.pack(payload_bytes) + packet[6:start]
    return head + ports + _TWO_WORDS.pack(udp_bytes, checksum) + payload


def _udp_offset(packet: bytes) -> int | str:
    """Return where the UDP header begins, or the reason why there is none to be found."""
    offset, kind = IP6_HEADER_BYTES, packet[6]
    for _ in range(_MOST_HEADERS):
        if kind == _UDP:
            return offset
        if kind not in _OPTIONS:
            break
        if offset + 8 > len(packet):
            return _TRUNCATED
        kind, offset = packet[offset], offset + 8 + packet[offset + 1] * 8
    return _FRAGMENT if kind == _FRAGMENT_HEADER else _NOT_UDP
