"""The voice of a capture: RTP and RTCP streams by their ends and SSRC, with counts, in a step or two a packet.

A stream is known by the session description that announced one of its ends, or by how it looks: version 2 and three
packets in order. Nine tenths of a capture pass through here, so a packet of a known stream costs one look-up and a few
sums. Beside the messages of a capture. Pure; nothing here raises on a packet's bytes.
Sources: RFC 3550 §5.1, §6.1 and A.3; RFC 5761 §4 (RTP and RTCP told apart).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sipalg.analysis.messages import SipMessage, text_of
from sipalg.capture.decode import Segment
from sipalg.codec import sdp
from sipalg.codec.body import sdp_span
from sipalg.engine.verdict import Endpoint

RTP: Final = "rtp"
RTCP: Final = "rtcp"

#: Packets in order after which a stream that nobody announced is believed.
_ENOUGH: Final = 3
#: Bounds of what is held: streams, streams not yet believed, announced ends.
MOST_STREAMS: Final = 131072
MOST_CANDIDATES: Final = 4096
MOST_ANNOUNCED: Final = 131072

_HEADER_BYTES: Final = 12
_RTCP_HEADER_BYTES: Final = 8
#: The second byte of an RTCP packet (RFC 5761 §4).
_FIRST_RTCP: Final = 192
_LAST_RTCP: Final = 223
#: Sender and receiver reports.
_REPORTS: Final = (200, 201)
#: Behind this the sequence number went back, not on.
_HALF: Final = 0x8000


@dataclass(slots=True)
class RtpStream:
    """One direction of media, or of its RTCP: packets with the same ends and SSRC.

    `payload_type` is the first packet's, RTCP's packet type there; `others` are types that came later. `payload_bytes`
    counts UDP payloads, headers of RTP included. `call_ids` are the calls whose descriptions named one of its ends:
    empty where it was found by its looks.
    """

    kind: str
    source: Endpoint
    destination: Endpoint
    ssrc: int
    payload_type: int
    first_number: int
    first_ns: int
    first_sequence: int
    last_number: int = 0
    last_ns: int = 0
    packets: int = 0
    payload_bytes: int = 0
    last_sequence: int = 0
    advance: int = 0
    others: set[int] = field(default_factory=set)
    call_ids: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many packets the sequence numbers tell of that aren't there; 0 for RTCP, which has none."""
        return max(0, self.advance + 1 - self.packets) if self.kind == RTP else 0

    @property
    def announced(self) -> bool:
        """Whether a session description named one of its ends."""
        return bool(self.call_ids)


