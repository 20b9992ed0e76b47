"""The packet queue with machine code for packets and verdicts, where the build has it.

`open_queue` is what the program binds its queue by: with the compiled build the packets' and verdicts' part of
`nfqueue.PacketQueue` is `batch.Batch`, and the driver talks to that without anything in between (`way`). Beginning and
end of a packet's way outside the kernel.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Protocol

from sipalg import builds
from sipalg.datapath.driver import Queue
from sipalg.datapath.nfqueue import PacketQueue


class Machine(Queue, Protocol):
    """What `batch.Batch` is: the driver's queue, with counts."""

    @property
    def received(self) -> int:
        """Packets received."""

    @property
    def refused(self) -> int:
        """Verdicts refused."""

    @property
    def last_id(self) -> int:
        """The last packet's id."""

    def settle(self) -> None:
        """Send all pending verdicts, and return when all are sent."""


class BatchedQueue(PacketQueue):
    """A bound queue number whose packets come and go by machine code; bound and closed as any."""

    def __init__(self, number: int, max_length: int = 8192, fail_open: bool = True) -> None:
        super().__init__(number, max_length, fail_open)
        batch = import_module("sipalg.datapath.batch").Batch
        # Beside the engine's, verdicts need a processor that has nothing else to do.
        self.way: Machine = batch(self.fileno(), self._accept, self._drop, len(os.sched_getaffinity(0)) < 2)

    @property
    def received(self) -> int:
        """Packets received since the start."""
        return self.way.received

    @property
    def refused(self) -> int:
        """Verdicts that the kernel refused since the start, since their packet was gone."""
        return self.way.refused

    def close(self, *, let_go: bool = True) -> None:
        """Give back the queue; the packets in it pass as they are, or are dropped with it without `let_go`."""
        self.way.settle()
        self._last_id = self.way.last_id
        super().close(let_go=let_go)


def open_queue(number: int, max_length: int = 8192, fail_open: bool = True) -> tuple[PacketQueue, Queue]:
    """Bind a queue number, and say who takes its packets and gives their verdicts. Raises as `PacketQueue` does."""
    if builds.running() == "compiled":
        queue = BatchedQueue(number, max_length, fail_open)
        return queue, queue.way
    plain = PacketQueue(number, max_length, fail_open)
    return plain, plain
