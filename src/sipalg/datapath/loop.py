"""The event loop: waits for descriptors and for time, and calls what is due; one thread, no framework.

Packets, notifications of the kernel, the control socket and the engine's timers all come through here, one after the
other, so nothing in the program needs a lock. Work that takes longer than a packet should wait is done a slice at a
time, packets in between. A handler that raises is logged and called again next time; one that fails over and over ends
the process, because a packet queue without a process means plain NAT, while one with a process that only spins means
none.
"""

from __future__ import annotations

import logging
import math
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT

_ASKED: Final = READ | WRITE

_LOG = logging.getLogger(__name__)

#: Handlers' failures in a row, without one that worked, after which the process gives up.
_FAULTS_IN_A_ROW: Final = 100
#: The longest wait, so that a clock that was read wrong once can't stop the chores for good.
_LONGEST_WAIT_S: Final = 60.0


#: How long work may take before packets have their turn: as long as some twenty packets.
_SLICE_S: Final = 0.0001
#: Where packets take all the time, the part of it that work gets all the same, so that it comes to an end.
_SHARE: Final = 0.25

Result = TypeVar("Result")
#: Work in small steps, of some ten microseconds each.
Steps = Iterator[None]


class HasFileno(Protocol):
    """A socket, or anything else that owns a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


@dataclass(slots=True)
class _Chore:
    """Something to do every `interval_s` seconds, next at `due`; `steps` is what is left of it, or has been done."""

    interval_s: float
    call: Callable[[], Steps | None]
    due: float
    steps: Steps | None = None


class FaultLog:
    """What went wrong, counted, and logged once per kind and minute with its traceback."""

    _QUIET_S: Final = 60.0
    _MOST_KINDS: Final = 100

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = 0
        self._clock = clock
        self._logged: dict[str, float] = {}

    def exception(self, where: str, consequence: str) -> None:
        """Count the exception that is being handled; `where` it came up and what follows are words for the log."""
        self.total += 1
        kind = f"{where} {sys.exception()!r}"
        now = self._clock()
        if now - self._logged.get(kind, -self._QUIET_S) < self._QUIET_S:
            return
        if len(self._logged) >= self._MOST_KINDS:
            self._logged.clear()
        self._logged[kind] = now
        _LOG.exception("fault where=%s consequence=%s total=%d", where, consequence, self.total)


class Loop:
    """Descriptors with their handlers, a timer, and chores; `run` until `stop`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = FaultLog(clock)
        self._clock = clock
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._chores: list[_Chore] = []
        self._next_chore = math.inf
        self._soon: list[Callable[[], None]] = []
        #: Work that is under way; the next slice is the first one's.
        self._work: deque[Steps] = deque()
        #: When the last slice of work ended.
        self._worked_at = 0.0
        #: The longest turn since the last `forget_longest_turn`, and between the one before and that.
        self._longest_s = 0.0
        self._longest_before_s = 0.0
        self._next_due: Callable[[], float | None] = lambda: None
        self._run_timer: Callable[[], None] = lambda: None
        self._stopping = False
        self._faults_in_a_row = 0

    def watch(self, source: HasFileno, on_ready: Callable[[int], None], events: int = READ) -> None:
        """Call `on_ready(events)` whenever the descriptor of `source` is ready for what `events` asks.

        A connection that is gone is ready for everything, whatever was asked.
        """
        self._epoll.register(source.fileno(), events)
        self._handlers[source.fileno()] = on_ready

    def change(self, source: HasFileno, events: int) -> None:
        """Watch `source` for other events with the same handler."""
        self._epoll.modify(source.fileno(), events)

    def unwatch(self, source: HasFileno) -> None:
        """Watch `source` no more; before it is closed. One that isn't watched is no error."""
        if self._handlers.pop(source.fileno(), None) is not None:
            self._epoll.unregister(source.fileno())

    def every(self, interval_s: float, call: Callable[[], Steps | None]) -> None:
        """Call `call` every `interval_s` seconds from now on, or as soon after as the packets let it.

        What it returns is done as `work`; until that has ended it isn't called again.
        """
        chore = _Chore(interval_s, call, self._clock() + interval_s)
        self._chores.append(chore)
        self._next_chore = min(self._next_chore, chore.due)

    def soon(self, call: Callable[[], None]) -> None:
        """Call `call` once, behind all that is ready in this turn; from such a call, in the next turn."""
        self._soon.append(call)

    def work(self, steps: Steps) -> None:
        """Do `steps` a slice at a time, packets and all else in between: so many as 0.1 ms has room for.

        Where a turn's packets take longer, a slice gets a quarter as much.
        """
        if not self._work:
            self._worked_at = self._clock()
        self._work.append(steps)

    @property
    def longest_turn_s(self) -> float:
        """Return what the longest turn took, of those since the last but one `forget_longest_turn`.

        What comes in the beginning of a turn waits that long; what packets come together is part of it.
        """
        return max(self._longest_s, self._longest_before_s)

    def forget_longest_turn(self) -> None:
        """Have older turns forgotten; to be called now and then."""
        self._longest_before_s, self._longest_s = self._longest_s, 0.0

    def set_timer(self, next_due: Callable[[], float | None], run: Callable[[], None]) -> None:
        """Call `run` when the clock has passed what `next_due` says (None: nothing is due)."""
        self._next_due = next_due
        self._run_timer = run

    def run(self) -> None:
        """Wait and call until `stop`."""
        while not self._stopping:
            self.step(_LONGEST_WAIT_S)

    def stop(self) -> None:
        """Make `run` return after what is being done; call it from a handler."""
        self._stopping = True

    def step(self, longest_s: float) -> None:
        """Wait at most `longest_s` seconds for something, and call all that is ready or due then."""
        due = self._next_chore
        timer_due = self._next_due()
        if timer_due is not None and timer_due < due:
            due = timer_due
        wait_s = 0.0 if self._soon or self._work else min(max(0.0, due - self._clock()), longest_s)
        handlers = self._handlers
        ready = self._epoll.poll(wait_s)
        woke = self._clock()
        for number, events in ready:
            # A handler before this one may have taken it away.
            handler = handlers.get(number)
            if handler is not None:
                self._call(handler, events if events & _ASKED == events else READ | WRITE)
        if self._soon:
            calls, self._soon = self._soon, []
            for call in calls:
                self._call(call)
        now = self._clock()
        timer_due = self._next_due()
        if timer_due is not None and timer_due <= now:
            self._call(self._run_timer)
        if self._next_chore <= now:
            self._do_chores()
        if self._work:
            self._do_slice()
        took_s = self._clock() - woke
        if took_s > self._longest_s:
            self._longest_s = took_s

    def close(self) -> None:
        """Forget all descriptors, without closing them."""
        self._handlers.clear()
        self._soon.clear()
        self._work.clear()
        self._epoll.close()

    def _do_chores(self) -> None:
        for chore in self._chores:
            now = self._clock()
            if chore.due <= now:
                chore.due = now + chore.interval_s
                if chore.steps is None or chore.steps not in self._work:
                    chore.steps = self._call(chore.call)
                    if chore.steps is not None:
                        self.work(chore.steps)
        self._next_chore = min(chore.due for chore in self._chores)

    def _do_slice(self) -> None:
        steps = self._work.popleft()
        begun = self._clock()
        until = begun + max(_SLICE_S, _SHARE * (begun - self._worked_at))

        def do_slice() -> bool:
            return any(self._clock() >= until for _ in steps)

        do_slice.__qualname__ = getattr(steps, "__qualname__", "work")
        # What raises has ended by that.
        if self._call(do_slice):
            self._work.append(steps)
        self._worked_at = self._clock()

    def _call(self, handler: Callable[..., Result], *arguments: int) -> Result | None:
        try:
            result = handler(*arguments)
        except Exception:
            self._faults_in_a_row += 1
            if self._faults_in_a_row >= _FAULTS_IN_A_ROW:
                raise
            self.log.exception(getattr(handler, "__qualname__", "handler"), "ignored")
            return None
        self._faults_in_a_row = 0
        return result
