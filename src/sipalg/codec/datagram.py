"""IP packets as bytes: out of one comes a UDP payload with its addresses, and one is built around another payload.

This is the first and the last thing that happens to a packet outside the kernel: the driver takes the payload out, the
engine decides, and the same packet with the new payload goes back. The offline rewriter does the kernel's NAT with
:func:`replace_addresses`. An address is the pair (host, port); nothing here raises on a packet's bytes.

Checksums (RFC 1071) are sums of 16-bit words modulo 65535, and since 65536 ≡ 1 modulo 65535, that sum is the remainder
of the whole block read as one big number: two calls into C instead of a loop, four times as fast as any sum over
`struct` or `array`. A complement is a negative remainder.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from sipalg.codec.datagram6 import host_bytes6, host_text6, replace_payload6, split_udp6

Address = tuple[str, int]

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17

IP_HEADER_BYTES: Final = 20
UDP_HEADER_BYTES: Final = 8
DEFAULT_MTU_BYTES: Final = 1500
LARGEST_PACKET_BYTES: Final = 65535

#: Why a packet isn't one whole UDP datagram, as `parse_udp` says it.
NOT_IP: Final = "not-ip"
TRUNCATED: Final = "truncated"
FRAGMENT: Final = "fragment"
NOT_UDP: Final = "not-udp"
BAD_LENGTH: Final = "bad-length"

_DONT_FRAGMENT: Final = 0x4000
_MORE_FRAGMENTS: Final = 0x2000
_FRAGMENT_OFFSET: Final = 0x1FFF

#: An IPv4 header's length by its first byte: version and length in words.
_IP4_HEADERS: Final = {0x40 | words: words * 4 for words in range(5, 16)}

#: Where the checksum of a protocol stands, counted from its own header.
_CHECKSUM_OFFSET: Final = {TCP: 16, UDP: 6}

_WORD: Final = Struct("!H")
_TWO_WORDS: Final = Struct("!HH")
_IP_FACTS: Final = Struct("!BxH2xHxB")
#: An IP header without options and the UDP header behind it.
_HEADERS: Final = Struct("!HHHHHH8sHHHH")
_UDP_LENGTH: Final = Struct("!4xH")
_ENDS: Final = Struct("!4s4sHH")

_ENDS6: Final = Struct("!16s16sHH")

#: Bound once, since each packet pays for every look-up.
_from_bytes = int.from_bytes
_ip_facts = _IP_FACTS.unpack_from
_headers = _HEADERS.unpack_from
_new_headers = _HEADERS.pack
_udp_bytes = _UDP_LENGTH.unpack_from


class UdpPacket(NamedTuple):
    """What a packet with one whole UDP datagram holds."""

    source: Address
    destination: Address
    payload: bytes


@lru_cache(maxsize=65536)
def host_text(four_bytes: bytes) -> str:
    """Return the canonical text of an IPv4 address in network byte order."""
    return ".".join(map(str, four_bytes))


@lru_cache(maxsize=65536)
def host_bytes(host: str) -> bytes:
    """Return the bytes of an IP literal, four or sixteen; ValueError if `host` is none."""
    if ":" in host:
        return host_bytes6(host)
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"not an IP address: {host!r}")
    return bytes(map(int, parts))


def checksum(data: bytes | bytearray) -> int:
    """Return the Internet checksum of `data` (RFC 1071), 0–65534; an odd length counts as if a zero byte followed."""
    return -_words(data) % 65535


def split_udp(packet: bytes) -> tuple[bytes, bytes] | str:
    """Return the ends and the payload of a full IP packet, or the reason why it has none.

    The ends are bytes, as `ends_of` reads them: the same for all packets of a flow, so that they can be remembered.
    Bytes behind the UDP length are no part of the payload, as for the kernel. Checksums are the kernel's business and
    aren't looked at.
    """
    size_bytes = len(packet)
    if size_bytes < IP_HEADER_BYTES:
        return TRUNCATED
    first, total_bytes, fragment, protocol = _ip_facts(packet)
    if first == 0x45:
        header_bytes = 20
    else:
        header_bytes = (first & 15) * 4
        if first >> 4 == 6:
            return split_udp6(packet)
        if first >> 4 != 4:
            return NOT_IP
        if header_bytes < IP_HEADER_BYTES:
            return BAD_LENGTH
    if protocol != UDP:
        return NOT_UDP
    if fragment & (_MORE_FRAGMENTS | _FRAGMENT_OFFSET):
        return FRAGMENT
    if total_bytes > size_bytes:
        return TRUNCATED
    start = header_bytes + UDP_HEADER_BYTES
    if total_bytes < start:
        return BAD_LENGTH
    end = header_bytes + _udp_bytes(packet, header_bytes)[0]
    if not start <= end <= total_bytes:
        return BAD_LENGTH
    if header_bytes == IP_HEADER_BYTES:
        return packet[12:24], packet[start:end]
    return packet[12:20] + packet[header_bytes : header_bytes + 4], packet[start:end]


def ends_of(ends: bytes) -> tuple[Address, Address]:
    """Return source and destination from the bytes that `split_udp` gives: addresses, then ports."""
    if len(ends) != _ENDS.size:
        source, destination, source_port, destination_port = _ENDS6.unpack(ends)
        return (host_text6(source), source_port), (host_text6(destination), destination_port)
    source, destination, source_port, destination_port = _ENDS.unpack(ends)
    return (host_text(source), source_port), (host_text(destination), destination_port)


def parse_udp(packet: bytes) -> UdpPacket | str:
    """Return the addresses and the payload of a full IP packet, or the reason why it has none."""
    parts = split_udp(packet)
    if isinstance(parts, str):
        return parts
    return UdpPacket(*ends_of(parts[0]), parts[1])


def replace_payload(
    packet: bytes, payload: bytes, mtu_bytes: int = DEFAULT_MTU_BYTES, identification: int = 0
) -> bytes:
    """Return the packet with another UDP payload: lengths and checksums are right again, everything else stays.

    `packet` is one that :func:`parse_udp` takes. Its UDP checksum is computed anew, where 0 ("none", RFC 768) stays
    0; that of the IP header is updated (RFC 1624), so one that came wrong stays wrong. A packet that grew
    past `mtu_bytes` loses DF, since its sender chose its size for a path that held it, and where DF was set it gets
    `identification` (0–65535), without which its fragments couldn't be put together (RFC 6864 section 4). ValueError
    if no packet can hold the payload. An IPv6 packet takes no part in DF and identification: see `datagram6`.
    """
    header_bytes = _IP4_HEADERS.get(packet[0], 0)
    if not header_bytes:
        return replace_payload6(packet, payload)
    udp_bytes = UDP_HEADER_BYTES + len(payload)
    total_bytes = header_bytes + udp_bytes
    if total_bytes > LARGEST_PACKET_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes doesn't fit into an IPv4 packet")
    has_options = header_bytes != IP_HEADER_BYTES
    (
        start,
        total_before_bytes,
        packet_id,
        fragment,
        ttl_protocol,
        ip_checksum,
        hosts,
        source_port,
        destination_port,
        _,
        udp_checksum,
    ) = _headers(packet[:IP_HEADER_BYTES] + packet[header_bytes:] if has_options else packet)
    ip_checksum += total_before_bytes - total_bytes
    if total_bytes > mtu_bytes and total_bytes > total_before_bytes and fragment & _DONT_FRAGMENT:
        ip_checksum += _DONT_FRAGMENT + packet_id - identification
        fragment -= _DONT_FRAGMENT
        packet_id = identification
    if udp_checksum:
        words = (
            # The remainder first: all that is added to it is small then.
            _from_bytes(payload, "big") % 65535 * (256 if udp_bytes & 1 else 1)
            + _from_bytes(hosts, "big")
            + source_port
            + destination_port
            + UDP
            + udp_bytes * 2  # once in the header, once in the pseudo-header
        )
        udp_checksum = -words % 65535 or 65535
    headers = _new_headers(
        start,
        total_bytes,
        packet_id,
        fragment,
        ttl_protocol,
        ip_checksum % 65535,
        hosts,
        source_port,
        destination_port,
        udp_bytes,
        udp_checksum,
    )
    if has_options:
        options = packet[IP_HEADER_BYTES:header_bytes]
        headers = headers[:IP_HEADER_BYTES] + options + headers[IP_HEADER_BYTES:]
    return headers + payload


def replace_addresses(packet: bytes, source: Address | None = None, destination: Address | None = None) -> bytes:
    """Return the packet as a NAT would send it on: other addresses and ports, checksums updated (RFC 1624).

    Ports are those of UDP and TCP; of other protocols, and of fragments but the first, which have none, only the IP
    addresses change. A wrong checksum stays wrong. Bytes that are no IPv4 packet come back as they are.
    """
    header_bytes, protocol, fragment = _layout(packet)
    if not header_bytes:
        return packet
    changed = bytearray(packet)
    for address, offset in ((source, 12), (destination, 16)):
        if address is not None:
            changed[offset : offset + 4] = host_bytes(address[0])
    difference = _words(changed[12:20]) - _words(packet[12:20])
    _subtract(changed, 10, difference)
    offset_in_body = _CHECKSUM_OFFSET.get(protocol)
    if offset_in_body is None or fragment & _FRAGMENT_OFFSET or header_bytes + offset_in_body + 2 > len(packet):
        return bytes(changed)
    checksum_offset = header_bytes + offset_in_body
    for address, offset in ((source, header_bytes), (destination, header_bytes + 2)):
        if address is not None:
            _WORD.pack_into(changed, offset, address[1])
    if protocol == UDP and changed[checksum_offset : checksum_offset + 2] == b"\0\0":
        return bytes(changed)
    behind = header_bytes + 4
    difference += _words(changed[header_bytes:behind]) - _words(packet[header_bytes:behind])
    _subtract(changed, checksum_offset, difference, zero_is_none=protocol == UDP)
    return bytes(changed)


def addresses(packet: bytes) -> tuple[int, Address, Address] | None:
    """Return (protocol, source, destination) of an IPv4 packet, with port 0 where it has none; None for others."""
    header_bytes, protocol, fragment = _layout(packet)
    if not header_bytes:
        return None
    ports = (0, 0)
    if protocol in _CHECKSUM_OFFSET and not fragment & _FRAGMENT_OFFSET and len(packet) >= header_bytes + 4:
        ports = (_WORD.unpack_from(packet, header_bytes)[0], _WORD.unpack_from(packet, header_bytes + 2)[0])
    return protocol, (host_text(packet[12:16]), ports[0]), (host_text(packet[16:20]), ports[1])


def checksums_right(packet: bytes) -> bool:
    """Are the IP header's checksum and that of UDP, TCP or ICMP right? False for what isn't a whole IPv4 packet.

    The upper checksum of a fragment can't be seen in one packet and isn't asked for; nor is UDP's 0, which means none.
    """
    header_bytes, protocol, fragment = _layout(packet)
    total_bytes = _WORD.unpack_from(packet, 2)[0] if header_bytes else 0
    if not header_bytes or not header_bytes <= total_bytes <= len(packet) or checksum(packet[:header_bytes]):
        return False
    if fragment & (_MORE_FRAGMENTS | _FRAGMENT_OFFSET):
        return True
    body = packet[header_bytes:total_bytes]
    if protocol == ICMP:
        return not checksum(body)
    if protocol not in _CHECKSUM_OFFSET:
        return True
    if protocol == UDP and body[6:8] == b"\0\0":
        return True
    return not checksum(_pseudo_header(packet, protocol, len(body)) + body)


def fill_checksums(packet: bytes) -> bytes:
    """Return the packet with the checksums of its IP header and of UDP, TCP or ICMP computed anew from its bytes.

    Needed where a capture was taken before the network card filled them in. UDP's 0 ("none") is filled too. Fragments
    get the IP header's only; bytes that are no whole IPv4 packet come back as they are.
    """
    header_bytes, protocol, fragment = _layout(packet)
    total_bytes = _WORD.unpack_from(packet, 2)[0] if header_bytes else 0
    if not header_bytes or not header_bytes <= total_bytes <= len(packet):
        return packet
    filled = bytearray(packet)
    filled[10:12] = b"\0\0"
    _WORD.pack_into(filled, 10, checksum(filled[:header_bytes]))
    offset = 2 if protocol == ICMP else _CHECKSUM_OFFSET.get(protocol)
    if offset is None or fragment & (_MORE_FRAGMENTS | _FRAGMENT_OFFSET) or header_bytes + offset + 2 > total_bytes:
        return bytes(filled)
    start = header_bytes + offset
    filled[start : start + 2] = b"\0\0"
    body = bytes(filled[header_bytes:total_bytes])
    covered = body if protocol == ICMP else _pseudo_header(packet, protocol, len(body)) + body
    _WORD.pack_into(filled, start, checksum(covered) or (65535 if protocol == UDP else 0))
    return bytes(filled)


def _layout(packet: bytes) -> tuple[int, int, int]:
    """Return (IP header's length, protocol, fragment field); a length of 0 says that it is no IPv4 header."""
    if len(packet) < IP_HEADER_BYTES or packet[0] >> 4 != 4:
        return 0, 0, 0
    header_bytes = (packet[0] & 15) * 4
    if not IP_HEADER_BYTES <= header_bytes <= len(packet):
        return 0, 0, 0
    return header_bytes, packet[9], _WORD.unpack_from(packet, 6)[0]


def _words(data: bytes | bytearray) -> int:
    """Return the sum of the 16-bit words of `data` modulo 65535."""
    return _from_bytes(data, "big") * (256 if len(data) & 1 else 1) % 65535


def _subtract(packet: bytearray, offset: int, difference: int, *, zero_is_none: bool = False) -> None:
    """Update the checksum at `offset` for words that grew by `difference`: HC' = HC + m - m' (RFC 1624, eqn. 4)."""
    updated = (_WORD.unpack_from(packet, offset)[0] - difference) % 65535
    _WORD.pack_into(packet, offset, updated or (65535 if zero_is_none else 0))


def _pseudo_header(packet: bytes, protocol: int, size_bytes: int) -> bytes:
    """Return what UDP's and TCP's checksums cover beyond their own bytes (RFC 768, RFC 9293 section 3.1)."""
    return packet[12:20] + _TWO_WORDS.pack(protocol, size_bytes)
