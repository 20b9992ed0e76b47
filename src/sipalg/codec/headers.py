"""The Via field: who sent the request last, and what the receiver noted about where it really came from.

Read for the topmost Via only, since that one is the sender's; the others belong to proxies further away. The engine
replaces the sent-by on the way out and puts it back, with `received` and `rport`, on the way in.
Sources: RFC 3261 §18.2.1 and §20.42, RFC 3581.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.address import HOST, HOSTS
from sipalg.codec.machine import quick

#: What a sent-by without a port means (RFC 3261 §18.2.2).
DEFAULT_PORT: Final = 5060

_VIA: Final = re.compile(
    rb"\s*(?i:SIP)\s*/\s*2\.0\s*/\s*([A-Za-z0-9-]+)\s+(" + HOST + rb")(?:\s*:\s*([0-9]{1,5}))?(?=[\s;,]|\Z)(?!\s*:)"
)
#: An IPv6 address may stand there with brackets or without (RFC 5118 §4.5).
_RECEIVED: Final = rb"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]++(?::[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)?|::[0-9A-Fa-f:.]*"
#: What counts in a Via's parameters: `received` (group 1) and `rport` (2).
_WANTED: Final = rb";\s*(?:[Rr](?:(?i:eceived)\s*=\s*(" + _RECEIVED + rb")|(?i:port)\s*=\s*([0-9]{1,5})(?![0-9])))"
_PARAMETER: Final = re.compile(_WANTED)
#: The same where a comma or a quote stands: the comma (3) ends the first Via if it isn't quoted. A quote that nobody
#: closes reaches to the end.
_QUOTED_PARAMETER: Final = re.compile(_WANTED + rb"|(,)|\"[^\"\\]*+(?:\\.[^\"\\]*+)*\"?", re.DOTALL)

#: Machine code that is asked first, None in the interpreted build.
_quick_received_and_rport: Final = quick("received_and_rport")

_NO_SPAN: Final = (0, 0)


class ViaSpan(NamedTuple):
    """A Via's sent-by: `start` to `end` is the span of host and port; `port` is 5060 where none is written.

    `over_stream` says that its transport isn't UDP. The fields are a URI's too, so that both can be treated alike;
    a Via has no lifetime.
    """

    host: bytes
    port: int
    start: int
    end: int
    with_port: bool
    default_port: int
    over_stream: bool
    expires_s: int | None


def via_text(data: bytes, start: int, end: int) -> bytes:
    """The part of a Via's value in `data[start:end]` that `parse_via` reads: up to its first parameter."""
    semicolon = data.find(b";", start, end)
    return data[start : end if semicolon < 0 else semicolon]


def parse_via(text: bytes) -> ViaSpan | None:
    """The first Via of a field's value, as spans in `text`; None if it can't be read."""
    match = _VIA.match(text)
    if match is None:
        return None
    transport, host, port = match.groups()
    start, host_end = match.span(2)
    return ViaSpan(
        HOSTS[host],
        int(port) if port and int(port) != DEFAULT_PORT else DEFAULT_PORT,
        start,
        match.end(3) if port else host_end,
        port is not None,
        DEFAULT_PORT,
        transport.upper() != b"UDP",
        None,
    )


def received_and_rport(data: bytes, start: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The spans of the values of `received` and `rport` in the first Via of `data[start:end]`.

    (0, 0) where one is missing; `start` is the end of its sent-by.
    """
    found: tuple[tuple[int, int], tuple[int, int]] | None = (
        _quick_received_and_rport(data, start, end) if _quick_received_and_rport else None
    )
    return found or read_received_and_rport(data, start, end)


def read_received_and_rport(data: bytes, start: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """What `received_and_rport` does, for any Via."""
    received = rport = _NO_SPAN
    plain = data.find(b",", start, end) < 0 and data.find(b'"', start, end) < 0
    for match in (_PARAMETER if plain else _QUOTED_PARAMETER).finditer(data, start, end):
        group = match.lastindex
        if group == 3:
            break
        if group == 1 and not received[1]:
            received = match.span(1)
        elif group == 2 and not rport[1]:
            rport = match.span(2)
    return received, rport
