"""A session description in pieces, for one that only names one address for RTP, as a phone's nearly always does.

`read` says of such a description what `sdp.read` says, as plain values: what stands before the first m= line, and each
section behind its port, is the same in all calls of a phone, so that these pieces are read once by `sdp.read` itself
and remembered. Wherever this says None, the description is to be read whole. The interpreted build's way; behind the
message's frame on a packet's way.
Sources: RFC 8866 §5 (o, c, m), RFC 3605 (`a=rtcp`), RFC 5761 (`a=rtcp-mux`).
"""

from __future__ import annotations

import re
from typing import Final

from sipalg.codec.address import MAX_PORT, is_reference
from sipalg.codec.memory import LONGEST_REMEMBERED, Memory
from sipalg.codec.sdp import Description
from sipalg.codec.sdp import read as read_whole

#: Where a c= line has its address, by offsets that count from its piece's first byte.
Place = tuple[int, int]
#: A piece behind an m= line's port: whether it has RTCP with RTP (`a=rtcp-mux`), where its own c= has the address
#: (None where the session's holds), RTCP's port (0: not said), where that stands, and where an address of RTCP's does.
Section = tuple[bool, Place | None, int, Place, Place | None]
#: A section with its port and where that stands, and the offset that the piece's places count from.
Found = tuple[int, int, int, int, Section]

#: A description's beginning up to its origin's end: the origin's address (1).
_ORIGIN: Final = re.compile(rb"v=0\r?\no=[^\s]+ [0-9]+ [0-9]+ IN IP4 ([^\s]+)\r?(?=\n)")
_MEDIA: Final = re.compile(rb"\nm=[^\s]+ ([0-9]{1,5})(?= )")
_NEXT: Final = b"\nm="
#: What a piece is read behind, so that it is a description.
_BEGINNING: Final = b"v=0"
_SECTION: Final = b"v=0\nm=x 1"


def _read_session(text: bytes) -> tuple[bytes, Place] | None:
    """The address of a session's c= and where that stands, (b"", (0, 0)) without one; None if it is anything else."""
    found = read_whole(_BEGINNING + text, 0, len(_BEGINNING) + len(text))
    if isinstance(found, str) or found.origins or found.candidates:
        return None
    connection = found.connection
    if connection is None:
        return b"", (0, 0)
    start, end = connection.span
    if is_reference(connection.host) or not connection.is_typed:
        return None
    return connection.host, (start - len(_BEGINNING), end - len(_BEGINNING))


def _read_section(text: bytes) -> tuple[bytes, Section] | None:
    """What a section says behind its port, with the only address that it names; None if it is anything else."""
    found = read_whole(_SECTION + text, 0, len(_SECTION) + len(text))
    if isinstance(found, str):
        return None
    return _of_section(found)


def _of_section(found: Description) -> tuple[bytes, Section] | None:
    media = found.media[0]
    if found.origins or found.candidates or not (media.is_udp and media.is_rtp):
        return None
    host = media.rtcp_host
    if host and not media.rtcp_port:
        return None
    of_connection: Place | None = None
    if media.connections:
        connection = media.connections[0]
        if len(media.connections) > 1 or not connection.is_typed or host not in (b"", connection.host):
            return None
        host, of_connection = connection.host, _moved(connection.span)
    if is_reference(host):
        return None
    of_rtcp_host = _moved(media.rtcp_host_span) if media.rtcp_host else None
    return host, (media.rtcp_mux, of_connection, media.rtcp_port, _moved(media.rtcp_port_span), of_rtcp_host)


def _moved(place: Place) -> Place:
    """A place as it counts from a section's piece."""
    return place[0] - len(_SECTION), place[1] - len(_SECTION)


#: Pieces remembered, by their texts.
_SESSIONS: Final = Memory(_read_session, 4096)
_SECTIONS: Final = Memory(_read_section, 8192)


def read(
    data: bytes, start: int, end: int, own: bytes, most: int
) -> tuple[list[Place], Place | None, list[Found]] | None:
    """The description in `data[start:end]`, if each section is RTP at `own`, an IPv4 address, and no other is named.

    Where its c= lines have the address, and its o= line, if that has it; and its sections, at most `most`.
    """
    origin = _ORIGIN.match(data, start, end)
    if origin is None:
        return None
    behind = origin.end()
    at = data.find(_NEXT, behind, end)
    if not 0 <= at - behind <= LONGEST_REMEMBERED:
        return None
    session = _SESSIONS[data[behind : at + 1]]
    if session is None:
        return None
    connections: list[Place] = []
    host, place = session
    if host:
        if host != own:
            return None
        connections.append((behind + place[0], behind + place[1]))
    sections: list[Found] = []
    while at >= 0:
        media = _MEDIA.match(data, at, end)
        if media is None or len(sections) == most:
            return None
        behind = media.end()
        at = data.find(_NEXT, behind, end)
        stop = end if at < 0 else at + 1
        if stop - behind > LONGEST_REMEMBERED:
            return None
        known = _SECTIONS[data[behind:stop]]
        port = int(media[1])
        if known is None or port > MAX_PORT or (known[0] or own) != own:
            return None
        section = known[1]
        place_of_own = section[1]
        if place_of_own is not None:
            connections.append((behind + place_of_own[0], behind + place_of_own[1]))
        elif not host:
            return None
        sections.append((port, media.start(1), media.end(1), behind, section))
    return connections, origin.span(1) if origin[1] == own else None, sections
