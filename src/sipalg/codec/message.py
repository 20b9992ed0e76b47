"""A SIP message's frame: start line, the header fields that can hold addresses, and where the body lies.

The first thing that looks at a payload's bytes. One pass finds the fields that the engine may edit, as offsets into
the message as it came; what isn't asked for is never looked at, so that unknown headers, odd folding, NULs and 8-bit
bytes can't disturb anything. What can't be framed is answered with a reason, and the packet passes as it is.
Sources: RFC 3261 §7 and §25.1, compact names from §7.3.3 and the IANA registry.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.headers import ViaSpan
from sipalg.codec.uri import UriSpan

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

_HOST: Final = rb"([0-9A-Za-z.-]+)(?::([0-9]{1,5}))?"
#: One step through the header, in one of four ways: the blank line (group 1); a Via in its usual form (2 and 3); a
#: line with one Contact in its usual form (4 to 8); the name of any other field of interest, or of one of these two in
#: a form that needs the whole grammar (9). Usual forms are read on the spot, since nearly every message has them.
_FIELD: Final = re.compile(
    rb"\n(?:(\r?\n)"
    rb"|[Vv](?:[Ii][Aa])?[ \t]*:[ \t]*SIP/2\.0/UDP[ \t]+" + _HOST + rb"(?=;)"
    rb"|(?:[Cc](?i:ontact)|[Mm])[ \t]*:[ \t]*(?:\"[^\"\\\r\n]*\"[ ]*|[^\"<>,;:@\r\n]*)<(sips?):(?:[^@<>\s]*@)?"
    + _HOST
    + rb"([;?][^<>\s]*)?>((?:;[^,\"\r\n]*(?:\"[^\"\\\r\n]*\"[^,\"\r\n]*)*)?)(?=\r?\n[^ \t])"
    rb"|([Vv](?:[Ii][Aa])?|[Cc](?i:ontact|ontent-(?:length|type|encoding))?|[Ee](?i:xpires)?|[LlMmBb]"
    rb"|[Rr](?i:oute|ecord-route|efer-to|eferred-by)?|[Pp](?i:ath)|[Ss](?i:ervice-route))[ \t]*:[ \t]*)"
)
_START: Final = re.compile(
    rb"(?:\r?\n)*(?:([!#-'*+.0-9A-Z_`a-z~^|-]+) ([^\s]+) (?i:SIP)/2\.0"
    rb"|(?i:SIP)/2\.0 ([1-6][0-9][0-9])(?: [^\r\n]*)?)\r?(?=\n)"
)
_DIGITS: Final = re.compile(rb"[0-9]{1,9}(?=[ \t]*\r?\n)")

#: The fields that name a dialog and a transaction: Call-ID (1), CSeq (2, 3), From (4) and To (5).
_IDENTITY: Final = re.compile(
    rb"\n(?:(?:[Cc](?i:all-id)|[Ii])[ \t]*:[ \t]*([^\s]+)"
    rb"|[Cc](?i:seq)[ \t]*:[ \t]*([0-9]{1,10})[ \t]+([^\s]+)"
    rb"|[Ff](?i:rom)?[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)"
    rb"|[Tt]o?[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*))"
)
_CSEQ_METHOD: Final = re.compile(rb"\n(?i:cseq)[ \t]*:[ \t]*[0-9]{1,10}[ \t]+([^\s]+)")
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


#: One field of interest: its kind, the offset of its value, and what is known of it already: a usual Via's sent-by, or
#: a usual Contact line's only address. Both are None where the field is of another kind or takes the whole grammar.
#: A plain tuple, since several are made for every message.
Field = tuple[int, int, ViaSpan | None, UriSpan | None]


class Message(NamedTuple):
    """One framed SIP message; all positions are offsets into `data`.

    A request has a `method` and `status` 0, a response the reverse. `fields` is in the order of the message.
    `head_end` is just behind the last header line's newline; the body is `data[body:body_end]`, and bytes behind
    `body_end` belong to nobody. `length` is the span of Content-Length's digits, (0, 0) where there is no such field.
    """

    data: bytes
    method: bytes
    status: int
    uri: tuple[int, int]
    fields: list[Field]
    head_end: int
    body: int
    body_end: int
    length: tuple[int, int]


class Identity(NamedTuple):
    """What names a message's dialog and transaction (RFC 3261 §12 and §17): texts are b"", the number 0 if missing."""

    call_id: bytes
    number: int
    method: bytes
    from_tag: bytes
    to_tag: bytes


