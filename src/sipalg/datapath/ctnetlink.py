"""Connection tracking in netlink messages: what an entry looks like on the wire, and the requests that concern it.

`conntrack` decides, this module spells (include/uapi/linux/netfilter/nfnetlink_conntrack.h and
nf_conntrack_common.h). A tuple is one direction of a flow: source and destination endpoint of the packets that go
that way. Requests are IPv4's or IPv6's by the addresses in them; the quick readers know IPv4's usual layout, and read
all else the long way.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from socket import AF_INET, AF_INET6, inet_aton, inet_pton
from typing import Final, NamedTuple

from sipalg.codec.datagram import host_text
from sipalg.codec.datagram6 import host_text6
from sipalg.datapath import netlink
from sipalg.datapath.netlink import Message
from sipalg.engine.verdict import Endpoint

# Status bits of an entry (enum ip_conntrack_status).
SEEN_REPLY: Final = 0x2
ASSURED: Final = 0x4
CONFIRMED: Final = 0x8
SOURCE_NAT: Final = 0x10
DESTINATION_NAT: Final = 0x20
DYING: Final = 0x200
FIXED_TIMEOUT: Final = 0x400

_SUBSYSTEM: Final = 1
_NEW: Final = 0
_GET: Final = 1
_DELETE: Final = 2

_TUPLE_ORIGINAL: Final = 1
_TUPLE_REPLY: Final = 2
_STATUS: Final = 3
_TIMEOUT: Final = 7
_MARK: Final = 8
_COUNTERS_ORIGINAL: Final = 9
_COUNTERS_REPLY: Final = 10
_ID: Final = 12
_FILTER: Final = 25

# Attributes of a tuple's addresses, for IPv4 and IPv6: source, destination.
_ADDRESSES: Final = {4: (1, 2), 16: (3, 4)}

# Which fields of a tuple a dump's filter compares (CTA_FILTER_F_… in net/netfilter/nf_conntrack_netlink.c).
_COMPARE_DESTINATION: Final = 0x2
_COMPARE_PROTOCOL: Final = 0x8
_COMPARE_DESTINATION_PORT: Final = 0x20
_HOST_ORDER_U32: Final = struct.Struct("=I")

# A tuple of a protocol with ports is 52 bytes: nest, address nest, source, destination, protocol nest, number, two
# ports. The headers between the values are always the same.
_HEADER: Final = struct.Struct("=HH")
_TUPLE_HEADS: Final = {
    kind: _HEADER.pack(52, kind | netlink.NESTED) + _HEADER.pack(20, 1 | netlink.NESTED) + _HEADER.pack(8, 1)
    for kind in (_TUPLE_ORIGINAL, _TUPLE_REPLY)
}
_BEFORE_DESTINATION: Final = _HEADER.pack(8, 2)
_BEFORE_PROTOCOL: Final = _HEADER.pack(28, 2 | netlink.NESTED) + _HEADER.pack(5, 1)
_PORTS: Final = struct.Struct("!B3x4sH2x4sH2x")
_BEFORE_PORTS: Final = (_HEADER.pack(6, 2), _HEADER.pack(6, 3))

# All of a tuple's value in one go, header after header.
_TUPLE: Final = struct.Struct("!8s 4s 4s 4s 8s B3x 4s H2x 4s H2x")
_WITHIN_TUPLE: Final = (_TUPLE_HEADS[_TUPLE_REPLY][4:], _BEFORE_DESTINATION, _BEFORE_PROTOCOL, *_BEFORE_PORTS)

# What `translated` reads of such an entry in one go: the original tuple's nest header, source, protocol and source
# port, the reply tuple's nest header, destination and destination port. The lengths in the headers are the proof.
_TRANSLATED: Final = struct.Struct("!4x 4s 8x 4s 16x B 7x 2s 10x 4s 16x 4s 24x H")
# The same for `let_in`: the original tuple's destination, protocol and destination port, the reply tuple's source.
_LET_IN: Final = struct.Struct("!4x 4s 16x 4s 8x B 15x H 2x 4s 8x 4s 24x 2s")
# And for `concerning`: both tuples' sources and destinations, with their ports.
_ENDS: Final = struct.Struct("!4x 4s 8x 4s 4x 4s 16x 2s 6x 2s 2x 4s 8x 4s 4x 4s 16x 2s 6x 2s")
_NESTS: Final = tuple(_TUPLE_HEADS[kind][:4] for kind in (_TUPLE_ORIGINAL, _TUPLE_REPLY))


class Tracked(NamedTuple):
    """One entry of the table. `original` is the direction of the first packet; reply is what answers look like.

    Source NAT shows in `reply_destination` (not the original source), destination NAT in `reply_source` (not the
    original destination). Endpoints of protocols without ports have port 0. `packets` is (original, reply), None
    while net.netfilter.nf_conntrack_acct is off. `identity` tells this entry from a later one with the same tuples.
    """

    protocol: int
    original_source: Endpoint
    original_destination: Endpoint
    reply_source: Endpoint
    reply_destination: Endpoint
    status: int
    timeout_s: int
    mark: int
    identity: bytes
    packets: tuple[int, int] | None


def encode_tuple(kind: int, protocol: int, source: Endpoint, destination: Endpoint) -> bytes:
    """Make a CTA_TUPLE_… attribute. Raises OSError for a host that is no IP literal."""
    if ":" in source.host:
        place, other = _ADDRESSES[16]
        hosts = netlink.attribute(place, address(source.host)), netlink.attribute(other, address(destination.host))
        ports = netlink.u16(2, source.port), netlink.u16(3, destination.port)
        return netlink.nested(kind, netlink.nested(1, *hosts), netlink.nested(2, netlink.u8(1, protocol), *ports))
    return b"".join((
        _TUPLE_HEADS[kind],
        inet_aton(source.host),
        _BEFORE_DESTINATION,
        inet_aton(destination.host),
        _BEFORE_PROTOCOL,
        _PORTS.pack(protocol, _BEFORE_PORTS[0], source.port, _BEFORE_PORTS[1], destination.port),
    ))


def get(protocol: int, source: Endpoint, destination: Endpoint) -> Message:
    """Make the question for the entry that a packet source → destination belongs to, in whichever direction."""
    part = encode_tuple(_TUPLE_ORIGINAL, protocol, source, destination)
    return netlink.nfnetlink(_SUBSYSTEM, _GET, 0, part, family=family(source.host))


def delete(entry: Tracked) -> Message:
    """Make the request that deletes exactly this entry; ENOENT if it is gone, whatever took its place."""
    return netlink.nfnetlink(
        _SUBSYSTEM,
        _DELETE,
        0,
        encode_tuple(_TUPLE_ORIGINAL, entry.protocol, entry.original_source, entry.original_destination),
        netlink.attribute(_ID, entry.identity),
        family=family(entry.original_source.host),
    )


def dump(
    protocol: int | None = None, destination: str = "", port: int = 0, *, original: bool = False, ipv6: bool = False
) -> Message:
    """Make the question for all entries, or those of a protocol and those whose answers go to an address.

    They are IPv4's, or with `ipv6` or an IPv6 address that family's. With `original` it is the address that their
    first packet was for. `port` (0: any) is asked of a protocol only. Kernels before 5.8 know no filter and answer
    with everything, so whoever reads the answer has to compare again.
    """
    compare = (_COMPARE_DESTINATION if destination else 0) | (_COMPARE_PROTOCOL if protocol is not None else 0)
    parts: list[bytes] = []
    if compare:
        fields = []
        if destination:
            packed_destination = address(destination)
            place = _ADDRESSES[len(packed_destination)][1]
            fields.append(netlink.nested(1, netlink.attribute(place, packed_destination)))
        if protocol is not None:
            ports = (netlink.u16(3, port),) if port else ()
            compare |= _COMPARE_DESTINATION_PORT if port else 0
            fields.append(netlink.nested(2, netlink.u8(1, protocol), *ports))
        kind = _TUPLE_ORIGINAL if original else _TUPLE_REPLY
        flags = [
            netlink.attribute(which, _HOST_ORDER_U32.pack(compare if which == kind else 0))
            for which in (_TUPLE_ORIGINAL, _TUPLE_REPLY)
        ]
        parts = [netlink.nested(kind, *fields), netlink.nested(_FILTER, *flags)]
    number = AF_INET6 if ipv6 or ":" in destination else AF_INET
    return netlink.nfnetlink(_SUBSYSTEM, _GET, netlink.DUMP, *parts, family=number)


def decode_entry(body: bytes) -> Tracked | None:
    """Read an entry from a message's body; None where it isn't a whole one of IPv4 or IPv6."""
    found = netlink.attributes(body, 4)
    original, reply = _decode_tuple(found.get(_TUPLE_ORIGINAL)), _decode_tuple(found.get(_TUPLE_REPLY))
    if original is None or reply is None:
        return None
    packets = None
    if _COUNTERS_ORIGINAL in found and _COUNTERS_REPLY in found:
        packets = _packets(found[_COUNTERS_ORIGINAL]), _packets(found[_COUNTERS_REPLY])
    status, timeout_s, mark = [netlink.number(found.get(kind, b"")) for kind in (_STATUS, _TIMEOUT, _MARK)]
    return Tracked(*original, *reply[1:], status, timeout_s, mark, found.get(_ID, b""), packets)


def _packets(counters: bytes) -> int:
    return netlink.number(netlink.attributes(counters).get(1, b""))


def _decode_tuple(value: bytes | None) -> tuple[int, Endpoint, Endpoint] | None:
    if value is None:
        return None
    if len(value) == _TUPLE.size:
        nests, source, second, destination, third, protocol, fourth, port, fifth, other_port = _TUPLE.unpack(value)
        if (nests, second, third, fourth, fifth) == _WITHIN_TUPLE:
            return protocol, Endpoint(host_text(source), port), Endpoint(host_text(destination), other_port)
    parts = netlink.attributes(value)
    addresses, ports = netlink.attributes(parts.get(1, b"")), netlink.attributes(parts.get(2, b""))
    source, destination, read = addresses.get(1, b""), addresses.get(2, b""), host_text
    if len(source) != 4 or len(destination) != 4:
        source, destination, read = addresses.get(3, b""), addresses.get(4, b""), host_text6
        if len(source) != 16 or len(destination) != 16:
            return None
    number, source_port, destination_port = (ports.get(kind, b"") for kind in (1, 2, 3))
    # A protocol without ports has none; anything else is no port.
    if len(number) > 1 or not {len(source_port), len(destination_port)} <= {0, 2}:
        return None
    return (
        netlink.number(number),
        Endpoint(read(source), netlink.number(source_port)),
        Endpoint(read(destination), netlink.number(destination_port)),
    )


def family(host: str) -> int:
    """Return the family of an IP literal, as sockets number it."""
    return AF_INET6 if ":" in host else AF_INET


def address(host: str) -> bytes:
    """Return an IP literal's bytes. Raises OSError for anything else."""
    return inet_pton(AF_INET6, host) if ":" in host else inet_aton(host)


