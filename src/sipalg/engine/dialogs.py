"""What is known of a dialog, and what a message of it says: the records that calls are made of.

An offer waits for its answer, a dialog holds the two descriptions in force, a step is one message read once. Immutable
values without any table, and the one rule that tells an answer from an offer. On a packet's way the calls use them.
Sources: RFC 3261 §12, RFC 3264 §4, RFC 3262 §5 (PRACK), RFC 4028 §1 (which methods set a session timer).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sipalg.engine.media import Ends
from sipalg.engine.policy import MAX_SOURCES
from sipalg.engine.rows import MappingKey
from sipalg.engine.verdict import UDP, Flow

#: A NamedTuple's own constructor costs twice as much.
new: Final = tuple.__new__

#: Inside host, Call-ID, the inside's tag and the outside's; a tag is b"" while its side hasn't answered.
DialogKey = tuple[str, bytes, bytes, bytes]
CallKey = tuple[str, bytes]

#: The methods whose 2xx sets a session timer (RFC 4028 §1).
SESSION_METHODS: Final = frozenset((b"INVITE", b"UPDATE"))
#: The methods that make, change or end a call.
CALL_METHODS: Final = frozenset((b"INVITE", b"ACK", b"BYE", b"UPDATE", b"PRACK"))


class Offer(NamedTuple):
    """A description that waits for its answer, or the last one that got it.

    `asked_inside` and `number` name the request's transaction, by who sent it and its CSeq; `in_request` says whether
    the offer stood in the request itself. An answered one stays, since answers are repeated.
    """

    inside: bool
    in_request: bool
    asked_inside: bool
    number: int
    ends: Ends
    answered: bool


class Dialog(NamedTuple):
    """One dialog, early dialog, or INVITE without any answer yet.

    `local` and `remote` are the descriptions in force, `settled` both as the last final answer left them, `retiring`
    the flows that only wait for an ACK to end. `keys` are the mappings that it holds, its signalling one first.
    `session_s` is the session timer that the last 2xx set, 0 without one; `invite` the first INVITE's CSeq number.
    `hanging_up` says that a BYE waits for its answer: what comes late keeps no call alive. `acknowledged` says that an
    ACK came after the 2xx. `peer` is the outside's SIP address, `sources` the addresses that its descriptions named
    for media until the first 2xx.
    """

    local: Ends
    remote: Ends
    settled: tuple[Ends, Ends]
    offer: Offer | None
    flows: tuple[Flow, ...]
    retiring: tuple[Flow, ...]
    keys: tuple[MappingKey, ...]
    confirmed: bool
    expires_at: float
    session_s: float
    invite: int
    hanging_up: bool = False
    acknowledged: bool = False
    peer: str = ""
    sources: tuple[str, ...] = ()


class Step(NamedTuple):
    """What a message of a call says, read once: who sent it, to which transaction it belongs, its description.

    `peer` is the outside's SIP address, `session_s` the session timer that it sets, 0 without one. `asked_inside` says
    whether the request of this message's transaction came from inside.
    """

    method: bytes
    status: int
    number: int
    from_inside: bool
    ends: Ends | None
    sip_key: MappingKey
    peer: str
    session_s: float
    asked_inside: bool


# A dialog with other values: as `_replace`, at a sixth of its price. The numbers are the values' places.


def with_media(
    dialog: Dialog, local: Ends, remote: Ends, offer: Offer | None, flows: tuple[Flow, ...], retiring: tuple[Flow, ...]
) -> Dialog:
    """The dialog with an offer and two descriptions in force, and the flows that follow."""
    return new(Dialog, (local, remote, dialog.settled, offer, flows, retiring, *dialog[6:]))


def with_settled(dialog: Dialog) -> Dialog:
    """The dialog with what is in force made final, and nothing that waits to end."""
    local, remote = dialog.local, dialog.remote
    return new(Dialog, (local, remote, (local, remote), dialog.offer, dialog.flows, (), *dialog[6:]))


def with_offer(dialog: Dialog, offer: Offer | None) -> Dialog:
    """The dialog with another offer."""
    return new(Dialog, (*dialog[:3], offer, *dialog[4:]))


def with_keys(dialog: Dialog, keys: tuple[MappingKey, ...]) -> Dialog:
    """The dialog with other mappings held."""
    return new(Dialog, (*dialog[:6], keys, *dialog[7:]))


def with_confirmation(dialog: Dialog) -> Dialog:
    """The dialog confirmed by a 2xx."""
    return new(Dialog, (*dialog[:7], True, *dialog[8:]))


def with_end(dialog: Dialog, expires_at: float, *, hanging_up: bool = False) -> Dialog:
    """The dialog with another end; `hanging_up` says that a BYE waits for its answer."""
    return new(Dialog, (*dialog[:8], expires_at, *dialog[9:11], hanging_up, *dialog[12:]))


def with_acknowledgement(dialog: Dialog) -> Dialog:
    """The dialog with an ACK after its 2xx."""
    return new(Dialog, (*dialog[:12], True, *dialog[13:]))


def with_sources(dialog: Dialog, sources: tuple[str, ...]) -> Dialog:
    """The dialog with other addresses that the outside named for media."""
    return new(Dialog, (*dialog[:14], sources))


def offer_of(step: Step) -> Offer:
    """The offer that a message's description is, if it isn't an answer."""
    return new(Offer, (step.from_inside, step.status == 0, step.asked_inside, step.number, step.ends, False))


def answers(offer: Offer, step: Step) -> bool:
    """Whether a message's description answers the offer, or is an offer itself.

    In a response it answers the offer of its own request; in an ACK or PRACK the one of the response before it.
    """
    same = offer.asked_inside == step.asked_inside and offer.number == step.number
    if step.status:
        return same and offer.in_request
    waits = offer.inside != step.from_inside and not offer.in_request
    return waits and ((step.method == b"ACK" and same) or step.method == b"PRACK")


def keys_wanted(dialog: Dialog, there: Mapping[MappingKey, Any]) -> tuple[MappingKey, ...]:
    """The mappings that a dialog is to hold, of those that are `there`: its signalling one, and its descriptions'."""
    offer = dialog.offer
    wanted = list(dialog.local)
    # What was settled is what a refusal goes back to; mostly it is what is in force.
    if dialog.settled[0] is not dialog.local:
        wanted += dialog.settled[0]
    if offer is not None and offer.inside and not offer.answered:
        wanted += offer.ends
    keys = [dialog.keys[0]]
    for rtp, rtcp, _, _ in wanted:
        if rtp is not None:
            _add(keys, (UDP, rtp), there)
        if rtcp is not None:
            _add(keys, (UDP, rtcp), there)
    # A line on hold by a zero address names no port, but its flows, and so its mappings, wait for the resumption.
    for flow in dialog.flows:
        _add(keys, (flow.protocol, flow.private), there)
    return tuple(keys)


def _add(keys: list[MappingKey], key: MappingKey, there: Mapping[MappingKey, Any]) -> None:
    if key not in keys and key in there:
        keys.append(key)


def media_hosts(ends: Ends) -> tuple[str, ...]:
    """The addresses that a description names for RTP and RTCP, once each."""
    hosts: list[str] = []
    for rtp, rtcp, _, _ in ends:
        if rtp is not None and rtp.host not in hosts:
            hosts.append(rtp.host)
        if rtcp is not None and rtcp.host not in hosts:
            hosts.append(rtcp.host)
    return tuple(hosts)


def more_sources(sources: tuple[str, ...], ends: Ends) -> tuple[str, ...]:
    """The sources of a dialog's media with those that one more description of the outside names."""
    added = [host for host in media_hosts(ends) if host not in sources]
    return (*sources, *added)[:MAX_SOURCES] if added else sources


def permitted_hosts(dialog: Dialog) -> frozenset[str]:
    """From where media may come with `sip-direct-media=no`: the SIP peer and the sources, and what is in force."""
    return frozenset((dialog.peer, *dialog.sources, *(flow.remote.host for flow in dialog.flows)))
