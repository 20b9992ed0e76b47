"""SIP over TCP: each direction of a connection put in order, and cut into messages by Content-Length.

Segments come late, twice or never, and captures begin in the middle of a connection: what fits is taken, what is
missing is waited for within a bound, and behind a hole the next start line is searched for. A connection that shows
no SIP is forgotten. Between the segments of a capture and its SIP messages. Pure; nothing here raises on any bytes.
Sources: RFC 3261 §7.5 and §18.3, RFC 5626 §4.4.1 (keep-alives), RFC 9293 §3.4.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sipalg.capture.decode import FIN, RST, SYN, Segment

#: Directions of connections that are followed at once; the one that was silent longest goes first.
MOST_STREAMS: Final = 4096
#: Longest header and longest body that are waited for.
MOST_HEAD_BYTES: Final = 65536
MOST_BODY_BYTES: Final = 1048576
#: How much of a connection is searched for SIP before it is taken for something else.
SEARCHED_BYTES: Final = 65536
#: How much may wait behind a hole before the hole is given up.
MOST_HELD_SEGMENTS: Final = 64
#: How much all connections together may have waiting; those that were silent longest are forgotten first.
MOST_BYTES: Final = 64 << 20

_FLAGS: Final = re.IGNORECASE | re.MULTILINE
_START: Final = re.compile(rb"^(?:SIP/2\.0 [1-6][0-9]{2}|[!%'*+.0-9A-Z_`a-z~-]+ [^\s]+ SIP/2\.0\r?$)", _FLAGS)
_BLANK: Final = re.compile(rb"\n\r?\n")
_LENGTH: Final = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?\n", re.IGNORECASE)
#: A start line may be torn: this much is kept of bytes in which none was found.
_LONGEST_START_BYTES: Final = 4096
_MODULUS: Final = 1 << 32


class Framed(NamedTuple):
    """One message's bytes and the numbers of the frames that they came in; `whole` is False if its end is missing."""

    data: bytes
    frames: tuple[int, ...]
    whole: bool


@dataclass(slots=True)
class _Stream:
    """One direction: what follows, what waits behind a hole, and the bytes of the message in the making.

    `wanted` is how many bytes the buffer must have before another look makes sense, `no_blank` how many of them are
    known to have no end of the header: so that a message in many small pieces isn't read from its start with each.
    """

    expected: int | None = None
    held: dict[int, Segment] = field(default_factory=dict)
    buffer: bytearray = field(default_factory=bytearray)
    wanted: int = 0
    no_blank: int = 0
    #: Where each frame's bytes end in the buffer, and its number.
    frames: list[tuple[int, int]] = field(default_factory=list)
    searched: int = 0
    is_sip: bool = False
    #: How many bytes wait behind a hole.
    held_bytes: int = 0
    #: The last segment, without its bytes: for what is left at the capture's end.
    last: Segment | None = None

    @property
    def size_bytes(self) -> int:
        """How much of the connection is held."""
        return self.held_bytes + len(self.buffer)


class Streams:
    """All connections of a capture; segments in, messages out."""

    def __init__(self) -> None:
        #: By the ends of a direction; None is one that isn't SIP.
        self._streams: dict[bytes, _Stream | None] = {}
        self._bytes = 0

    def add(self, segment: Segment) -> Iterator[Framed]:
        """Take one TCP segment; yield the messages that it completes."""
        ends = segment.ends
        stream: _Stream | None
        if segment.flags & SYN or ends not in self._streams:
            self._forget(ends)
            stream = _Stream((segment.sequence + 1) % _MODULUS if segment.flags & SYN else None)
        else:
            stream = self._streams.pop(ends)
        if len(self._streams) >= MOST_STREAMS:
            self._forget(next(iter(self._streams)))
        self._streams[ends] = stream
        if stream is None:
            return
        before_bytes = stream.size_bytes
        if segment.payload:
            yield from _take(stream, segment)
        if segment.flags & (FIN | RST):
            yield from _finish(stream)
        self._bytes += stream.size_bytes - before_bytes
        if segment.flags & (FIN | RST):
            self._forget(ends)
        elif stream.searched > SEARCHED_BYTES and not stream.is_sip:
            self._forget(ends)
            self._streams[ends] = None
        elif stream.size_bytes:
            stream.last = segment._replace(payload=b"")
        while self._bytes > MOST_BYTES:
            self._forget(next(iter(self._streams)))

    def rest(self) -> Iterator[tuple[Segment, Framed]]:
        """Yield what is left at the capture's end, each with its connection's last segment.

        Those are messages whose ends never came, and those that waited for what never came.
        """
        for stream in self._streams.values():
            if stream is not None and stream.last is not None:
                for framed in _finish(stream):
                    yield stream.last, framed
        self._streams.clear()
        self._bytes = 0

    def _forget(self, ends: bytes) -> None:
        stream = self._streams.pop(ends, None)
        if stream is not None:
            self._bytes -= stream.size_bytes


