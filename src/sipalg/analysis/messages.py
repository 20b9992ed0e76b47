"""The SIP messages of a capture: on any port by their content, out of datagrams and streams, broken ones too.

A message that the codec can't frame is still one that somebody sent, and often the one that matters: it is given with
the reason and with whatever can be read of it. Between the segments of a capture and all that judges them.
Sources: RFC 3261 §7, §18.3; the codec's own modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sipalg.analysis.streams import Framed, Streams
from sipalg.capture.decode import Segment
from sipalg.codec.datagram import TCP, UDP
from sipalg.codec.message import VIA, Message, find_field, identify, parse, value_end
from sipalg.engine.verdict import Endpoint

#: Why a message isn't whole: the capture, or the end of the connection, has less of it.
CUT: Final = "cut-in-the-capture"

#: How a datagram with SIP begins, cut or damaged ones too: a status line, a method and a URI, or the version's name at
#: the end of the first line.
_LOOKS_LIKE_SIP: Final = re.compile(
    rb"[\r\n]*(?:SIP/2\.|[A-Z]{3,15} (?:sips?|tel):|[!-~][^\r\n]{0,4000} SIP/[0-9])", re.IGNORECASE
)
#: A datagram that begins with this or more is voice or its like, and most are.
_FIRST_NOT_TEXT: Final = 0x80
#: Bytes that begin text: RTP, RTCP, DTLS and STUN begin with others.
_TEXT: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\r\n")

_STATUS: Final = re.compile(rb"SIP/2\.0[ \t]{1,8}([0-9]{3})", re.IGNORECASE)
_VERSION: Final = b"SIP/2.0"
_BLANK: Final = re.compile(rb"\n\r?\n")
_BRANCH: Final = re.compile(rb";\s*branch\s*=\s*([^\s;,]+)", re.IGNORECASE)
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_REASON: Final = re.compile(rb"[\r\n]*SIP/2\.0\s+[0-9]{3}[ \t]*([^\r\n]*)", re.IGNORECASE)

#: Compact names and their long ones (RFC 3261 §7.3.3 and the IANA registry).
LONG_NAMES: Final = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
    "e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
    "l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event", "r": "Refer-To", "s": "Subject",
    "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}


class SipMessage(NamedTuple):
    """One SIP message of a capture.

    `number` and `time_ns` are those of the frame that completed it, `frames` the numbers of all its frames. `data` is
    the message as it was on the wire, `frame` where its parts stand in it; `problem` is the codec's reason why it
    can't be read as it should, "" without one: then `frame` is what could be made of it. Texts are "" where
    missing, numbers 0; `method` is "" in a response, which has its `status`; `cseq_method` tells what it answers.
    `origin` is the file or interface that it was seen in, where there are several.
    """

    number: int
    time_ns: int
    protocol: int
    source: Endpoint
    destination: Endpoint
    data: bytes
    frame: Message
    problem: str
    frames: tuple[int, ...]
    interface: int
    call_id: str
    cseq: int
    cseq_method: str
    branch: str
    from_tag: str
    to_tag: str
    method: str
    status: int
    origin: str = ""

    @property
    def name(self) -> str:
        """What the message is called: the method, or the status with its reason phrase."""
        return self.method or f"{self.status} {self.reason}".rstrip()

    @property
    def reason(self) -> str:
        """The reason phrase of a response, "" if it has none."""
        match = _REASON.match(self.data)
        return text_of(match[1].strip()) if match else ""

    @property
    def target(self) -> str:
        """A request's Request-URI, "" in a response."""
        return text_of(self.data[slice(*self.frame.uri)]) if self.method else ""

    def header(self, name: str) -> str:
        """The first value of the field with this long name, "" if it isn't there."""
        wanted = name.lower()
        return next((value for found, value in self.headers() if found.lower() == wanted), "")

    def headers(self) -> list[tuple[str, str]]:
        """The header's fields in order, (long name, value); folded lines are one, none is split at commas."""
        return list(header_fields(self.frame))

    @property
    def body(self) -> bytes:
        """The body, b"" without one."""
        return self.data[self.frame.body : self.frame.body_end]


def text_of(data: bytes) -> str:
    """Bytes of a message as text, for people and as keys: UTF-8, and what isn't with backslashes."""
    return data.decode("utf-8", "backslashreplace")


