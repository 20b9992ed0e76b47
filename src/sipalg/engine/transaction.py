"""One message's changes to the engine's state, all or nothing, and the commands that go with them.

Every table of the engine is a dict of immutable values, written through :meth:`Transaction.put` and
:meth:`Transaction.remove` only. Should the kernel refuse a command, the log is played back and the tables are as they
were before the message came: no half of it stays. On a packet's way this stands around everything that decides.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

from sipalg.engine.verdict import Command, Event

Key = TypeVar("Key")
Value = TypeVar("Value")

_ABSENT: Final = object()

#: What a timer is about; the first element of a timer's subject.
Subject = tuple[Any, ...]


#: A place that was written: the table, its key, and what was there before.
Written = tuple[dict[Any, Any], Any, Any]
#: An event before its texts are made: its name and facts.
Told = tuple[str, dict[str, Any]]


def event_of(told: Told) -> Event:
    """An event with its facts as texts; made when somebody asks, which is not while a packet waits."""
    name, facts = told
    return Event(name, tuple((fact, str(value)) for fact, value in facts.items()))


class Noted(NamedTuple):
    """What a table's changes mean for who keeps records: the record's kind, and how its key follows from the table's.

    With `part` that is the first part of the table's. With a `step_s` the table has times, and one that moves is news
    only where it passes a multiple of so many seconds.
    """

    kind: str
    part: bool
    step_s: float


class Transaction:
    """The undo log, the commands and the events of the message that is being handled; reused for the next one.

    Timers live here too: `due` is a heap of (deadline, number, subject), `armed` the deadline of each subject that
    counts. They are never taken back: whoever is woken looks whether there is something to do, and sets the next one.
    """

    __slots__ = ("_number", "armed", "changed", "commands", "due", "events", "log", "noted", "now")

    def __init__(self) -> None:
        #: What was changed since the last commit, with `events` and `commands`.
        self.log: list[Written] = []
        self._number = 0
        #: The tables whose changes are noted, by their identity; None while nobody asks.
        self.noted: dict[int, Noted] | None = None
        #: What of them commits have changed since somebody took it: kind and key of the record, each once.
        self.changed: dict[tuple[Any, Any], None] = {}
        #: The time of the message or timer that is being handled, monotonic seconds.
        self.now = 0.0
        self.commands: list[Command] = []
        self.events: list[Told] = []
        self.due: list[tuple[float, int, Subject]] = []
        self.armed: dict[Subject, float] = {}

    def put(self, table: dict[Key, Value], key: Key, value: Value) -> None:
        """Set `table[key]` and remember what was there."""
        self.log.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    def remove(self, table: dict[Key, Value], key: Key) -> None:
        """Delete `table[key]`, if it is there, and remember what was."""
        if key in table:
            self.log.append((table, key, table.pop(key)))

    def note(self, table: dict[Key, Value], key: Key) -> None:
        """Have it known that `table[key]` was written without being logged: it stays, whatever is undone."""
        noted = self.noted
        if noted is not None and (found := noted.get(id(table))) is not None:
            self.changed[found.kind, key] = None

    def wake(self, at: float, subject: Subject) -> None:
        """Have `subject` looked at when the clock passes `at` (monotonic seconds), or sooner if it is set already."""
        if at < self.armed.get(subject, math.inf):
            self.armed[subject] = at
            self._number += 1
            heapq.heappush(self.due, (at, self._number, subject))

    def next_due(self) -> float | None:
        """When the next timer is due; None while there is none."""
        return self.due[0][0] if self.due else None

    def take_due(self, now: float) -> Iterator[Subject]:
        """The subjects whose time has come, each once."""
        while self.due and self.due[0][0] <= now:
            at, _, subject = heapq.heappop(self.due)
            if self.armed.get(subject) == at:
                del self.armed[subject]
                yield subject

    def tell(self, name: str, **facts: object) -> None:
        """Note an event for the log, with its facts in the order given: immutable values, whose texts come later."""
        self.events.append((name, facts))

    def commit(self) -> None:
        """Keep what was changed; the commands are the caller's to fetch before."""
        noted = self.noted
        if noted is not None:
            for table, key, before in self.log:
                found = noted.get(id(table))
                if found is None:
                    continue
                kind, part, step_s = found
                if step_s and before is not _ABSENT and key in table and before // step_s == table[key] // step_s:
                    continue
                self.changed[kind, key[0] if part else key] = None
        self.log.clear()
        self.commands.clear()

    def mark(self) -> tuple[int, int, int]:
        """Where the transaction is now, for `rollback` to come back to."""
        return (len(self.log), len(self.commands), len(self.events))

    def rollback(self, mark: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Put every table back to where it was at the last commit, or at a mark, and forget commands and events."""
        written, commands, events = mark
        for table, key, value in self.log[written:][::-1]:
            if value is _ABSENT:
                table.pop(key, None)
            else:
                table[key] = value
        del self.log[written:]
        del self.commands[commands:]
        del self.events[events:]
