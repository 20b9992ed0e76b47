"""Messages that are on one side only: lost on the way, answered by the device, made by it, or none of its business.

What never was to go through (a call between two phones of one network, an answer of the router itself) is left out,
and so is what the other capture couldn't see since it had ended or not begun. On a packet's way this looks for those
that have none. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

from sipalg.analysis.pairing import Pair, Pairing
from sipalg.analysis.said import Said
from sipalg.engine.verdict import Endpoint

#: A capture's first and last packet of any kind, in its own clock's nanoseconds.
Span = tuple[int, int]

#: How long a device may take to let a message through.
_TRANSIT_NS: Final = 200_000_000
#: The least status of a final answer.
_FINAL: Final = 200


class Hosts(NamedTuple):
    """Who stands where: inside hosts, the ends that the NAT gives them, and who is reached through the device."""

    inside: frozenset[str]
    public: frozenset[Endpoint]
    far: frozenset[str]


class Alone(NamedTuple):
    """A message without its other half: the rule, which capture has it, and the message."""

    rule: str
    in_before: bool
    said: Said


def hosts_of(pairs: Iterable[Pair]) -> Hosts:
    """Return who stands where, by the pairs."""
    inside: set[str] = set()
    public: set[Endpoint] = set()
    far: set[str] = set()
    for pair in pairs:
        given, made = pair.given, pair.made
        near, outer = (given.source, made.source) if pair.outward else (made.destination, given.destination)
        inside.add(near.host)
        public.add(outer)
        ends = (given.destination, made.destination) if pair.outward else (given.source, made.source)
        far |= {end.host for end in ends}
    return Hosts(frozenset(inside), frozenset(public), frozenset(far))


def judge_alone(
    pairing: Pairing, hosts: Hosts, spans: tuple[Span, Span], *, proxy: bool, active: bool
) -> Iterator[Alone]:
    """Yield what became of the messages that only one capture has; `active` is whether the device is an ALG."""
    offset = clock_offset(pairing.pairs)
    crossed = any(not pair.outward and pair.forward for pair in pairing.pairs)
    sides = ((pairing.only_before, spans[1], offset), (pairing.only_after, spans[0], -offset))
    for side, (messages, other, shift) in enumerate(sides):
        answers = _Answers(messages)
        for said in messages:
            answered = answers.has(said)
            rule = _rule_of(
                said, hosts, from_inside=side == 0, crossed=crossed, active=active, answered=answered, proxy=proxy
            )
            if rule:
                ran = _ran(other, said.time_ns + shift, is_made=rule == "made-here")
                yield Alone(rule if ran else "lost-unsure", side == 0, said)


def _ran(span: Span, time_ns: int, *, is_made: bool) -> bool:
    """Whether a capture ran when the other half of a message would have passed: later, or before it if it was made."""
    began, ended = span
    return began + _TRANSIT_NS * is_made <= time_ns <= ended - _TRANSIT_NS * (not is_made)


def _rule_of(
    said: Said, hosts: Hosts, *, from_inside: bool, crossed: bool, active: bool, answered: bool, proxy: bool
) -> str:
    """Return the rule for a message in the inside's capture (`from_inside`) or the outside's, "" for none.

    `crossed` is for captures where BEFORE has all that the device was given, and AFTER all that it made.
    """
    if proxy and is_hop_by_hop(said):
        return ""
    outward = said.source.host in hosts.inside and said.destination.host in hosts.far
    # What comes for another public port is for a phone of another inside network, of which there is no capture.
    known = said.destination.host in hosts.inside or said.destination in hosts.public
    inward = said.source.host in hosts.far and known
    if not outward and not inward:
        return ""
    given = from_inside if outward or crossed else not from_inside
    if not given:
        return "made-here"
    if proxy or answered:
        return "answered-here"
    return "lost" if outward or active else "not-let-in"


def is_hop_by_hop(said: Said) -> bool:
    """Whether a proxy makes and answers it itself (RFC 3261 §16.2, §16.10, §17), and needn't pass it on."""
    return said.status == 100 or said.cseq[1] in ("ACK", "CANCEL")


class _Answers:
    """The final answers among the messages of one capture, by number and by each of their ends.

    Thousands of messages may have one number: they are counted, so that none has to be looked at beside all others.
    """

    def __init__(self, messages: Iterable[Said]) -> None:
        self._to: Counter[tuple[bytes, int, Endpoint]] = Counter()
        self._from: Counter[tuple[bytes, int, Endpoint]] = Counter()
        for said in messages:
            if said.status >= _FINAL:
                self._to[said.call_id, said.cseq[0], said.destination] += 1
                self._from[said.call_id, said.cseq[0], said.source] += 1

    def has(self, said: Said) -> bool:
        """Whether the device gave a final answer to a request by itself, or it belongs to one that it answered so."""
        number = said.call_id, said.cseq[0], said.source
        return self._to[number] > 0 if said.method else self._from[number] > (said.status >= _FINAL)


def clock_offset(pairs: Sequence[Pair]) -> int:
    """Return by how much AFTER's clock is ahead of BEFORE's."""
    return round(median(pair.after.time_ns - pair.before.time_ns for pair in pairs)) if pairs else 0
