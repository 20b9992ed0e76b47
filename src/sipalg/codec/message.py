"""A SIP message's frame: start line, the header fields that can hold addresses, and where the body lies.

The first thing that looks at a payload's bytes. One pass finds the fields that the engine may edit, as offsets into
the message as it came; what isn't asked for is never looked at, so that unknown headers, odd folding, NULs and 8-bit
bytes can't disturb anything. What can't be framed is answered with a reason, and the packet passes as it is.
Sources: RFC 3261 §7 and §25.1, compact names from §7.3.3 and the IANA registry.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# Field kinds. Small integers, since the hot path compares them for every field.
VIA: Final = 1
CONTACT: Final = 2
ROUTE: Final = 3
RECORD_ROUTE: Final = 4
PATH: Final = 5
SERVICE_ROUTE: Final = 6
REFER_TO: Final = 7
REFERRED_BY: Final = 8
CONTENT_LENGTH: Final = 9
CONTENT_TYPE: Final = 10
CONTENT_ENCODING: Final = 11
EXPIRES: Final = 12

#: Field names for people, by kind: the rules' names are made of them.
FIELD_NAMES: Final[dict[int, str]] = {
    VIA: "via",
    CONTACT: "contact",
    ROUTE: "route",
    RECORD_ROUTE: "record-route",
    PATH: "path",
    SERVICE_ROUTE: "service-route",
    REFER_TO: "refer-to",
    REFERRED_BY: "referred-by",
    CONTENT_LENGTH: "content-length",
    CONTENT_TYPE: "content-type",
    CONTENT_ENCODING: "content-encoding",
    EXPIRES: "expires",
}

_KINDS: Final[dict[bytes, int]] = {name.encode(): kind for kind, name in FIELD_NAMES.items()} | {
    b"v": VIA,
    b"m": CONTACT,
    b"r": REFER_TO,
    b"b": REFERRED_BY,
    b"l": CONTENT_LENGTH,
    b"c": CONTENT_TYPE,
    b"e": CONTENT_ENCODING,
}
#: The usual spellings, so that most names need no lower().
_KINDS_AS_WRITTEN: Final[dict[bytes, int]] = _KINDS | {
    spelling: kind
    for name, kind in _KINDS.items()
    for spelling in (name.upper(), b"-".join(part.capitalize() for part in name.split(b"-")))
}

_FIELD: Final = re.compile(
    rb"\n((?i:v(?:ia)?|m|contact|content-(?:length|type|encoding)|[lcebr]|expires"
    rb"|r(?:oute|ecord-route|efer-to|eferred-by)|path|service-route))[ \t]*:[ \t]*"
)
_START: Final = re.compile(
    rb"(?:\r?\n)*(?:([!#-'*+.0-9A-Z_`a-z~^|-]+) ([^\s]+) (?i:SIP)/2\.0"
    rb"|(?i:SIP)/2\.0 ([1-6][0-9][0-9])(?: [^\r\n]*)?)\r?(?=\n)"
)
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_DIGITS: Final = re.compile(rb"[0-9]{1,9}(?=[ \t]*\r?\n)")

_CALL_ID: Final = re.compile(rb"\n(?i:call-id|i)[ \t]*:[ \t]*([^\s]+)")
_CSEQ: Final = re.compile(rb"\n(?i:cseq)[ \t]*:[ \t]*([0-9]{1,10})[ \t]+([^\s]+)")
_FROM: Final = re.compile(rb"\n(?i:from|f)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")
_TO: Final = re.compile(rb"\n(?i:to|t)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")
_TAG: Final = re.compile(rb";\s*(?i:tag)\s*=\s*([^\s;,]+)")
_BRACKETED_URI: Final = re.compile(rb"<([^<>]*)>")
_BARE_URI: Final = re.compile(rb"([^\s;,<>\"]+)")
_SESSION_EXPIRES: Final = re.compile(rb"\n(?i:session-expires|x)[ \t]*:[ \t]*([0-9]{1,9})")

#: Reasons for which a payload isn't taken for a SIP message. The packet passes as it came.
NOT_SIP: Final = "not-sip"
KEEP_ALIVE: Final = "keep-alive"
NO_END_OF_HEADERS: Final = "no-end-of-headers"
LENGTH_MALFORMED: Final = "content-length-malformed"
LENGTH_TWICE: Final = "content-length-twice"
LENGTH_BEYOND: Final = "content-length-beyond-datagram"


class Message(NamedTuple):
    """One framed SIP message; all positions are offsets into `data`.

    A request has a `method` and `status` 0, a response the reverse. `fields` holds (kind, offset of the value) in the
    order of the message, for the kinds above. `head_end` is just behind the last header line's newline; the body is
    `data[body:body_end]`, and bytes behind `body_end` belong to nobody. `length` is the span of Content-Length's
    digits, (0, 0) where there is no such field.
    """

    data: bytes
    method: bytes
    status: int
    uri: tuple[int, int]
    fields: list[tuple[int, int]]
    head_end: int
    body: int
    body_end: int
    length: tuple[int, int]


def parse(data: bytes) -> Message | str:
    """Frame a datagram's payload; a str is the reason why it can't be (one of the constants above). Never raises."""
    start = _START.match(data)
    if start is None:
        return NOT_SIP if data.strip(b"\r\n\0 ") else KEEP_ALIVE
    line_end = start.end()
    blank = _BLANK_LINE.search(data, line_end)
    if blank is None:
        # Some devices leave the blank line off where there is no body; a torn last line is no message.
        if data[-1] != 10:
            return NO_END_OF_HEADERS
        head_end = body = body_end = len(data)
    else:
        head_end = blank.start() + 1
        body = blank.end()
        body_end = len(data)
    length = _NO_SPAN
    fields = []
    for match in _FIELD.finditer(data, line_end, head_end):
        name = match[1]
        kind = _KINDS_AS_WRITTEN.get(name) or _KINDS[name.lower()]
        if kind != CONTENT_LENGTH:
            fields.append((kind, match.end()))
            continue
        if length is not _NO_SPAN:
            return LENGTH_TWICE
        digits = _DIGITS.match(data, match.end())
        if digits is None:
            return LENGTH_MALFORMED
        length = digits.span()
        claimed_end = body + int(digits[0])
        if claimed_end > body_end:
            return LENGTH_BEYOND
        body_end = claimed_end
    status = start[3]
    if status is None:
        return Message(data, start[1], 0, start.span(2), fields, head_end, body, body_end, length)
    return Message(data, b"", int(status), _NO_SPAN, fields, head_end, body, body_end, length)


_NO_SPAN: Final = (0, 0)


def value_end(data: bytes, start: int, head_end: int) -> int:
    """The offset behind a field's value that begins at `start`: the end of its last folded line, line end left out."""
    position = data.find(b"\n", start, head_end)
    while 0 <= position < head_end - 1 and data[position + 1] in b" \t":
        position = data.find(b"\n", position + 1, head_end)
    if position < 0:
        return head_end
    return position - 1 if position > start and data[position - 1] == 13 else position


