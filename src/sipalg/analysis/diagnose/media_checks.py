"""Checks of calls by their media: who sent, where nothing came, what went to addresses that nobody has. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sipalg.analysis.diagnose.facts import Call, Facts, Proof, Side
from sipalg.analysis.diagnose.findings import BROKEN, NOTE, WARNING, Finding, Wanted, finding
from sipalg.analysis.diagnose.passing import FEW_PACKETS, TALKED_S, Stuck, stuck_calls

#: A call that stood so long has RTCP (RFC 3550 §6.2: every 5 s).
_RTCP_S: Final = 12.0
#: Who hears nothing for so long at a call's end, while the other does, isn't heard any more.
_STOPPED_S: Final = 5.0
#: With this part of the other side's packets in the same time, voice had no pauses: 30 ms beside 20 ms have two
#: thirds of them.
_STEADY: Final = 0.6
_NS: Final = 1_000_000_000


def audio(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say in which calls one side, or neither, got any RTP."""
    stuck = {one.outer.call_id: one for one in stuck_calls(facts)}
    yield from map(_stuck, stuck.values())
    for call in facts.calls:
        # What a capture of both sides shows isn't told once more from each of them.
        heard = "" if call.call_id in stuck else outcome(facts, call)
        if heard == ONE_WAY:
            deaf = deaf_side(call)
            far = call.called if deaf is call.caller else call.caller
            why, advice = _why(deaf, wanted)
            text = (
                f"call {call.call_id}: one-way audio: {far.got} RTP packets came to {_ends(far)}, "
                f"none to {_ends(deaf)}{why}"
            )
            severity = BROKEN
            if deaf.got_rtcp:
                severity, advice = WARNING, "but RTCP came: the way is open, and the far end sends no audio"
            else:
                advice += "; a muted or listening far end without RTCP looks the same: ask whether it was silent"
            proofs = (call.invite, call.answered, deaf.sdp)
            yield finding(severity, "one-way-audio", text, advice, *proofs, call=call.call_id)
        elif heard == NONE:
            text = f"call {call.call_id}: no audio: it stood for {call.talked_s:.0f} s, and no RTP came to either side"
            why, advice = _why(call.caller, wanted)
            if not why:
                why, advice = _why(call.called, wanted)
            text += "; one of them names a private address" if why else ""
            yield finding(BROKEN, "no-audio", text, advice, call.invite, call.answered, call=call.call_id)
    wants_audio = (call for call in facts.calls if call.answered and (call.caller.media or call.called.media))
    if not facts.media_packets and any(wants_audio):
        text = "there is no RTP in this capture, though a call was answered: nothing is said about audio"
        advice = "capture without a filter for ports; if there was none, no audio came or went here"
        yield finding(NOTE, NO_RTP, text, advice, Proof())


def _stuck(stuck: Stuck) -> Finding:
    """Say that audio came to the router, and not on to the phone."""
    inner, outer = stuck.inner, stuck.outer
    when = " from some moment on, as after a hold" if stuck.ever else ""
    text = (
        f"call {outer.call_id}: one-way audio{when}: {stuck.packets} RTP packets reached the router at "
        f"{_ends(stuck.phone)}, 0 were passed to the phone"
    )
    severity, advice = BROKEN, "the router drops them: an ALG that names a port has to pass on what comes to it"
    if stuck.ended:
        severity = WARNING if stuck.ever else BROKEN
        advice += "; but nothing more is seen inside after that began: see whether the capture there had ended"
    proofs = (inner.invite, outer.invite, outer.answered, stuck.phone.sdp)
    return finding(severity, "not-passed-on", text, advice, *proofs, call=outer.call_id)


