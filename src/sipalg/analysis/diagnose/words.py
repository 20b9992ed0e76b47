"""What one message says of addresses and times: Via, Contact, SDP, lifetimes; read once for all collectors.

The codec finds the fields; here their values become plain ones. On a packet's way offline this stands between the
messages and the collectors. Pure, and never raises on a message's bytes.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.analysis.diagnose.facts import MediaEnd
from sipalg.analysis.messages import SipMessage
from sipalg.codec.address import is_unspecified
from sipalg.codec.body import sdp_span
from sipalg.codec.headers import parse_via, received_and_rport, via_text
from sipalg.codec.message import CONTACT, VIA, Message, expires_s, find_field
from sipalg.codec.sdp import Description, Media, parse
from sipalg.codec.uri import parse_list

_RPORT: Final = re.compile(rb";\s*rport\s*(?=[;,=\s]|\Z)", re.IGNORECASE)
_AGENT: Final = re.compile(rb"\n(?i:user-agent|server)[ \t]*:[ \t]*([^\r\n]{1,80})")
_MAX_FORWARDS: Final = re.compile(rb"\n(?i:max-forwards)[ \t]*:[ \t]*([0-9]{1,3})(?![0-9])")
_DIRECTION: Final = re.compile(rb"\na=(sendrecv|sendonly|recvonly|inactive)(?=[ \t]*\r?(?:\n|\Z))")
#: A candidate that a STUN or TURN server gave (RFC 8839 §5.1).
_CANDIDATE_ELSEWHERE: Final = re.compile(rb"\na=candidate:[^\r\n]* typ (?:srflx|prflx|relay)(?=[\s]|\Z)")
_FIRST_SECTION: Final = re.compile(rb"\nm=")
#: Direction → whether that side receives, and sends.
_WAYS: Final = {b"sendrecv": (True, True), b"sendonly": (False, True), b"recvonly": (True, False)}
_NO_WAY: Final = (False, False)


class ViaWords(NamedTuple):
    """The topmost Via: its sent-by, whether it asks for `rport`, and the `received` that somebody added."""

    host: str
    port: int
    rport: bool
    received: str


class ContactWords(NamedTuple):
    """A Contact: its host, the port that it means, its own lifetime in seconds, and whether it asks for TCP or TLS."""

    host: str
    port: int
    lifetime_s: int | None
    over_stream: bool


class SdpWords(NamedTuple):
    """A session description: its RTP ends in order, whether it has candidates, and one from a STUN or TURN server."""

    ends: tuple[MediaEnd, ...]
    elsewhere: bool
    candidates: bool = False


def via_of(frame: Message) -> ViaWords | None:
    """Read the topmost Via, None where there is none that can be read."""
    field = find_field(frame, VIA)
    if field is None:
        return None
    via = parse_via(via_text(frame.data, *field))
    if via is None:
        return None
    start, end = field
    received, _ = received_and_rport(frame.data, start + via.end, end)
    stop = frame.data.find(b",", start, end)
    rport = _RPORT.search(frame.data, start, end if stop < 0 else stop) is not None
    return ViaWords(_text(via.host), via.port, rport, _text(frame.data[slice(*received)]))


def count_vias(frame: Message) -> int:
    """Count the Vias, those behind commas too: the sender's own, and one for each proxy before it."""
    found, field = 0, find_field(frame, VIA)
    while field is not None:
        found += 1 + frame.data.count(b",", *field)
        field = find_field(frame, VIA, field[1])
    return found


def contacts_of(frame: Message) -> list[ContactWords]:
    """Read all Contacts."""
    found = []
    field = find_field(frame, CONTACT)
    while field is not None:
        uris = parse_list(frame.data[slice(*field)]) or ()
        found += [ContactWords(_text(uri.host), uri.port, uri.expires_s, uri.over_stream) for uri in uris]
        field = find_field(frame, CONTACT, field[1])
    return found


def granted_s(frame: Message) -> int:
    """Read the shortest lifetime that a 2xx to a REGISTER grants, 0 where it grants none (RFC 3261 §10.3)."""
    default = expires_s(frame) or 0
    lifetimes = (contact.lifetime_s for contact in contacts_of(frame))
    return min((default if own is None else own for own in lifetimes), default=0)


def agent_of(frame: Message) -> str:
    """Read what a device calls itself, "" where it doesn't."""
    match = _AGENT.search(frame.data, frame.head, frame.head_end)
    return match[1].decode("utf-8", "replace").strip() if match else ""


def max_forwards_of(frame: Message) -> int | None:
    """Read Max-Forwards, None where there is none."""
    match = _MAX_FORWARDS.search(frame.data, frame.head, frame.head_end)
    return int(match[1]) if match else None


def sdp_of(message: SipMessage) -> SdpWords | None:
    """Read the session description, None where there is none that can be read."""
    start, end = sdp_span(message.frame)
    if start == end:
        return None
    data = message.frame.data
    description = parse(data, start, end)
    if isinstance(description, str):
        return None
    first = _FIRST_SECTION.search(data, start, end)
    common = _DIRECTION.search(data, start, first.start() if first else end)
    default = common[1] if common else b"sendrecv"
    starts = [media.port_span[0] for media in description.media]
    ends = []
    for media, stop in zip(description.media, [*starts, end][1:], strict=True):
        if media.is_rtp and media.port:
            own = _DIRECTION.search(data, media.port_span[0], stop)
            ends.append(_media_end(description, media, own[1] if own else default))
    elsewhere = _CANDIDATE_ELSEWHERE.search(data, start, end) is not None
    return SdpWords(tuple(ends), elsewhere, bool(description.candidates))


def _media_end(description: Description, media: Media, direction: bytes) -> MediaEnd:
    connections = description.connections_of(media)
    host = connections[0].host if connections else b""
    on_hold = not host or is_unspecified(host)
    receives, sends = _NO_WAY if on_hold else _WAYS.get(direction, _NO_WAY)
    rtcp_host = _text(media.rtcp_host or host)
    return MediaEnd(
        _text(host), media.port, rtcp_host, media.rtcp_port or media.port + 1, media.rtcp_mux, receives, sends
    )


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace")
