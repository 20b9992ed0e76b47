"""Where in a message's body the session description lies: the body itself, or one part of a multipart body.

Between the message's frame and the SDP reader. A body that is compressed or encrypted, or of any other type, is left
alone. Nothing is decoded: a part's place is found by its delimiters and by its own Content-Type.
Sources: RFC 3261 §7.4, RFC 2046 §5.1, RFC 5621 §3.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from sipalg.codec.message import Message, value_end

_SDP: Final = re.compile(rb"(?i:application\s*/\s*sdp)(?=[\s;]|\Z)")
_MULTIPART: Final = re.compile(rb"(?i:multipart)\s*/\s*[^\s;]+")
_BOUNDARY: Final = re.compile(rb";\s*(?i:boundary)\s*=\s*(?:\"([^\"\r\n]{1,70})\"|([^\s;\"]{1,70}))")
_PART_HEADERS_END: Final = re.compile(rb"\r?\n\r?\n")
_PART_TYPE: Final = re.compile(rb"(?:\A|\n)(?i:content-type|c)[ \t]*:\s*(?i:application/sdp)(?=[\s;]|\Z)")
_PART_ENCODED: Final = re.compile(
    rb"(?:\A|\n)(?i:content-(?:transfer-)?encoding)[ \t]*:\s*+(?!(?i:7bit|8bit|binary|identity)(?:\s|\Z))"
)


def sdp_span(message: Message) -> tuple[int, int]:
    """The span of the session description in `message.data`; (0, 0) where there is none that may be edited."""
    content_type = message.content_type
    if message.body >= message.body_end or not content_type or message.encoded:
        return (0, 0)
    data = message.data
    if _SDP.match(data, content_type, message.head_end):
        return (message.body, message.body_end)
    if _MULTIPART.match(data, content_type, message.head_end):
        boundary = _BOUNDARY.search(data, content_type, value_end(data, content_type, message.head_end))
        if boundary:
            return _sdp_part(data, message.body, message.body_end, boundary[1] or boundary[2])
    return (0, 0)


def _sdp_part(data: bytes, start: int, end: int, boundary: bytes) -> tuple[int, int]:
    """The span of the first plain SDP part between the boundary's delimiter lines, (0, 0) if there is none."""
    delimiters = [
        match.span()
        for match in re.compile(rb"(?:^|(?<=\n))--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?:\r?\n|\Z)").finditer(
            data, start, end
        )
    ]
    for (_, part_start), (part_end, _) in itertools.pairwise(delimiters):
        # From the delimiter's own line end on, since a part may have no header at all (RFC 2046 §5.1).
        headers_end = _PART_HEADERS_END.search(data, part_start - 1, part_end)
        if headers_end is None:
            continue
        # A part without a header ends its header before it begins.
        headers = data[part_start : max(headers_end.start(), part_start)]
        if _PART_TYPE.search(headers) and not _PART_ENCODED.search(headers):
            return (headers_end.end(), part_end)
    return (0, 0)
