"""Media ends and the flows between them: what an offer and its answer mean for the connection tracker.

An end is what one side's SDP names for one m= line; two ends on the same line make an RTP and an RTCP flow. Pure
arithmetic on immutable values, used by the calls. On a packet's way it comes after the SDP was read and rewritten.
Sources: RFC 3264 §6 (lines correspond by position) and §8.4 (hold), RFC 3605, RFC 5761 §5.1.1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipalg.codec.machine import new
from sipalg.engine.mappings import Mappings
from sipalg.engine.rows import MappingKey
from sipalg.engine.verdict import UDP, Endpoint, Flow


class MediaEnd(NamedTuple):
    """One side of one m= line.

    `rtp` is None where no packets go: refused, on hold by a zero address, over TCP, or an address that isn't ours to
    serve. `rtcp` is None where the line has no RTCP. `on_hold` says that the address was zero, so that what stood
    before stays.
    """

    rtp: Endpoint | None
    rtcp: Endpoint | None
    mux: bool
    on_hold: bool


#: One side's whole description, an end for each m= line in order.
Ends = tuple[MediaEnd, ...]

NO_END: Final = MediaEnd(None, None, mux=False, on_hold=False)
HELD_END: Final = MediaEnd(None, None, mux=False, on_hold=True)


def keys_of(ends: Ends) -> tuple[MappingKey, ...]:
    """The mappings that inside ends need."""
    keys = []
    for end in ends:
        if end.rtp is not None:
            keys.append((UDP, end.rtp))
        if end.rtcp is not None:
            keys.append((UDP, end.rtcp))
    return tuple(keys)


def flows_between(mappings: Mappings, local: Ends, remote: Ends, before: tuple[Flow, ...]) -> tuple[Flow, ...]:
    """The flows that a description inside and one outside make, line by line.

    A line on hold keeps its flows of `before`: audio goes on where it was when the call is resumed, and music on hold
    in the other direction never stops.
    """
    entries = mappings.entries
    flows: list[Flow] = []
    for ours, theirs in zip(local, remote, strict=False):
        if ours.rtp is None or theirs.rtp is None:
            if ours.on_hold or theirs.on_hold:
                flows.extend(_kept(before, ours, theirs))
            continue
        for private, outside in ((ours.rtp, theirs.rtp), (ours.rtcp, theirs.rtcp)):
            if private is not None and outside is not None:
                # None where the private port has lost its mapping.
                entry = entries.get((UDP, private))
                if entry is not None:
                    flows.append(new(Flow, (UDP, private, entry.public, outside)))
    # Nearly always RTP's and RTCP's, whose hashes would cost more than to compare them.
    differ = len(flows) < 2 or (len(flows) == 2 and flows[0] != flows[1])
    return tuple(flows) if differ else tuple(dict.fromkeys(flows))


def without_muxed_rtcp(local: Ends, remote: Ends) -> Ends:
    """The inside ends, with no RTCP port of its own where both sides agreed to send it with RTP (RFC 5761 §5.1.1)."""
    if not any(end.mux for end in local):
        return local
    return tuple(
        end._replace(rtcp=None) if place < len(remote) and end.mux and remote[place].mux else end
        for place, end in enumerate(local)
    )


def _kept(before: tuple[Flow, ...], ours: MediaEnd, theirs: MediaEnd) -> list[Flow]:
    """Those of the flows before that a line on hold keeps; with both ends zero nothing tells which, so all stay."""
    if ours.rtp is None and theirs.rtp is None:
        return list(before)
    ports = {ours.rtp, ours.rtcp, theirs.rtp, theirs.rtcp}
    return [flow for flow in before if flow.private in ports or flow.remote in ports]
