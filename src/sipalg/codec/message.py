"""A SIP message's frame: start line, end of the header, where the body lies, and which fields hold an address.

The first thing that looks at a payload's bytes. The frame is read in one pass; after that only the header lines in
which a wanted address occurs are ever looked at (`fields_with`), so that unknown headers, odd folding, NULs and 8-bit
bytes can't disturb anything. What can't be framed is answered with a reason, and the packet passes as it is.
Sources: RFC 3261 §7 and §25.1, compact names from §7.3.3 and the IANA registry.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.machine import new, quick, quick_names
from sipalg.codec.memory import SAME, Memory
from sipalg.codec.uri import UriSpan, parse_one

# Field kinds. Small integers, since the hot path compares them for every field.
VIA: Final = 1
CONTACT: Final = 2
ROUTE: Final = 3
RECORD_ROUTE: Final = 4
PATH: Final = 5
SERVICE_ROUTE: Final = 6
REFER_TO: Final = 7
REFERRED_BY: Final = 8

#: Field names for people, by kind: the rules' names are made of them. Kind 0 is any other field.
FIELD_NAMES: Final[dict[int, str]] = {
    VIA: "via",
    CONTACT: "contact",
    ROUTE: "route",
    RECORD_ROUTE: "record-route",
    PATH: "path",
    SERVICE_ROUTE: "service-route",
    REFER_TO: "refer-to",
    REFERRED_BY: "referred-by",
}

#: Kinds by name, long and compact, in lower case.
KINDS: Final[dict[bytes, int]] = {name.encode(): kind for kind, name in FIELD_NAMES.items()} | {
    b"v": VIA,
    b"m": CONTACT,
    b"r": REFER_TO,
    b"b": REFERRED_BY,
}
#: Blanks and folds, as many as there are; whatever follows, none is given back (RFC 3261 §25.1 `LWS`).
_LWS: Final = rb"[ \t]*+(?:\r?\n[ \t]++)*"
#: One step through the header's frame: the blank line (group 1); Content-Length's digits (2), or anything else there
#: (3); Content-Type's value (4); a Content-Encoding (5).
_FRAME: Final = re.compile(
    rb"\n(?:(\r?\n)"
    rb"|(?:[Cc](?i:ontent-length)|[Ll])[ \t]*:" + _LWS + rb"(?:([0-9]{1,9})(?=[ \t]*\r?\n(?![ \t]))|())"
    rb"|(?:[Cc](?i:ontent-type)|[Cc])[ \t]*:" + _LWS + rb"()"
    rb"|((?:[Cc](?i:ontent-encoding)|[Ee])[ \t]*:))"
)
#: A line that says that there is no body.
_EMPTY: Final = re.compile(rb"(?:[Cc](?i:ontent-length)|[Ll])[ \t]*:[ \t]*0+[ \t]*\r?")
_STAR: Final = re.compile(rb"\n(?i:contact|m)[ \t]*:" + _LWS + rb"\*")
_START: Final = re.compile(
    rb"(?:\r?\n)*(?:([!#-'*+.0-9A-Z_`a-z~^|-]+) ([^\s]+) (?i:SIP)/2\.0"
    rb"|(?i:SIP)/2\.0 ([1-6][0-9][0-9])(?: [^\r\n]*)?)\r?(?=\n)"
)

#: The fields that name a dialog and a transaction: Call-ID (1), CSeq (2, 3), From (4) and To (5).
_IDENTITY: Final = re.compile(
    rb"\n(?:(?:[Cc](?i:all-id)|[Ii])[ \t]*:" + _LWS + rb"([^\s]+)"
    rb"|[Cc](?i:seq)[ \t]*:" + _LWS + rb"([0-9]{1,10})(?=\s)" + _LWS + rb"([^\s]+)"
    rb"|[Ff](?i:rom)?[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)"
    rb"|[Tt][Oo]?[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*))"
)
_CALL_ID: Final = re.compile(rb"\n(?:[Cc](?i:all-id)|[Ii])[ \t]*:" + _LWS + rb"([^\s]+)")
_CSEQ_METHOD: Final = re.compile(rb"\n[Cc](?i:seq)[ \t]*:" + _LWS + rb"[0-9]{1,10}(?=\s)" + _LWS + rb"([^\s]+)")
_TO: Final = re.compile(rb"\n[Tt][Oo]?[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")
_TAG: Final = re.compile(rb";\s*(?i:tag)\s*=\s*([^\s;,]+)")
#: A URI in brackets, behind a display name that may hold brackets in its quotes.
_BRACKETED_URI: Final = re.compile(rb"(?:\"[^\"\\]*+(?:\\.[^\"\\]*+)*\"|[^\"<])*<([^<>]*)>", re.DOTALL)
_BARE_URI: Final = re.compile(rb"\s*([^\s;,<>\"]+)")
_EXPIRES: Final = re.compile(rb"\n[Ee](?i:xpires)[ \t]*:" + _LWS + rb"([0-9]{1,9})(?![0-9])")
_SESSION_EXPIRES: Final = re.compile(rb"\n(?:[Ss](?i:ession-expires)|[Xx])[ \t]*:" + _LWS + rb"([0-9]{1,9})")

# Machine code that is asked first, None in the interpreted build.
_quick_frame: Final = quick("frame")
_quick_is_doubled: Final = quick("is_doubled")
_quick_identity: Final = quick_names("identity")
_quick_call_id: Final = quick_names("call_id_of")
_quick_cseq_method: Final = quick_names("cseq_method")
_quick_address_of_record: Final = quick_names("address_of_record")
_quick_expires_s: Final = quick_names("expires_s")
_quick_session_expires_s: Final = quick_names("session_expires_s")
_quick_has_no_others: Final = quick_names("has_no_others")

#: Reasons for which a payload isn't taken for a SIP message. The packet passes as it came.
NOT_SIP: Final = "not-sip"
KEEP_ALIVE: Final = "keep-alive"
NO_END_OF_HEADERS: Final = "no-end-of-headers"
LENGTH_MALFORMED: Final = "content-length-malformed"
LENGTH_TWICE: Final = "content-length-twice"
LENGTH_BEYOND: Final = "content-length-beyond-datagram"
TOO_LONG: Final = "message-too-long"

#: The longest message that is read, in bytes: what a UDP datagram may hold (RFC 3261 §18.1.1), over TCP too.
MAX_MESSAGE_BYTES: Final = 65535


class Message(NamedTuple):
    """One framed SIP message; all positions are offsets into `data`.

    A request has a `method` and `status` 0, a response the reverse. The header's fields begin at `head`, the start
    line's newline, and end at `head_end`, just behind the last one's. The body is `data[body:body_end]`, and bytes
    behind `body_end` belong to nobody. `length` is the span of Content-Length's digits and `content_type` where that
    field's value begins, (0, 0) and 0 where there is none; `encoded` tells of a Content-Encoding. `target` is the
    Request-URI read, with spans that count from its own first byte, None where it isn't a SIP URI with a host.
    `marks` is machine code's own note of where the fields are, b"" where only the codec has looked.
    """

    data: bytes
    method: bytes
    status: int
    uri: tuple[int, int]
    head: int
    head_end: int
    body: int
    body_end: int
    length: tuple[int, int]
    content_type: int
    encoded: bool
    target: UriSpan | None
    marks: bytes = b""


class Identity(NamedTuple):
    """What names a message's dialog and transaction (RFC 3261 §12 and §17): texts are b"", the number 0 if missing.

    `ambiguous` says that one of these fields is there twice: others may read the other one (RFC 4475 §3.3.8).
    """

    call_id: bytes
    number: int
    method: bytes
    from_tag: bytes
    to_tag: bytes
    ambiguous: bool = False


def parse(data: bytes) -> Message | str:
    """Frame a datagram's payload; a str is the reason why it can't be (one of the constants above). Never raises."""
    found: Message | None = _quick_frame(data, _STARTS, Message) if _quick_frame else None
    return found or read_frame(data)


def read_frame(data: bytes) -> Message | str:
    """What `parse` does, for any message."""
    if len(data) > MAX_MESSAGE_BYTES:
        return TOO_LONG
    head = data.find(b"\n")
    if head <= 1:
        head = data.find(b"\n", len(data) - len(data.lstrip(b"\r\n")))
    start = _STARTS[data[: head + 1]]
    if start is None:
        return NOT_SIP if data.strip(b"\r\n\0 ") else KEEP_ALIVE
    method, status, uri, target = start
    body_end = len(data)
    blank = data.find(b"\n\r\n", head)
    if (
        blank + 3 == body_end
        and _SAYS_EMPTY[data[data.rfind(b"\n", 0, blank) + 1 : blank]]
        and data.find(b"\n\n", head, blank) < 0
    ):
        # Most messages have no body and say so at last: nothing else of the frame is to be found in them.
        return new(
            Message,
            (data, method, status, uri, head, blank + 1, body_end, body_end, _NO_SPAN, 0, False, target, b""),
        )
    head_end = body = length = content_type = 0
    length_span = _NO_SPAN
    encoded = False
    for match in _FRAME.finditer(data, head):
        group = match.lastindex
        if group == 2:
            if length_span[1]:
                return LENGTH_TWICE
            length_span = match.span(2)
            length = int(match[2])
        elif group == 1:
            head_end = match.start() + 1
            body = match.end()
            break
        elif group == 3:
            return LENGTH_MALFORMED
        elif group == 4:
            content_type = match.end()
        else:
            encoded = True
    if not body:
        # Some devices leave the blank line off where there is no body; a torn last line is no message.
        if data[-1] != 10:
            return NO_END_OF_HEADERS
        head_end = body = body_end
    if length_span[1]:
        if body + length > body_end:
            return LENGTH_BEYOND
        body_end = body + length
    frame = (head, head_end, body, body_end, length_span, content_type, encoded)
    return new(Message, (data, method, status, uri, *frame, target, b""))


def _says_empty(line: bytes) -> bool:
    """Whether a header line without its newline is a Content-Length of 0."""
    return _EMPTY.fullmatch(line) is not None


#: Last lines of headers remembered: devices write few different ones.
_SAYS_EMPTY: Final = Memory(_says_empty, 1024)


def _read_start(line: bytes) -> tuple[bytes, int, tuple[int, int], UriSpan | None] | None:
    """The method, status, Request-URI's span and target of a start line with its newline, and newlines before it."""
    start = _START.match(line)
    if start is None:
        return None
    if start[3]:
        return b"", int(start[3]), _NO_SPAN, None
    return SAME[start[1]], 0, start.span(2), parse_one(start[2])


