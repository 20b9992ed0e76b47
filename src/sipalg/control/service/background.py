"""Work that may have to wait for a disk, done beside the packet loop: one thing after the other, in one thread.

Off a packet's way, so that it stays there. What comes of a piece of work is handed back in the loop, where nothing
else runs at the same time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from sipalg.datapath.loop import Loop

#: How long the end waits for what was begun.
_LAST_WAIT_S: Final = 5.0

Work = Callable[[], Callable[[], None]]


class Background:
    """Does work in the order in which it was given."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._results: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._wake_end, self._thread_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        loop.watch(_Descriptor(self._wake_end), self._take_results)

    def do(self, work: Work) -> None:
        """Call `work` in the thread, and in the loop what it returns; if it raises, that is a fault, and no more."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="background", daemon=True)
            self._thread.start()
        self._work.put(work)

    def close(self) -> None:
        """Wait for what was given, for some seconds; what comes of it is dropped."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join(_LAST_WAIT_S)
        self._loop.unwatch(_Descriptor(self._wake_end))
        if self._thread is None or not self._thread.is_alive():
            os.close(self._wake_end)
            os.close(self._thread_end)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                self._results.put(work())
            except Exception:
                # What comes next is done all the same.
                self._loop.log.exception("background", "work-dropped")
            # A full pipe wakes the loop as well.
            with contextlib.suppress(BlockingIOError):
                os.write(self._thread_end, b"!")

    def _take_results(self, _events: int) -> None:
        os.read(self._wake_end, 4096)
        while not self._results.empty():
            self._results.get()()


class _Descriptor:
    """A bare descriptor, as the loop takes it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number