class Translated(NamedTuple):
    """What the search for free ports needs of an entry."""

    protocol: int
    public_port: int
    source: bytes


def translated(bodies: Iterator[bytes], public_address: bytes) -> Iterator[Translated]:
    """Yield the flows whose answers go to an address (4 bytes or 16) and that come from another host: NATed ones.

    `source` is the original source's address and port as bytes. This is what a table of 100,000 entries is read
    with, hence the fixed layout; an entry that looks otherwise takes the long way.
    """
    unpack, size = _TRANSLATED.unpack_from, _TRANSLATED.size
    there, back = _NESTS
    for body in bodies:
        if len(body) >= size:
            first, host, protocol, port, second, public, public_port = unpack(body)
            if first == there and second == back:
                if public == public_address != host:
                    yield Translated(protocol, public_port, host + port)
                continue
        entry = decode_entry(body)
        if entry is not None and address(entry.reply_destination.host) == public_address:
            source = address(entry.original_source.host)
            if source != public_address:
                port = entry.original_source.port.to_bytes(2, "big")
                yield Translated(entry.protocol, entry.reply_destination.port, source + port)


def may_have_port(body: bytes, ports: Collection[bytes], *, original: bool = False) -> bool:
    """Tell whether an entry's answers (or, with `original`, its first packet) may have been for one of the ports.

    A quick look at the usual place, two bytes big-endian; an entry that looks otherwise may.
    """
    if len(body) >= _TRANSLATED.size and (body[4:8], body[56:60]) == _NESTS:
        return (body[52:54] if original else body[104:106]) in ports
    return True


