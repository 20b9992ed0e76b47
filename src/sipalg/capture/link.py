"""Link layers: where in a captured frame its IP packet begins and ends.

A table by link type, each with the reader of its header. The rewriter asks for IPv4: whatever isn't (ARP, IPv6, 802.2,
an unknown link type) has no packet there and is copied as it is. The readers of captures ask for either version. Under
PPPoE a length stands before the packet that changes with it. On a packet's way this is the first thing off the disk.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

ETHERNET: Final = 1
#: `DLT_RAW` as Linux's libpcap names it in memory; in a file it is LINKTYPE_RAW.
RAW_DLT: Final = 12
RAW: Final = 101
NULL: Final = 0
LOOP: Final = 108
LINUX_SLL: Final = 113
IPV4: Final = 228
IPV6: Final = 229
LINUX_SLL2: Final = 276

_ETHERTYPE_IPV4: Final = 0x0800
_ETHERTYPE_IPV6: Final = 0x86DD
_ETHERTYPE_PPPOE: Final = 0x8864
_IPV4_ALONE: Final = frozenset((_ETHERTYPE_IPV4,))
_IP: Final = frozenset((_ETHERTYPE_IPV4, _ETHERTYPE_IPV6))
#: PPPoE's header (RFC 2516 section 4) with PPP's protocol behind it, and where in that its length stands.
_PPPOE_BYTES: Final = 8
_PPPOE_LENGTH_AT: Final = 4
#: PPP's protocols by Ethertype.
_PPP: Final = {_ETHERTYPE_IPV4: 0x0021, _ETHERTYPE_IPV6: 0x0057}
#: 802.1Q, 802.1ad and the number that came before it.
_ETHERTYPES_VLAN: Final = frozenset((0x8100, 0x88A8, 0x9100))
_VLAN_TAG_BYTES: Final = 4
#: AF_INET, as the host that captured wrote it: in either byte order (LINKTYPE_NULL) or in the network's.
_FAMILIES_IPV4: Final = frozenset((b"\2\0\0\0", b"\0\0\0\2"))
#: AF_INET6 of Linux (10), NetBSD and OpenBSD (24), FreeBSD (28) and macOS (30).
_FAMILIES_IPV6: Final = frozenset(
    family.to_bytes(4, order) for family in (10, 24, 28, 30) for order in ("big", "little")
)

_WORD: Final = Struct("!H")


class Span(NamedTuple):
    """The IP packet's place in the frame: offsets in bytes, `end` not included.

    `whole` is False where the frame has less of the packet than its header says. `length_at` is where PPPoE has a
    length of two bytes that counts the packet too, 0 without PPPoE.
    """

    start: int
    end: int
    whole: bool
    length_at: int = 0


#: Where the Ethertype of the packet stands, by link type.
_ETHERTYPE_AT: Final = {ETHERNET: 12, LINUX_SLL: 14, LINUX_SLL2: 0}
#: Where the packet begins if its Ethertype doesn't stand right before it, and where a VLAN tag then goes on.
_SLL2_PACKET_AT: Final = 20
_FAMILY_FIRST: Final = frozenset((NULL, LOOP))
_BARE: Final = frozenset((RAW_DLT, RAW, IPV4, IPV6))

_IP_HEADER_BYTES: Final = 20
_IPV6_HEADER_BYTES: Final = 40


def is_known(link_type: int) -> bool:
    """Whether packets can be found in frames of this link type."""
    return link_type in _BARE or link_type in _FAMILY_FIRST or link_type in _ETHERTYPE_AT


def find_packet(link_type: int, frame: bytes) -> Span | None:
    """Return where the IPv4 packet stands in the frame, None if the frame has none.

    `link_type` is libpcap's number, in memory or in a file. What follows the packet (Ethernet's padding, a checksum)
    is no part of it. A total length of 0, as segmentation offload leaves it, means all of the frame. Never raises.
    """
    place = _packet_place(link_type, frame, _IPV4_ALONE)
    return None if place is None else _ipv4_span(*place, frame)


def find_ip(link_type: int, frame: bytes) -> Span | None:
    """Return where the IP packet of either version stands in the frame, None if the frame has none. Never raises.

    As :func:`find_packet`, and IPv6 with a payload length of 0 means all of the frame, too.
    """
    place = _packet_place(link_type, frame, _IP)
    if place is None or len(frame) <= place[0]:
        return None
    start, length_at = place
    if frame[start] >> 4 != 6:
        return _ipv4_span(start, length_at, frame)
    if len(frame) < start + _IPV6_HEADER_BYTES:
        return None
    (payload_bytes,) = _WORD.unpack_from(frame, start + 4)
    end = start + _IPV6_HEADER_BYTES + payload_bytes if payload_bytes else len(frame)
    return Span(start, min(end, len(frame)), end <= len(frame), length_at)


def replace_packet(frame: bytes, span: Span, packet: bytes) -> bytes:
    """Return the frame with another packet in the place of its own; what stands before and behind it stays."""
    before = frame[: span.start]
    grown_bytes = len(packet) - (span.end - span.start)
    if span.length_at and grown_bytes:
        at = span.length_at
        length = (_WORD.unpack_from(frame, at)[0] + grown_bytes) & 0xFFFF
        before = before[:at] + _WORD.pack(length) + before[at + _WORD.size :]
    return before + packet + frame[span.end :]


def _ipv4_span(start: int, length_at: int, frame: bytes) -> Span | None:
    if len(frame) < start + _IP_HEADER_BYTES or frame[start] >> 4 != 4:
        return None
    (total_bytes,) = _WORD.unpack_from(frame, start + 2)
    if 0 < total_bytes < _IP_HEADER_BYTES:
        return None
    end = start + (total_bytes or len(frame) - start)
    return Span(start, min(end, len(frame)), end <= len(frame), length_at)


def _packet_place(link_type: int, frame: bytes, ethertypes: frozenset[int]) -> tuple[int, int] | None:
    """Where the packet of one of `ethertypes` begins, and where PPPoE's length stands or 0; None without one."""
    if link_type in _BARE:
        return 0, 0
    if link_type in _FAMILY_FIRST:
        family = frame[:4]
        return (4, 0) if family in _FAMILIES_IPV4 or (ethertypes is _IP and family in _FAMILIES_IPV6) else None
    offset = _ETHERTYPE_AT.get(link_type)
    if offset is None:
        return None
    after = _SLL2_PACKET_AT if link_type == LINUX_SLL2 else offset + 2
    while len(frame) >= offset + 2:
        (ethertype,) = _WORD.unpack_from(frame, offset)
        if ethertype in ethertypes:
            return after, 0
        if ethertype == _ETHERTYPE_PPPOE:
            start = after + _PPPOE_BYTES
            found = int.from_bytes(frame[start - 2 : start], "big")
            return (start, after + _PPPOE_LENGTH_AT) if found in {_PPP[known] for known in ethertypes} else None
        if ethertype not in _ETHERTYPES_VLAN:
            return None
        # The tag's two bytes stand where the packet would, and the next Ethertype behind them.
        offset, after = after + 2, after + _VLAN_TAG_BYTES
    return None