class RtpStreams:
    """All streams of a capture; add every UDP segment that isn't SIP, and announce every SIP message before."""

    def __init__(self) -> None:
        self._streams: dict[bytes, RtpStream] = {}
        self._candidates: dict[bytes, RtpStream] = {}
        self._announced: dict[Endpoint, list[str]] = {}

    def streams(self) -> list[RtpStream]:
        """Return the streams in the order in which they were found."""
        return list(self._streams.values())

    def announced(self, end: Endpoint) -> list[str]:
        """Return the Call-IDs whose descriptions named this address and port for media or its RTCP."""
        return self._announced.get(end, [])

    def announced_ends(self) -> frozenset[Endpoint]:
        """Return all addresses that descriptions named."""
        return frozenset(self._announced)

    def announce(self, message: SipMessage) -> None:
        """Note the addresses that a message's session description gives for media."""
        start, end = sdp_span(message.frame)
        if start == end:
            return
        description = sdp.parse(message.data, start, end)
        if isinstance(description, str):
            return
        for media in description.media:
            for connection in description.connections_of(media) if media.port and media.is_udp else ():
                host = text_of(connection.host)
                rtcp_host = text_of(media.rtcp_host) if media.rtcp_host else host
                self._note(Endpoint(host, media.port), message.call_id)
                if media.is_rtp:
                    self._note(Endpoint(rtcp_host, media.rtcp_port or media.port + 1), message.call_id)

    def add(self, segment: Segment) -> RtpStream | None:
        """Take one UDP segment; return its stream, None if it is in none (or in none that is believed yet)."""
        payload = segment.payload
        if len(payload) < _RTCP_HEADER_BYTES or payload[0] >> 6 != 2:
            return None
        second = payload[1]
        if _FIRST_RTCP <= second <= _LAST_RTCP:
            return self._add_rtcp(segment)
        if len(payload) < _HEADER_BYTES:
            return None
        stream = self._streams.get(segment.ends + payload[8:12])
        if stream is None:
            return self._add_new(segment)
        stream.packets += 1
        stream.payload_bytes += len(payload)
        stream.last_number = segment.number
        stream.last_ns = segment.time_ns
        sequence = payload[2] << 8 | payload[3]
        step = (sequence - stream.last_sequence) & 0xFFFF
        if step < _HALF:
            stream.last_sequence = sequence
            stream.advance += step
        if second & 0x7F != stream.payload_type:
            stream.others.add(second & 0x7F)
        return stream

    def _note(self, end: Endpoint, call_id: str) -> None:
        calls = self._announced.get(end)
        if calls is None:
            if len(self._announced) >= MOST_ANNOUNCED:
                del self._announced[next(iter(self._announced))]
            self._announced[end] = [call_id]
        elif call_id not in calls:
            calls.append(call_id)

    def _calls_of(self, segment: Segment) -> list[str]:
        calls = [*self._announced.get(segment.destination, ())]
        calls += [call for call in self._announced.get(segment.source, ()) if call not in calls]
        return calls

    def _add_new(self, segment: Segment) -> RtpStream | None:
        """Take a packet of a stream that isn't known: believed at once if announced, else with its third in order."""
        key = segment.ends + segment.payload[8:12]
        calls = self._calls_of(segment)
        if calls:
            known = self._candidates.pop(key) if key in self._candidates else _begin(RTP, segment)
            return self._believe(key, known, segment, calls)
        candidate = self._candidates.get(key)
        sequence = int.from_bytes(segment.payload[2:4], "big")
        if candidate is None:
            if len(self._candidates) >= MOST_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            candidate = self._candidates[key] = _begin(RTP, segment)
        elif (sequence - candidate.last_sequence) & 0xFFFF not in (1, 2):
            del self._candidates[key]
            return None
        if candidate.packets + 1 >= _ENOUGH:
            del self._candidates[key]
            return self._believe(key, candidate, segment, [])
        _count(candidate, segment, sequence)
        return None

    def _add_rtcp(self, segment: Segment) -> RtpStream | None:
        """Take an RTCP packet: its length must fit, and its ends be announced or it begin with a report (§6.1)."""
        payload = segment.payload
        if (payload[2] << 8 | payload[3]) * 4 + 4 > len(payload):
            return None
        key = segment.ends + b"rtcp" + payload[4:8]
        stream = self._streams.get(key)
        if stream is None:
            calls = self._calls_of(segment)
            if not calls and payload[1] not in _REPORTS:
                return None
            return self._believe(key, _begin(RTCP, segment), segment, calls)
        _count(stream, segment, 0)
        return stream

    def _believe(self, key: bytes, stream: RtpStream, segment: Segment, calls: list[str]) -> RtpStream | None:
        if len(self._streams) >= MOST_STREAMS:
            return None
        stream.call_ids = calls
        self._streams[key] = stream
        _count(stream, segment, int.from_bytes(segment.payload[2:4], "big") if stream.kind == RTP else 0)
        return stream


def _begin(kind: str, segment: Segment) -> RtpStream:
    payload = segment.payload
    number, time_ns = segment.number, segment.time_ns
    if kind == RTCP:
        ssrc = int.from_bytes(payload[4:8], "big")
        return RtpStream(RTCP, segment.source, segment.destination, ssrc, payload[1], number, time_ns, 0)
    sequence, ssrc = int.from_bytes(payload[2:4], "big"), int.from_bytes(payload[8:12], "big")
    stream = RtpStream(
        RTP, segment.source, segment.destination, ssrc, payload[1] & 0x7F, number, time_ns, sequence
    )
    stream.last_sequence = sequence
    return stream


def _count(stream: RtpStream, segment: Segment, sequence: int) -> None:
    stream.packets += 1
    stream.payload_bytes += len(segment.payload)
    stream.last_number = segment.number
    stream.last_ns = segment.time_ns
    step = (sequence - stream.last_sequence) & 0xFFFF
    if step < _HALF:
        stream.last_sequence = sequence
        stream.advance += step
