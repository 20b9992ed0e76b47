"""SIP URIs in header fields: one URI, or a comma-separated list of addresses, as byte spans of host and port.

Contact, Route, Record-Route, Path, Service-Route, Refer-To and Referred-By all hold the same thing: addresses with
or without a display name, brackets and parameters. What is read here is where host and port stand; all else is
skipped over by the grammar's quoting rules and never looked into. The engine decides what to do with a host.
Sources: RFC 3261 §19.1, §20.10 and §25.1.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.address import HOST, HOSTS

_QUOTED: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_SIP: Final = rb"((?i:sips?)):(?:[^@<>\s]*@)?(" + HOST + rb")(?::([0-9]{1,5}))?([;?]"
#: `Name <sip:user@host:port;params>;field-params,` — group 6 is the field's parameters, 7 the comma.
_BRACKETED: Final = re.compile(
    rb"\s*+(?:" + _QUOTED + rb"\s*|[^\"<>,;:@]*)<" + _SIP + rb"[^<>]*)?>"
    rb"([^,\"]*+(?:" + _QUOTED + rb"[^,\"]*+)*)(,?)",
    re.DOTALL,
)
#: `sip:user@host:port;field-params,`: without brackets every parameter is the field's (RFC 3261 §20.10).
_BARE: Final = re.compile(
    rb"\s*((?i:sips?)):(?:[^@<>\s,;?]*@)?(" + HOST + rb")(?::([0-9]{1,5}))?()(?=[\s;,?]|\Z)"
    rb"([^,\"<>]*+(?:" + _QUOTED + rb"[^,\"<>]*+)*)(,?)",
    re.DOTALL,
)
#: Anything else up to the next comma at top level: another scheme, `*`, an absent host.
_OTHER: Final = re.compile(
    rb"\s*(?:" + _QUOTED + rb"\s*|[^\"<>,]+)?(?:<[^<>]*>)?([^,\"<>]*+(?:" + _QUOTED + rb"[^,\"<>]*+)*)(,?)", re.DOTALL
)
_SINGLE: Final = re.compile(_SIP + rb"[^<>\s]*)?")
_MADDR: Final = re.compile(rb"[^?]*?;(?i:maddr)=([^;?]+)")
_EXPIRES: Final = re.compile(rb";\s*(?i:expires)\s*=\s*\"?([0-9]{1,9})")
_STREAM_TRANSPORT: Final = re.compile(rb";(?i:transport=(?:tcp|tls|ws|wss))(?=[;?]|\Z)")


class UriSpan(NamedTuple):
    """Where a SIP URI's address stands in its text: `start` and `end` are the span of host and port.

    `host` is its bytes, or an IPv6 reference in its canonical text.
    `port` is what the URI means, 5060 (5061 for sips) where it names none (RFC 3261 §19.1.2); `default_port` is that
    one, and `with_port` whether one is written. `over_stream` says that the URI asks for TCP or TLS (§19.1.1), so
    that a UDP mapping wouldn't serve it. `expires_s` is the Contact's own lifetime (§10.2.1.1), None without one.
    `maddr` is the span of that parameter's value where it says the same as `host`: requests go there (§19.1.1).
    """

    host: bytes
    port: int
    start: int
    end: int
    with_port: bool
    default_port: int
    over_stream: bool
    expires_s: int | None
    maddr: tuple[int, int] = (0, 0)


def parse_list(value: bytes) -> tuple[UriSpan, ...] | None:
    """The SIP URIs with a host of a field's value, in order, as spans in `value`; None if it can't be read.

    Addresses of other schemes, `*` and URIs without a host are skipped. None means that the list as a whole isn't
    understood: then nothing in it may be edited.
    """
    spans = []
    position = 0
    while True:
        sip = _BRACKETED.match(value, position) or _BARE.match(value, position)
        if sip is not None:
            spans.append(_span(sip, sip[5]))
        match = sip or _OTHER.match(value, position)
        if match is None or not match[match.re.groups]:
            rest = value[match.end() :] if match else value[position:]
            return None if rest.strip() else tuple(spans)
        position = match.end()


def parse_one(text: bytes) -> UriSpan | None:
    """The SIP URI that a text is, such as a Request-URI; None for anything else."""
    match = _SINGLE.fullmatch(text)
    return _span(match, b"") if match else None


def _span(match: re.Match[bytes], field_parameters: bytes) -> UriSpan:
    """The UriSpan of a match whose groups 1–4 are scheme, host, port and URI parameters."""
    scheme, host, port, parameters = match.group(1, 2, 3, 4)
    start, host_end = match.span(2)
    secure = len(scheme) == 4
    default_port = 5061 if secure else 5060
    expires = _EXPIRES.search(field_parameters)
    maddr = _MADDR.match(parameters) if parameters else None
    shift = match.start(4)
    return UriSpan(
        HOSTS[host],
        int(port) if port and int(port) != default_port else default_port,
        start,
        match.end(3) if port else host_end,
        port is not None,
        default_port,
        secure or _STREAM_TRANSPORT.search(parameters or b"") is not None,
        int(expires[1]) if expires else None,
        (shift + maddr.start(1), shift + maddr.end(1)) if maddr and maddr[1] == host else (0, 0),
    )
