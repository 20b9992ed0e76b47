"""A stream of captured packets through the router: one packet out for each one in, in order, and what became of them.

It takes the link layer off, holds fragments until their datagram is whole, and puts the router's packet back into the
frame that it came in. On a packet's way this is the frame around the offline router.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sipalg.capture.fragments import FragmentGroup, Fragments, is_fragment
from sipalg.capture.link import Span, find_packet, replace_packet
from sipalg.capture.reading import Frame
from sipalg.capture.records import NS_PER_S
from sipalg.capture.router import FRAGMENT, Passed, Router

#: Why a frame has nothing for the router.
NOT_IPV4: Final = "not-ipv4"
#: Why fragments stay as they are although their datagram was edited: it no longer reaches into the last one.
TOO_SHORT: Final = "edited-too-short-for-its-fragments"

_NOWHERE: Final = Span(0, 0, whole=True)


@dataclass(slots=True)
class Summary:
    """What became of a capture's packets; the counters are by reason."""

    packets: int = 0
    translated: int = 0
    untouched: Counter[str] = field(default_factory=Counter)
    sip_edited: int = 0
    sip_passed: Counter[str] = field(default_factory=Counter)
    cut: int = 0


@dataclass(slots=True)
class _Slot:
    """One packet's place in the output, held until it is known what leaves there."""

    frame: Frame
    span: Span = _NOWHERE
    ready: bool = False


class Rewriter:
    """Turns frames into frames, one for one and in order, and counts."""

    def __init__(self, router: Router) -> None:
        self.summary = Summary()
        self._router = router
        self._fragments = Fragments[_Slot]()
        self._slots: deque[_Slot] = deque()
        self._now = 0.0
        self._first_ns: int | None = None

    def rewrite(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield what leaves the router."""
        for frame in frames:
            self._take(frame)
            yield from self._finished()
        self._give_up(self._fragments.expired(float("inf")))
        yield from self._finished()

    def _take(self, frame: Frame) -> None:
        self._advance(frame.time_ns)
        self.summary.packets += 1
        slot = _Slot(frame)
        self._slots.append(slot)
        span = find_packet(frame.link_type, frame.data)
        if span is None:
            self.summary.untouched[NOT_IPV4] += 1
            slot.ready = True
            return
        slot.span = span
        content = frame.data[span.start : span.end]
        if not is_fragment(content):
            self.summary.cut += not span.whole
            passed = self._router.forward(content, self._now, whole=span.whole)
            self._count(passed, 1)
            self._fill(slot, passed.packet)
        elif not span.whole:
            self.summary.cut += 1
            self._give_up([FragmentGroup(self._now, [(content, slot)])])
        else:
            self._take_fragment(content, slot)

    def _take_fragment(self, content: bytes, slot: _Slot) -> None:
        group = self._fragments.add(content, slot, self._now)
        whole = None if group is None else group.datagram()
        if group is None or whole is None:
            return
        passed = self._router.forward(whole, self._now)
        pieces = iter(group.parts) if passed.packet == whole else group.cut(passed.packet)
        if pieces is None:
            passed, pieces = Passed(whole, TOO_SHORT, passed.sip), iter(group.parts)
        self._count(passed, len(group.parts))
        for piece, place in pieces:
            self._fill(place, piece)

    def _advance(self, time_ns: int) -> None:
        """Let time go on to a packet's, never back, and give up the fragments that nothing completed."""
        if self._first_ns is None:
            self._first_ns = time_ns
        self._now = max(self._now, (time_ns - self._first_ns) / NS_PER_S)
        self._give_up(self._fragments.expired(self._now))

    def _give_up(self, groups: Iterable[FragmentGroup[_Slot]]) -> None:
        for group in groups:
            for _, slot in group.parts:
                self.summary.untouched[FRAGMENT] += 1
                slot.ready = True

    def _count(self, passed: Passed, packets: int) -> None:
        if passed.reason:
            self.summary.untouched[passed.reason] += packets
        else:
            self.summary.translated += packets
        if passed.sip:
            self.summary.sip_passed[passed.sip] += 1
        elif passed.sip is not None:
            self.summary.sip_edited += 1

    @staticmethod
    def _fill(slot: _Slot, content: bytes) -> None:
        """Put the packet back into its frame; what stood before and behind it stays."""
        frame = slot.frame
        data = replace_packet(frame.data, slot.span, content)
        slot.frame = frame._replace(data=data, wire_bytes=frame.wire_bytes + len(data) - len(frame.data))
        slot.ready = True

    def _finished(self) -> Iterator[Frame]:
        while self._slots and self._slots[0].ready:
            yield self._slots.popleft().frame
