"""Work beside the loop, and what comes of it in the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from sipalg.control.service.background import Background
from sipalg.datapath.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_work_is_done_elsewhere_in_order_and_its_outcome_here(loop: Loop) -> None:
    background = Background(loop)
    here = threading.get_ident()
    done: list[tuple[int, bool, bool]] = []

    def work(number: int) -> Callable[[], Callable[[], None]]:
        def do() -> Callable[[], None]:
            there = threading.get_ident() != here
            return lambda: done.append((number, there, threading.get_ident() == here))

        return do

    for number in range(100):
        background.do(work(number))
    while len(done) < 100:
        loop.step(5.0)
    assert done == [(number, True, True) for number in range(100)]
    background.close()


def test_the_end_waits_for_what_was_begun(loop: Loop) -> None:
    background = Background(loop)
    begun, written = threading.Event(), []

    def work() -> Callable[[], None]:
        begun.wait(5.0)
        written.append(1)
        return lambda: written.append(2)

    background.do(work)
    begun.set()
    background.close()
    assert written == [1]


def test_without_work_there_is_no_thread(loop: Loop) -> None:
    before = threading.active_count()
    background = Background(loop)
    assert threading.active_count() == before
    background.close()


def test_work_that_fails_is_a_fault_and_keeps_nothing_after_it_from_being_done(loop: Loop) -> None:
    background = Background(loop)
    done: list[int] = []

    def fail() -> Callable[[], None]:
        raise RuntimeError

    background.do(fail)
    background.do(lambda: lambda: done.append(1))
    while not done:
        loop.step(5.0)
    assert loop.log.total == 1
    background.close()