def parse(data: bytes) -> Message | str:
    """Frame a datagram's payload; a str is the reason why it can't be (one of the constants above). Never raises."""
    start = _START.match(data)
    if start is None:
        return NOT_SIP if data.strip(b"\r\n\0 ") else KEEP_ALIVE
    length = 0
    length_span = _NO_SPAN
    fields: list[Field] = []
    head_end = body = 0
    body_end = len(data)
    for match in _FIELD.finditer(data, start.end()):
        group = match.lastindex
        if group == 9:
            name = match[9]
            kind = _KINDS_AS_WRITTEN.get(name) or _KINDS[name.lower()]
            if kind != CONTENT_LENGTH:
                fields.append((kind, match.end(), None, None))
                continue
            if length_span is not _NO_SPAN:
                return LENGTH_TWICE
            digits = _DIGITS.match(data, match.end())
            if digits is None:
                return LENGTH_MALFORMED
            length_span = digits.span()
            length = int(digits[0])
        elif group == 8:
            scheme, host, port, parameters, field_parameters = match.group(4, 5, 6, 7, 8)
            begin, end = match.span(5)
            if port is not None:
                end = match.end(6)
            contact = UriSpan(
                scheme == b"sips", host, int(port) if port else 0, begin, end, parameters or b"", field_parameters
            )
            fields.append((CONTACT, begin, None, contact))
        elif group == 1:
            head_end = match.start() + 1
            body = match.end()
            break
        else:
            begin, end = match.span(2)
            if group == 2:
                via = ViaSpan(b"UDP", match[2], 0, begin, end)
            else:
                via = ViaSpan(b"UDP", match[2], int(match[3]), begin, match.end(3))
            fields.append((VIA, begin, via, None))
    if not body:
        # Some devices leave the blank line off where there is no body; a torn last line is no message.
        if data[-1] != 10:
            return NO_END_OF_HEADERS
        head_end = body = body_end
    if length_span is not _NO_SPAN:
        if body + length > body_end:
            return LENGTH_BEYOND
        body_end = body + length
    status = start[3]
    if status is None:
        return Message(data, start[1], 0, start.span(2), fields, head_end, body, body_end, length_span)
    return Message(data, b"", int(status), _NO_SPAN, fields, head_end, body, body_end, length_span)


_NO_SPAN: Final = (0, 0)


def value_end(data: bytes, start: int, head_end: int) -> int:
    """The offset behind a field's value that begins at `start`: the end of its last folded line, line end left out."""
    position = data.find(b"\n", start, head_end)
    while 0 <= position < head_end - 1 and data[position + 1] in b" \t":
        position = data.find(b"\n", position + 1, head_end)
    if position < 0:
        return head_end
    return position - 1 if position > start and data[position - 1] == 13 else position


def identify(message: Message) -> Identity:
    """Read what names the message's dialog and transaction; where a field is there twice, the first one counts."""
    call_id = method = from_tag = to_tag = b""
    number = 0
    for match in _IDENTITY.finditer(message.data, 0, message.head_end):
        group = match.lastindex
        if group == 1:
            call_id = call_id or match[1]
        elif group == 3:
            if not method:
                number, method = int(match[2]), match[3]
        elif group == 4:
            from_tag = from_tag or _tag(match[4])
        else:
            to_tag = to_tag or _tag(match[5])
    return Identity(call_id, number, method, from_tag, to_tag)


def cseq_method(message: Message) -> bytes:
    """CSeq's method, which tells what a response answers; b"" where there is none (RFC 3261 §8.1.1.5)."""
    match = _CSEQ_METHOD.search(message.data, 0, message.head_end)
    return match[1] if match else b""


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
    for kind, start, _, _ in message.fields:
        if kind == EXPIRES:
            digits = _DIGITS.match(message.data, start)
            return int(digits[0]) if digits else None
    return None


def _tag(value: bytes) -> bytes:
    """The tag of a From or To value; one inside the brackets or a quoted display name doesn't count (§19.3)."""
    tag = _TAG.search(value, max(value.rfind(b">"), 0))
    return tag[1] if tag else b""
