"""What passed unseen is counted truly: while packets come, and over tables that come and go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipalg.control.service.unseen import Unseen
from sipalg.datapath.nfqueue import QueueStatistics


class Kernel:
    """Table and queue in one; `meanwhile` happens after the first counter was read."""

    def __init__(self) -> None:
        self.there = True
        self.counter = 100
        self.received = 0
        self.waiting = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def exists(self) -> bool:
        return self.there

    def packets_to_queue(self) -> int:
        counter = self.counter
        self.meanwhile()
        return counter

    def statistics(self) -> QueueStatistics:
        waiting = self.waiting
        self.meanwhile()
        return QueueStatistics(waiting, 0, 0, 0)

    def come(self, seen: int, unseen: int = 0) -> None:
        """Let packets come."""
        self.counter += seen + unseen
        self.received += seen


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def unseen(kernel: Kernel) -> Unseen:
    return Unseen(kernel, kernel)


def test_counting_begins_with_this_process(kernel: Kernel, unseen: Unseen) -> None:
    assert unseen.count() == 0
    kernel.come(30, 5)
    kernel.counter += 15
    kernel.waiting = 15
    assert unseen.count() == 5
    assert unseen.count() == 5


def test_packets_that_come_while_the_counters_are_read_are_not_missed(kernel: Kernel, unseen: Unseen) -> None:
    kernel.meanwhile = lambda: kernel.come(7)
    for _ in range(3):
        assert unseen.count() == 0
    kernel.meanwhile = lambda: None
    kernel.come(0, 4)
    assert unseen.count() == 4


def test_a_table_that_is_put_back_goes_on_with_the_count_of_the_one_before(kernel: Kernel, unseen: Unseen) -> None:
    kernel.come(10, 3)
    assert unseen.count() == 3
    kernel.come(20)
    # Somebody removes it, and as ever it is looked at before it is put back.
    kernel.there = False
    assert unseen.count() == 3
    kernel.there, kernel.counter = True, 0
    kernel.come(5)
    assert unseen.count() == 3
    kernel.come(200, 2)
    assert unseen.count() == 5


def test_a_table_that_was_made_anew_unnoticed_is_told_by_its_counter(kernel: Kernel, unseen: Unseen) -> None:
    kernel.come(10, 3)
    assert unseen.count() == 3
    kernel.counter = 0
    kernel.come(5, 1)
    assert unseen.count() == 4


def test_without_a_table_nothing_went_to_the_queue() -> None:
    kernel = Kernel()
    kernel.there = False
    unseen = Unseen(kernel, kernel)
    assert unseen.count() == 0
    kernel.there, kernel.counter = True, 0
    kernel.come(2, 1)
    assert unseen.count() == 1
