"""The body's turn: `o=`, `c=`, `m=` and `a=rtcp` in a session description, all of it or nothing.

Outward, a media section at the sender's own address gets mappings for its ports; inward, public addresses of inside
phones become private ones where the recipient can reach them directly. What is offered or answered is handed on as
media ends. On a packet's way this follows the header; its edits change the body's length, so that comes with it.
Sources: RFC 8866 §5, RFC 3264 §5 and §8.4, RFC 3605, RFC 3550 §11 (even RTP port, RTCP next to it).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from sipalg.codec import ice
from sipalg.codec.address import (
    FIRST_UNPRIVILEGED_PORT,
    MAX_PORT,
    ipv6_reference,
    is_ipv4,
    is_reference,
    is_unspecified,
    literal,
)
from sipalg.codec.machine import new
from sipalg.codec.memory import Memory
from sipalg.codec.sdp import LINE_MALFORMED, NO_DESCRIPTION, Address, Description, Media, parse
from sipalg.engine import outside, rewrite_ice
from sipalg.engine.direct_media import Others
from sipalg.engine.mappings import Mappings
from sipalg.engine.media import HELD_END, NO_END, Ends, MediaEnd
from sipalg.engine.policy import (
    MAX_MEDIA_SECTIONS,
    MAX_PORTS_PER_SECTION,
    NO_FREE_PORT,
    SDP_ADDRESS_FOREIGN,
    SDP_NO_CONNECTION,
    SDP_OF_ANOTHER,
    SDP_PORT_PRIVILEGED,
    SDP_TOO_MANY_SECTIONS,
)
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Change, Endpoint, Purpose


class Body(NamedTuple):
    """What became of a description: edits in any order, and the sender's media ends (None: nothing to negotiate)."""

    edits: list[Change]
    ends: Ends | None


_UNTOUCHED = Body([], None)
#: Global unicast, and unique local for what is reached by a tunnel (RFC 4291 §2.4, RFC 4193).
_IPV6_UNICAST: Final = re.compile(rb"\[(?:[23][0-9a-f]{3}|f[cd][0-9a-f]{2}):")
#: 224.0.0.0 and above is multicast, reserved or broadcast.
_FIRST_MULTICAST: Final = 224


def outward(
    transaction: Transaction,
    mappings: Mappings,
    data: bytes,
    span: tuple[int, int],
    own: bytes,
    advertised: bytes,
    in_interface: str,
    others: Others,
) -> Body | str:
    """Edit an inside phone's description; a str is the reason why its whole message has to pass as it came.

    `own` is the sender's address, `others` tells which other inside hosts' ports it may name. What is sent as it came
    (`own` is `advertised`) gets its ports and its ends, and no edits.
    """
    description = parse(data, span[0], span[1])
    if isinstance(description, str):
        return _UNTOUCHED if description == NO_DESCRIPTION else description
    if not description.candidates or own == advertised:
        return _outward(transaction, mappings, description, own, advertised, in_interface, others)
    # ICE finds a way by itself, if not the shortest, as long as its addresses agree: on any failure all of them stay.
    candidates = ice.parse(data, description.candidates, span[1])
    if candidates is None or not rewrite_ice.may_be_edited(description, candidates, own):
        return _UNTOUCHED
    mark = transaction.mark()
    body = _outward(transaction, mappings, description, own, advertised, in_interface, others)
    if not isinstance(body, str) and body.ends is not None:
        place = (transaction, mappings, candidates, own, advertised, in_interface)
        ends = rewrite_ice.outward(*place, body.edits, body.ends)
        if ends is not None:
            return Body(body.edits, ends)
    transaction.rollback(mark)
    return _UNTOUCHED


