"""Flows that the end or the beginning of a phone's mapping has made untrue are found in conntrack, and ended.

Off a packet's way. Conntrack can only be searched as a whole, and the kernel doesn't stop in between: 9 ms where the
table has 262,144 rows, whatever is in them. So it is searched for many mappings at once, so seldom that it takes no
noticeable part of the time, and in the background's thread, which waits for the kernel without holding up packets.
What is found is ended in the loop, some flows at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from sipalg.control.service.background import Work
from sipalg.datapath.conntrack import Conntrack, Untrue
from sipalg.datapath.ctnetlink import Tracked
from sipalg.datapath.executor import Executor
from sipalg.datapath.loop import Steps
from sipalg.engine.verdict import Mapping

_LOG = logging.getLogger("sipalg")

#: How often it is looked whether there is something to search for.
INTERVAL_S: Final = 1.0
#: Of how much time a search may be one part: one of 9 ms every 2.7 s.
_PART: Final = 300
#: How long it waits at most for the next search: untrue flows carry packets to the wrong place until then.
_LONGEST_WAIT_S: Final = 10.0
#: What a search is taken to need until there was one.
_FIRST_TOOK_S: Final = 0.01
#: After how long one of which nothing is heard is given up.
_LOST_S: Final = 60.0
#: How many flows are ended in one system call.
_AT_ONCE: Final = 16


class Background(Protocol):
    """What this asks of `background.Background`."""

    def do(self, work: Work) -> None:
        """Call `work` in a thread, and in the loop what it returns."""


class Tidying:
    """Looks what `executor` has opened and closed, and ends what that made untrue."""

    def __init__(
        self,
        executor: Executor,
        conntrack: Conntrack,
        search: Conntrack,
        background: Background,
        work: Callable[[Steps], None],
        clock: Callable[[], float] = time.monotonic,
        work_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Take `conntrack` for what the loop ends, `search`, with a socket of its own, for the thread.

        `work` does steps in the loop. `work_clock` is the processor's time of the thread that asks it: what others do
        while the thread waits for its turn is no part of a search.
        """
        self._executor = executor
        self._conntrack = conntrack
        self._search = search
        self._background = background
        self._work = work
        self._clock = clock
        self._work_clock = work_clock
        #: What a search that failed was for.
        self._ended: dict[Mapping, None] = {}
        self._begun: dict[Mapping, None] = {}
        self._due = clock() + _PART * _FIRST_TOOK_S

    def look(self) -> None:
        """End what is to end, and begin a search if there is something to search for and it is time."""
        self._executor.end_flows()
        now = self._clock()
        if now < self._due:
            return
        ended, begun = self._executor.take_sip()
        # What became of a mapping later counts.
        ended |= {mapping: None for mapping in self._ended if mapping not in begun}
        begun |= {mapping: None for mapping in self._begun if mapping not in ended}
        self._ended, self._begun = {}, {}
        if ended or begun:
            self._due = now + _LOST_S
            self._background.do(partial(self._find, ended, begun))

    def _find(self, ended: dict[Mapping, None], begun: dict[Mapping, None]) -> Callable[[], None]:
        """Search, in the thread; returns what is to be done in the loop."""
        started = self._work_clock()
        untrue = Untrue(ended, begun)
        try:
            found = self._search.find_untrue(untrue)
        except OSError as error:
            return partial(self._failed, ended, begun, str(error))
        return partial(self._found, untrue, found, self._work_clock() - started)

    def _failed(self, ended: dict[Mapping, None], begun: dict[Mapping, None], why: str) -> None:
        _LOG.warning("flows-not-ended why=%r", why)
        self._ended, self._begun = ended, begun
        self._due = self._clock()

    def _found(self, untrue: Untrue, found: list[Tracked], took_s: float) -> None:
        self._due = self._clock() + min(_PART * took_s, _LONGEST_WAIT_S)
        if found:
            untrue.forget(self._executor.begun, self._executor.ended)
            self._work(self._end([entry for entry in found if untrue.concerns(entry)]))

    def _end(self, doomed: list[Tracked]) -> Steps:
        for first in range(0, len(doomed), _AT_ONCE):
            try:
                self._conntrack.delete(doomed[first : first + _AT_ONCE])
            except OSError as error:
                _LOG.warning("flows-not-ended why=%r", str(error))
            yield
