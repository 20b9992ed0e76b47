"""Where in a message's body the session descriptions lie: the body itself, or parts of a multipart body.

Between the message's frame and the SDP reader. A body or part that is compressed or encrypted, or of another type, is
left alone. Nothing is decoded: a part's place is found by its delimiters and by its own Content-Type.
Sources: RFC 3261 §7.4, RFC 2046 §5.1, RFC 5621 §3 and §5 (nested, several), RFC 3959 (early-session).
"""

from __future__ import annotations

import itertools
import re
from typing import Final, NamedTuple

from sipalg.codec.machine import new
from sipalg.codec.message import Message, value_end

_SDP: Final = re.compile(rb"(?i:application\s*/\s*sdp)(?=[\s;]|\Z)")
_MULTIPART: Final = re.compile(rb"(?i:multipart)\s*/\s*[^\s;]+")
_BOUNDARY: Final = re.compile(rb";\s*(?i:boundary)\s*=\s*(?:\"([^\"\r\n]{1,70})\"|([^\s;\"]{1,70}))")
_PART_HEADERS_END: Final = re.compile(rb"\r?\n\r?\n")
_PART_TYPE: Final = re.compile(rb"(?:\A|\n)(?i:content-type|c)[ \t]*:\s*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")
_PART_ENCODED: Final = re.compile(
    rb"(?:\A|\n)(?i:content-(?:transfer-)?encoding)[ \t]*:\s*+(?!(?i:7bit|8bit|binary|identity)(?:\s|\Z))"
)
_PART_LENGTH: Final = re.compile(rb"(?:\A|\n)(?i:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})(?=[ \t]*(?:\r?\n|\Z))")
_EARLY: Final = re.compile(rb"(?:\A|\n)(?i:content-disposition)[ \t]*:\s*(?i:early-session)(?=[\s;]|\Z)")

#: Multiparts within one another that are looked into: mixed, signed, related, alternative is all there is.
MAX_NESTING: Final = 4
#: Parts that are looked into in all: session and early session, in a few alternatives, beside other bodies.
MAX_PARTS: Final = 32

Span = tuple[int, int]


class Part(NamedTuple):
    """A session description's span in `message.data`.

    `lengths` are the spans of the digits of Content-Length in the headers of the parts that it lies in, innermost
    first. `is_early` says that it is of a session for early media beside the one that the call is about (RFC 3959).
    """

    start: int
    end: int
    lengths: tuple[Span, ...] = ()
    is_early: bool = False


def sdp_parts(message: Message) -> list[Part]:
    """The session descriptions of a message that may be edited, in order; none for most bodies of other types."""
    content_type = message.content_type
    if message.body >= message.body_end or not content_type or message.encoded:
        return []
    data = message.data
    # As nearly all write it; the pattern costs some 2,000 instructions.
    if data[content_type : content_type + 16] == b"application/sdp\r" or _SDP.match(
        data, content_type, message.head_end
    ):
        return [new(Part, (message.body, message.body_end, (), False))]
    found: list[Part] = []
    if _MULTIPART.match(data, content_type, message.head_end):
        boundary = _BOUNDARY.search(data, content_type, value_end(data, content_type, message.head_end))
        if boundary:
            _look_into(found, data, (message.body, message.body_end), boundary, (), MAX_PARTS)
    return found


def sdp_span(message: Message) -> Span:
    """The span of the first session description, the call's own before one for early media; (0, 0) without any."""
    parts = sdp_parts(message)
    return min(((part.is_early, part.start, part.end) for part in parts), default=(False, 0, 0))[1:]


def _look_into(
    found: list[Part],
    data: bytes,
    span: Span,
    boundary: re.Match[bytes],
    enclosing: tuple[tuple[Span, ...], ...],
    left: int,
) -> int:
    """Append the plain SDP parts between a boundary's delimiter lines, and those of multiparts among them.

    `enclosing` are the lengths of the parts around, one tuple for each, innermost first. Returns how many parts of
    `left` may be looked into still.
    """
    start, end = span
    delimiter = rb"(?:^|(?<=\n))--" + re.escape(boundary[1] or boundary[2]) + rb"(?:--)?[ \t]*(?:\r?\n|\Z)"
    delimiters = [match.span() for match in re.compile(delimiter).finditer(data, start, end)]
    for (_, part_start), (part_end, _) in itertools.pairwise(delimiters):
        left -= 1
        if left < 0:
            break
        # From the delimiter's own line end on, since a part may have no header at all (RFC 2046 §5.1).
        headers_end = _PART_HEADERS_END.search(data, part_start - 1, part_end)
        if headers_end is None:
            continue
        # A part without a header ends its header before it begins.
        headers = data[part_start : max(headers_end.start(), part_start)]
        type_ = _PART_TYPE.search(headers)
        if type_ is None or _PART_ENCODED.search(headers):
            continue
        length = _PART_LENGTH.search(headers)
        own = () if length is None else ((part_start + length.start(1), part_start + length.end(1)),)
        if _SDP.match(type_[1]):
            lengths = tuple(itertools.chain(own, *enclosing))
            found.append(Part(headers_end.end(), part_end, lengths, _EARLY.search(headers) is not None))
        elif _MULTIPART.match(type_[1]) and len(enclosing) + 1 < MAX_NESTING:
            inner = _BOUNDARY.search(type_[1])
            if inner:
                left = _look_into(found, data, (headers_end.end(), part_end), inner, (own, *enclosing), left)
    return left
