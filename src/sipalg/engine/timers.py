"""The engine's timers: few are due soon, and a hundred thousand wait for an hour or a day.

What is due within the slot of time that is being served stands in a heap, with its exact time; all else lies unsorted
in the list of its slot, a pointer each, until that slot's first time comes. So a timer that waits costs next to
nothing, and exact times stay exact. Beside a packet's way: a message sets timers, and the driver asks when the next is
due. Source: the idea is the timing wheel's (Varghese and Lauck, 1987), with one level and a heap for the rest.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Any, Final

#: How much time one slot has, seconds: a hundred thousand registrations renewed within an hour are some 2,000 a slot.
SLOT_S: Final = 64.0


class Timed:
    """Something that has a timer of its own: `wakes_at` is when it is due, infinity while it isn't set."""

    __slots__ = ("wakes_at",)

    def __init__(self) -> None:
        self.wakes_at = math.inf


#: What a timer is about: a row of a table, or a name and what else tells which one.
Subject = tuple[Any, ...] | Timed


class _Slot:
    """The subjects whose time comes within one slot, and the earliest of these times."""

    __slots__ = ("first", "subjects")

    def __init__(self, first: float, subject: Subject) -> None:
        self.first = first
        self.subjects = [subject]


class Timers:
    """Timers are never taken back: whoever is woken looks whether there is something to do, and sets the next one."""

    __slots__ = ("_armed", "_far", "_near", "_number", "_reached", "_slots")

    def __init__(self) -> None:
        #: A heap of (deadline, number, subject): all of the slots up to `_reached`.
        self._near: list[tuple[float, int, Subject]] = []
        self._number = 0
        self._reached = -1
        #: The later slots, and a heap of their numbers.
        self._far: dict[int, _Slot] = {}
        self._slots: list[int] = []
        #: The deadlines that count, of what has no place for its own.
        self._armed: dict[Subject, float] = {}

    def wake(self, at: float, subject: Subject) -> None:
        """Have `subject` looked at when the clock passes `at` (monotonic seconds), or sooner if it is set already."""
        if at >= self._deadline(subject):
            return
        if isinstance(subject, Timed):
            subject.wakes_at = at
        else:
            self._armed[subject] = at
        slot = int(at // SLOT_S)
        if slot <= self._reached:
            self._number += 1
            heapq.heappush(self._near, (at, self._number, subject))
            return
        there = self._far.get(slot)
        if there is None:
            self._far[slot] = _Slot(at, subject)
            heapq.heappush(self._slots, slot)
        else:
            there.subjects.append(subject)
            there.first = min(at, there.first)

    def next_due(self) -> float | None:
        """When the next timer is due; None while there is none."""
        if self._near:
            return self._near[0][0]
        return self._far[self._slots[0]].first if self._slots else None

    def take_due(self, now: float) -> Iterator[Subject]:
        """The subjects whose time has come, each once, in the order of their times."""
        while True:
            due = self.next_due()
            if due is None or due > now:
                return
            if not self._near:
                self._serve_next_slot()
                continue
            at, _, subject = heapq.heappop(self._near)
            if self._deadline(subject) == at:
                if isinstance(subject, Timed):
                    subject.wakes_at = math.inf
                else:
                    del self._armed[subject]
                yield subject

    def _deadline(self, subject: Subject) -> float:
        if isinstance(subject, Timed):
            return subject.wakes_at
        return self._armed.get(subject, math.inf)

    def _serve_next_slot(self) -> None:
        """Sort the next slot's subjects by their times; what was brought forward since has been served already."""
        self._reached = heapq.heappop(self._slots)
        for subject in self._far.pop(self._reached).subjects:
            at = self._deadline(subject)
            if at // SLOT_S == self._reached:
                self._number += 1
                self._near.append((at, self._number, subject))
        heapq.heapify(self._near)
