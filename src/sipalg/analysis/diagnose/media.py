"""RTP and RTCP as counters: which ways there are, found by what SDP names and by what the packets look like.

A packet of a known way costs a look-up, here or already in the reader (`capture.tally`); nothing else is kept of it.
On a packet's way offline this stands before the SIP messages are looked for. Sources: RFC 3550 §5.1, §6.4.1, §11,
RFC 5389 §6.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from sipalg.analysis.diagnose.facts import MediaEnd
from sipalg.capture.decode import Segment
from sipalg.capture.tally import RTCP_HEADS, RTP_HEADS, Tallies, Tally
from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT
from sipalg.engine.verdict import Endpoint

_RTP_HEADER_BYTES: Final = 12
_RTCP_HEADER_BYTES: Final = 8
#: An RTP packet's sequence number and source (SSRC); an RTCP packet's length in words less one.
_RTP: Final = Struct("!xxHxxxxI")
_RTCP_LENGTH: Final = Struct("!xxH")
#: How far a sequence number may go on to be the same stream's.
_MOST_LOST: Final = 50
#: Ways that are watched because they may be media, and ways that are counted. More are no honest capture's.
_MOST_CANDIDATES: Final = 4096
_MOST_WAYS: Final = 500_000

_MAGIC_COOKIE: Final = b"\x21\x12\xa4\x42"
_STUN_REQUEST: Final = b"\0\1"


class Way:
    """One way of media: its ends, the number of its first packet, and its count."""

    __slots__ = ("destination", "first", "source", "tally")

    def __init__(self, segment: Segment, tally: Tally) -> None:
        self.source = segment.source
        self.destination = segment.destination
        self.first = segment.number
        self.tally = tally


class Ways:
    """The ways of one kind, RTP or RTCP, by their raw ends and by either end."""

    def __init__(self, heads: frozenset[bytes]) -> None:
        self.all: list[Way] = []
        self.by_ends: Tallies = {}
        self._heads = heads
        self._to: dict[Endpoint, list[Way]] = {}
        self._from: dict[Endpoint, list[Way]] = {}

    @property
    def packets(self) -> int:
        """How many packets were counted on all of them."""
        return sum(way.tally.count for way in self.all)

    def begin(self, segment: Segment) -> Tally:
        """Return the tally of a way that begins with this packet, which isn't counted yet."""
        tally = self.by_ends[segment.ends] = Tally(self._heads)
        way = Way(segment, tally)
        self.all.append(way)
        self._to.setdefault(segment.destination, []).append(way)
        self._from.setdefault(segment.source, []).append(way)
        return tally

    def came(self, ends: set[Endpoint], far: set[Endpoint], host: str) -> int:
        """Count what came to one of the ends, or from a far end to another port of the host."""
        found = sum(way.tally.count for end in ends for way in self._to.get(end, ()))
        for source in far:
            for way in self._from.get(source, ()):
                if way.destination.host == host and way.destination not in ends:
                    found += way.tally.count
        return found


class Media:
    """All ways of media of one capture."""

    def __init__(self) -> None:
        #: By the raw ends: what the reader may count by itself.
        self.tallies: Tallies = {}
        self.rtp = Ways(RTP_HEADS)
        self.rtcp = Ways(RTCP_HEADS)
        self._announced: set[Endpoint] = set()
        self._candidates: dict[bytes, tuple[int, int]] = {}

    def announce(self, end: MediaEnd) -> None:
        """Take an end that an SDP names: what comes to it or from it is media at once."""
        self._announced.add(Endpoint(end.host, end.port))
        self._announced.add(Endpoint(end.rtcp_host, end.rtcp_port))

    def take(self, segment: Segment) -> bool:
        """Return whether a UDP segment is RTP or RTCP; it is counted then."""
        head = segment.payload[:2]
        tally = self.tallies.get(segment.ends)
        if tally is not None and head in tally.heads:
            tally.count += 1
            return True
        if head in RTP_HEADS:
            ways, looks_right = self.rtp, self._is_rtp
        elif head in RTCP_HEADS:
            ways, looks_right = self.rtcp, self._is_rtcp
        else:
            return False
        tally = ways.by_ends.get(segment.ends)
        if tally is None:
            if len(ways.all) >= _MOST_WAYS or not looks_right(segment):
                return False
            tally = ways.begin(segment)
            self.tallies.setdefault(segment.ends, tally)
        tally.count += 1
        return True

    def received(self, ends: tuple[MediaEnd, ...], far: tuple[MediaEnd, ...], host: str) -> tuple[int, int]:
        """Count the RTP and the RTCP packets that came to these ends so far.

        Those also that came from one of the `far` ends to another port of `host`: a server that answers to the source
        doesn't heed what the SDP says.
        """
        rtp, far_rtp = ({Endpoint(end.host, end.port) for end in some} for some in (ends, far))
        rtcp, far_rtcp = ({Endpoint(end.rtcp_host, end.rtcp_port) for end in some} for some in (ends, far))
        return self.rtp.came(rtp, far_rtp, host), self.rtcp.came(rtcp | rtp, far_rtcp | far_rtp, host)

    def _is_announced(self, segment: Segment) -> bool:
        return segment.destination in self._announced or segment.source in self._announced

    def _is_rtp(self, segment: Segment) -> bool:
        """Whether the ends are announced, or two packets in a row are of one source and in order."""
        if len(segment.payload) < _RTP_HEADER_BYTES:
            return False
        if self._is_announced(segment):
            return True
        sequence, source = _RTP.unpack_from(segment.payload)
        before = self._candidates.pop(segment.ends, None)
        if before is not None and before[1] == source and 0 < (sequence - before[0]) % 65536 <= _MOST_LOST:
            return True
        if len(self._candidates) >= _MOST_CANDIDATES:
            self._candidates.clear()
        self._candidates[segment.ends] = (sequence, source)
        return False

    def _is_rtcp(self, segment: Segment) -> bool:
        """Whether a packet's length is as RTCP says it, between announced ends or unprivileged ports."""
        size_bytes = len(segment.payload)
        if size_bytes < _RTCP_HEADER_BYTES or size_bytes < 4 * (_RTCP_LENGTH.unpack_from(segment.payload)[0] + 1):
            return False
        lower_port = min(segment.source.port, segment.destination.port)
        return self._is_announced(segment) or lower_port >= FIRST_UNPRIVILEGED_PORT


def is_stun_request(payload: bytes) -> bool:
    """Whether a payload asks a STUN server for the sender's public address (RFC 5389 §6); ICE's own checks don't."""
    return payload[:2] == _STUN_REQUEST and payload[4:8] == _MAGIC_COOKIE and not _has_username(payload)


def _has_username(payload: bytes) -> bool:
    """Whether a STUN message has a USERNAME (type 6), as each of ICE's checks has."""
    at = 20
    while at + 4 <= len(payload):
        kind, size_bytes = payload[at : at + 2], int.from_bytes(payload[at + 2 : at + 4], "big")
        if kind == b"\0\6":
            return True
        at += 4 + size_bytes + -size_bytes % 4
    return False

