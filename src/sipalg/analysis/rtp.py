"""The voice of a capture: RTP and RTCP streams by their ends and SSRC, counted once for all who ask.

A stream is known by the session description that announced one of its ends, or by how it looks: version 2 and three
packets in order. A packet of a known one costs a look-up, here or already in the reader (`capture.tally`); nothing
else is kept of it. Beside the messages of a capture. Pure; nothing here raises on a packet's bytes.
Sources: RFC 3550 §5.1, §6.1 and §6.4; RFC 5761 §4 (RTP and RTCP told apart).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from sipalg.analysis.messages import SipMessage, text_of
from sipalg.capture.decode import Segment
from sipalg.capture.tally import Tallies, Tally
from sipalg.codec import sdp
from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT
from sipalg.codec.body import sdp_span
from sipalg.engine.verdict import Endpoint

#: Packets in order after which a stream that nobody announced is believed, and how far a number may go on in it.
_ENOUGH: Final = 3
_MOST_LOST: Final = 50
#: Bounds of what is held: streams, streams not yet believed, announced ends. More are no honest capture's.
MOST_STREAMS: Final = 500_000
MOST_CANDIDATES: Final = 4096
MOST_ANNOUNCED: Final = 500_000
#: Of how many RTCP packets of a stream the times are kept.
_MOST_REPORTS: Final = 8

_HEADER_BYTES: Final = 12
_RTCP_HEADER_BYTES: Final = 8
#: RTP's sequence number; RTCP's length in words less one.
_SEQUENCE: Final = Struct("!xxH")
_RTCP_LENGTH: Final = Struct("!xxH")
#: RTCP's packet types, which no RTP packet on the same port has in its second byte, and the reports among them.
_RTCP_TYPES: Final = range(192, 224)
_REPORTS: Final = (200, 201)
#: Stands before an RTCP sender's SSRC in the key of its stream.
_RTCP: Final = b"rtcp"


class Stream:
    """One direction of media, or of its RTCP: packets with the same ends and SSRC.

    `first` is the number of its first packet and `first_ns` its time. `reports_ns` are the times of RTCP's first
    packets, empty for RTP.
    """

    __slots__ = ("destination", "first", "first_ns", "is_rtcp", "reports_ns", "source", "tally")

    def __init__(self, segment: Segment, ssrc: bytes, *, is_rtcp: bool) -> None:
        self.source = segment.source
        self.destination = segment.destination
        self.is_rtcp = is_rtcp
        self.first = segment.number
        self.first_ns = segment.time_ns
        self.reports_ns: tuple[int, ...] = ()
        self.tally = Tally(ssrc)


def media_ends(message: SipMessage) -> Iterator[Endpoint]:
    """Yield the ends that a message's session description names for media over UDP and for their RTCP."""
    start, end = sdp_span(message.frame)
    description = sdp.parse(message.frame.data, start, end) if end > start else ""
    if isinstance(description, str):
        return
    for media in description.media:
        for connection in description.connections_of(media) if media.port and media.is_udp else ():
            host = text_of(connection.host)
            yield Endpoint(host, media.port)
            if media.is_rtp:
                rtcp_host = text_of(media.rtcp_host) if media.rtcp_host else host
                yield Endpoint(rtcp_host, media.rtcp_port or media.port + 1)


class Way(NamedTuple):
    """Whose media is asked for: the ends that one side of a call names, the far side's, and the one side's host.

    `since` is the number of the call's first packet: ports are used again.
    """

    ends: set[Endpoint]
    far: set[Endpoint]
    host: str
    since: int


class Heard(NamedTuple):
    """What came to somebody: how many packets, when the last of them did (ns since 1970, 0 if none), its number."""

    packets: int
    last_ns: int
    last: int


