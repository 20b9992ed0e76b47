"""ICE candidates in a session description: the addresses of `a=candidate` and `a=remote-candidates`, as byte spans.

Read only where the SDP reader has seen such a line, so that descriptions without ICE pay nothing for it. What is read
is where addresses and ports stand and of which kind they are; priorities, foundations and extensions stay out of
sight. A line against the grammar makes all of it unreadable, since half of the candidates must never be edited.
Sources: RFC 8839 §5.1 (candidate), §5.2 (remote-candidates), RFC 6544 §4.5 (TCP candidates).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.address import MAX_PORT
from sipalg.codec.sdp import NO_SPAN, Span

#: Kinds of candidates (RFC 8839 §5.1); REMOTE isn't one, but the other side's address that this one has chosen.
HOST: Final = b"host"
REMOTE: Final = b"remote"

#: Foundation, component, transport (1), priority, address (2), port (3), kind (4), related address (5) and port (6).
_CANDIDATE: Final = re.compile(
    rb"[ \t]*[!-~]+ +[0-9]+ +([!-~]+) +[0-9]+ +([!-~]+) +([0-9]{1,5}) +typ +([!-~]+)"
    rb"(?: +raddr +([!-~]+))?(?: +rport +([0-9]{1,5}))?(?=[ \t\r\n]|\Z)"
)
_LIST: Final = re.compile(rb"[ \t]*[0-9]+ +[!-~]+ +[0-9]{1,5}(?: +[0-9]+ +[!-~]+ +[0-9]{1,5})*[ \t]*(?=\r?\n|\Z)")
#: One of a list: component, address (1), port (2).
_REMOTE: Final = re.compile(rb"[0-9]+ +([!-~]+) +([0-9]{1,5})(?![0-9])")


class Candidate(NamedTuple):
    """One address of ICE: `kind` is `host`, `srflx`, …, in lower case, or REMOTE.

    `related_port` is 0 and `related_host` empty where the line names none; the spans are (0, 0) then.
    """

    kind: bytes
    is_udp: bool
    host: bytes
    port: int
    host_span: Span
    port_span: Span
    related_host: bytes = b""
    related_port: int = 0
    related_host_span: Span = NO_SPAN
    related_port_span: Span = NO_SPAN


def parse(data: bytes, places: list[int], end: int) -> list[Candidate] | None:
    """Read the lines whose values begin at `places`, as `Description.candidates` has them; None if one can't be.

    Spans are offsets into `data`. A port above 65535 can't be read either.
    """
    found: list[Candidate] = []
    for place in places:
        if data.endswith(b"\na=remote-candidates:", 0, place):
            line = _LIST.match(data, place, end)
            if line is None:
                return None
            found += [
                Candidate(REMOTE, True, one[1], int(one[2]), one.span(1), one.span(2))
                for one in _REMOTE.finditer(data, place, line.end())
            ]
        else:
            line = _CANDIDATE.match(data, place, end)
            if line is None:
                return None
            transport, host, port, kind = line.group(1, 2, 3, 4)
            address = (host, int(port), line.span(2), line.span(3))
            found.append(Candidate(kind.lower(), transport.upper() == b"UDP", *address, *_related(line)))
    if any(candidate.port > MAX_PORT or candidate.related_port > MAX_PORT for candidate in found):
        return None
    return found


def _related(line: re.Match[bytes]) -> tuple[bytes, int, Span, Span]:
    """The related address of a candidate and its port with their spans, as far as the line has them."""
    host, port = line.group(5, 6)
    return (
        host or b"",
        int(port) if port else 0,
        line.span(5) if host else NO_SPAN,
        line.span(6) if port else NO_SPAN,
    )
