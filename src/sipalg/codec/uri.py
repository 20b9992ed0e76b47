"""SIP URIs in header fields: one URI, or a comma-separated list of addresses, as byte spans of host and port.

Contact, Route, Record-Route, Path, Service-Route, Refer-To and Referred-By all hold the same thing: addresses with
or without a display name, brackets and parameters. What is read here is where host and port stand; all else is
skipped over by the grammar's quoting rules and never looked into. The engine decides what to do with a host.
Sources: RFC 3261 §19.1, §20.10 and §25.1.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.address import HOST

_QUOTED: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SIP: Final = rb"((?i:sips?)):(?:[^@<>\s]*@)?(" + HOST + rb")(?::([0-9]{1,5}))?([;?]"
#: `Name <sip:user@host:port;params>;field-params,` — group 6 is the field's parameters, 7 the comma.
_BRACKETED: Final = re.compile(
    rb"\s*(?:" + _QUOTED + rb"\s*|[^\"<>,;:@]*)<" + _SIP + rb"[^<>]*)?>"
    rb"([^,\"]*+(?:" + _QUOTED + rb"[^,\"]*+)*+)(,?)",
    re.DOTALL,
)
#: `sip:user@host:port;field-params,`: without brackets every parameter is the field's (RFC 3261 §20.10).
_BARE: Final = re.compile(
    rb"\s*((?i:sips?)):(?:[^@<>\s,;?]*@)?(" + HOST + rb")(?::([0-9]{1,5}))?()(?=[\s;,?]|\Z)"
    rb"([^,\"<>]*+(?:" + _QUOTED + rb"[^,\"<>]*+)*+)(,?)",
    re.DOTALL,
)
#: Anything else up to the next comma at top level: another scheme, `*`, an absent host.
_OTHER: Final = re.compile(
    rb"\s*(?:" + _QUOTED + rb"\s*|[^\"<>,]+)?(?:<[^<>]*>)?([^,\"<>]*+(?:" + _QUOTED + rb"[^,\"<>]*+)*+)(,?)", re.DOTALL
)
_SINGLE: Final = re.compile(_SIP + rb"[^<>\s]*)?")
_EXPIRES: Final = re.compile(rb";\s*(?i:expires)\s*=\s*\"?([0-9]{1,9})")
_STREAM_TRANSPORT: Final = re.compile(rb";(?i:transport=(?:tcp|tls|ws|wss))(?=[;?]|\Z)")


class UriSpan(NamedTuple):
    """Where a SIP URI's address stands: `host` is its bytes, `start` and `end` the span of host and port.

    `port` is 0 where the URI names none; then `end` is the host's. `parameters` is the URI's own, from its first
    `;` or `?`, `field_parameters` is what follows the URI in its field (such as `;expires=60`).
    """

    secure: bool
    host: bytes
    port: int
    start: int
    end: int
    parameters: bytes
    field_parameters: bytes

    @property
    def default_port(self) -> int:
        """The port that a URI without one means: 5061 for sips, else 5060 (RFC 3261 §19.1.2)."""
        return 5061 if self.secure else 5060

    @property
    def over_stream(self) -> bool:
        """Whether the URI asks for TCP or TLS (RFC 3261 §19.1.1), so that a UDP mapping wouldn't serve it."""
        return self.secure or _STREAM_TRANSPORT.search(self.parameters) is not None

    @property
    def expires_s(self) -> int | None:
        """The Contact's own lifetime in seconds, None where it names none (RFC 3261 §10.2.1.1)."""
        match = _EXPIRES.search(self.field_parameters)
        return int(match[1]) if match else None


def parse_list(data: bytes, start: int, end: int) -> list[UriSpan] | None:
    """The SIP URIs with a host of a field's value in `data[start:end]`, in order; None if it can't be read.

    Addresses of other schemes, `*` and URIs without a host are skipped. None means that the list as a whole isn't
    understood: then nothing in it may be edited.
    """
    spans = []
    position = start
    while True:
        match = _BRACKETED.match(data, position, end) or _BARE.match(data, position, end)
        if match is not None:
            spans.append(_span(match, match[5]))
        else:
            match = _OTHER.match(data, position, end)
            if match is None:
                return None
        position = match.end()
        if not match[match.re.groups]:
            return spans if position >= end or not data[position:end].strip() else None


def parse_one(data: bytes, start: int, end: int) -> UriSpan | None:
    """The SIP URI that fills `data[start:end]`, such as a Request-URI; None for anything else."""
    match = _SINGLE.fullmatch(data, start, end)
    return _span(match, b"") if match else None


def _span(match: re.Match[bytes], field_parameters: bytes) -> UriSpan:
    """The UriSpan of a match whose groups 1–4 are scheme, host, port and URI parameters."""
    scheme, host, port, parameters = match.group(1, 2, 3, 4)
    span_start, host_end = match.span(2)
    return UriSpan(
        len(scheme) == 4,
        host,
        int(port) if port else 0,
        span_start,
        match.end(3) if port else host_end,
        parameters or b"",
        field_parameters,
    )