def stopped(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say in which calls one side heard nothing more from some moment on, while the other still did."""
    del wanted
    for call in facts.calls:
        if outcome(facts, call) != BOTH or _was_on_hold(call):
            continue
        for deaf, far in ((call.caller, call.called), (call.called, call.caller)):
            if (far.last_ns - deaf.last_ns) / _NS < _STOPPED_S:
                continue
            end_ns = call.bye_ns or call.last_ns
            text = (
                f"call {call.call_id}: audio stops: nothing comes to {_ends(deaf)} any more after "
                f"{(deaf.last_ns - call.answered_ns) / _NS:.0f} s, {(end_ns - deaf.last_ns) / _NS:.0f} s before "
                f"the end, while {_ends(far)} still gets RTP"
            )
            severity = BROKEN
            advice = "the mapping was lost or changed in between: see timeouts, and what was said just before"
            if deaf.last_rtcp_ns > deaf.last_ns:
                severity, advice = WARNING, "but RTCP still came: the way is open, and the far end sends no audio"
            elif deaf.got < _STEADY * far.got * _lasted(call, deaf) / _lasted(call, far):
                severity, advice = WARNING, "it had pauses before: the far end may only have been silent"
            last = Proof(1, [deaf.last])
            yield finding(severity, "audio-stops", text, advice, call.invite, last, call.bye, call=call.call_id)


def _lasted(call: Call, side: Side) -> int:
    """How long a side heard something, in ns."""
    return max(side.last_ns - call.answered_ns, 1)


ONE_WAY: Final = "one-way"
NONE: Final = "none"
BOTH: Final = "both"
NO_RTP: Final = "no-rtp"


def outcome(facts: Facts, call: Call) -> str:
    """Return who heard whom in a call: ONE_WAY, NONE, BOTH, or "" where it can't be told.

    It can't where the capture has no RTP, the call was too short, a side named no audio, or both sides offered
    candidates: what they chose stands in no description. Of a call that was on hold only the rest of it counts, and
    who heard something on hold can be reached.
    """
    sides = (call.caller, call.called)
    if not facts.media_packets or _talked_s(call) < TALKED_S or any(not side.hears_at for side in sides):
        return ""
    if all(side.candidates for side in sides):
        return ""
    got = _talked(call)
    if not max(got):
        return "" if any(side.got for side in sides) else NONE
    if all(side.got for side in sides) or max(got) < FEW_PACKETS:
        return BOTH
    return ONE_WAY


def deaf_side(call: Call) -> Side:
    """Return the side that got nothing, of a call with one-way audio."""
    return call.called if call.caller.got else call.caller


def _talked(call: Call) -> tuple[int, int]:
    """Return how much RTP came to the caller and to the called one while neither was on hold."""
    if not _was_on_hold(call):
        return call.caller.got, call.called.got
    return sum(talk.caller_got for talk in call.talks), sum(talk.called_got for talk in call.talks)


def _talked_s(call: Call) -> float:
    if not _was_on_hold(call):
        return call.talked_s
    return sum(talk.end_ns - talk.start_ns for talk in call.talks) / _NS


def _was_on_hold(call: Call) -> bool:
    return call.caller.quiet or call.called.quiet


def rtcp(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say in how many calls RTCP came only one way, or not at all."""
    del wanted
    one_way, missing = Proof(), Proof()
    told: set[str] = set()
    for call in facts.calls:
        if call.talked_s < _RTCP_S or _was_on_hold(call) or outcome(facts, call) != BOTH:
            continue
        got = (call.caller.got_rtcp, call.called.got_rtcp)
        # A call that is seen on both sides of a NAT counts once.
        if all(got) or call.call_id in told:
            continue
        told.add(call.call_id)
        (one_way if any(got) else missing).add(call.started)
    if one_way:
        text = f"RTCP comes only one way in {one_way.count} of {facts.call_count} calls whose audio goes both ways"
        advice = "a device on the way translates RTP's port and forgets RTCP's, or one side sends none"
        yield finding(WARNING, "rtcp-one-way", text, advice, one_way)
    if missing:
        text = f"no RTCP in {missing.count} of {facts.call_count} calls: nobody measures their audio"
        yield finding(NOTE, "rtcp-missing", text, "many phones send none unless they are told to", missing)


def to_private(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say which RTP was sent to an address that can't be reached."""
    del wanted
    for stream in facts.to_private:
        text = f"{stream.packets} RTP packets from {stream.source} go to the private address {stream.destination}"
        advice = "an SDP names that address, and nothing changed it on the way: it needs an ALG or a NAT-aware phone"
        yield finding(BROKEN, "rtp-to-private", text, advice, Proof(1, [stream.first]))


def _ends(side: Side) -> str:
    return ", ".join(dict.fromkeys(f"{end.host}:{end.port}" for end in side.hears_at))


def _why(side: Side, wanted: Wanted) -> tuple[str, str]:
    """Return why a side may hear nothing, and what to do."""
    if any(wanted.networks.is_private(end.host) for end in side.hears_at):
        return ", a private address", "the far end sends to the address in the SDP: an ALG puts the public one there"
    return "", "a firewall, a lost mapping, or the far end sends nothing: capture at the other side too"


CHECKS: Final = (audio, stopped, rtcp, to_private)
