"""From a frame to what two hosts said to each other: UDP datagrams and TCP segments with their ends, fragments whole.

Ethernet with and without VLAN tags, PPPoE, Linux's cooked captures, loopback and bare IP, in versions 4 and 6. What is
neither UDP nor TCP has nothing to say here. Nearly all packets of a capture are voice over IPv4 on Ethernet, so that
one is read with a single look at its headers. On a packet's way offline this stands behind the reading. Never raises.
Sources: RFC 791, 768, 9293, 8200 (4); link layers as in `link`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from struct import Struct
from typing import Final, NamedTuple

from sipalg.capture.link import ETHERNET, find_ip
from sipalg.capture.reading import Frame
from sipalg.capture.reassembly import Reassembly
from sipalg.codec.datagram import TCP, UDP, ends_of
from sipalg.engine.verdict import Endpoint

_new: Final = tuple.__new__

#: Ethernet, IPv4 without options and UDP: Ethertype, version, total length, fragment, protocol, ends, UDP length.
_USUAL: Final = Struct("!12xHBxHxxHxBxx12sH")
_USUAL_HEADERS_BYTES: Final = 42
_MORE_OR_OFFSET: Final = 0x3FFF

_IPV4: Final = Struct("!BxHHHxB")
_IPV6: Final = Struct("!4xHB")
_PORTS: Final = Struct("!HH")
_UDP_LENGTH: Final = Struct("!4xH")
_TCP: Final = Struct("!4xI4xBB")
_FRAGMENT_OF_IPV6: Final = Struct("!BxHI")

_IPV6_HEADER_BYTES: Final = 40
#: IPv6's extension headers that have a length (hop-by-hop, routing, destination options), and the others that count.
_OPTIONS_OF_IPV6: Final = frozenset((0, 43, 60))
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
#: More extension headers than any honest packet has.
_MOST_EXTENSIONS: Final = 8

#: Flows whose ends are remembered.
_MOST_FLOWS: Final = 65536

#: IPv4's header and TCP's, both without options.
_LEAST_TCP_BYTES: Final = 40

#: TCP's flags, as in `Segment.flags`.
FIN: Final = 1
SYN: Final = 2
RST: Final = 4


class Segment(NamedTuple):
    """One UDP datagram or TCP segment.

    `number` and `time_ns` are those of the frame that completed it; `ends` is the same object for all segments that
    have the same source, destination and address family, cheap as a key. `sequence` and `flags` are TCP's, 0 for UDP.
    `whole` is False where the capture has less of the payload than there was. `frames` are the numbers of all frames
    where there were fragments, () otherwise. `interface` is the capture's.
    """

    number: int
    time_ns: int
    protocol: int
    source: Endpoint
    destination: Endpoint
    payload: bytes
    ends: bytes
    sequence: int
    flags: int
    whole: bool
    frames: tuple[int, ...]
    interface: int


class Decoder:
    """Takes frames in order and gives segments; holds what fragments it waits for, within a bound."""

    def __init__(self) -> None:
        self._flows: dict[bytes, tuple[bytes, Endpoint, Endpoint]] = {}
        self._fragments = Reassembly()
        #: Frames that hold neither UDP nor TCP, or too little of it.
        self.others = 0

    def segments(self, frames: Iterable[Frame]) -> Iterator[Segment]:
        """Yield what the frames hold."""
        usual, tcp, flows, others = _USUAL.unpack_from, _TCP.unpack_from, self._flows, 0
        for frame in frames:
            number, time_ns, data, _, link_type, interface = frame
            if link_type == ETHERNET and len(data) > _USUAL_HEADERS_BYTES:
                ethertype, version, total_bytes, fragment, protocol, ends, udp_bytes = usual(data)
                if (
                    ethertype == 0x0800
                    and version == 0x45
                    and protocol == UDP
                    and not fragment & _MORE_OR_OFFSET
                    and 8 <= udp_bytes == total_bytes - 20 <= len(data) - 34
                ):
                    flow = flows.get(ends) or self._flow(ends)
                    payload = data[42 : 34 + udp_bytes]
                    ends, source, destination = flow
                    values = (number, time_ns, UDP, source, destination, payload, ends, 0, 0, True, (), interface)
                    yield _new(Segment, values)
                    continue
                if (
                    protocol == TCP
                    and ethertype == 0x0800
                    and version == 0x45
                    and not fragment & _MORE_OR_OFFSET
                    and _LEAST_TCP_BYTES <= total_bytes <= len(data) - 14
                ):
                    sequence, offset, flags = tcp(data, 34)
                    if offset >> 4 >= 5:
                        ends, source, destination = flows.get(ends) or self._flow(ends)
                        payload = data[34 + (offset >> 4) * 4 : 14 + total_bytes]
                        place = (number, time_ns, TCP, source, destination)
                        yield _new(Segment, (*place, payload, ends, sequence, flags, True, (), interface))
                        continue
            segment = self._segment(frame)
            if segment is None:
                others += 1
                self.others = others
            else:
                yield segment

    def _segment(self, frame: Frame) -> Segment | None:
        """Read a frame of any kind, step by step."""
        span = find_ip(frame.link_type, frame.data)
        if span is None:
            return None
        packet = frame.data[span.start : span.end]
        if packet[0] >> 4 == 4:
            return self._from_ipv4(packet, span.whole, frame)
        return self._from_ipv6(packet, span.whole, frame)

    def _from_ipv4(self, packet: bytes, whole: bool, frame: Frame) -> Segment | None:
        version, _, identification, fragment, protocol = _IPV4.unpack_from(packet)
        header_bytes = (version & 15) * 4
        if header_bytes < 20:
            return None
        body = packet[header_bytes:]
        frames: tuple[int, ...] = ()
        if fragment & _MORE_OR_OFFSET:
            if not whole:
                return None
            key = packet[12:20] + bytes((protocol,)) + identification.to_bytes(2, "big")
            found = self._fragments.add(key, (fragment & 0x1FFF) * 8, bool(fragment & 0x2000), body, frame)
            if found is None:
                return None
            body, frames = found
        return self._from_body(protocol, packet[12:20], body, whole, frame, frames)

    def _from_ipv6(self, packet: bytes, whole: bool, frame: Frame) -> Segment | None:
        _, protocol = _IPV6.unpack_from(packet)
        at = _IPV6_HEADER_BYTES
        frames: tuple[int, ...] = ()
        for _ in range(_MOST_EXTENSIONS):
            if len(packet) < at + 8:
                break
            if protocol in _OPTIONS_OF_IPV6:
                protocol, at = packet[at], at + (packet[at + 1] + 1) * 8
            elif protocol == _AUTHENTICATION:
                protocol, at = packet[at], at + (packet[at + 1] + 2) * 4
            elif protocol == _FRAGMENT and not frames:
                protocol, field, identification = _FRAGMENT_OF_IPV6.unpack_from(packet, at)
                if not whole:
                    return None
                key = packet[8:40] + identification.to_bytes(4, "big")
                found = self._fragments.add(key, field & 0xFFF8, bool(field & 1), packet[at + 8 :], frame)
                if found is None:
                    return None
                body, frames = found
                packet, at = packet[:_IPV6_HEADER_BYTES] + body, _IPV6_HEADER_BYTES
            else:
                break
        return self._from_body(protocol, packet[8:40], packet[at:], whole, frame, frames)

    def _from_body(
        self, protocol: int, hosts: bytes, body: bytes, whole: bool, frame: Frame, frames: tuple[int, ...]
    ) -> Segment | None:
        sequence = flags = 0
        if protocol == UDP and len(body) >= 8:
            (udp_bytes,) = _UDP_LENGTH.unpack_from(body)
            if udp_bytes and udp_bytes < 8:
                return None
            whole = whole and udp_bytes <= len(body)
            payload = body[8 : udp_bytes or len(body)]
        elif protocol == TCP and len(body) >= 20:
            sequence, offset, flags = _TCP.unpack_from(body)
            if offset >> 4 < 5:
                return None
            payload = body[(offset >> 4) * 4 :]
        else:
            return None
        ends, source, destination = self._flow(hosts + body[:4])
        place = (frame.number, frame.time_ns, protocol, source, destination)
        return _new(Segment, (*place, payload, ends, sequence, flags, whole, frames, frame.interface))

    def _flow(self, ends: bytes) -> tuple[bytes, Endpoint, Endpoint]:
        """The ends in text; the bytes that come back are the same object each time."""
        flow = self._flows.get(ends)
        if flow is None:
            if len(self._flows) >= _MOST_FLOWS:
                self._flows.clear()
            flow = self._flows[ends] = (ends, *_endpoints(ends))
        return flow


def _endpoints(ends: bytes) -> tuple[Endpoint, Endpoint]:
    if len(ends) == 12:
        source, destination = ends_of(ends)
        return Endpoint(*source), Endpoint(*destination)
    source_port, destination_port = _PORTS.unpack_from(ends, 32)
    hosts = str(IPv6Address(ends[:16])), str(IPv6Address(ends[16:32]))
    return Endpoint(hosts[0], source_port), Endpoint(hosts[1], destination_port)


def decode(frames: Iterable[Frame]) -> Iterator[Segment]:
    """Yield the UDP datagrams and TCP segments of frames that come in order."""
    return Decoder().segments(frames)
