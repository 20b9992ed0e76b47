"""What is known of a dialog, and what a message of it says: the records that calls are made of.

An offer waits for its answer, a dialog holds the two descriptions in force, a step is one message read once. No
table is here, but the one rule that tells an answer from an offer. On a packet's way the calls use them.
Sources: RFC 3261 §12, RFC 3264 §4, RFC 3262 §5 (PRACK), RFC 4028 §1 (which methods set a session timer).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sipalg.codec.machine import new
from sipalg.engine.media import Ends
from sipalg.engine.policy import EARLY_S, LINGER_S, MAX_SOURCES
from sipalg.engine.rows import MappingKey
from sipalg.engine.transaction import Row
from sipalg.engine.verdict import UDP, Flow

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


class Dialog(Row):
    """One dialog, early dialog, or INVITE without any answer yet: a row of the calls.

    `local` and `remote` are the descriptions in force, `settled` both as the last final answer left them, `retiring`
    the flows that only wait for an ACK to end. `keys` are the mappings that it holds, its signalling one first.
    `session_s` is the session timer that the last 2xx set, 0 without one; `invite` the first INVITE's CSeq number.
    `hanging_up` says that a BYE waits for its answer: what comes late keeps no call alive. `acknowledged` says that an
    ACK came after the 2xx. `peer` is the outside's SIP address, `sources` the addresses that its descriptions named
    for media until the first 2xx. An INVITE's first answer makes its dialog this row; until `forks_until` others make
    dialogs beside it, which begin with `asked`, what the INVITE offered; `asked_inside` says that it came from inside.
    """

    __slots__ = (
        "acknowledged",
        "asked",
        "asked_inside",
        "confirmed",
        "expires_at",
        "flows",
        "forks_until",
        "hanging_up",
        "invite",
        "key",
        "keys",
        "local",
        "noted_in",
        "offer",
        "peer",
        "remote",
        "retiring",
        "session_s",
        "settled",
        "sources",
    )

    def __init__(
        self, key: DialogKey, keys: tuple[MappingKey, ...], expires_at: float, invite: int, peer: str
    ) -> None:
        super().__init__()
        self.key = key
        self.keys = keys
        self.expires_at = expires_at
        self.invite = invite
        self.peer = peer
        self.local: Ends = ()
        self.remote: Ends = ()
        self.settled: tuple[Ends, Ends] = _NOTHING
        self.offer: Offer | None = None
        self.flows: tuple[Flow, ...] = ()
        self.retiring: tuple[Flow, ...] = ()
        self.confirmed = False
        self.session_s = 0.0
        self.hanging_up = False
        self.acknowledged = False
        self.sources: tuple[str, ...] = ()
        self.asked: Offer | None = None
        self.asked_inside = False
        self.forks_until = 0.0
        #: The turn of the records in which its own was last said to be news.
        self.noted_in = -1

    def state(self) -> tuple[Any, ...]:
        """What a message may change: the values of `FIELDS` in order, and the key."""
        return (
            self.local, self.remote, self.settled, self.offer, self.flows, self.retiring, self.keys, self.confirmed,
            self.expires_at, self.session_s, self.invite, self.hanging_up, self.acknowledged, self.peer, self.sources,
            self.asked, self.asked_inside, self.forks_until, self.key,
        )

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Be as it was."""
        self.local, self.remote, self.settled, self.offer, self.flows, self.retiring, *others = state
        self.keys, self.confirmed, self.expires_at, self.session_s, self.invite, self.hanging_up, *others = others
        self.acknowledged, self.peer, self.sources, self.asked, self.asked_inside, *others = others
        self.forks_until, self.key = others

    def record(self) -> tuple[str, Any]:
        """Kind and key of its record."""
        return ("dialog", self.key)

    def is_news(self, before: tuple[Any, ...], _now: float, turn: int, /) -> bool:
        """Whether anything has changed; another key is noted with its table."""
        if self.noted_in == turn or before == self.state():
            return False
        self.noted_in = turn
        return True

    def values(self) -> dict[str, Any]:
        """Its values by their names."""
        return dict(zip(FIELDS, self.state(), strict=False))


_NOTHING: Final[tuple[Ends, Ends]] = ((), ())
#: What a dialog's record says of it.
FIELDS: Final = (
    "local", "remote", "settled", "offer", "flows", "retiring", "keys", "confirmed", "expires_at", "session_s",
    "invite", "hanging_up", "acknowledged", "peer", "sources", "asked", "asked_inside", "forks_until",
)


class Step:
    """What a message of a call says, read once: who sent it, to which transaction it belongs, its description.

    `peer` is the outside's SIP address, `session_s` the session timer that it sets, 0 without one. `asked_inside` says
    whether the request of this message's transaction came from inside.
    """

    __slots__ = (
        "asked_inside",
        "ends",
        "from_inside",
        "method",
        "number",
        "peer",
        "session_s",
        "sip_key",
        "status",
    )

    def __init__(
        self,
        method: bytes,
        status: int,
        number: int,
        ends: Ends | None,
        sip_key: MappingKey,
        peer: str,
        session_s: float,
        *,
        from_inside: bool,
    ) -> None:
        self.method = method
        self.status = status
        self.number = number
        self.from_inside = from_inside
        self.ends = ends
        self.sip_key = sip_key
        self.peer = peer
        self.session_s = session_s
        self.asked_inside = from_inside if status == 0 else not from_inside


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


def call_end(dialog: Dialog, now: float, call_timeout_s: float) -> float:
    """When a dialog ends if nothing more is heard: its session timer's end and a little, else call-timeout."""
    if not dialog.confirmed:
        return now + EARLY_S
    return now + (dialog.session_s + LINGER_S if dialog.session_s else call_timeout_s)


def keys_wanted(dialog: Dialog, there: Mapping[MappingKey, Any]) -> tuple[MappingKey, ...]:
    """The mappings that a dialog is to hold, of those that are `there`: its signalling one, and its descriptions'."""
    local, settled, offer, asked = dialog.local, dialog.settled[0], dialog.offer, dialog.asked
    wanted = list(local)
    # What was settled is what a refusal goes back to; mostly it is what is in force.
    if settled is not local:
        wanted += settled
    if offer is not None and offer.inside and not offer.answered and offer.ends is not local:
        wanted += offer.ends
    # Other answers may come. After the first 2xx they don't for longer than a mapping lives that nobody holds.
    if not dialog.confirmed and asked is not None and asked.inside and asked.ends is not local:
        wanted += asked.ends
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