_NO_SPAN: Final = (0, 0)
#: Start lines remembered: those of some thousand phones.
_STARTS: Final = Memory(_read_start, 8192)
#: What begins a folded line (RFC 3261 §7.3.1).
BLANKS: Final = b" \t"


def find_field(message: Message, kind: int, after: int = 0) -> tuple[int, int] | None:
    """The span of the first field of a kind behind `after`, from its colon to its value's end; None without one."""
    none = kind > CONTACT and _quick_has_no_others is not None and _quick_has_no_others(message)
    match = None if none else _FINDERS[kind].search(message.data, max(after, message.head), message.head_end)
    return (match.end(), value_end(message.data, match.end(), message.head_end)) if match else None


def _finder(kind: int) -> re.Pattern[bytes]:
    names = b"|".join(
        b"[%b%b](?i:%b)" % (name[:1].upper(), name[:1], name[1:])
        for name, its_kind in KINDS.items()
        if its_kind == kind
    )
    return re.compile(rb"\n(?:" + names + rb")[ \t]*:")


_FINDERS: Final = {kind: _finder(kind) for kind in FIELD_NAMES}


def value_end(data: bytes, start: int, head_end: int) -> int:
    """The offset behind a field's value that begins at `start`: the end of its last folded line, line end left out."""
    position = data.find(b"\n", start, head_end)
    while 0 <= position < head_end - 1 and data[position + 1] in BLANKS:
        position = data.find(b"\n", position + 1, head_end)
    if position < 0:
        return head_end
    return position - 1 if position > start and data[position - 1] == 13 else position


