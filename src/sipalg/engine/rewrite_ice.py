"""ICE's addresses in a description: host candidates change together with c= and m=, or the description stays whole.

A far end that is offered candidates takes `c=` and `m=` for a mistake unless one of them says the same (ice-mismatch,
RFC 8839 §4.2.5), so one is never edited without the others. Where the phone has asked a STUN or TURN server itself, it
knows its public address, and nothing is to be done. On a packet's way this belongs to the body's turn, which calls it
where there are candidates.
Sources: RFC 8839 §4.2 and §5, RFC 8445 §5.1.1 (kinds of candidates), RFC 6544 (TCP), RFC 8828 (mDNS names).
"""

from __future__ import annotations

from typing import Final

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, is_ipv4
from sipalg.codec.ice import HOST, REMOTE, Candidate
from sipalg.codec.sdp import Description
from sipalg.engine.mappings import Mappings
from sipalg.engine.media import MediaEnd, keys_of
from sipalg.engine.policy import MAX_CANDIDATES
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Change, Endpoint

_RULE: Final = "sdp-candidate"


def may_be_edited(description: Description, candidates: list[Candidate], own: bytes) -> bool:
    """Whether a phone's description with candidates can be edited whole: they are all its own, and so is its c=.

    Candidates that aren't IPv4 over UDP (mDNS names, IPv6, TCP) stay as they are and hinder nothing; one of another
    host, or one that a STUN or TURN server told, does.
    """
    ours = False
    for candidate in candidates:
        if candidate.kind == REMOTE:
            continue
        if candidate.kind != HOST:
            return False
        if candidate.is_udp and is_ipv4(candidate.host):
            if candidate.host != own or candidate.port < FIRST_UNPRIVILEGED_PORT:
                return False
            if candidate.related_host == own and candidate.related_port < FIRST_UNPRIVILEGED_PORT:
                return False
            ours = True
    return (
        ours
        and len(candidates) <= MAX_CANDIDATES
        and all(
            address.host == own and address.is_typed
            for media in description.media
            if media.port
            for address in description.connections_of(media)
        )
    )


def outward(
    transaction: Transaction,
    mappings: Mappings,
    candidates: list[Candidate],
    own: bytes,
    advertised: bytes,
    in_interface: str,
    edits: list[Change],
    ends: tuple[MediaEnd, ...],
) -> tuple[MediaEnd, ...] | None:
    """Map a phone's candidates and append their edits; returns the media ends with those that no m= line names.

    They come behind those of all lines, so that they meet none of the other side's. None if no port is to be had.
    """
    host = own.decode("ascii")
    known = set(keys_of(ends))
    more: list[MediaEnd] = []
    for candidate in candidates:
        if candidate.kind == REMOTE:
            _edit_remote(mappings, candidate, advertised, edits)
            continue
        if not candidate.is_udp or candidate.host != own:
            continue
        port = _map(transaction, mappings, Endpoint(host, candidate.port), in_interface)
        if port is None:
            return None
        _edit(edits, candidate, advertised, port)
        if candidate.related_host == own:
            port = _map(transaction, mappings, Endpoint(host, candidate.related_port), in_interface)
            if port is None:
                return None
            _edit_related(edits, candidate, advertised, port)
        for private in (candidate.port, candidate.related_port):
            key = (UDP, Endpoint(host, private))
            if key not in known and key in mappings.entries:
                known.add(key)
                more.append(MediaEnd(key[1], None, mux=False, on_hold=False))
    return (*ends, *more)


def inward(
    mappings: Mappings, candidates: list[Candidate], advertised: bytes, in_interface: str
) -> tuple[list[Change], list[Change]] | None:
    """The edits that make candidates inside phones' own again, and those for `a=remote-candidates`.

    The latter name what the recipient has offered, whoever the sender is. None if a candidate with our address is
    nobody's, or belongs behind another inside interface.
    """
    edits: list[Change] = []
    remote: list[Change] = []
    for candidate in candidates:
        if candidate.host != advertised or not candidate.is_udp:
            continue
        entry = mappings.of_public(UDP, candidate.port)
        if entry is None or entry.in_interface != in_interface:
            if candidate.kind == REMOTE:
                continue
            return None
        found = remote if candidate.kind == REMOTE else edits
        _edit(found, candidate, entry.private_host, entry.key[1].port)
        if candidate.related_host == advertised:
            related = mappings.of_public(UDP, candidate.related_port)
            if related is not None and related.private_host == entry.private_host:
                _edit_related(edits, candidate, related.private_host, related.key[1].port)
    return edits, remote


def _map(transaction: Transaction, mappings: Mappings, private: Endpoint, in_interface: str) -> int | None:
    """The public port of a candidate's private address; None if none is to be had."""
    return mappings.open_block(transaction, UDP, private, 1, in_interface, even=False)


def _edit(edits: list[Change], candidate: Candidate, host: bytes, port: int) -> None:
    start, end = candidate.host_span
    edits.append((start, end - start, host, _RULE))
    if port != candidate.port:
        start, end = candidate.port_span
        edits.append((start, end - start, b"%d" % port, _RULE))


def _edit_related(edits: list[Change], candidate: Candidate, host: bytes, port: int) -> None:
    start, end = candidate.related_host_span
    edits.append((start, end - start, host, _RULE))
    if port != candidate.related_port:
        start, end = candidate.related_port_span
        edits.append((start, end - start, b"%d" % port, _RULE))


def _edit_remote(mappings: Mappings, candidate: Candidate, advertised: bytes, edits: list[Change]) -> None:
    """Append the edit of a remote candidate that is another inside phone's, which got private on its way in."""
    if candidate.host in mappings.hosts:
        entry = mappings.of_private(UDP, candidate.host, candidate.port)
        if entry is not None:
            _edit(edits, candidate, advertised, entry.public_port)