def _outward(
    transaction: Transaction,
    mappings: Mappings,
    description: Description,
    own: bytes,
    advertised: bytes,
    in_interface: str,
    others: Others,
) -> Body | str:
    """Edit o=, c=, m= and a=rtcp of an inside phone's description, as above."""
    if len(description.media) > MAX_MEDIA_SECTIONS:
        return SDP_TOO_MANY_SECTIONS
    edits: list[Change] = []
    ends: list[MediaEnd] = []
    ours = foreign = False
    #: Other inside hosts whose media it names.
    named: list[bytes] = []
    session = [] if description.connection is None else [description.connection]
    if own != advertised and (
        _has_untyped(session, own) or any(_has_untyped(media.connections, own) for media in description.media)
    ):
        return LINE_MALFORMED
    speaks = _edit_connections(session, own, advertised, edits)
    for media in description.media:
        connections = media.connections or session
        if connections is not session and _edit_connections(connections, own, advertised, edits):
            speaks = True
        if media.port == 0:
            ends.append(NO_END)
        elif not connections:
            return SDP_NO_CONNECTION
        elif _all_are(connections, own):
            ours = True
            if not media.is_udp:
                # No pinhole is made for it; port 9 says that this side will connect (RFC 4145 §4.1).
                ends.append(NO_END)
                continue
            end = _map_section(transaction, mappings, media, own, advertised, in_interface, edits)
            if isinstance(end, str):
                return end
            ends.append(end)
        elif any(address.host != own and others.is_inside(address.host) for address in connections):
            host = connections[0].host
            if not _all_are(connections, host) or not others.allows(Endpoint(literal(host), media.port)):
                return SDP_OF_ANOTHER
            ours = speaks = True
            if host not in named:
                named.append(host)
            end = NO_END
            if media.is_udp:
                public = outside.advertised_for(mappings.settings, host)
                end = _map_section(transaction, mappings, media, host, public, in_interface, edits, "direct")
                if isinstance(end, str):
                    return end
            ends.append(end)
        elif not all(_is_alike(address.host, own) for address in connections):
            foreign = True
            ends.append(NO_END)
        else:
            held = media.is_udp and all(is_unspecified(address.host) for address in connections)
            ends.append(HELD_END if held else NO_END)
    if foreign and not ours:
        return SDP_ADDRESS_FOREIGN
    if speaks:
        # The connections are the sender's own, or on hold: o= is to follow them.
        _edit_connections(description.origins, own, advertised, edits, "sdp-o")
    for address, rule in _addresses(description) if named else ():
        if address.host in named and address.is_typed:
            public = outside.advertised_for(mappings.settings, address.host)
            _edit_host(edits, address.span, address.host, public, rule)
    return Body(edits, tuple(ends))


def inward(
    mappings: Mappings,
    data: bytes,
    span: tuple[int, int],
    advertised: bytes,
    in_interface: str,
    is_inside: Callable[[bytes, float], bool],
    now: float,
) -> Body:
    """Edit a description for the phone on `in_interface`; what can't be read, or only by halves, stays as it is.

    Nothing is opened towards an address that `is_inside` at `now`, whether it has a mapping or not, nor towards ours.
    """
    description = parse(data, span[0], span[1])
    if isinstance(description, str) or len(description.media) > MAX_MEDIA_SECTIONS:
        return _UNTOUCHED
    ends: list[MediaEnd] = []
    edits: list[Change] = []
    #: For each address span that names us, the private host that its media go to.
    hosts: dict[tuple[int, int], bytes] = {}
    whole = True
    of_candidates: list[Change] = []
    of_remotes: list[Change] = []
    if description.candidates:
        candidates = ice.parse(data, description.candidates, span[1])
        found = None if candidates is None else rewrite_ice.inward(mappings, candidates, advertised, in_interface)
        whole = found is not None
        of_candidates, of_remotes = found or ([], [])
    for media in description.media:
        connections = description.connections_of(media)
        if media.port == 0 or not media.is_udp or not connections:
            ends.append(NO_END)
        elif all(is_unspecified(address.host) for address in connections):
            ends.append(HELD_END)
        elif not _all_are(connections, advertised):
            host = connections[0].host
            end = _outside_end(media, host)
            rtcp_host = media.rtcp_host or host
            for named in (host,) if rtcp_host == host else (host, rtcp_host):
                ours = named == advertised or is_inside(named, now)
                if ours or (is_reference(named) and mappings.of_public(UDP, media.port, named) is not None):
                    end = NO_END
            ends.append(end)
        else:
            ends.append(NO_END)
            private = _private_section(mappings, media, advertised, in_interface, edits)
            for address in connections:
                whole = whole and private is not None and hosts.setdefault(address.span, private) == private
    if whole and hosts:
        hosts_of_all = set(hosts.values())
        for address, rule in _addresses(description):
            private = hosts.get(address.span)
            if private is None and len(hosts_of_all) == 1 and address.host == advertised:
                private = next(iter(hosts_of_all))
            if private is not None:
                _edit_host(edits, address.span, address.host, private, rule)
        edits += of_candidates
    else:
        edits = []
    if of_remotes:
        edits += of_remotes
    return Body(edits, tuple(ends))


