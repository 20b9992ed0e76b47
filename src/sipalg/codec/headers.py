"""The Via field: who sent the request last, and what the receiver noted about where it really came from.

Read for the topmost Via only, since that one is the sender's; the others belong to proxies further away. The engine
replaces the sent-by on the way out and puts it back, with `received` and `rport`, on the way in.
Sources: RFC 3261 §18.2.1 and §20.42, RFC 3581.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.address import HOST

_VIA: Final = re.compile(
    rb"\s*(?i:SIP)\s*/\s*2\.0\s*/\s*([A-Za-z0-9-]+)\s+(" + HOST + rb")(?:\s*:\s*([0-9]{1,5}))?(?=[\s;,]|\Z)"
)
_PARAMETERS_END: Final = re.compile(rb"[^,\"]*+(?:\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"[^,\"]*+)*+", re.DOTALL)
_RECEIVED: Final = re.compile(rb";\s*(?i:received)\s*=\s*(" + HOST + rb")")
_RPORT: Final = re.compile(rb";\s*(?i:rport)\s*=\s*([0-9]{1,5})(?![0-9])")


class ViaSpan(NamedTuple):
    """A Via's sent-by: `start` to `end` is the span of host and port; `port` is 0 where none is written."""

    transport: bytes
    host: bytes
    port: int
    start: int
    end: int


def parse_via(data: bytes, start: int, end: int) -> ViaSpan | None:
    """The first Via of a field's value in `data[start:end]`; None if it can't be read."""
    match = _VIA.match(data, start, end)
    if match is None:
        return None
    transport, host, port = match.groups()
    host_start, host_end = match.span(2)
    if port is None:
        return ViaSpan(transport, host, 0, host_start, host_end)
    return ViaSpan(transport, host, int(port), host_start, match.end(3))


def received_and_rport(data: bytes, via: ViaSpan, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The spans of the values of `received` and `rport` in this Via's parameters, (0, 0) where one is missing."""
    own_end = _parameters_end(data, via.end, end)
    received = _RECEIVED.search(data, via.end, own_end)
    rport = _RPORT.search(data, via.end, own_end)
    return received.span(1) if received else (0, 0), rport.span(1) if rport else (0, 0)


def _parameters_end(data: bytes, start: int, end: int) -> int:
    """Where this Via's parameters end: before the comma that begins the next Via, or at `end`."""
    match = _PARAMETERS_END.match(data, start, end)
    return match.end() if match else end
