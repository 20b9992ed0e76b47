"""The verdict on the device between two captures: no ALG, a good one or a poor one, and what proves it.

All rules together over the pairs, the messages left alone and the media. Whether an address should have been changed
is asked only where the device changes addresses at all, for that transport and server port. On a packet's way this
has seen both ends and judges what was between. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from sipalg.analysis.changes import ADDRESS_FIELDS, changes
from sipalg.analysis.judge_addresses import judge_addresses
from sipalg.analysis.judge_sdp import description_of, judge_sdp
from sipalg.analysis.judge_text import judge_text
from sipalg.analysis.media_seen import Flows, MediaSeen, judge_media, named_ends
from sipalg.analysis.pairing import BY_CALL_ID, Pair, Pairing, is_private, pair_up
from sipalg.analysis.rules import RULES, Level
from sipalg.analysis.said import Said
from sipalg.analysis.unpaired import Alone, Span, hosts_of, is_hop_by_hop, judge_alone

Result = Literal["none", "good", "poor"]

#: The names of what an ALG changes, in the order in which they are told.
_PLACES: Final = ("Request-URI", *(name.title() for name in ADDRESS_FIELDS), "o=", "c=", "m=", "a=rtcp")


@dataclass(slots=True)
class Side:
    """One capture: its SIP messages, its media, and when it began and ended."""

    messages: list[Said] = field(default_factory=list)
    media: MediaSeen = field(default_factory=MediaSeen)
    span: Span = (0, 0)


class Finding(NamedTuple):
    """A rule that was broken, all packets that prove it, by capture, and what was seen the first time."""

    rule: str
    level: Level
    detail: str
    times: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def breaks(self) -> str:
        """Say what breaks in practice."""
        return RULES[self.rule].breaks


class Judgement(NamedTuple):
    """The verdict: `why` says it in a sentence, `changed` names the places whose addresses the device changed.

    `proxy` tells of a SIP proxy between: it adds itself to Via, which is no fault and no ALG either.
    """

    result: Result
    why: str
    changed: tuple[str, ...]
    proxy: bool
    pairing: Pairing
    findings: tuple[Finding, ...]


def judge(before: Side, after: Side) -> Judgement:
    """Judge the device between two captures."""
    pairing = pair_up(before.messages, after.messages)
    pairs = pairing.pairs
    proxy = any(len(pair.made.vias()) > len(pair.given.vias()) for pair in pairs if pair.made.method)
    changed = {} if proxy else {id(pair): _changed_places(pair) for pair in pairs}
    active = {_service(pair) for pair in pairs if changed.get(id(pair))}
    seen = _Seen()
    for pair in pairs:
        if proxy and is_hop_by_hop(pair.before):
            continue
        found = [*judge_text(pair, proxy=proxy)]
        if _service(pair) in active:
            found += [*judge_addresses(pair), *judge_sdp(pair)]
        for rule, detail in found:
            seen.add(rule, detail, (pair.before.number,), (pair.after.number,))
        if pair.by != BY_CALL_ID:
            seen.add("call-id-paired", f"by {pair.by}", (pair.before.number,), (pair.after.number,))
    hosts = hosts_of(pairs)
    public = frozenset(end.host for end in hosts.public) - hosts.inside
    for alone in judge_alone(pairing, hosts, (before.span, after.span), proxy=proxy, active=bool(active)):
        seen.add_alone(alone)
    if active:
        flows = _flows(before), _flows(after)
        for media in judge_media(pairs, *flows, (before.span, after.span), hosts.inside, public):
            seen.add(*media)
    findings = tuple(seen.findings())
    places = tuple(place for place in _PLACES if any(place in found for found in changed.values()))
    poor = any(finding.level == "poor" for finding in findings)
    result: Result = "poor" if poor else "good" if places else "none"
    return Judgement(result, _why(result, pairing, proxy=proxy), places, proxy, pairing, findings)


class _Seen:
    """Findings in the making: the same rule again adds its packets."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, list[tuple[tuple[int, ...], tuple[int, ...]]]]] = {}

    def add(self, rule: str, detail: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self._found.setdefault(rule, (detail, []))[1].append((before, after))

    def add_alone(self, alone: Alone) -> None:
        said = alone.said
        detail = f"{said.kind} from {said.source} to {said.destination}"
        number = (said.number,)
        self.add(alone.rule, detail, number if alone.in_before else (), () if alone.in_before else number)

    def findings(self) -> Iterator[Finding]:
        """Yield the findings, poor ones first, each group in the order of the rules' table."""
        order = {rule: (RULES[rule].level != "poor", number) for number, rule in enumerate(RULES)}
        for rule in sorted(self._found, key=order.__getitem__):
            detail, packets = self._found[rule]
            before, after = (tuple(sorted({n for pair in packets for n in pair[side]})) for side in (0, 1))
            yield Finding(rule, RULES[rule].level, detail, len(packets), before, after)


def _flows(side: Side) -> Flows:
    return side.media.flows(named_ends(side.messages))


def _service(pair: Pair) -> tuple[int, int]:
    """Return what an ALG is set to serve: the transport, and the far end's port."""
    far = pair.given.destination if pair.outward else pair.given.source
    return pair.given.protocol, far.port


def _changed_places(pair: Pair) -> frozenset[str]:
    """Return the places whose addresses are others than before."""
    given, made = pair.given, pair.made
    if given.data == made.data:
        return frozenset()
    places = set()
    for change in changes(given, made):
        if change.kind in ("address", "text") and change.key in ADDRESS_FIELDS:
            places.add(change.key.title())
        elif change.kind == "address" and change.key == "start-line":
            places.add("Request-URI")
    was, now = description_of(given), description_of(made)
    if was is not None and now is not None:
        if [address.host for address in was.origins] != [address.host for address in now.origins]:
            places.add("o=")
        hosts = [
            [address.host for media in sdp.media for address in sdp.connections_of(media)] for sdp in (was, now)
        ]
        if hosts[0] != hosts[1]:
            places.add("c=")
        if [media.port for media in was.media] != [media.port for media in now.media]:
            places.add("m=")
        rtcp = [[(media.rtcp_host, media.rtcp_port) for media in sdp.media] for sdp in (was, now)]
        if rtcp[0] != rtcp[1]:
            places.add("a=rtcp")
    return frozenset(places)


def _why(result: Result, pairing: Pairing, *, proxy: bool) -> str:
    """Say the verdict in a sentence."""
    if proxy:
        what = "A SIP proxy is between: it adds its own Via"
        return f"{what}, but does more than a proxy may." if result == "poor" else f"{what}, and is no ALG."
    if result == "poor":
        return "The device changes or loses what it must not, or leaves undone what it began."
    if result == "good":
        return "The device changes the addresses that have to be changed, and nothing else."
    if any(_names_itself(pair) for pair in pairing.pairs):
        return "No message was changed, and private addresses go out as they are."
    return "No message was changed, and no private address was in them that an ALG would change."


def _names_itself(pair: Pair) -> bool:
    host = pair.given.source.host
    return pair.outward and is_private(host) and _names(pair.given, host)


def _names(said: Said, host: str) -> bool:
    text = host.encode()
    return any(text in value for key in ("via", "contact") for value in said.values(key))


