"""An SDP body's addresses: `o=`, `c=`, `m=`, `a=rtcp` and what else names a transport, as byte spans.

Reads the first session description of a body. Like the message's frame it looks only at lines that can hold
addresses; every other line stays out of sight. A line that holds one and can't be read makes the whole description
unreadable, since half of it must never be edited.
Sources: RFC 8866 §5 (o, c, m), RFC 3605 (`a=rtcp`), RFC 5761 (`a=rtcp-mux`), RFC 8839 (`a=candidate`).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.address import MAX_PORT, SDP_HOSTS, is_reference
from sipalg.codec.machine import new, quick_sdp
from sipalg.codec.memory import Memory

_END: Final = rb"[ \t]*(?=\r?\n|\Z)"
#: One line that can hold an address: o= (1, 2), c= (3, 4), m= (5 to 8), a=rtcp (9, 10), rtcp-mux (11), candidates
#: (12), or one of these that isn't as the grammar has it (13).
_LINE: Final = re.compile(
    rb"\n(?:o=[^\s]+ [0-9]+ [0-9]+ IN (IP[46]) ([^\s]+)"
    + _END
    + rb"|c=IN (IP[46]) ([^\s/]+)(?:/[0-9/]+)?"
    + _END
    + rb"|m=([^\s]+) ([0-9]{1,5})(?:/([1-9][0-9]{0,2}))? ([^\s]+)(?=[ \r\n]|\Z)"
    rb"|a=(?:rtcp:([0-9]{1,5})(?: IN IP[46] ([^\s]+))?"
    + _END
    + rb"|(rtcp-mux)"
    + _END
    + rb"|(candidate|remote-candidates):)|([cm]|a=rtcp)[=:])"
)

#: Why a description can't be read.
NO_DESCRIPTION: Final = "sdp-not-a-description"
LINE_MALFORMED: Final = "sdp-line-malformed"
PORT_MALFORMED: Final = "sdp-port-malformed"

#: Protocols that run over TCP: their ports aren't UDP ports (RFC 4145, RFC 4975).
_TCP: Final = b"TCP"

Span = tuple[int, int]
NO_SPAN: Final[Span] = (0, 0)


class Address(NamedTuple):
    """An address in the description: its host, where it stands, and whether that is of the type that the line says.

    An IPv6 address is its canonical text in brackets, as in URIs.
    """

    host: bytes
    span: Span
    is_typed: bool


class Media(NamedTuple):
    """One m= line with what belongs to it.

    `port` 0 means refused or switched off (RFC 3264 §6). `ports` is the count behind a slash, 1 if there is none.
    `connection` is the section's own c= lines, empty where the session's holds. `rtcp_port` is 0 without `a=rtcp`;
    its span is then (0, 0), as is `rtcp_host`'s where the line names no address.
    """

    kind: bytes
    port: int
    port_span: Span
    ports: int
    protocol: bytes
    connections: list[Address]
    rtcp_port: int
    rtcp_port_span: Span
    rtcp_host: bytes
    rtcp_host_span: Span
    rtcp_mux: bool

    @property
    def is_udp(self) -> bool:
        """Whether the media runs over UDP, so that a UDP pinhole serves it."""
        return _PROTOCOLS[self.protocol][0]

    @property
    def is_rtp(self) -> bool:
        """Whether the media is RTP and so has RTCP beside it (RFC 3550 §11)."""
        return _PROTOCOLS[self.protocol][1]


def _read_protocol(protocol: bytes) -> tuple[bool, bool]:
    """Whether media of an m= line's protocol runs over UDP, and whether it is RTP."""
    upper = protocol.upper()
    return _TCP not in upper, b"RTP/" in upper


_PROTOCOLS: Final = Memory(_read_protocol, 256)


class Description(NamedTuple):
    """A session description: the origins, the session's own c= and the media sections in order.

    `candidates` are the places where ICE's lines have their values, for `ice.parse`.
    """

    origins: list[Address]
    connection: Address | None
    media: list[Media]
    candidates: list[int]

    def connections_of(self, media: Media) -> list[Address]:
        """The c= lines that hold for a media section: its own, else the session's, else none."""
        if media.connections or self.connection is None:
            return media.connections
        return [self.connection]


_quick_parse: Final = quick_sdp("parse")


def parse(data: bytes, start: int, end: int) -> Description | str:
    """Read the description in `data[start:end]`; a str is the reason why it can't be. Never raises.

    Spans are offsets into `data`. A c=, m= or a=rtcp line that isn't as the grammar has it makes the description
    unreadable, as does a port above 65535; an o= line that isn't is left alone, since nothing depends on it.
    """
    found: Description | None = _quick_parse(data, start, end, Description, Media, Address) if _quick_parse else None
    return found or read(data, start, end)


def read(data: bytes, start: int, end: int) -> Description | str:
    """The same, whatever the lines look like."""
    if data[start : start + 3] != b"v=0":
        return NO_DESCRIPTION
    origins: list[Address] = []
    session: Address | None = None
    sections: list[Media] = []
    section: list[Address] = []
    media: re.Match[bytes] | None = None
    rtcp: re.Match[bytes] | None = None
    candidates: list[int] = []
    mux = False
    for line in _LINE.finditer(data, start, end):
        group = line.lastindex
        if group == 2:
            origins.append(_address(line[1], line[2], line.span(2)))
        elif group == 4:
            address = _address(line[3], line[4], line.span(4))
            if media is not None:
                section.append(address)
            elif session is None:
                session = address
            else:
                return LINE_MALFORMED
        elif group == 8:
            if int(line[6]) > MAX_PORT:
                return PORT_MALFORMED
            if media is not None:
                sections.append(_section(media, section, rtcp, mux))
            # Neither attribute means anything at session level (RFC 3605 §2.1, RFC 5761 §5.1.1): none comes along.
            section, rtcp, mux = [], None, False
            media = line
        elif group == 11:
            mux = True
        elif group == 12:
            candidates.append(line.end())
        elif group == 13:
            return LINE_MALFORMED if line[13] == b"c" else PORT_MALFORMED
        else:
            if int(line[9]) > MAX_PORT:
                return PORT_MALFORMED
            rtcp = line
    if media is not None:
        sections.append(_section(media, section, rtcp, mux))
    return new(Description, (origins, session, sections, candidates))


def _address(kind: bytes, text: bytes, span: Span) -> Address:
    """An address of an o= or c= line. What stands in brackets there already is none (RFC 8866 §9 `IP6-address`)."""
    host = SDP_HOSTS[text]
    return new(Address, (host, span, (kind == b"IP4") != (is_reference(host) and host != text)))


def _section(media: re.Match[bytes], connections: list[Address], rtcp: re.Match[bytes] | None, mux: bool) -> Media:
    """Put one media section together from its lines' matches."""
    kind, port, ports, protocol = media.group(5, 6, 7, 8)
    rtcp_port, rtcp_port_span, rtcp_host, rtcp_host_span = 0, NO_SPAN, b"", NO_SPAN
    if rtcp is not None:
        rtcp_port, rtcp_port_span = int(rtcp[9]), rtcp.span(9)
        if rtcp[10]:
            rtcp_host, rtcp_host_span = SDP_HOSTS[rtcp[10]], rtcp.span(10)
    values = (
        kind,
        int(port),
        media.span(6),
        int(ports) if ports else 1,
        protocol,
        connections,
        rtcp_port,
        rtcp_port_span,
        rtcp_host,
        rtcp_host_span,
        mux,
    )
    return new(Media, values)