def _edit_connections(
    addresses: list[Address], own: bytes, advertised: bytes, edits: list[Change], rule: str = "sdp-c"
) -> bool:
    """Append the edits of those that are the sender's own; returns whether one is, or is on hold."""
    speaks = False
    for host, span, is_typed in addresses:
        if host == own:
            speaks = True
            if is_typed:
                _edit_host(edits, span, host, advertised, rule)
        elif is_unspecified(host):
            speaks = True
    return speaks


def _map_section(
    transaction: Transaction,
    mappings: Mappings,
    media: Media,
    own: bytes,
    advertised: bytes,
    in_interface: str,
    edits: list[Change],
    purpose: Purpose = "media",
) -> MediaEnd | str:
    """Give a media section its public ports and append their edits; a str is the reason why it can't have them.

    `own` is the address of the host whose section it is.
    """
    host = literal(own)
    private_port, ports, is_rtp = media.port, media.ports, media.is_rtp
    # RTCP that goes to another address is none of ours (RFC 3605).
    rtcp_is_ours = is_rtp and (not media.rtcp_host or media.rtcp_host == own)
    rtcp_port = media.rtcp_port if rtcp_is_ours else 0
    if (
        private_port < FIRST_UNPRIVILEGED_PORT
        or 0 < rtcp_port < FIRST_UNPRIVILEGED_PORT
        or private_port + 2 * ports - 1 > MAX_PORT
        or ports > MAX_PORTS_PER_SECTION
    ):
        return SDP_PORT_PRIVILEGED
    rtp = new(Endpoint, (host, private_port))
    rtcp: Endpoint | None = None
    public_rtcp = 0
    if not is_rtp:
        port = mappings.open_block(transaction, UDP, rtp, ports, in_interface, even=False, purpose=purpose)
    elif not rtcp_is_ours or rtcp_port == private_port:
        port = mappings.open_block(transaction, UDP, rtp, 2 * ports - 1, in_interface, even=True, purpose=purpose)
        public_rtcp = port or 0
    elif rtcp_port in (0, private_port + 1):
        port = mappings.open_block(transaction, UDP, rtp, 2 * ports, in_interface, even=True, purpose=purpose)
        rtcp = new(Endpoint, (host, private_port + 1))
        public_rtcp = (port or 0) + 1
        if port is None and not rtcp_port:
            # The port beside is another's, so RTCP goes nowhere; a call without it is better than none.
            rtcp = None
            port = mappings.open_block(transaction, UDP, rtp, 1, in_interface, even=False, purpose=purpose)
            transaction.tell("rtcp-without-port", private=rtp)
    else:
        port = mappings.open_block(transaction, UDP, rtp, 2 * ports - 1, in_interface, even=True, purpose=purpose)
        rtcp = new(Endpoint, (host, rtcp_port))
        entry = mappings.open(transaction, UDP, rtcp, purpose, in_interface)
        if entry is None:
            return NO_FREE_PORT
        public_rtcp = entry.public_port
    if port is None:
        return NO_FREE_PORT
    if port != private_port:
        edits.append(_replace(media.port_span, b"%d" % port, "sdp-m"))
    if rtcp_port:
        if public_rtcp != rtcp_port:
            edits.append(_replace(media.rtcp_port_span, b"%d" % public_rtcp, "sdp-rtcp"))
        if media.rtcp_host:
            _edit_host(edits, media.rtcp_host_span, own, advertised, "sdp-rtcp")
    return new(MediaEnd, (rtp, rtcp, media.rtcp_mux, False))


