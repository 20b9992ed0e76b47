"""One message's changes to the engine's state, all or nothing, and the commands that go with them.

Every table of the engine is a dict, written through :meth:`Transaction.put` and :meth:`Transaction.remove` only, of
immutable values or of rows, which change in place behind :meth:`Transaction.keep`. Should the kernel refuse a command,
the log is played back and the tables are as they were before the message came: no half of it stays. On a packet's way
this stands around everything that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

from sipalg.engine.timers import Subject, Timed, Timers
from sipalg.engine.verdict import Command, Datagram, Event

Key = TypeVar("Key")
Value = TypeVar("Value")

_ABSENT: Final = object()


class Row(Timed):
    """A record that changes in place, and can go back to what it was."""

    __slots__ = ()

    def state(self) -> tuple[Any, ...]:
        """What a message may change; timers aren't undone."""
        return ()

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Be what `state` said earlier."""

    def record(self) -> tuple[str, Any]:
        """Kind and key of the record that it is kept by."""
        return ("", None)

    def is_news(self, _before: tuple[Any, ...], _now: float, _turn: int, /) -> bool:
        """Whether its record has to be written again, given its state before a change; False if it has none.

        Nor has it to be said again where it was said in this `Transaction.turn` already.
        """
        return False


#: A place that was written: the table, its key, and what was there before; or a row, None, and its state before.
Written = tuple[Any, Any, Any]
#: An event before its texts are made: its name and facts.
Told = tuple[str, dict[str, Any]]


def event_of(told: Told) -> Event:
    """An event with its facts as texts; made when somebody asks, which is not while a packet waits."""
    name, facts = told
    return Event(name, tuple([(fact, str(value)) for fact, value in facts.items()]))


class Pending(NamedTuple):
    """The transaction that waits for the kernel: its token, its datagram and commands, and how often it was tried."""

    token: int
    datagram: Datagram
    commands: tuple[Command, ...]
    attempt: int


class Noted(NamedTuple):
    """What a table's changes mean to who keeps records: which `kind` of record changes with it.

    The record's key is the table's, or with `by_first_part` the first part of that.
    """

    kind: str
    by_first_part: bool = False


class Transaction:
    """The undo log, the commands and the events of the message that is being handled; reused for the next one."""

    __slots__ = ("changed", "commands", "events", "log", "noted", "now", "timers", "turn")

    def __init__(self) -> None:
        #: What was changed since the last commit, with `events` and `commands`.
        self.log: list[Written] = []
        #: The tables whose changes are noted, by their identity; None while nobody asks.
        self.noted: dict[int, Noted] | None = None
        #: What of them, and of rows, commits have changed since somebody took it: kind and key of the record, each
        #: once, in order.
        self.changed: dict[tuple[Any, Any], None] = {}
        #: How often `changed` was taken.
        self.turn = 0
        #: The time of the message or timer that is being handled, monotonic seconds.
        self.now = 0.0
        self.commands: list[Command] = []
        self.events: list[Told] = []
        self.timers = Timers()

    def put(self, table: dict[Key, Value], key: Key, value: Value) -> None:
        """Set `table[key]` and remember what was there."""
        self.log.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    def remove(self, table: dict[Key, Value], key: Key) -> None:
        """Delete `table[key]`, if it is there, and remember what was."""
        # An empty table needn't be asked for a key that is long to hash.
        before = table.get(key, _ABSENT) if table else _ABSENT
        if before is not _ABSENT:
            self.log.append((table, key, before))
            del table[key]

    def keep(self, row: Row) -> None:
        """Remember a row as it is: it is about to be changed."""
        self.log.append((row, None, row.state()))

    def note(self, table: dict[Key, Value], key: Key) -> None:
        """Have it known that `table[key]` was written without being logged: it stays, whatever is undone."""
        noted = self.noted
        if noted is not None and (found := noted.get(id(table))) is not None:
            self.changed[found.kind, key] = None

    def note_row(self, row: Row) -> None:
        """Have it known that a row's record is to be written, though nothing of it was logged."""
        if self.noted is not None:
            self.changed[row.record()] = None

    def wake(self, at: float, subject: Subject) -> None:
        """Have `subject` looked at when the clock passes `at` (monotonic seconds), or sooner if it is set already."""
        self.timers.wake(at, subject)

    def next_due(self) -> float | None:
        """When the next timer is due; None while there is none."""
        return self.timers.next_due()

    def take_due(self, now: float) -> Iterator[Subject]:
        """The subjects whose time has come, each once."""
        return self.timers.take_due(now)

    def tell(self, name: str, **facts: object) -> None:
        """Note an event for the log, with its facts in the order given: immutable values, whose texts come later."""
        self.events.append((name, facts))

    def commit(self) -> None:
        """Keep what was changed; the commands are the caller's to fetch before."""
        self.settle()
        self.commands.clear()

    def settle(self) -> None:
        """Keep what was changed so far, whatever comes; commands and events go on."""
        noted, changed, now, turn = self.noted, self.changed, self.now, self.turn
        if noted is not None:
            for place, key, before in self.log:
                if isinstance(place, Row):
                    if place.is_news(before, now, turn):
                        changed[place.record()] = None
                    continue
                found = noted.get(id(place))
                if found is None:
                    continue
                kind, by_first_part = found
                changed[kind, key[0] if by_first_part else key] = None
        self.log.clear()

    def mark(self) -> tuple[int, int, int]:
        """Where the transaction is now, for `rollback` to come back to."""
        return (len(self.log), len(self.commands), len(self.events))

    def rollback(self, mark: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Put every table back to where it was at the last commit, or at a mark, and forget commands and events."""
        written, commands, events = mark
        for place, key, value in self.log[written:][::-1]:
            if isinstance(place, Row):
                place.go_back(value)
            elif value is _ABSENT:
                place.pop(key, None)
            else:
                place[key] = value
        del self.log[written:]
        del self.commands[commands:]
        del self.events[events:]