def call_id(message: Message) -> bytes:
    """The Call-ID, b"" where there is none (RFC 3261 §8.1.1.4)."""
    match = _CALL_ID.search(message.data, 0, message.head_end)
    return match[1] if match else b""


def cseq(message: Message) -> tuple[int, bytes]:
    """CSeq's number and method, (0, b"") where there is none (RFC 3261 §8.1.1.5)."""
    match = _CSEQ.search(message.data, 0, message.head_end)
    return (int(match[1]), match[2]) if match else (0, b"")


def from_tag(message: Message) -> bytes:
    """From's tag, b"" where there is none (RFC 3261 §19.3)."""
    return _tag(_FROM.search(message.data, 0, message.head_end))


def to_tag(message: Message) -> bytes:
    """To's tag, b"" where there is none: outside of a dialog (RFC 3261 §12)."""
    return _tag(_TO.search(message.data, 0, message.head_end))


def address_of_record(message: Message) -> bytes:
    """To's URI, which in a REGISTER is the address of record that is registered (RFC 3261 §10.2)."""
    match = _TO.search(message.data, 0, message.head_end)
    if match is None:
        return b""
    uri = _BRACKETED_URI.search(match[1]) or _BARE_URI.match(match[1])
    return uri[1] if uri else b""


def session_expires_s(message: Message) -> int:
    """Session-Expires in seconds, 0 where there is none (RFC 4028 §4)."""
    match = _SESSION_EXPIRES.search(message.data, 0, message.head_end)
    return int(match[1]) if match else 0


def expires_s(message: Message) -> int | None:
    """The Expires field in seconds, None where there is none or it isn't a number (RFC 3261 §20.19)."""
    for kind, start in message.fields:
        if kind == EXPIRES:
            digits = _DIGITS.match(message.data, start)
            return int(digits[0]) if digits else None
    return None


def _tag(match: re.Match[bytes] | None) -> bytes:
    """The tag parameter of a From or To value; one inside the brackets or a quoted display name doesn't count."""
    if match is None:
        return b""
    value = match[1]
    tag = _TAG.search(value, max(value.rfind(b">"), 0))
    return tag[1] if tag else b""
