"""The body's turn: `o=`, `c=`, `m=` and `a=rtcp` in a session description, all of it or nothing.

Outward, a media section at the sender's own address gets mappings for its ports; inward, public addresses of inside
phones become private ones where the recipient can reach them directly. What is offered or answered is handed on as
media ends. On a packet's way this follows the header; its edits change the body's length, so that comes with it.
Sources: RFC 8866 §5, RFC 3264 §5 and §8.4, RFC 3605, RFC 3550 §11 (even RTP port, RTCP next to it).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, MAX_PORT, is_ipv4, is_unspecified
from sipalg.codec.sdp import NO_DESCRIPTION, Address, Description, Media, parse
from sipalg.engine.mappings import Mappings
from sipalg.engine.media import HELD_END, NO_END, Ends, MediaEnd
from sipalg.engine.policy import (
    MAX_MEDIA_SECTIONS,
    MAX_PORTS_PER_SECTION,
    NO_FREE_PORT,
    SDP_ADDRESS_FOREIGN,
    SDP_NO_CONNECTION,
    SDP_PORT_PRIVILEGED,
    SDP_TOO_MANY_SECTIONS,
)
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Edit, Endpoint


class Body(NamedTuple):
    """What became of a description: the edits in order, and the sender's media ends (None: nothing to negotiate)."""

    edits: list[Edit]
    ends: Ends | None


_UNTOUCHED = Body([], None)
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
) -> Body | str:
    """Edit an inside phone's description; a str is the reason why its whole message has to pass as it came."""
    description = parse(data, *span)
    if isinstance(description, str):
        return _UNTOUCHED if description == NO_DESCRIPTION else description
    if description.has_candidates:
        return _UNTOUCHED
    reason = _why_not_outward(description, own)
    if reason:
        return reason
    host = own.decode("ascii")
    edits: list[Edit] = []
    ends: list[MediaEnd] = []
    for media in description.media:
        connections = description.connections_of(media)
        if media.port == 0 or not media.is_udp:
            ends.append(NO_END)
        elif connections and all(is_unspecified(address.host) for address in connections):
            ends.append(HELD_END)
        elif not _all_are(connections, own):
            ends.append(NO_END)
        else:
            end = _map_section(transaction, mappings, media, host, own, advertised, in_interface, edits)
            if end is None:
                return NO_FREE_PORT
            ends.append(end)
    if _speaks_of(description, own):
        edits += [
            _replace(address.span, advertised, rule)
            for address, rule in _addresses(description)
            if address.host == own and address.is_ip4
        ]
    edits.sort()
    return Body(edits, tuple(ends))


def inward(mappings: Mappings, data: bytes, span: tuple[int, int], advertised: bytes, in_interface: str) -> Body:
    """Edit a description for the phone on `in_interface`; what can't be read, or only by halves, stays as it is."""
    description = parse(data, *span)
    if isinstance(description, str) or len(description.media) > MAX_MEDIA_SECTIONS:
        return _UNTOUCHED
    ends: list[MediaEnd] = []
    edits: list[Edit] = []
    #: For each address span that names us, the private host that its media go to.
    hosts: dict[tuple[int, int], bytes] = {}
    whole = not description.has_candidates
    for media in description.media:
        connections = description.connections_of(media)
        if media.port == 0 or not media.is_udp or not connections:
            ends.append(NO_END)
        elif all(is_unspecified(address.host) for address in connections):
            ends.append(HELD_END)
        elif not _all_are(connections, advertised):
            # An address that is a phone's of ours is no way out: nothing is opened towards it.
            host = connections[0].host
            ends.append(NO_END if host in mappings.hosts else _outside_end(media, host))
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
                edits.append(_replace(address.span, private, rule))
    else:
        edits = []
    edits.sort()
    return Body(edits, tuple(ends))


def _why_not_outward(description: Description, own: bytes) -> str:
    """Why a whole message must pass because of its description; "" if it needn't."""
    if len(description.media) > MAX_MEDIA_SECTIONS:
        return SDP_TOO_MANY_SECTIONS
    ours = foreign = False
    for media in description.media:
        if media.port == 0:
            continue
        connections = description.connections_of(media)
        if not connections:
            return SDP_NO_CONNECTION
        if _all_are(connections, own):
            ours = True
            if not media.is_udp:
                # No pinhole is made for it; port 9 says that this side will connect (RFC 4145 §4.1).
                continue
            ports = (media.port, _own_rtcp_port(media, own) or media.port)
            last = media.port + 2 * media.ports - 1
            if min(ports) < FIRST_UNPRIVILEGED_PORT or last > MAX_PORT or media.ports > MAX_PORTS_PER_SECTION:
                return SDP_PORT_PRIVILEGED
        elif not all(is_unspecified(address.host) or is_ipv4(address.host) for address in connections):
            foreign = True
    return SDP_ADDRESS_FOREIGN if foreign and not ours else ""


def _own_rtcp_port(media: Media, own: bytes) -> int:
    """The port that `a=rtcp` names at the sender's own address, 0 if it names none or another address (RFC 3605)."""
    return media.rtcp_port if media.is_rtp and media.rtcp_host in (b"", own) else 0