def _finish(stream: _Stream) -> Iterator[Framed]:
    """Give all that is left of a stream: what waits behind holes too."""
    while stream.held:
        yield from _skip(stream, stream.expected or 0)
        yield from _go_on(stream)
    yield from _flush(stream)


def _skip(stream: _Stream, near: int) -> Iterator[Framed]:
    """Give a hole up: what is missing isn't in the capture; on with what is there, the first from about `near`."""
    yield from _flush(stream)
    stream.expected = min(stream.held, key=lambda sequence: (sequence - near + (1 << 31)) % _MODULUS)


def _take(stream: _Stream, segment: Segment) -> Iterator[Framed]:
    if stream.expected is None:
        stream.expected = segment.sequence
    if segment.sequence not in stream.held:
        stream.held[segment.sequence] = segment
        stream.held_bytes += len(segment.payload)
    if len(stream.held) > MOST_HELD_SEGMENTS:
        yield from _skip(stream, segment.sequence)
    yield from _go_on(stream)


def _go_on(stream: _Stream) -> Iterator[Framed]:
    """Take what continues the stream, and give the messages that it completes."""
    while (following := _following(stream)) is not None:
        stream.expected = (following.sequence + len(following.payload)) % _MODULUS
        stream.frames.append((len(stream.buffer), following.number))
        yield from _cut(stream)
        if not following.whole:
            # The capture has less of it than there was: where the next one stands isn't known.
            yield from _flush(stream)
            stream.expected = None
            stream.held.clear()
            stream.held_bytes = 0
            return


def _following(stream: _Stream) -> Segment | None:
    """Take the segment that continues the stream out of those held, its bytes into the buffer; drop what was seen."""
    expected = stream.expected
    if expected is None:
        return None
    for sequence in list(stream.held):
        segment = stream.held[sequence]
        ahead = (sequence - expected) % _MODULUS
        seen = (expected - sequence) % _MODULUS
        if ahead and ahead < 1 << 31:
            continue
        del stream.held[sequence]
        stream.held_bytes -= len(segment.payload)
        if seen < len(segment.payload):
            stream.buffer += segment.payload[seen:]
            return segment
    return None


def _cut(stream: _Stream) -> Iterator[Framed]:
    """Take the whole messages off the buffer."""
    buffer = stream.buffer
    while len(buffer) > stream.wanted:
        start = _START.search(buffer)
        if start is None:
            stream.searched += max(len(buffer) - _LONGEST_START_BYTES, 0) + 1
            _drop(stream, max(len(buffer) - _LONGEST_START_BYTES, 0) if buffer.strip(b"\r\n\0") else len(buffer))
            return
        stream.is_sip = True
        if start.start():
            _drop(stream, start.start())
        blank = _BLANK.search(buffer, stream.no_blank)
        if blank is None:
            if len(buffer) <= MOST_HEAD_BYTES:
                stream.no_blank = max(len(buffer) - 2, 0)
                return
            end = len(buffer)
        else:
            length = _LENGTH.search(buffer, 0, blank.start() + 1)
            body_bytes = int(length[1]) if length else 0
            end = blank.end() + (body_bytes if body_bytes <= MOST_BODY_BYTES else 0)
        if end > len(buffer):
            stream.wanted = end - 1
            return
        yield Framed(bytes(buffer[:end]), _numbers(stream, end), blank is not None)
        _drop(stream, end)


def _numbers(stream: _Stream, size_bytes: int) -> tuple[int, ...]:
    """The frames that so much of the buffer came in."""
    ends = [end for end, _ in stream.frames]
    return tuple(number for _, number in stream.frames[: bisect_left(ends, size_bytes) + 1])


def _drop(stream: _Stream, size_bytes: int) -> None:
    """Take so much off the buffer."""
    del stream.buffer[:size_bytes]
    stream.frames = [(end - size_bytes, number) for end, number in stream.frames if end > size_bytes]
    stream.wanted = stream.no_blank = 0


def _flush(stream: _Stream) -> Iterator[Framed]:
    """Give the message in the making up, as far as it came."""
    if stream.is_sip and _START.match(stream.buffer):
        yield Framed(bytes(stream.buffer), _numbers(stream, len(stream.buffer)), False)
    stream.buffer.clear()
    stream.frames.clear()
    stream.wanted = stream.no_blank = 0
