"""The media that really went: two captures' RTP and RTCP streams against what the session descriptions say.

Media that went in and never came out, ports that aren't the ones that were told, and hosts that are neither the NAT's
nor anybody's who sends; without media on both sides all that is told is that it wasn't looked at. A flow is known on
both sides by its SSRC, which no NAT changes. On a packet's way this looks at its two ends. Source: RFC 3550 §5.1 and
§6.4 (SSRC).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from sipalg.analysis.judge_sdp import Section, sections_of
from sipalg.analysis.pairing import Pair, is_private
from sipalg.analysis.rtp import Streams
from sipalg.analysis.said import Said
from sipalg.analysis.unpaired import Span, clock_offset
from sipalg.codec.address import is_ipv4
from sipalg.engine.verdict import Endpoint

#: Fewer RTP packets than these are no voice that anybody would miss.
_FEWEST_PACKETS: Final = 3
#: How long before a capture's end a flow has to begin to be missed in it.
_MISSED_NS: Final = 200_000_000


class FlowKey(NamedTuple):
    """One direction of media: who to whom, RTCP or RTP, and the sender's SSRC."""

    source: Endpoint
    destination: Endpoint
    is_rtcp: bool
    ssrc: bytes


class Count(NamedTuple):
    """A flow's packets, the numbers and times of the first and the last one, and the times of RTCP's first ones."""

    packets: int
    first: int
    last: int
    first_ns: int
    last_ns: int
    reports_ns: tuple[int, ...] = ()


Flows = dict[FlowKey, Count]


def flows_of(streams: Streams, named: frozenset[Endpoint]) -> Flows:
    """Return a capture's flows of which an end is named."""
    return {
        FlowKey(one.source, one.destination, one.is_rtcp, one.tally.ssrc): Count(
            one.tally.count, one.first, one.tally.last, one.first_ns, one.tally.last_ns, one.reports_ns
        )
        for one in streams.all
        if one.source in named or one.destination in named
    }


def named_ends(messages: Iterable[Said]) -> frozenset[Endpoint]:
    """Return all ends that the messages' descriptions name, for RTP and for RTCP."""
    return frozenset(
        Endpoint(section.host, port)
        for said in messages
        for section in sections_of(said)
        for port in (section.port, section.rtcp_port)
        if port
    )


class MediaFound(NamedTuple):
    """A rule that media breaks: what was seen, and in which packets of which capture."""

    rule: str
    detail: str
    before: tuple[int, ...]
    after: tuple[int, ...]


def judge_media(
    pairs: Sequence[Pair],
    inside: Flows,
    outside: Flows,
    spans: tuple[Span, Span],
    near: frozenset[str],
    public: frozenset[str],
) -> Iterator[MediaFound]:
    """Yield what became of media; `inside` and `outside` are the two captures' flows.

    `spans` tell when each capture ran, `near` are the hosts inside, `public` the addresses that the NAT gives them.
    A capture without any media may have been filtered: that is told, and nothing is missed in it.
    """
    offers = list(_offers(pairs))
    yield from _hosts(offers, outside, public)
    if not inside or not outside:
        if offers:
            yield _unseen(offers[0].pair, inside, outside)
        return
    told = _told(offers)
    advertised = {end for ends, _ in told.values() for end in ends}
    going = {key: count for key, count in inside.items() if key.source.host in near}
    going = {key: count for key, count in going.items() if key.destination.host not in near | public}
    # Another inside network has its own capture: only what was told for phones of this one is looked for.
    coming = {key: count for key, count in outside.items() if key.destination in advertised}
    offset = clock_offset(pairs)
    ran = [(began - shift, ended - shift) for (began, ended), shift in zip(spans, (-offset, offset), strict=True)]
    for key, count in _never_out(going, outside, ran[1]):
        yield MediaFound(*_lost(key, count), (count.first,), ())
    for key, count in _never_out(coming, inside, ran[0]):
        yield MediaFound(*_lost(key, count), (), (count.first,))
    yield from _ports(told, inside, outside)


def _never_out(flows: Flows, others: Flows, ran: Span) -> Iterator[tuple[FlowKey, Count]]:
    """Yield the flows that didn't come out; RTCP only if some of it was sent while its sender's voice came out.

    The first report may be earlier than the answer, and with it than any way through; the last one later than the BYE.
    `ran` is when the other capture ran, by the clock of this one: what was sent at another time isn't missed.
    """
    known = {(key.ssrc, key.is_rtcp) for key in others}
    voices = [
        (key.source.host, count)
        for key, count in flows.items()
        if not key.is_rtcp and (key.ssrc, False) in known
    ]
    for key, count in flows.items():
        if (key.ssrc, key.is_rtcp) in known:
            continue
        if not key.is_rtcp:
            if count.packets >= _FEWEST_PACKETS and ran[0] <= count.first_ns <= ran[1] - _MISSED_NS:
                yield key, count
        elif any(
            host == key.source.host and voice.first_ns < time_ns < voice.last_ns and ran[0] <= time_ns <= ran[1]
            for host, voice in voices
            for time_ns in count.reports_ns
        ):
            yield key, count


