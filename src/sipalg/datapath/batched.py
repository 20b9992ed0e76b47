"""The packet queue with machine code for packets and verdicts, where the build has it.

`open_queue` is what the program binds its queue by: with the compiled build the packets' and verdicts' part of
`nfqueue.PacketQueue` is `express_batch.ExpressBatch`, and the driver talks to that without anything in between
(`way`). Beginning and end of a packet's way outside the kernel.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Protocol

from sipalg import builds
from sipalg.datapath.driver import Queue
from sipalg.datapath.nfqueue import DROP, QUEUE_PACKETS, QUEUES, PacketQueue, verdict_prefix


class Machine(Queue, Protocol):
    """What `express_batch.ExpressBatch` is: the driver's queue, with counts."""

    @property
    def received(self) -> int:
        """Packets received."""

    @property
    def refused(self) -> int:
        """Verdicts refused."""

    @property
    def last_ids(self) -> dict[int, int]:
        """By queue, the last one of the packets that were received together."""

    def finish(self) -> None:
        """Send all verdicts, and return when they are in the kernel."""


class BatchedQueue(PacketQueue):
    """Bound queue numbers whose packets come and go by machine code; bound and closed as any."""

    def __init__(
        self, number: int, max_length: int = QUEUE_PACKETS, fail_open: bool = True, queues: int = 1
    ) -> None:
        super().__init__(number, max_length, fail_open, queues)
        batch = import_module("sipalg.datapath.express_batch").ExpressBatch
        accept, drop = verdict_prefix(number), verdict_prefix(number, decision=DROP)
        # Another thread is worth its wakings where there is another processor for it.
        beside = len(os.sched_getaffinity(0)) > 1
        self.way: Machine = batch(self.fileno(), number, accept, drop, beside)

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
        self.way.finish()
        self._last_ids.update(self.way.last_ids)
        super().close(let_go=let_go)


def open_queue(number: int, max_length: int = QUEUE_PACKETS) -> tuple[PacketQueue, Queue]:
    """Bind the queues from a number on, and say who takes their packets and gives their verdicts.

    Raises as `PacketQueue` does.
    """
    if builds.running() == "compiled":
        queue = BatchedQueue(number, max_length, queues=QUEUES)
        return queue, queue.way
    plain = PacketQueue(number, max_length, queues=QUEUES)
    return plain, plain
