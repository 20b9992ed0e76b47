"""ICMP as a NAT has to treat it: an echo's identifier is its port, and the packet that an error quotes is translated.

RFC 5508 is what a NAT owes ICMP (REQ-1 for queries, REQ-4 for errors). The quoted packet is often no more than its
headers, so its checksums are updated and not computed anew. On a packet's way this is the NAT's hand for protocol 1.
Pure, and nothing here raises on a packet's bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from sipalg.codec.datagram import ICMP, IP_HEADER_BYTES, Address, addresses, checksum, replace_addresses

#: Echo reply and echo request.
_ECHOES: Final = frozenset((0, 8))
#: Destination unreachable, source quench, redirect, time exceeded, parameter problem.
_ERRORS: Final = frozenset((3, 4, 5, 11, 12))
_HEADER_BYTES: Final = 8

_WORD: Final = Struct("!H")


class Quoted(NamedTuple):
    """The packet that an ICMP error is about, as far as it is quoted; an echo has its identifier for both ports."""

    protocol: int
    source: Address
    destination: Address


def echo_identifier(packet: bytes) -> int | None:
    """Return the identifier of an echo request or reply, None for other messages."""
    start = _body(packet)
    if len(packet) < start + _HEADER_BYTES or packet[start] not in _ECHOES:
        return None
    identifier: int = _WORD.unpack_from(packet, start + 4)[0]
    return identifier


def quoted(packet: bytes) -> Quoted | None:
    """Return what an ICMP error quotes, None for other messages and for a quotation too short to have addresses."""
    start = _body(packet)
    if len(packet) < start + _HEADER_BYTES or packet[start] not in _ERRORS:
        return None
    inner = packet[start + _HEADER_BYTES :]
    found = addresses(inner)
    if found is None:
        return None
    identifier = echo_identifier(inner) if found[0] == ICMP else None
    if identifier is None:
        return Quoted(*found)
    return Quoted(ICMP, (found[1][0], identifier), (found[2][0], identifier))


def replace_identifier(packet: bytes, identifier: int) -> bytes:
    """Return the echo with another identifier."""
    start = _body(packet)
    changed = bytearray(packet)
    _WORD.pack_into(changed, start + 4, identifier)
    return _with_checksum(packet, changed)


def replace_quoted(packet: bytes, source: Address | None = None, destination: Address | None = None) -> bytes:
    """Return the error with other addresses in the packet that it quotes; ports change as far as they are quoted."""
    inner_start = _body(packet) + _HEADER_BYTES
    before = packet[inner_start:]
    inner = replace_addresses(before, source, destination)
    ours = source or destination
    if ours is not None and before[9] == ICMP and echo_identifier(before) is not None:
        inner = replace_identifier(inner, ours[1])
    return _with_checksum(packet, bytearray(packet[:inner_start] + _with_ports(inner, source, destination)))


def _with_ports(inner: bytes, source: Address | None, destination: Address | None) -> bytes:
    """Write the ports into a quotation that ends before its checksum (TCP's stands at 16)."""
    found = addresses(inner)
    if found is None or found[1][1] == 0:
        return inner
    ports = bytearray(inner)
    start = (inner[0] & 15) * 4
    for address, offset in ((source, start), (destination, start + 2)):
        if address is not None:
            _WORD.pack_into(ports, offset, address[1])
    return bytes(ports)


def _body(packet: bytes) -> int:
    """Return where the ICMP message begins."""
    return (packet[0] & 15) * 4 if len(packet) >= IP_HEADER_BYTES else IP_HEADER_BYTES


def _with_checksum(before: bytes, changed: bytearray) -> bytes:
    """Update the ICMP checksum for what changed (RFC 1624): right even if the capture lacks the end of the packet."""
    start = _body(before)
    (old,) = _WORD.unpack_from(before, start + 2)
    _WORD.pack_into(changed, start + 2, (old + checksum(changed[start:]) - checksum(before[start:])) % 65535)
    return bytes(changed)
