"""Whether a device did all of a session description: o=, c=, m= and a=rtcp of the phone, or nothing of it.

Looked at where the phone named itself as the one to send media to. A description with candidates that aren't the
phone's own, with names, IPv6 or ports below 1024 may stay whole: then nothing of it may be changed. On a packet's way
this compares its two ends. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from sipalg.analysis.judge_text import Found
from sipalg.analysis.pairing import BY_PHONE, Pair
from sipalg.analysis.said import Said
from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, is_unspecified
from sipalg.codec.body import sdp_span
from sipalg.codec.sdp import Description, parse

_ZERO: Final = b"0.0.0.0"


class Section(NamedTuple):
    """Where one m= line's media is to be sent: RTP's host and port, and RTCP's port; `mux` if that is RTP's."""

    kind: str
    host: str
    port: int
    rtcp_port: int
    mux: bool


def description_of(said: Said, *, strict: bool = True) -> Description | None:
    """Return the session description of a message, None where there is none that can be read.

    Without `strict` the body of a message that can't be framed is read too, whatever its Content-Length says.
    """
    if not isinstance(said.frame, str):
        start, end = sdp_span(said.frame)
    elif strict or b"application/sdp" not in b"".join(said.values("content-type")).lower():
        return None
    else:
        start, end = len(said.data) - len(said.body), len(said.data)
    found = parse(said.data, start, end) if end else None
    return found if isinstance(found, Description) else None


def sections_of(said: Said) -> list[Section]:
    """Return where each UDP media section of a message is to be sent, in order; port 0 is none."""
    description = description_of(said)
    if description is None:
        return []
    sections = []
    for media in description.media:
        connections = description.connections_of(media)
        host = connections[0].host.decode("latin-1") if connections else ""
        rtcp_port = media.rtcp_port or (media.port + 1 if media.is_rtp and media.port else 0)
        sections.append(
            Section(media.kind.decode("latin-1"), host, media.port if media.is_udp else 0, rtcp_port, media.rtcp_mux)
        )
    return sections


def judge_sdp(pair: Pair) -> Iterator[Found]:
    """Yield what is done by half or wrongly in a description that an ALG let through."""
    given, made = description_of(pair.given), description_of(pair.made)
    if given is None or made is None or len(given.media) != len(made.media):
        return
    if pair.by != BY_PHONE:
        yield from _zeros(given, made)
    if pair.outward and pair.given.source.host != pair.made.source.host:
        yield from _outward(given, made, pair.given.source.host)


def _outward(given: Description, made: Description, own: str) -> Iterator[Found]:
    host = own.encode()
    left = [
        media.kind.decode("latin-1")
        for before, media in zip(given.media, made.media, strict=True)
        if media.port
        and any(address.host == host for address in given.connections_of(before))
        and any(address.host == host for address in made.connections_of(media))
    ]
    origin_left = any(address.host == host for address in made.origins)
    named = any(address.host == host for media in given.media for address in given.connections_of(media))
    if _may_stay_whole(given) and (left or origin_left) and _addresses(given) == _addresses(made):
        return
    for kind in left:
        yield Found("sdp-connection-private", f"c= of {kind} still says {own}")
    if named and origin_left and any(address.host == host for address in given.origins):
        yield Found("sdp-origin-private", f"o= still says {own}")
    for media in made.media:
        if media.rtcp_host == host:
            yield Found("sdp-rtcp-private", f"a=rtcp of {media.kind.decode('latin-1')} still says {own}")


def _may_stay_whole(description: Description) -> bool:
    return bool(description.candidates) or any(
        0 < media.port < FIRST_UNPRIVILEGED_PORT or (media.port and not media.is_udp) for media in description.media
    )


def _addresses(description: Description) -> list[object]:
    hosts = [address.host for address in description.origins]
    for media in description.media:
        hosts += [address.host for address in description.connections_of(media)]
    return [*hosts, *(media.port for media in description.media)]


def _zeros(given: Description, made: Description) -> Iterator[Found]:
    """Judge what means hold, refused or nothing, and has to stay."""
    for before, after in zip(given.origins, made.origins, strict=False):
        if after.host == _ZERO != before.host:
            yield Found("sdp-origin-zero", f"o= says 0.0.0.0 instead of {before.host.decode('latin-1')}")
    for media, now in zip(given.media, made.media, strict=True):
        kind = media.kind.decode("latin-1")
        if bool(media.port) != bool(now.port):
            yield Found("sdp-zero-changed", f"m={kind} {media.port} became {now.port}")
        for was, became in zip(given.connections_of(media), made.connections_of(now), strict=False):
            if is_unspecified(was.host) and was.host != became.host:
                detail = f"c= of {kind}: {was.host.decode()} became {became.host.decode('latin-1')}"
                yield Found("sdp-zero-changed", detail)
