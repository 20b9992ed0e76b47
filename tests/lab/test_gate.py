"""Many go through the gate at once, or one alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from sipalg.lab import gate as module
from sipalg.lab.gate import Gate
from sipalg.lab.programs import interrupted
from sipalg.lab.topology import LabError

PATIENCE_S = 60.0


class Visitor:
    """Somebody who stays inside until told to leave."""

    def __init__(self, pool: ThreadPoolExecutor, gate: Gate, *, alone: bool = False) -> None:
        self.inside, self.leave = Event(), Event()
        self.done: Future[None] = pool.submit(self._visit, gate, alone)

    def _visit(self, gate: Gate, alone: bool) -> None:
        with gate.enter(alone=alone):
            self.inside.set()
            assert self.leave.wait(PATIENCE_S)

    def comes_in(self) -> bool:
        return self.inside.wait(PATIENCE_S)

    def goes(self) -> None:
        self.leave.set()
        self.done.result(PATIENCE_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made
    interrupted.clear()


def test_many_are_inside_at_once(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    first, second = Visitor(pool, gate), Visitor(pool, gate)
    assert first.comes_in()
    assert second.comes_in()
    first.goes()
    second.goes()


def test_one_alone_waits_for_all_others_and_keeps_later_ones_out(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    first = Visitor(pool, gate)
    assert first.comes_in()
    lone = Visitor(pool, gate, alone=True)
    while not gate._want_alone:
        assert not lone.inside.is_set()
    later = Visitor(pool, gate)
    assert not lone.inside.is_set()
    first.goes()
    assert lone.comes_in()
    assert not later.inside.is_set()
    lone.goes()
    assert later.comes_in()
    later.goes()


def test_two_that_want_to_be_alone_come_one_after_the_other(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    first = Visitor(pool, gate, alone=True)
    assert first.comes_in()
    second = Visitor(pool, gate, alone=True)
    first.goes()
    assert second.comes_in()
    second.goes()


def test_who_waits_hears_of_the_end(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    gate = Gate()
    first = Visitor(pool, gate)
    assert first.comes_in()
    lone = Visitor(pool, gate, alone=True)
    interrupted.set()
    with pytest.raises(LabError, match="interrupted"):
        lone.done.result(PATIENCE_S)
    first.goes()
    assert not gate._want_alone
