"""What the collector looks at, and when."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from sipalg.control.service import garbage


class Node:
    """Something that may be in a cycle."""

    def __init__(self) -> None:
        self.other: Node = self


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.collect()
    garbage.begin()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def make_many() -> list[list[None]]:
    """As much as makes the collector look many times."""
    return [[] for _ in range(100_000)]


def test_a_cycle_that_is_new_is_found_by_the_collector_itself() -> None:
    gone = weakref.ref(Node())
    kept = make_many()
    assert gone() is None
    assert len(kept) == 100_000


def test_one_that_has_outlived_a_first_look_is_found_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    gc.collect(0)
    gone = weakref.ref(node)
    del node
    garbage.look()
    assert gone() is None
    frozen = gc.get_freeze_count()
    # Where nothing has outlived a look since, there is nothing to do.
    monkeypatch.setattr(gc, "get_count", lambda: (500, 0, 0))
    garbage.look()
    assert gc.get_freeze_count() <= frozen


def test_very_much_that_is_new_is_taken_for_good_without_another_look(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = make_many()
    before = gc.get_freeze_count()

    def collect(_generation: int) -> int:
        raise AssertionError("not to be called")

    monkeypatch.setattr(gc, "collect", collect)
    garbage.look()
    assert gc.get_freeze_count() - before >= len(kept)
    assert gc.get_count()[1] == 0


def frozen_cycle() -> weakref.ref[Node]:
    """A cycle that was taken for good before it was left."""
    node = Node()
    gc.freeze()
    return weakref.ref(node)


def test_what_was_taken_for_good_is_looked_at_again_where_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = frozen_cycle()
    garbage.look()
    assert gone() is not None
    # The tests have more than the service.
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: 200_000)
    garbage.look_at_all()
    assert gone() is None
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < 1000, "and it is taken for good again"


def test_it_isnt_where_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = frozen_cycle()
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: 200_001)
    garbage.look_at_all()
    node = gone()
    assert node is not None
    del node.other
