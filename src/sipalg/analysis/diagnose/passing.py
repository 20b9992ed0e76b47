"""RTP that reached the router and went no further: one call, seen on both sides of its NAT.

Stands between the facts and both the checks and the verdict, so that these say the same. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Final, NamedTuple

from sipalg.analysis.diagnose.facts import Call, Facts, Side, Talk

#: So many packets are somebody's audio, not a probe.
FEW_PACKETS: Final = 10
#: A call that stood so long has audio.
TALKED_S: Final = 2.0
_NS: Final = 1_000_000_000
#: Who is still seen inside after so long a part of a talk, while nothing comes in, was still captured.
_SEEN_NS: Final = _NS


class Stuck(NamedTuple):
    """A call whose audio came to its phone's public side, `packets` in one talk, and not on to the phone.

    `host` is the phone's address inside, `outer` and `phone` are the call and the phone's side of it outside. `ever`:
    it heard something in another talk. `ended`: nothing is seen inside any more after that talk began, so the capture
    there may have ended.
    """

    host: str
    inner: Call
    outer: Call
    phone: Side
    packets: int
    ever: bool
    ended: bool


def stuck_calls(facts: Facts) -> Iterator[Stuck]:
    """Yield the calls whose audio got stuck in the router, each with the talk in which most did."""
    same: dict[str, list[Call]] = {}
    for call in facts.calls:
        same.setdefault(call.call_id, []).append(call)
    publics = {phone.name: {_host(end) for end in phone.outside} for phone in facts.phones.values() if phone.outside}
    for calls in same.values():
        for inner, outer in permutations(calls, 2):
            for host in (inner.caller.host, inner.called.host):
                for public in publics.get(host, set()) & {outer.caller.host, outer.called.host}:
                    found = _stuck(inner, host, outer, public)
                    if found is not None:
                        yield found


def side_of(call: Call, host: str) -> Side:
    """Return the side of a call that a host is."""
    return call.caller if call.caller.host == host else call.called


def _host(end: str) -> str:
    return end.partition(":")[0]


def _stuck(inner: Call, host: str, outer: Call, public: str) -> Stuck | None:
    inside, outside = side_of(inner, host), side_of(outer, public)
    lost = [(_got(outer, talk, outside), talk) for talk in outer.talks]
    lost = [
        (packets, talk)
        for packets, talk in lost
        if packets >= FEW_PACKETS and (talk.end_ns - talk.start_ns) / _NS >= TALKED_S and _deaf(inner, inside, talk)
    ]
    # What candidates chose stands in no description.
    if not lost or (outer.caller.candidates and outer.called.candidates):
        return None
    packets, talk = max(lost)
    seen_ns = max(inner.said_ns, inner.caller.last_ns, inner.called.last_ns)
    return Stuck(host, inner, outer, outside, packets, inside.got > 0, seen_ns < talk.start_ns + _SEEN_NS)


def _deaf(inner: Call, side: Side, talk: Talk) -> bool:
    """Whether nothing came to a side in the talk that is under way in the middle of another one."""
    middle = (talk.start_ns + talk.end_ns) // 2
    same = [one for one in inner.talks if one.start_ns <= middle <= one.end_ns]
    return bool(same) and not any(_got(inner, one, side) for one in same)


def _got(call: Call, talk: Talk, side: Side) -> int:
    return talk.caller_got if side is call.caller else talk.called_got