def _lost(key: FlowKey, count: Count) -> tuple[str, str]:
    rule = "rtcp-lost" if key.is_rtcp else "media-lost"
    return rule, f"{count.packets} packets from {key.source} to {key.destination}"


def _unseen(pair: Pair, inside: Flows, outside: Flows) -> MediaFound:
    """Tell that there is nothing to judge media by; `pair` is the first that told where it is to go."""
    counts = [sum(count.packets for key, count in flows.items() if not key.is_rtcp) for flows in (inside, outside)]
    if inside:
        detail = f"BEFORE has {counts[0]} RTP packets, AFTER has no media"
    elif outside:
        detail = f"AFTER has {counts[1]} RTP packets, BEFORE has no media"
    else:
        detail = "neither capture has media"
    return MediaFound("media-unseen", detail, (pair.before.number,), (pair.after.number,))


class _Offer(NamedTuple):
    """What a pair told the far end of one section of the phone's media: its own end, and the one in its place."""

    pair: Pair
    was: Section
    now: Section


def _offers(pairs: Iterable[Pair]) -> Iterator[_Offer]:
    """Yield the sections with a host that the device replaced by another."""
    for pair in pairs:
        sections = (sections_of(pair.given), sections_of(pair.made)) if pair.outward else ([], [])
        if len(sections[0]) != len(sections[1]):
            continue
        for was, now in zip(*sections, strict=True):
            if was.port and now.port and was.host != now.host and is_ipv4(now.host.encode()):
                yield _Offer(pair, was, now)


def _hosts(offers: Iterable[_Offer], outside: Flows, public: frozenset[str]) -> Iterator[MediaFound]:
    """Yield the private hosts for which one was put that isn't the NAT's, and that no media comes from either.

    A media relay's would send here. Behind another NAT the host is the outer one's.
    """
    senders = {key.source.host for key in outside}
    for pair, was, now in offers:
        outer = pair.made.source.host
        if outer == pair.given.source.host or is_private(outer) or not is_private(was.host):
            continue
        if now.host not in public | senders:
            detail = f"c= of {now.kind}: {was.host} became {now.host}, the packet comes from {outer}"
            yield MediaFound("sdp-host-wrong", detail, (pair.before.number,), (pair.after.number,))


#: Where the phone's media was told to come from, by its own end and whether it is RTCP, and the first pair that did.
_Told = dict[tuple[Endpoint, bool], tuple[set[Endpoint], Pair]]


def _told(offers: Iterable[_Offer]) -> _Told:
    """Return what the far ends were told of the phones' media."""
    told: _Told = {}
    for pair, was, now in offers:
        ways = [(was.port, now.port, False), (was.rtcp_port, now.rtcp_port, True)]
        for old, new, is_rtcp in ways + [(was.port, now.port, True)] * was.mux:
            end = Endpoint(was.host, old)
            told.setdefault((end, is_rtcp), (set(), pair))[0].add(Endpoint(now.host, new))
    return told


def _ports(told: _Told, inside: Flows, outside: Flows) -> Iterator[MediaFound]:
    """Hold what was told to the far end against where the phone's media comes from.

    A relay inside sends with the phone's SSRC: if one of those that do is right, there is nothing to say. What was
    sent before anything was told is left out.
    """
    real: dict[tuple[Endpoint, bool, bytes], list[tuple[Endpoint, Count]]] = {}
    for key, count in outside.items():
        real.setdefault((key.destination, key.is_rtcp, key.ssrc), []).append((key.source, count))
    for key, count in inside.items():
        seen = real.get((key.destination, key.is_rtcp, key.ssrc))
        known = told.get((key.source, key.is_rtcp))
        if known is None or seen is None:
            continue
        ends, pair = known
        seen = [(source, out) for source, out in seen if out.last > pair.after.number]
        if count.last < pair.before.number or not seen:
            continue
        if any(source in ends or _behind_another(source, ends) for source, _ in seen):
            continue
        source, out = seen[0]
        rule = "rtcp-port-wrong" if key.is_rtcp else "media-port-wrong"
        detail = f"the SDP says {', '.join(map(str, sorted(ends)))}, it comes from {source}"
        yield MediaFound(rule, detail, (pair.before.number, count.first), (pair.after.number, out.first))


def _behind_another(seen: Endpoint, ends: set[Endpoint]) -> bool:
    """Whether only the host differs, as it does where another NAT follows this one."""
    return is_private(seen.host) and any(end.port == seen.port and not is_private(end.host) for end in ends)