def _map_section(
    transaction: Transaction,
    mappings: Mappings,
    media: Media,
    host: str,
    own: bytes,
    advertised: bytes,
    in_interface: str,
    edits: list[Edit],
) -> MediaEnd | None:
    """Give a media section its public ports and append their edits; None if there are none to be had."""
    rtp = Endpoint(host, media.port)
    if not media.is_rtp:
        port = mappings.open_block(transaction, UDP, rtp, media.ports, in_interface, even=False)
        rtcp = None
        public_rtcp = 0
    else:
        rtcp_here = media.rtcp_host in (b"", own) and media.rtcp_port != media.port
        own_rtcp = rtcp_here and media.rtcp_port not in (0, media.port + 1)
        size = 2 * media.ports - (0 if rtcp_here and not own_rtcp else 1)
        port = mappings.open_block(transaction, UDP, rtp, size, in_interface, even=True)
        rtcp = Endpoint(host, media.rtcp_port or media.port + 1) if rtcp_here else None
        public_rtcp = (port or 0) + (1 if rtcp else 0)
        if own_rtcp and rtcp is not None:
            entry = mappings.open(transaction, UDP, rtcp, "media", in_interface)
            if entry is None:
                return None
            public_rtcp = entry.public_port
    if port is None:
        return None
    if port != media.port:
        edits.append(_replace(media.port_span, b"%d" % port, "sdp-m"))
    if public_rtcp and _own_rtcp_port(media, own):
        if public_rtcp != media.rtcp_port:
            edits.append(_replace(media.rtcp_port_span, b"%d" % public_rtcp, "sdp-rtcp"))
        if media.rtcp_host:
            edits.append(_replace(media.rtcp_host_span, advertised, "sdp-rtcp"))
    return MediaEnd(rtp, rtcp, media.rtcp_mux, on_hold=False)


def _private_section(
    mappings: Mappings, media: Media, advertised: bytes, in_interface: str, edits: list[Edit]
) -> bytes | None:
    """Append the edits that make a section name its inside phone's own ports; returns the phone's address.

    None if the port is nobody's, or its phone is behind another inside interface: then the media takes the way
    through the router's NAT and back (hairpin, RFC 4787 REQ-9), and the text stays public.
    """
    entry = mappings.of_public(UDP, media.port)
    if entry is None or entry.in_interface != in_interface:
        return None
    if entry.key[1].port != media.port:
        edits.append(_replace(media.port_span, b"%d" % entry.key[1].port, "sdp-m"))
    if media.rtcp_port and media.rtcp_host in (b"", advertised):
        rtcp = mappings.of_public(UDP, media.rtcp_port)
        if rtcp is None or rtcp.private_host != entry.private_host:
            return None
        if rtcp.key[1].port != media.rtcp_port:
            edits.append(_replace(media.rtcp_port_span, b"%d" % rtcp.key[1].port, "sdp-rtcp"))
        if media.rtcp_host:
            edits.append(_replace(media.rtcp_host_span, rtcp.private_host, "sdp-rtcp"))
    return entry.private_host


def _outside_end(media: Media, host: bytes) -> MediaEnd:
    """The media end of an outside section; none where its address isn't one that a packet can be sent to."""
    if not _is_host(host):
        return NO_END
    rtcp = None
    if media.is_rtp:
        rtcp_host = media.rtcp_host if _is_host(media.rtcp_host) else host
        rtcp = Endpoint(rtcp_host.decode("ascii"), min(media.rtcp_port or media.port + 1, MAX_PORT))
    return MediaEnd(Endpoint(host.decode("ascii"), media.port), rtcp, media.rtcp_mux, on_hold=False)


def _is_host(host: bytes) -> bool:
    """Whether an address is one host's: IPv4, not this network, loopback, multicast or broadcast (RFC 6890)."""
    return is_ipv4(host) and 0 < int(host.partition(b".")[0]) < _FIRST_MULTICAST and not host.startswith(b"127.")


def _all_are(connections: list[Address], host: bytes) -> bool:
    """Whether every c= that holds for a section is this address."""
    return bool(connections) and all(address.is_ip4 and address.host == host for address in connections)


def _speaks_of(description: Description, own: bytes) -> bool:
    """Whether the description's connections are the sender's own, or on hold, so that o= is to follow them."""
    connections = [address for address, rule in _addresses(description) if rule == "sdp-c"]
    return any(address.host == own or is_unspecified(address.host) for address in connections)


def _addresses(description: Description) -> list[tuple[Address, str]]:
    """Every o= and c= address with its rule's name."""
    addresses = [(origin, "sdp-o") for origin in description.origins]
    if description.connection is not None:
        addresses.append((description.connection, "sdp-c"))
    addresses += [(address, "sdp-c") for media in description.media for address in media.connections]
    return addresses


def _replace(span: tuple[int, int], text: bytes, rule: str) -> Edit:
    return Edit(span[0], span[1] - span[0], text, rule)