def header_fields(frame: Message) -> Iterator[tuple[str, str]]:
    """Yield a message's header fields as (long name, value) in their order; lines without a colon have the name ""."""
    data, at = frame.data, frame.head + 1
    while at < frame.head_end:
        end = value_end(data, at, frame.head_end)
        line = _FOLD.sub(b" ", data[at:end])
        name, colon, value = line.partition(b":")
        if not colon:
            name, value = b"", line
        if line:
            name_text = text_of(name.rstrip(b" \t"))
            yield LONG_NAMES.get(name_text.lower(), name_text), text_of(value.strip())
        following = data.find(b"\n", end)
        at = frame.head_end if following < 0 else following + 1


def is_sip(payload: bytes) -> bool:
    """Whether a datagram's payload is a SIP message, by its first line; keep-alives aren't."""
    return len(payload) > 8 and payload[0] in _TEXT and _LOOKS_LIKE_SIP.match(payload) is not None


class Messages:
    """Takes segments one at a time and gives the SIP messages that each completes: for whoever reads RTP as well."""

    def __init__(self) -> None:
        self._streams = Streams()

    def take(self, segment: Segment) -> tuple[SipMessage, ...]:
        """Return the messages that this segment completes, mostly none."""
        payload = segment.payload
        if segment.protocol == UDP:
            if not payload or payload[0] >= _FIRST_NOT_TEXT or not is_sip(payload):
                return ()
            framed = Framed(payload, segment.frames or (segment.number,), segment.whole)
            return (read_message(segment, framed),)
        if segment.protocol != TCP:
            return ()
        return tuple(read_message(segment, framed) for framed in self._streams.add(segment))

    def rest(self) -> Iterator[SipMessage]:
        """Yield what streams still had when the capture ended, torn messages among them."""
        for segment, framed in self._streams.rest():
            yield read_message(segment, framed)


def sip_messages(segments: Iterable[Segment]) -> Iterator[SipMessage]:
    """Yield the SIP messages of segments that come in order; those that the end has torn come last."""
    messages = Messages()
    take = messages.take
    for segment in segments:
        if segment.protocol == UDP and (not segment.payload or segment.payload[0] >= _FIRST_NOT_TEXT):
            continue
        yield from take(segment)
    yield from messages.rest()


def read_message(segment: Segment, framed: Framed) -> SipMessage:
    """Return the message in `framed`, which `segment` completed."""
    parsed = parse(framed.data)
    problem = ""
    if isinstance(parsed, str):
        problem = parsed if framed.whole else CUT
        parsed = _loosely(framed.data)
    elif not framed.whole:
        problem = CUT
    identity = identify(parsed)
    via = find_field(parsed, VIA)
    branch = _BRANCH.search(parsed.data, *via) if via else None
    return SipMessage(
        segment.number,
        segment.time_ns,
        segment.protocol,
        segment.source,
        segment.destination,
        framed.data,
        parsed,
        problem,
        framed.frames,
        segment.interface,
        text_of(identity.call_id),
        identity.number,
        text_of(identity.method),
        text_of(branch[1]) if branch else "",
        text_of(identity.from_tag),
        text_of(identity.to_tag),
        text_of(parsed.method),
        parsed.status,
    )


def _loosely(data: bytes) -> Message:
    """Frame what the codec won't: the header up to the first empty line or the end, all of the rest the body."""
    begin = len(data) - len(data.lstrip(b"\r\n"))
    head = max(data.find(b"\n", begin), 0)
    line = data[begin : head or len(data)].rstrip()
    answer = _STATUS.match(line)
    method, status, uri = b"", 0, (0, 0)
    if answer is not None:
        status = int(answer[1])
    else:
        method, _, rest = line.partition(b" ")
        target = rest[: -len(_VERSION)].rstrip() if rest.upper().endswith(_VERSION) else rest
        uri = (begin + len(method) + 1, begin + len(method) + 1 + len(target))
    blank = _BLANK.search(data, head)
    head_end, body = (blank.start() + 1, blank.end()) if blank else (len(data), len(data))
    return Message(data, method, status, uri, head, head_end, body, len(data), (0, 0), 0, False, None)