def identify(message: Message) -> Identity:
    """Read what names the message's dialog and transaction; where a field is there twice, the first one counts."""
    found: Identity | None = _quick_identity(message, Identity) if _quick_identity else None
    return found or read_identity(message)


def read_identity(message: Message) -> Identity:
    """What `identify` does, for any message."""
    call_id = method = from_tag = to_tag = b""
    number = seen = 0
    ambiguous = False
    for match in _IDENTITY.finditer(message.data, message.head, message.head_end):
        group = match.lastindex or 0
        if seen >> group & 1:
            ambiguous = True
        seen |= 1 << group
        if group == 1:
            call_id = call_id or match[1]
        elif group == 3:
            if not method:
                number, method = int(match[2]), match[3]
        elif group == 4:
            from_tag = from_tag or _TAGS[match[4]]
        else:
            to_tag = to_tag or _TAGS[match[5]]
    return new(Identity, (call_id, number, method, from_tag, to_tag, ambiguous))


def call_id_of(message: Message) -> bytes:
    """Call-ID, b"" where there is none: what `identify` reads, at less cost."""
    found: bytes | None = _quick_call_id(message) if _quick_call_id else None
    return read_call_id(message) if found is None else found


def read_call_id(message: Message) -> bytes:
    """What `call_id_of` does, for any message."""
    match = _CALL_ID.search(message.data, message.head, message.head_end)
    return match[1] if match else b""


