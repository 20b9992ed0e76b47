"""The media that really went: RTP and RTCP flows of one capture, as far as some session description names an end.

Held against what the descriptions say: media that went in and never came out, and ports that aren't the ones that were
told. A flow is known on both sides by its SSRC, which no NAT changes. On a packet's way this counts at its two ends.
Sources: RFC 3550 §5.1 and §6.4 (SSRC), RFC 5761 §4 (telling RTCP from RTP).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sipalg.analysis.judge_sdp import sections_of
from sipalg.analysis.pairing import Pair, is_private
from sipalg.analysis.said import Said
from sipalg.codec.address import is_ipv4
from sipalg.engine.verdict import Endpoint

#: Fewer RTP packets than these are no voice that anybody would miss.
_FEWEST_PACKETS: Final = 3
#: RTCP's packet types as the second byte shows them (RFC 5761 §4).
_RTCP_TYPES: Final = range(192, 224)


class FlowKey(NamedTuple):
    """One direction of media: who to whom, RTCP or RTP, and the sender's SSRC."""

    source: Endpoint
    destination: Endpoint
    is_rtcp: bool
    ssrc: bytes


class MediaSeen:
    """Counts a capture's flows that look like media; bounded, since only flows are held."""

    def __init__(self, most_flows: int = 100_000) -> None:
        self._most_flows = most_flows
        self._counts: dict[FlowKey, list[int]] = {}

    def add(self, number: int, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        """Take a UDP payload; what isn't RTP's version 2 is left out."""
        if len(payload) < 8 or payload[0] >> 6 != 2:
            return
        is_rtcp = payload[1] in _RTCP_TYPES
        if not is_rtcp and len(payload) < 12:
            return
        key = FlowKey(source, destination, is_rtcp, payload[4:8] if is_rtcp else payload[8:12])
        count = self._counts.get(key)
        if count is not None:
            count[0] += 1
        elif len(self._counts) < self._most_flows:
            self._counts[key] = [1, number]

    def flows(self, named: frozenset[Endpoint]) -> dict[FlowKey, tuple[int, int]]:
        """Return the flows of which an end is named: how many packets, and the number of the first."""
        return {
            key: (count, first)
            for key, (count, first) in self._counts.items()
            if key.source in named or key.destination in named
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


Flows = dict[FlowKey, tuple[int, int]]


def judge_media(
    pairs: Iterable[Pair], inside: Flows, outside: Flows, near: frozenset[str], public: frozenset[str]
) -> Iterator[MediaFound]:
    """Yield what became of media; `inside` and `outside` are the two captures' flows.

    `near` are the hosts inside, `public` the addresses that the NAT gives them. Nothing is said of a capture without
    any media: it may have been filtered.
    """
    if not inside or not outside:
        return
    came_in, came_out = ({(key.ssrc, key.is_rtcp) for key in flows} for flows in (inside, outside))
    for key, (count, first) in inside.items():
        out = key.source.host in near and key.destination.host not in near | public
        if out and count >= _fewest(key) and (key.ssrc, key.is_rtcp) not in came_out:
            yield MediaFound(_lost(key), f"{count} from {key.source} to {key.destination}", (first,), ())
    for key, (count, first) in outside.items():
        into = key.destination.host in public and key.source.host not in public
        if into and count >= _fewest(key) and (key.ssrc, key.is_rtcp) not in came_in:
            yield MediaFound(_lost(key), f"{count} from {key.source} to {key.destination}", (), (first,))
    yield from _ports(pairs, inside, outside)


def _ports(pairs: Iterable[Pair], inside: Flows, outside: Flows) -> Iterator[MediaFound]:
    """Hold what was told to the far end against where the phone's media comes from."""
    told: dict[tuple[Endpoint, bool], set[Endpoint]] = {}
    messages: dict[tuple[Endpoint, bool], Pair] = {}
    for pair in pairs:
        sections = sections_of(pair.given), sections_of(pair.made)
        if not pair.outward or len(sections[0]) != len(sections[1]):
            continue
        for was, now in zip(*sections, strict=True):
            if not was.port or not now.port or was.host == now.host or not is_ipv4(now.host.encode()):
                continue
            ways = [(was.port, now.port, False), (was.rtcp_port, now.rtcp_port, True)]
            for old, new, is_rtcp in ways + [(was.port, now.port, True)] * was.mux:
                end = Endpoint(was.host, old)
                told.setdefault((end, is_rtcp), set()).add(Endpoint(now.host, new))
                messages.setdefault((end, is_rtcp), pair)
    real = {(key.destination, key.is_rtcp, key.ssrc): (key.source, first) for key, (_, first) in outside.items()}
    for key, (_, first) in inside.items():
        ends = told.get((key.source, key.is_rtcp))
        seen = real.get((key.destination, key.is_rtcp, key.ssrc))
        if ends is None or seen is None or seen[0] in ends:
            continue
        if any(end.port == seen[0].port for end in ends) and _behind_another(seen[0], ends):
            continue
        pair = messages[key.source, key.is_rtcp]
        rule = "rtcp-port-wrong" if key.is_rtcp else "media-port-wrong"
        detail = f"the SDP says {', '.join(map(str, sorted(ends)))}, it comes from {seen[0]}"
        yield MediaFound(rule, detail, (pair.before.number, first), (pair.after.number, seen[1]))


def _behind_another(seen: Endpoint, ends: set[Endpoint]) -> bool:
    """Whether only the host differs, as it does where another NAT follows this one."""
    return is_private(seen.host) and not any(is_private(end.host) for end in ends)


def _fewest(key: FlowKey) -> int:
    return 1 if key.is_rtcp else _FEWEST_PACKETS


def _lost(key: FlowKey) -> str:
    return "rtcp-lost" if key.is_rtcp else "media-lost"
