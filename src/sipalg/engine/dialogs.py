"""What is known of a dialog, and what a message of it says: the records that calls are made of.

An offer waits for its answer, a dialog holds the two descriptions in force, a step is one message read once. Immutable
values without any table, and the one rule that tells an answer from an offer. On a packet's way the calls use them.
Sources: RFC 3261 §12, RFC 3264 §4, RFC 3262 §5 (PRACK), RFC 4028 §1 (which methods set a session timer).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipalg.engine.media import Ends
from sipalg.engine.policy import MAX_SOURCES
from sipalg.engine.rows import MappingKey
from sipalg.engine.verdict import Flow

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

    `peer` is the outside's SIP address.
    """

    method: bytes
    status: int
    number: int
    from_inside: bool
    ends: Ends | None
    sip_key: MappingKey
    peer: str

    @property
    def asked_inside(self) -> bool:
        """Whether the request of this message's transaction came from inside."""
        return self.from_inside if self.status == 0 else not self.from_inside


def offer_of(step: Step) -> Offer:
    """The offer that a message's description is, if it isn't an answer."""
    # A NamedTuple's own constructor costs twice as much.
    return tuple.__new__(Offer, (step.from_inside, step.status == 0, step.asked_inside, step.number, step.ends, False))


def answers(offer: Offer, step: Step) -> bool:
    """Whether a message's description answers the offer, or is an offer itself.

    In a response it answers the offer of its own request; in an ACK or PRACK the one of the response before it.
    """
    same = (offer.asked_inside, offer.number) == (step.asked_inside, step.number)
    if step.status:
        return same and offer.in_request
    waits = offer.inside != step.from_inside and not offer.in_request
    return waits and ((step.method == b"ACK" and same) or step.method == b"PRACK")


def media_hosts(ends: Ends) -> tuple[str, ...]:
    """The addresses that a description names for RTP and RTCP, once each."""
    return tuple(dict.fromkeys(end.host for media in ends for end in (media.rtp, media.rtcp) if end is not None))


def with_sources(sources: tuple[str, ...], ends: Ends) -> tuple[str, ...]:
    """The sources of a dialog's media with those that one more description of the outside names."""
    added = [host for host in media_hosts(ends) if host not in sources]
    return (*sources, *added)[:MAX_SOURCES] if added else sources


def permitted_hosts(dialog: Dialog) -> frozenset[str]:
    """From where media may come with `sip-direct-media=no`: the SIP peer and the sources, and what is in force."""
    return frozenset((dialog.peer, *dialog.sources, *(flow.remote.host for flow in dialog.flows)))
