"""A response to a request, made of the request's own header fields: for the few that the router answers itself.

Beside a packet's way: the engine answers where a setting says that a request mustn't leave. The fields that a response
has to repeat are copied as they stand, whatever their case, compact form or folding; only line ends become CRLF.
Sources: RFC 3261 §8.2.6.2 (which fields), §18.2.2 (where to), §20.43 (Warning), RFC 3581 §4 (rport).
"""

from __future__ import annotations

import re
from typing import Final

from sipalg.codec.headers import parse_via
from sipalg.codec.message import VIA, Message, find_field

#: One header field with the newline before it: its name (1), and folded lines that belong to it.
_FIELD: Final = re.compile(rb"\n([^\s:]+)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*")
_LINE_END: Final = re.compile(rb"\r?\n")
#: A place in the response by a field's name: all Vias first, in their order.
_PLACES: Final = {
    b"via": 0,
    b"v": 0,
    b"from": 1,
    b"f": 1,
    b"to": 2,
    b"t": 2,
    b"call-id": 3,
    b"i": 3,
    b"cseq": 4,
}
#: What counts in a Via's parameters: the branch (1), `rport` with or without a value (2), the comma behind them (3).
_PARAMETER: Final = re.compile(
    rb";\s*(?:(?i:branch)\s*=\s*([^\s;,]+)|((?i:rport))(?=[\s=;,]|\Z))|(,)|\"[^\"\\]*+(?:\\.[^\"\\]*+)*\"?",
    re.DOTALL,
)


def response_to(message: Message, status: bytes, *fields: bytes) -> bytes | None:
    """The response to a request, without a body; None if the request lacks a field that has to be repeated.

    `status` is code and reason, `fields` are more header fields without line ends. To's tag is the request's: this is
    for requests within a dialog. What is there twice comes twice, so that the sender reads in it what it wrote.
    """
    copied: list[list[bytes]] = [[], [], [], [], []]
    for match in _FIELD.finditer(message.data, message.head, message.head_end):
        place = _PLACES.get(match[1].lower())
        if place is not None:
            copied[place].append(_LINE_END.sub(b"\r\n", match[0][1:].rstrip(b"\r")))
    if not all(copied):
        return None
    lines = [b"SIP/2.0 " + status, *(field for fields_of in copied for field in fields_of), *fields]
    return b"\r\n".join((*lines, b"Content-Length: 0", b"", b""))


def return_path(message: Message) -> tuple[bytes, int] | None:
    """The topmost Via's branch, b"" without one, and the port that it wants its response at; None without a Via.

    The port is 0 where the response goes back to the port that the request came from (RFC 3581 §4).
    """
    span = find_field(message, VIA)
    via = None if span is None else parse_via(message.data[span[0] : span[1]])
    if span is None or via is None:
        return None
    branch = b""
    port = via.port
    for match in _PARAMETER.finditer(message.data, span[0] + via.end, span[1]):
        if match.lastindex == 3:
            break
        if match.lastindex == 1:
            branch = branch or match[1]
        elif match.lastindex == 2:
            port = 0
    return branch, port