def cseq_method(message: Message) -> bytes:
    """CSeq's method, which tells what a response answers; b"" where there is none (RFC 3261 §8.1.1.5)."""
    found: bytes | None = _quick_cseq_method(message) if _quick_cseq_method else None
    return read_cseq_method(message) if found is None else found


def read_cseq_method(message: Message) -> bytes:
    """What `cseq_method` does, for any message."""
    match = _CSEQ_METHOD.search(message.data, message.head, message.head_end)
    return match[1] if match else b""


def address_of_record(message: Message) -> bytes:
    """To's URI, which in a REGISTER is the address of record that is registered (RFC 3261 §10.2)."""
    found: bytes | None = _quick_address_of_record(message) if _quick_address_of_record else None
    return read_address_of_record(message) if found is None else found


def read_address_of_record(message: Message) -> bytes:
    """What `address_of_record` does, for any message."""
    match = _TO.search(message.data, message.head, message.head_end)
    return _URIS[match[1]] if match else b""


def _read_uri(value: bytes) -> bytes:
    """The URI of a From or To value, without brackets; b"" if there is none."""
    uri = _BRACKETED_URI.match(value) or _BARE_URI.match(value)
    return uri[1] if uri else b""


#: To's values remembered: a phone registers the same address of record all day, and its To has no tag in requests.
_URIS: Final = Memory(_read_uri, 8192)


def session_expires_s(message: Message) -> int:
    """Session-Expires in seconds, 0 where there is none (RFC 4028 §4)."""
    found: int = _quick_session_expires_s(message) if _quick_session_expires_s else UNKNOWN
    return read_session_expires_s(message) if found == UNKNOWN else max(found, 0)


def read_session_expires_s(message: Message) -> int:
    """What `session_expires_s` does, for any message."""
    match = _SESSION_EXPIRES.search(message.data, message.head, message.head_end)
    return int(match[1]) if match else 0


def expires_s(message: Message) -> int | None:
    """The Expires field in seconds, None where there is none or it isn't a number (RFC 3261 §20.19)."""
    found: int = _quick_expires_s(message) if _quick_expires_s else UNKNOWN
    return read_expires_s(message) if found == UNKNOWN else None if found < 0 else found


#: What machine code says of a lifetime where only the codec's reader can tell; -1 is none.
UNKNOWN: Final = -2


def read_expires_s(message: Message) -> int | None:
    """What `expires_s` does, for any message."""
    match = _EXPIRES.search(message.data, message.head, message.head_end)
    return int(match[1]) if match else None


def has_doubled_semicolon(message: Message) -> bool:
    """Whether two semicolons stand side by side anywhere in the header."""
    data, start, end = message.data, message.head, message.head_end
    return bool(_quick_is_doubled(data, start, end) if _quick_is_doubled else data.find(b";;", start, end) >= 0)


def has_star(message: Message) -> bool:
    """Whether a Contact is `*`, by which a REGISTER takes all contacts back (RFC 3261 §10.2.2)."""
    return _STAR.search(message.data, message.head, message.head_end) is not None


def _read_tag(value: bytes) -> bytes:
    """The tag of a From or To value; one inside the brackets or a quoted display name doesn't count (§19.3)."""
    tag = _TAG.search(value, max(value.rfind(b">"), 0))
    return tag[1] if tag else b""


#: From's and To's values remembered: they are the same in all messages of a dialog.
_TAGS: Final = Memory(_read_tag, 8192)
