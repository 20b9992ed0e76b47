"""Checks of calls by their signalling: lost ACKs, loops, messages too big, cut or moved. Pure.

Sources: RFC 3261 §13.3.1.4 (a 2xx is repeated for 64 × T1 = 32 s), §18.1.1, §16.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sipalg.analysis.diagnose.facts import Call, Facts, Proof
from sipalg.analysis.diagnose.findings import BROKEN, NOTE, WARNING, Finding, Wanted, counted, finding

_NS: Final = 1_000_000_000
#: A 2xx that is repeated for so long, or so often, isn't one lost packet.
_REPEATED_S: Final = 8.0
_REPEATED: Final = 4
#: Not there, busy, cancelled, declined, or redirected: what a callee may say.
_CHOSEN: Final = frozenset((*range(300, 400), 404, 480, 484, 486, 487, 600, 603, 604))
#: When a side that waits for its ACK gives up.
_GIVES_UP_S: Final = (28.0, 40.0)


def lost_ack(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say which calls' 2xx was repeated since no ACK came to it, and which of them ended by that after 32 s."""
    del wanted
    for call in facts.calls:
        if not ack_is_lost(call):
            continue
        low_s, high_s = _GIVES_UP_S
        dropped = bool(call.bye) and low_s <= call.talked_s <= high_s
        end = f"and after {call.talked_s:.0f} s {call.bye_from} hung up" if dropped else "while the call stands"
        if call.acked_private:
            why = "its ACK goes to a private address"
            advice = "the answer's Contact is private, and nothing on the way changed it: see phones and servers"
        elif call.acked:
            why, advice = "its ACK doesn't arrive", "see where the ACK goes: the answer's Contact and Record-Route"
        else:
            why, advice = "no ACK comes", "the answer doesn't reach the caller, or its ACK can't be sent"
        text = f"call {call.call_id}: the answer is sent {call.answered.count} times, since {why}, {end}"
        proofs = (call.answered, call.acked, call.bye)
        yield finding(BROKEN, "lost-ack", text, advice, *proofs, call=call.call_id)


def ack_is_lost(call: Call) -> bool:
    """Whether a call's 2xx is repeated as it is when no ACK comes."""
    return call.answered.count >= _REPEATED and (call.answered_last_ns - call.answered_ns) / _NS >= _REPEATED_S


def loops(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say that requests go round."""
    del wanted
    if facts.loops:
        advice = "two hosts send the request to each other: look at routes, and at a server that calls its own address"
        yield finding(BROKEN, "loop", "requests come back to where they were", advice, facts.loops)


def sizes(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say which messages are too big for UDP."""
    del wanted
    if facts.fragmented:
        text = f"{counted(facts.fragmented.count, 'message')} over UDP, too big for one packet, in fragments"
        advice = "fragments are often dropped: use TCP, or leave out codecs and headers"
        yield finding(WARNING, "fragments", text, advice, facts.fragmented)
    if facts.big:
        text = f"{counted(facts.big.count, 'message')} over UDP of more than 1300 bytes: a few more, and they are cut"
        yield finding(NOTE, "big-messages", text, "RFC 3261 wants TCP for these; fewer codecs help too", facts.big)
    if facts.cut_short:
        text = "messages claim a longer body than they have"
        advice = "something on the way changes bodies without their length: a poor ALG"
        yield finding(BROKEN, "content-length", text, advice, facts.cut_short)


def failures(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say how many calls are refused with a status that no callee's choice explains."""
    del wanted
    refused: dict[int, dict[str, Proof]] = {}
    for call in facts.calls:
        if call.failed and not call.answered and call.failed not in _CHOSEN:
            refused.setdefault(call.failed, {}).setdefault(call.call_id, call.failed_at)
    for status, calls in sorted(refused.items()):
        text = f"{len(calls)} of {counted(facts.call_count, 'call')} refused with {status}"
        advice = "see who answers so, and its Warning or Reason; a server's log tells more"
        yield finding(WARNING, "refused", text, advice, *calls.values())


def moved_media(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say in which calls a re-INVITE moves the media to another host."""
    for call in facts.calls:
        if call.redirected:
            networks = wanted.networks
            # Between two hosts inside nothing stands in the way.
            private = networks.is_private(call.redirected_to) and not all(
                networks.is_private(side.host) for side in (call.caller, call.called)
            )
            text = f"call {call.call_id}: a re-INVITE moves the media to {call.redirected_to}"
            advice = "direct media: works with sip-direct-media=yes; forbid it there or on the server if audio is lost"
            if private and networks.is_private(call.redirected_by):
                private = False
                advice = "another device inside: reached through an ALG with sip-direct-media=yes only; else forbid it"
            elif private:
                advice = "that is a private address: without an ALG it can't be reached; switch direct media off"
            severity = WARNING if private else NOTE
            yield finding(severity, "direct-media", text, advice, call.redirected, call=call.call_id)


CHECKS: Final = (lost_ack, loops, failures, sizes, moved_media)
