"""What a captured Ethernet frame is, as far as the sniffer's tables show it, and where its headers end.

Pure. Nothing is believed: what is too short for what it says ends there. On a packet's way this looks at the copy.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from socket import inet_ntoa
from typing import Final, NamedTuple

from sipalg.sniffer.filters import IP_PROTOCOLS, MAC_PROTOCOLS

_MAC_NAMES: Final = {number: name for name, number in MAC_PROTOCOLS.items()}
_IP_NAMES: Final = {number: name for name, number in IP_PROTOCOLS.items()}
_TAGS: Final = (0x8100, 0x88A8, 0x9100)
_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_TCP: Final = 6
_UDP: Final = 17
_ICMP: Final = (1, 58)
#: What MAC protocols below are: lengths (IEEE 802.3).
_SMALLEST_TYPE: Final = 0x0600
_MSS: Final = 2


class Seen(NamedTuple):
    """A frame's facts; "" and 0 for what it hasn't. `header_bytes` is where its payload begins."""

    protocol: str
    header_bytes: int
    vlan: int = 0
    ip_protocol: str = ""
    source: str = ""
    destination: str = ""
    source_port: int = 0
    destination_port: int = 0
    #: TCP: where its data begin in the sender's stream, None of none; how long they are; the segment size offered.
    sequence: int | None = None
    data_bytes: int = 0
    mss: int = 0


def look(frame: bytes) -> Seen:
    """Return what an Ethernet frame is."""
    at = 14
    if len(frame) < at:
        return Seen("", len(frame))
    kind = int.from_bytes(frame[12:14], "big")
    vlan = 0
    while kind in _TAGS and len(frame) >= at + 4:
        vlan = vlan or int.from_bytes(frame[at : at + 2], "big") & 0xFFF
        kind = int.from_bytes(frame[at + 2 : at + 4], "big")
        at += 4
    name = _MAC_NAMES.get(kind, "802.2" if kind < _SMALLEST_TYPE else f"0x{kind:04x}")
    if kind == _IPV4 and len(frame) >= at + 20 and frame[at] >> 4 == 4:
        first = int.from_bytes(frame[at + 6 : at + 8], "big") & 0x1FFF == 0
        end = at + (frame[at] & 15) * 4
        size_bytes = int.from_bytes(frame[at + 2 : at + 4], "big") - (frame[at] & 15) * 4
        found = Seen(name, end, vlan, "", inet_ntoa(frame[at + 12 : at + 16]), inet_ntoa(frame[at + 16 : at + 20]))
        return _transport(found, frame, frame[at + 9], end, size_bytes if first else -1)
    if kind == _IPV6 and len(frame) >= at + 40 and frame[at] >> 4 == 6:
        source, destination = (str(IPv6Address(frame[at + begin : at + begin + 16])) for begin in (8, 24))
        found = Seen(name, at + 40, vlan, "", source, destination)
        return _transport(found, frame, frame[at + 6], at + 40, int.from_bytes(frame[at + 4 : at + 6], "big"))
    return Seen(name, at, vlan)


def _transport(found: Seen, frame: bytes, protocol: int, at: int, size_bytes: int) -> Seen:
    """Add what the header over IP says; `size_bytes` is how long all of it is, below 0 for a later piece."""
    found = found._replace(ip_protocol=_IP_NAMES.get(protocol, str(protocol)), header_bytes=min(at, len(frame)))
    if size_bytes < 0 or len(frame) < at + 8:
        return found
    if protocol in _ICMP:
        return found._replace(header_bytes=at + 8)
    if protocol not in (_TCP, _UDP):
        return found
    ports = [int.from_bytes(frame[at + begin : at + begin + 2], "big") for begin in (0, 2)]
    found = found._replace(source_port=ports[0], destination_port=ports[1], header_bytes=at + 8)
    if protocol == _UDP or len(frame) < at + 20:
        return found._replace(header_bytes=min(found.header_bytes, len(frame)))
    header_bytes = max(20, (frame[at + 12] >> 4) * 4)
    return found._replace(
        header_bytes=min(at + header_bytes, len(frame)),
        sequence=int.from_bytes(frame[at + 4 : at + 8], "big"),
        data_bytes=max(0, size_bytes - header_bytes),
        mss=_segment_size(frame[at + 20 : at + header_bytes]),
    )


def _segment_size(options: bytes) -> int:
    """Return the maximum segment size that a TCP header offers (RFC 9293 section 3.2), 0 for none."""
    while len(options) >= 2 and options[0]:
        size_bytes = 1 if options[0] == 1 else options[1]
        if options[0] == _MSS and len(options) >= 4:
            return int.from_bytes(options[2:4], "big")
        if not size_bytes:
            break
        options = options[size_bytes:]
    return 0