def let_in(bodies: Iterator[bytes], public_address: bytes) -> Iterator[Translated]:
    """Yield the flows that began with a packet to an address and that another host answers: forwarded ones.

    `public_port` is the port that the packet came for, `source` the endpoint behind it. As fast as `translated`.
    """
    unpack, size = _LET_IN.unpack_from, _LET_IN.size
    there, back = _NESTS
    for body in bodies:
        if len(body) >= size:
            first, public, protocol, public_port, second, host, port = unpack(body)
            if first == there and second == back:
                if public == public_address != host:
                    yield Translated(protocol, public_port, host + port)
                continue
        entry = decode_entry(body)
        if entry is not None and address(entry.original_destination.host) == public_address:
            source = address(entry.reply_source.host)
            if source != public_address:
                port = entry.reply_source.port.to_bytes(2, "big")
                yield Translated(entry.protocol, entry.original_destination.port, source + port)


def concerning(bodies: Iterable[bytes], ends: Collection[bytes], ports: Collection[bytes]) -> Iterator[Tracked]:
    """Yield the entries that have one of the `ends` in either tuple, or whose original tuple has one of the `ports`.

    An end is an address and a port, 6 bytes or 18; a port is 2 bytes big-endian. As fast as `translated` over those
    that are of no concern.
    """
    unpack, size = _ENDS.unpack_from, _ENDS.size
    there, back = _NESTS
    for body in bodies:
        if len(body) >= size:
            first, a, b, a_port, b_port, second, c, d, c_port, d_port = unpack(body)
            if first == there and second == back:
                known = a + a_port in ends or b + b_port in ends or c + c_port in ends or d + d_port in ends
                if not known and a_port not in ports and b_port not in ports:
                    continue
        entry = decode_entry(body)
        if entry is not None and _concerns(entry, ends, ports):
            yield entry


def _concerns(entry: Tracked, ends: Collection[bytes], ports: Collection[bytes]) -> bool:
    original = (packed(entry.original_source), packed(entry.original_destination))
    reply = (packed(entry.reply_source), packed(entry.reply_destination))
    return any(end in ends for end in (*original, *reply)) or any(end[-2:] in ports for end in original)


def packed(end: Endpoint) -> bytes:
    """Return an endpoint's address and port as 6 bytes or 18. Raises OSError for a host that is no IP literal."""
    return address(end.host) + end.port.to_bytes(2, "big")
