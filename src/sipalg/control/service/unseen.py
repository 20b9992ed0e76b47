"""How many packets went to the queue and were never seen: it was full, and they passed as plain NAT.

Beside a packet's way. Our table counts what it sends to the queue, the process counts what it took out; the difference
is what people should know of after a flood or a stop. The table's counter begins anew where somebody removed the
table and it was put back.
"""

from __future__ import annotations

from typing import Protocol

from sipalg.datapath.nfqueue import QueueStatistics


class Table(Protocol):
    """What this asks of `nft_table.NftTable`."""

    def exists(self) -> bool:
        """Tell whether the table stands."""

    def packets_to_queue(self) -> int:
        """Return its counter."""


class Queue(Protocol):
    """What this asks of `nfqueue.PacketQueue`."""

    @property
    def received(self) -> int:
        """Return how many packets were taken."""

    def statistics(self) -> QueueStatistics:
        """Return the kernel's counters of the queue."""


class Unseen:
    """The count since this was made; ask now and then, since of a removed table only what was asked is known."""

    def __init__(self, table: Table, queue: Queue) -> None:
        self._table = table
        self._queue = queue
        # The table's counter may be an earlier process's.
        self._counter_before = self._counter = self._read_counter()
        self._seen_before = self._seen = self._read_seen()
        self._of_former_tables = 0
        self._last = 0

    def count(self) -> int:
        """Return how many packets passed unseen so far."""
        self.look()
        return self._last

    def look(self) -> None:
        """Read the counters.

        The table's is read first: what comes while we look can only be in what was seen, and isn't missed there.
        """
        counter = self._read_counter()
        seen = self._read_seen()
        if counter < self._counter:
            # Another table's, which began with 0; with nothing in it yet, all that was seen is of the one before.
            self._of_former_tables = self._last
            self._counter_before = 0
            self._seen_before = self._seen if counter else seen
        self._counter = counter
        self._seen = seen
        unseen = counter - self._counter_before - (self._seen - self._seen_before)
        self._last = self._of_former_tables + max(0, unseen)

    def _read_counter(self) -> int:
        return self._table.packets_to_queue() if self._table.exists() else 0

    def _read_seen(self) -> int:
        return self._queue.received + self._queue.statistics().waiting