class Streams:
    """All streams of a capture: announce the ends that descriptions name, and take every UDP segment."""

    def __init__(self) -> None:
        #: RTP's by the raw ends: what the reader may count by itself.
        self.tallies: Tallies = {}
        #: In the order in which they were found.
        self.all: list[Stream] = []
        self._by_key: dict[bytes, Stream] = {}
        self._to: dict[Endpoint, list[Stream]] = {}
        self._from: dict[Endpoint, list[Stream]] = {}
        #: Streams that aren't believed yet, with the last sequence number.
        self._candidates: dict[bytes, tuple[Stream, int]] = {}
        self._announced: dict[Endpoint, None] = {}

    def announce(self, end: Endpoint) -> None:
        """Take an end that a session description names: what comes to it or from it is media at once."""
        if len(self._announced) >= MOST_ANNOUNCED:
            del self._announced[next(iter(self._announced))]
        self._announced[end] = None

    def is_announced(self, end: Endpoint) -> bool:
        """Whether a session description names this end."""
        return end in self._announced

    def take(self, segment: Segment) -> bool:
        """Return whether a UDP segment is RTP or RTCP of a stream; it is counted then."""
        payload = segment.payload
        tally = self.tallies.get(segment.ends)
        if tally is not None and payload[8:12] == tally.ssrc:
            tally.add(segment.number, segment.time_ns)
            return True
        if len(payload) < _RTCP_HEADER_BYTES or payload[0] >> 6 != 2:
            return False
        if payload[1] in _RTCP_TYPES:
            return self._take_rtcp(segment)
        return len(payload) >= _HEADER_BYTES and self._take_rtp(segment)

    def packets(self, *, is_rtcp: bool) -> int:
        """Return how many packets of one kind were counted."""
        return sum(stream.tally.count for stream in self.all if stream.is_rtcp == is_rtcp)

    def came(self, way: Way, *, is_rtcp: bool) -> Heard:
        """Return what came to one of the ends, from a far end to the host, or to where the host sends from to one."""
        found = [stream for end in way.ends for stream in self._to.get(end, ()) if stream.is_rtcp == is_rtcp]
        for source in way.far:
            for stream in self._from.get(source, ()):
                destination = stream.destination
                if destination.host == way.host and stream.is_rtcp == is_rtcp and destination not in way.ends:
                    found.append(stream)
        for own in self._own(way):
            late = (stream for stream in self._to.get(own, ()) if stream.first >= way.since)
            found += [stream for stream in late if stream.is_rtcp == is_rtcp and stream.source not in way.far]
        found = _once(found)
        last = max((one.tally for one in found), key=lambda tally: tally.last, default=Tally(b""))
        return Heard(sum(one.tally.count for one in found), last.last_ns, last.last)

    def _own(self, way: Way) -> set[Endpoint]:
        """The ends of the host, other than those that it names, from which something goes to a far end."""
        sources = {stream.source for end in way.far for stream in self._to.get(end, ()) if stream.first >= way.since}
        return {source for source in sources if source.host == way.host and source not in way.ends}

    def _take_rtp(self, segment: Segment) -> bool:
        ssrc = segment.payload[8:12]
        stream = self._by_key.get(segment.ends + ssrc) or self._new_rtp(segment, ssrc)
        if stream is None:
            return False
        stream.tally.add(segment.number, segment.time_ns)
        # Of several streams between two ends the reader counts the one that came last.
        self.tallies[segment.ends] = stream.tally
        return True

    def _new_rtp(self, segment: Segment, ssrc: bytes) -> Stream | None:
        """Return the stream that begins here if it is announced, or if this is its third packet in order."""
        key = segment.ends + ssrc
        (sequence,) = _SEQUENCE.unpack_from(segment.payload)
        stream, last = self._candidates.pop(key, (None, 0))
        if stream is not None and not 0 < (sequence - last) % 65536 <= _MOST_LOST:
            stream = None
        stream = stream or Stream(segment, ssrc, is_rtcp=False)
        if self._is_announced(segment) or stream.tally.count + 1 >= _ENOUGH:
            return self._believe(key, stream)
        stream.tally.add(segment.number, segment.time_ns)
        if len(self._candidates) >= MOST_CANDIDATES:
            del self._candidates[next(iter(self._candidates))]
        self._candidates[key] = stream, sequence
        return None

    def _take_rtcp(self, segment: Segment) -> bool:
        ssrc = segment.payload[4:8]
        key = segment.ends + _RTCP + ssrc
        stream = self._by_key.get(key)
        if stream is None:
            new = Stream(segment, ssrc, is_rtcp=True) if self._is_rtcp(segment) else None
            stream = new and self._believe(key, new)
        if stream is None:
            return False
        stream.tally.add(segment.number, segment.time_ns)
        if len(stream.reports_ns) < _MOST_REPORTS:
            stream.reports_ns += (segment.time_ns,)
        return True

    def _is_rtcp(self, segment: Segment) -> bool:
        """Whether a packet's length is as RTCP says it, and its ends are announced, or look as if they could be.

        A compound packet begins with a report (RFC 3550 §6.1).
        """
        payload = segment.payload
        if len(payload) < 4 * (_RTCP_LENGTH.unpack_from(payload)[0] + 1):
            return False
        lower_port = min(segment.source.port, segment.destination.port)
        return self._is_announced(segment) or (payload[1] in _REPORTS and lower_port >= FIRST_UNPRIVILEGED_PORT)

    def _is_announced(self, segment: Segment) -> bool:
        return segment.destination in self._announced or segment.source in self._announced

    def _believe(self, key: bytes, stream: Stream) -> Stream | None:
        if len(self.all) >= MOST_STREAMS:
            return None
        self._by_key[key] = stream
        self.all.append(stream)
        self._to.setdefault(stream.destination, []).append(stream)
        self._from.setdefault(stream.source, []).append(stream)
        return stream


def _once(streams: list[Stream]) -> list[Stream]:
    """Return the streams without those that are another one of them, seen on the other side of a NAT.

    They have its SSRC and its destination, and go on at the same time.
    """
    found: dict[tuple[Endpoint, bytes], list[Stream]] = {}
    for one in streams:
        known = found.setdefault((one.destination, one.tally.ssrc), [])
        if not any(one.first < other.tally.last and other.first < one.tally.last for other in known):
            known.append(one)
    return [stream for known in found.values() for stream in known]