def _private_section(
    mappings: Mappings, media: Media, advertised: bytes, in_interface: str, edits: list[Change]
) -> bytes | None:
    """Append the edits that make a section name its inside phone's own ports; returns the phone's address.

    None if the port is nobody's, or its phone is behind another inside interface: then the media takes the way
    through the router's NAT and back (hairpin, RFC 4787 REQ-9), and the text stays public.
    """
    entry = mappings.of_public(UDP, media.port, advertised)
    if entry is None or entry.in_interface != in_interface:
        return None
    if entry.key[1].port != media.port:
        edits.append(_replace(media.port_span, b"%d" % entry.key[1].port, "sdp-m"))
    if media.rtcp_port and media.rtcp_host in (b"", advertised):
        rtcp = mappings.of_public(UDP, media.rtcp_port, advertised)
        if rtcp is None or rtcp.private_host != entry.private_host:
            return None
        if rtcp.key[1].port != media.rtcp_port:
            edits.append(_replace(media.rtcp_port_span, b"%d" % rtcp.key[1].port, "sdp-rtcp"))
        if media.rtcp_host:
            _edit_host(edits, media.rtcp_host_span, advertised, rtcp.private_host, "sdp-rtcp")
    return entry.private_host


def _outside_end(media: Media, host: bytes) -> MediaEnd:
    """The media end of an outside section; none where its address isn't one that a packet can be sent to."""
    text = _HOSTS[host]
    if not text:
        return NO_END
    rtcp = None
    if media.is_rtp:
        rtcp_text = _HOSTS[media.rtcp_host] or text if media.rtcp_host else text
        rtcp = new(Endpoint, (rtcp_text, min(media.rtcp_port or media.port + 1, MAX_PORT)))
    return new(MediaEnd, (new(Endpoint, (text, media.port)), rtcp, media.rtcp_mux, False))


def _read_host(host: bytes) -> str:
    """The text of an address that is one host's; "" for what isn't one, or is this network, loopback or multicast.

    Those, and broadcast, are no host's (RFC 6890); nor is an IPv6 address outside of 2000::/3 and fc00::/7.
    """
    if is_reference(host):
        return literal(host) if _IPV6_UNICAST.match(host) and ipv6_reference(host) == host else ""
    if not is_ipv4(host) or not 0 < int(host.partition(b".")[0]) < _FIRST_MULTICAST or host.startswith(b"127."):
        return ""
    return host.decode("ascii")


#: Outside media addresses remembered: servers have few.
_HOSTS: Final = Memory(_read_host, 4096)


def _all_are(connections: list[Address], host: bytes) -> bool:
    """Whether every c= that holds for a section is this address."""
    for address in connections:
        if address.host != host or not address.is_typed:
            return False
    return bool(connections)


def _has_untyped(connections: list[Address], own: bytes) -> bool:
    """Whether a c= names the sender in a form that it may not have there, such as in brackets (RFC 8866 §9)."""
    return any(not is_typed and own in (host, ipv6_reference(host)) for host, _, is_typed in connections)


def _addresses(description: Description) -> list[tuple[Address, str]]:
    """Every o= and c= address with its rule's name."""
    addresses = [(origin, "sdp-o") for origin in description.origins]
    if description.connection is not None:
        addresses.append((description.connection, "sdp-c"))
    addresses += [(address, "sdp-c") for media in description.media for address in media.connections]
    return addresses


def _is_alike(host: bytes, own: bytes) -> bool:
    """Whether a host is an address of the family that the sender speaks, or puts the media on hold."""
    return is_unspecified(host) or (is_reference(host) if is_reference(own) else is_ipv4(host))


def _edit_host(edits: list[Change], span: tuple[int, int], before: bytes, host: bytes, rule: str) -> None:
    """Append the edit of an address, if it is another one; it has no brackets in a description (RFC 8866 §9)."""
    if host != before:
        edits.append(_replace(span, host[1:-1] if is_reference(host) else host, rule))


def _replace(span: tuple[int, int], text: bytes, rule: str) -> Change:
    start, end = span
    return start, end - start, text, rule
