"""What the collector looks at, and when."""

from __future__ import annotations

import gc
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
