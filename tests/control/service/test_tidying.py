"""When flows are searched for, for which mappings, and what becomes of those that are found."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from sipalg.control.service.background import Work
from sipalg.control.service.tidying import Tidying
from sipalg.datapath.conntrack import Conntrack, Untrue
from sipalg.datapath.ctnetlink import SOURCE_NAT, Tracked
from sipalg.datapath.executor import Executor
from sipalg.datapath.loop import Steps
from sipalg.datapath.netlink import NetlinkError
from sipalg.engine.verdict import UDP, Endpoint, Mapping

REMOTE = Endpoint("203.0.113.50", 5060)


def mapping(number: int) -> Mapping:
    return Mapping(UDP, Endpoint(f"192.168.33.{number}", 5060), Endpoint("203.0.113.1", 10000 + number), "sip")


def flow_of(one: Mapping) -> Tracked:
    identity = one.public.port.to_bytes(4, "big")
    return Tracked(UDP, one.private, REMOTE, REMOTE, one.public, SOURCE_NAT, 30, 0, identity, None)


def pings_of(one: Mapping) -> Tracked:
    return Tracked(UDP, REMOTE, one.public, one.public, REMOTE, 0, 30, 0, b"ping", None)


class World:
    """An executor that notes only, conntrack as a list, and a background that works when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ended: dict[Mapping, None] = {}
        self.begun: dict[Mapping, None] = {}
        self.flow_ends = 0
        self.flows: list[Tracked] = []
        self.deleted: list[int] = []
        self.takes_s = 0.01
        self.worked_s = 0.0
        self.works_s = 0.01
        self.refuse_search = False
        self.refuse_delete = False
        self.waiting: list[Work] = []
        self.steps: list[Steps] = []
        executor, conntrack = cast(Executor, self), cast(Conntrack, self)
        self.tidying = Tidying(
            executor, conntrack, conntrack, self, self.steps.append, lambda: self.now, lambda: self.worked_s
        )

    def end_flows(self) -> None:
        self.flow_ends += 1

    def take_sip(self) -> tuple[dict[Mapping, None], dict[Mapping, None]]:
        taken = self.ended, self.begun
        self.ended, self.begun = {}, {}
        return taken

    def find_untrue(self, untrue: Untrue) -> list[Tracked]:
        self.now += self.takes_s
        self.worked_s += self.works_s
        if self.refuse_search:
            raise NetlinkError(errno.ENOBUFS)
        return [flow for flow in self.flows if untrue.concerns(flow)]

    def delete(self, entries: Sequence[Tracked]) -> None:
        if self.refuse_delete:
            raise NetlinkError(errno.EPERM)
        self.deleted.append(len(entries))
        for entry in entries:
            self.flows.remove(entry)

    def do(self, work: Work) -> None:
        self.waiting.append(work)

    def search(self) -> list[Callable[[], None]]:
        """Let the background do what it was given."""
        works, self.waiting = self.waiting, []
        return [work() for work in works]

    def look(self, after_s: float = 3.0) -> None:
        """Look, search, and end what was found."""
        self.now += after_s
        self.tidying.look()
        for result in self.search():
            result()
        for steps in self.steps:
            for _ in steps:
                pass
        self.steps.clear()


@pytest.fixture
def world() -> World:
    return World()


def test_what_mappings_made_untrue_is_ended(world: World) -> None:
    world.flows = [flow_of(mapping(1)), flow_of(mapping(2)), pings_of(mapping(3))]
    world.ended = {mapping(1): None}
    world.begun = {mapping(3): None}
    world.look()
    assert world.flows == [flow_of(mapping(2))]
    assert world.flow_ends == 1


def test_nothing_is_searched_where_nothing_changed(world: World) -> None:
    world.look()
    assert world.now == 1003.0
    assert world.flow_ends == 1


def test_a_search_is_a_small_part_of_the_time(world: World) -> None:
    world.works_s = 0.03
    world.begun = {mapping(1): None}
    world.look()
    world.begun = {mapping(2): None}
    for _ in range(8):
        world.now += 1.0
        world.tidying.look()
        assert not world.waiting
    world.now += 1.5
    world.tidying.look()
    assert len(world.waiting) == 1


@pytest.mark.parametrize(("takes_s", "works_s", "waits_s"), [(0.5, 0.01, 3.0), (0.5, 0.5, 10.0)])
def test_neither_others_work_nor_a_large_table_puts_a_search_off_for_long(
    takes_s: float, works_s: float, waits_s: float, world: World
) -> None:
    world.takes_s, world.works_s = takes_s, works_s
    world.begun = {mapping(1): None}
    world.look()
    world.begun = {mapping(2): None}
    world.now += waits_s - 0.1
    world.tidying.look()
    assert not world.waiting
    world.now += 0.2
    world.tidying.look()
    assert len(world.waiting) == 1


def test_there_is_one_search_at_a_time_unless_one_is_lost(world: World) -> None:
    world.begun = {mapping(1): None}
    world.now += 3.0
    world.tidying.look()
    world.begun = {mapping(2): None}
    world.now += 59.0
    world.tidying.look()
    assert len(world.waiting) == 1
    world.now += 1.0
    world.tidying.look()
    assert len(world.waiting) == 2


def test_what_is_true_again_when_the_search_is_over_stays(world: World) -> None:
    kept, ping, gone = flow_of(mapping(1)), pings_of(mapping(2)), flow_of(mapping(3))
    world.flows = [kept, ping, gone]
    world.ended = {mapping(1): None, mapping(3): None}
    world.begun = {mapping(2): None}
    world.now += 3.0
    world.tidying.look()
    (result,) = world.search()
    world.begun = {mapping(1): None}
    world.ended = {mapping(2): None}
    result()
    for _ in world.steps[0]:
        pass
    assert world.flows == [kept, ping]


def test_many_are_ended_a_few_at_a_time(world: World) -> None:
    many = [mapping(number) for number in range(100)]
    world.flows = [flow_of(one) for one in many]
    world.ended = dict.fromkeys(many)
    world.look()
    assert world.flows == []
    assert len(world.deleted) == 7
    assert max(world.deleted) <= 16


def test_a_search_that_is_refused_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.flows = [flow_of(mapping(1)), flow_of(mapping(2)), pings_of(mapping(3))]
    world.ended = {mapping(1): None, mapping(2): None}
    world.begun = {mapping(3): None}
    world.refuse_search = True
    world.look()
    (record,) = caplog.records
    assert record.getMessage() == "flows-not-ended why='[Errno 105] No buffer space available'"
    world.refuse_search = False
    # What became of them meanwhile counts.
    world.begun = {mapping(2): None}
    world.ended = {mapping(3): None}
    world.look(1.0)
    assert world.flows == [flow_of(mapping(2)), pings_of(mapping(3))]


def test_an_end_that_is_refused_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.flows = [flow_of(mapping(1))]
    world.ended = {mapping(1): None}
    world.refuse_delete = True
    world.look()
    (record,) = caplog.records
    assert record.getMessage() == "flows-not-ended why='[Errno 1] Operation not permitted'"
