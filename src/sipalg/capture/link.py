"""Link layers: where in a captured frame its IPv4 packet begins and ends.

A table by link type, each with the reader of its header. Whatever isn't IPv4 (ARP, IPv6, 802.2, an unknown link type)
has no packet here and is copied by the rewriter as it is. On a packet's way this is the first thing off the disk.
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
LINUX_SLL2: Final = 276

_ETHERTYPE_IPV4: Final = 0x0800
#: 802.1Q, 802.1ad and the number that came before it.
_ETHERTYPES_VLAN: Final = frozenset((0x8100, 0x88A8, 0x9100))
_VLAN_TAG_BYTES: Final = 4
#: AF_INET, as the host that captured wrote it: in either byte order (LINKTYPE_NULL) or in the network's.
_FAMILIES_IPV4: Final = frozenset((b"\2\0\0\0", b"\0\0\0\2"))

_WORD: Final = Struct("!H")


class Span(NamedTuple):
    """The IPv4 packet's place in the frame: offsets in bytes, `end` not included.

    `whole` is False where the frame has less of the packet than its header says.
    """

    start: int
    end: int
    whole: bool


#: Where the Ethertype of the packet stands, by link type.
_ETHERTYPE_AT: Final = {ETHERNET: 12, LINUX_SLL: 14, LINUX_SLL2: 0}
#: Where the packet begins if its Ethertype doesn't stand right before it, and where a VLAN tag then goes on.
_SLL2_PACKET_AT: Final = 20
_FAMILY_FIRST: Final = frozenset((NULL, LOOP))
_BARE: Final = frozenset((RAW_DLT, RAW, IPV4))

_IP_HEADER_BYTES: Final = 20


def find_packet(link_type: int, frame: bytes) -> Span | None:
    """Return where the IPv4 packet stands in the frame, None if the frame has none.

    `link_type` is libpcap's number, in memory or in a file. What follows the packet (Ethernet's padding, a checksum)
    is no part of it. A total length of 0, as segmentation offload leaves it, means all of the frame. Never raises.
    """
    start = _packet_start(link_type, frame)
    if start is None or len(frame) < start + _IP_HEADER_BYTES or frame[start] >> 4 != 4:
        return None
    (total_bytes,) = _WORD.unpack_from(frame, start + 2)
    if 0 < total_bytes < _IP_HEADER_BYTES:
        return None
    end = start + (total_bytes or len(frame) - start)
    return Span(start, min(end, len(frame)), end <= len(frame))


def _packet_start(link_type: int, frame: bytes) -> int | None:
    if link_type in _BARE:
        return 0
    if link_type in _FAMILY_FIRST:
        return 4 if frame[:4] in _FAMILIES_IPV4 else None
    offset = _ETHERTYPE_AT.get(link_type)
    if offset is None:
        return None
    after = _SLL2_PACKET_AT if link_type == LINUX_SLL2 else offset + 2
    while len(frame) >= offset + 2:
        (ethertype,) = _WORD.unpack_from(frame, offset)
        if ethertype == _ETHERTYPE_IPV4:
            return after
        if ethertype not in _ETHERTYPES_VLAN:
            return None
        # The tag's two bytes stand where the packet would, and the next Ethertype behind them.
        offset, after = after + 2, after + _VLAN_TAG_BYTES
    return None
