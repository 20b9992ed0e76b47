"""The verdict on the device between two captures: no ALG, a good one or a poor one, and what proves it.

All rules together over the pairs, the messages left alone and the media. Whether an address should have been changed
is asked only where the device changes addresses at all, for that transport and server port. On a packet's way this
has seen both ends and judges what was between. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal, NamedTuple

from sipalg.analysis.compare_apart import are_apart, pair_apart
from sipalg.analysis.compare_places import NOTHING, changed_places, places_in_order, replaced_places
from sipalg.analysis.judge_addresses import judge_addresses
from sipalg.analysis.judge_sdp import judge_sdp
from sipalg.analysis.judge_text import Found, judge_text
from sipalg.analysis.media_seen import Flows, flows_of, judge_media, named_ends
from sipalg.analysis.pairing import BY_CALL_ID, BY_PHONE, Pair, Pairing, is_private, is_swapped, pair_up
from sipalg.analysis.rtp import Streams
from sipalg.analysis.rules import RULES, Level
from sipalg.analysis.said import Said
from sipalg.analysis.unpaired import Alone, Span, hosts_of, is_hop_by_hop, judge_alone

Result = Literal["none", "good", "poor"]

#: How many kinds of what was seen a finding tells.
_MOST_EXAMPLES: Final = 4

#: What a poor device does, by the kind of a rule's fault.
_FAULTS: Final = {
    "left": "leaves private addresses where it changes others",
    "undone": "doesn't put back what it changed",
    "wrong": "writes addresses or ports that aren't the NAT's",
    "changed": "changes what it must not",
    "lost": "loses what it was given",
}

#: Said behind a verdict on captures that have no message in common.
_APART: Final = (
    "The captures aren't of the same time: only the addresses in other messages of the same phones were compared. "
    "Capture both sides at once for all the rest."
)


@dataclass(slots=True)
class Side:
    """One capture: its SIP messages, its media, and when it began and ended."""

    messages: list[Said] = field(default_factory=list)
    media: Streams = field(default_factory=Streams)
    span: Span = (0, 0)


class Finding(NamedTuple):
    """A rule that was broken, all packets that prove it, by capture, and what was seen the first time.

    `also` is what was seen of it in other fields or of other kinds, an example each.
    """

    rule: str
    level: Level
    detail: str
    times: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    also: tuple[str, ...] = ()

    @property
    def breaks(self) -> str:
        """Say what breaks in practice."""
        return RULES[self.rule].breaks


class Judgement(NamedTuple):
    """The verdict: `why` says it in a sentence, `changed` names what the device changed, addresses first.

    `proxy` tells of a SIP proxy between: it adds itself to Via, which is no fault and no ALG either. `apart`: the
    captures are of different times, and the pairs two messages each. `swapped`: BEFORE was of the outside, so that all
    here has the two the other way round.
    """

    result: Result
    why: str
    changed: tuple[str, ...]
    proxy: bool
    pairing: Pairing
    findings: tuple[Finding, ...]
    apart: bool = False
    swapped: bool = False


def judge(before: Side, after: Side) -> Judgement:
    """Judge the device between two captures; without a common message, what the phones that register in both say."""
    pairing, apart = _paired(before, after)
    swapped = is_swapped(pairing.pairs)
    if swapped:
        before, after = after, before
        pairing, _ = _paired(before, after)
    pairs = pairing.pairs
    proxy = not apart and any(len(pair.made.vias()) > len(pair.given.vias()) for pair in pairs if pair.made.method)
    look = replaced_places if apart else changed_places
    changed = {id(pair): NOTHING if proxy else look(pair) for pair in pairs}
    active = frozenset(_service(pair) for pair in pairs if changed[id(pair)].addresses)
    seen = _Seen()
    for pair in pairs:
        if not (proxy and is_hop_by_hop(pair.before)):
            _judge_pair(pair, seen, proxy=proxy, active=_service(pair) in active)
    if not apart:
        _judge_rest(before, after, pairing, seen, proxy=proxy, active=bool(active))
    findings = tuple(seen.findings())
    places = places_in_order(changed.values())
    poor = any(finding.level == "poor" for finding in findings)
    result: Result = "poor" if poor else "good" if active else "none"
    why = _why_apart(result, pairing, findings) if apart else _why(result, pairing, places, findings, proxy=proxy)
    return Judgement(result, why, places, proxy, pairing, findings, apart, swapped)


def _paired(before: Side, after: Side) -> tuple[Pairing, bool]:
    """Return the pairs, and whether they are two messages each, of captures that have none in common."""
    pairing = pair_up(before.messages, after.messages)
    if pairing.pairs or not are_apart((before.span, after.span)):
        return pairing, False
    return Pairing(pair_apart(before.messages, after.messages), (), ()), True


def _judge_pair(pair: Pair, seen: _Seen, *, proxy: bool, active: bool) -> None:
    found: list[Found] = [] if pair.by == BY_PHONE else [*judge_text(pair, proxy=proxy)]
    if active:
        found += [*judge_addresses(pair), *judge_sdp(pair)]
    for rule, detail in found:
        seen.add(rule, detail, (pair.before.number,), (pair.after.number,))
    if pair.by not in (BY_CALL_ID, BY_PHONE):
        seen.add("call-id-paired", f"by {pair.by}", (pair.before.number,), (pair.after.number,))


def _judge_rest(before: Side, after: Side, pairing: Pairing, seen: _Seen, *, proxy: bool, active: bool) -> None:
    """Judge what stands alone, and the media."""
    spans = before.span, after.span
    hosts = hosts_of(pairing.pairs)
    for alone in judge_alone(pairing, hosts, spans, proxy=proxy, active=active):
        seen.add_alone(alone)
    if active:
        public = frozenset(end.host for end in hosts.public) - hosts.inside
        for media in judge_media(pairing.pairs, _flows(before), _flows(after), spans, hosts.inside, public):
            seen.add(*media)


class _Seen:
    """Findings in the making: the same rule again adds its packets."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[dict[str, str], list[tuple[tuple[int, ...], tuple[int, ...]]]]] = {}

    def add(self, rule: str, detail: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        examples, packets = self._found.setdefault(rule, ({}, []))
        # What stands before the first colon says what it is about: an example of each is enough.
        examples.setdefault(detail.partition(":")[0], detail)
        packets.append((before, after))

    def add_alone(self, alone: Alone) -> None:
        said = alone.said
        detail = f"{said.kind} from {said.source} to {said.destination}"
        number = (said.number,)
        self.add(alone.rule, detail, number if alone.in_before else (), () if alone.in_before else number)

    def findings(self) -> Iterator[Finding]:
        """Yield the findings, poor ones first, each group in the order of the rules' table."""
        order = {rule: (RULES[rule].level != "poor", number) for number, rule in enumerate(RULES)}
        for rule in sorted(self._found, key=order.__getitem__):
            examples, packets = self._found[rule]
            detail, *also = islice(examples.values(), _MOST_EXAMPLES)
            before, after = (tuple(sorted({n for pair in packets for n in pair[side]})) for side in (0, 1))
            yield Finding(rule, RULES[rule].level, detail, len(packets), before, after, tuple(also))


def _flows(side: Side) -> Flows:
    return flows_of(side.media, named_ends(side.messages))


def _service(pair: Pair) -> tuple[int, int]:
    """Return what an ALG is set to serve: the transport, and the far end's port."""
    far = pair.given.destination if pair.outward else pair.given.source
    return pair.given.protocol, far.port


def _faults(findings: Iterable[Finding]) -> str:
    """Say what a poor device does wrong, by the kinds of its faults."""
    kinds = {RULES[finding.rule].fault for finding in findings if finding.level == "poor"}
    *first, last = [text for fault, text in _FAULTS.items() if fault in kinds]
    return " and ".join((", ".join(first), last)) if first else last


def _why(
    result: Result, pairing: Pairing, changed: tuple[str, ...], findings: tuple[Finding, ...], *, proxy: bool
) -> str:
    """Say the verdict in a sentence."""
    if proxy:
        what = "A SIP proxy is between: it adds its own Via"
        return f"{what}, but does more than a proxy may." if result == "poor" else f"{what}, and is no ALG."
    if result == "poor":
        return f"The device {_faults(findings)}."
    if result == "good":
        seen = all(finding.rule != "media-unseen" for finding in findings)
        what = "The device changes the addresses that have to be changed, and nothing else."
        return what if seen else f"{what} Voice wasn't judged."
    if not changed and all(_has_same_ends(pair) for pair in pairing.pairs):
        return "Neither messages nor packets' addresses differ: no NAT is between, or both are of one side."
    what = "No address was changed" if changed else "No message was changed"
    if any(_names_itself(pair) for pair in pairing.pairs):
        return f"{what}, and private addresses go out as they are."
    return f"{what}, and no private address was in them that an ALG would change."


def _why_apart(result: Result, pairing: Pairing, findings: tuple[Finding, ...]) -> str:
    """Say the verdict on captures of different times, which is one on addresses alone."""
    if result == "poor":
        what = f"The device {_faults(findings)}."
    elif result == "good":
        what = "Where the phone wrote its private address, the right public one stands."
    elif any(_names_itself(pair) for pair in pairing.pairs):
        what = "Private addresses go out as they are."
    else:
        what = "No private address was in the messages that an ALG would change."
    return f"{what} {_APART}"


def _has_same_ends(pair: Pair) -> bool:
    return (pair.before.source, pair.before.destination) == (pair.after.source, pair.after.destination)


def _names_itself(pair: Pair) -> bool:
    host = pair.given.source.host
    return pair.outward and is_private(host) and _names(pair.given, host)


def _names(said: Said, host: str) -> bool:
    text = host.encode()
    return any(text in value for key in ("via", "contact") for value in said.values(key))


