"""What stands in the maps is known without asking the kernel."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_steps import MapCommand
from sipalg.datapath.standing import Standing
from sipalg.engine.verdict import (
    UDP,
    AdmitPeer,
    CloseMapping,
    DismissPeer,
    Endpoint,
    Mapping,
    OpenMapping,
    RefreshMapping,
)

SIP = Mapping(UDP, Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5060), "sip")
MEDIA = Mapping(UDP, Endpoint("192.168.33.10", 10000), Endpoint("203.0.113.1", 10000), "media")
PEER = "203.0.113.50"


class Table:
    def __init__(self) -> None:
        self.applied: list[tuple[MapCommand, ...]] = []
        self.installed: list[tuple[MapCommand, ...]] = []
        self.error: NetlinkError | None = None

    def apply(self, commands: Sequence[MapCommand]) -> None:
        if self.error is not None:
            raise self.error
        self.applied.append(tuple(commands))

    def install(self, commands: Sequence[MapCommand] = ()) -> None:
        self.installed.append(tuple(commands))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standing(table: Table, clock: Clock) -> Standing:
    return Standing(table, clock)


def test_everything_goes_to_the_table_and_comes_back_with_the_time_that_is_left(
    table: Table, clock: Clock, standing: Standing
) -> None:
    commands = (OpenMapping(SIP, 60.0), AdmitPeer(SIP, PEER, 50.0), OpenMapping(MEDIA, 20.0))
    standing.apply(commands)
    assert table.applied == [commands]
    clock.now += 5
    standing.apply((RefreshMapping(MEDIA, 40.0),))
    clock.now += 5
    assert standing.put_back() == 2
    assert table.installed == [(OpenMapping(SIP, 50.0), OpenMapping(MEDIA, 35.0), AdmitPeer(SIP, PEER, 40.0))]


def test_what_was_closed_or_has_run_out_does_not_come_back(table: Table, clock: Clock, standing: Standing) -> None:
    standing.install((OpenMapping(SIP, 60.0), AdmitPeer(SIP, PEER, 60.0), AdmitPeer(SIP, "203.0.113.51", 60.0)))
    standing.apply((OpenMapping(MEDIA, 20.0), DismissPeer(SIP, PEER), DismissPeer(MEDIA, PEER)))
    clock.now += 30
    assert standing.put_back() == 1
    assert table.installed[1] == (OpenMapping(SIP, 30.0), AdmitPeer(SIP, "203.0.113.51", 30.0))
    standing.apply((CloseMapping(SIP), CloseMapping(MEDIA)))
    assert standing.put_back() == 0
    assert table.installed[2] == ()


def test_what_is_remembered_runs_out_too(table: Table, clock: Clock, standing: Standing) -> None:
    standing.remember({SIP: 60.0, MEDIA: 30.0}, {(SIP, PEER): 60.0})
    clock.now += 40.0
    for _ in standing.forget_ended():
        pass
    standing.remember({SIP: 30.0}, {})
    assert standing.put_back() == 1
    assert table.installed == [(OpenMapping(SIP, 30.0), AdmitPeer(SIP, PEER, 20.0))]


def test_what_the_table_refused_does_not_stand(table: Table, standing: Standing) -> None:
    table.error = NetlinkError(errno.EEXIST)
    with pytest.raises(NetlinkError):
        standing.apply((OpenMapping(SIP, 60.0),))
    assert standing.put_back() == 0


def test_what_has_run_out_is_forgotten_some_at_a_time(table: Table, clock: Clock, standing: Standing) -> None:
    many = [SIP._replace(public=Endpoint("203.0.113.1", 1000 + number)) for number in range(200)]
    standing.apply([OpenMapping(one, 10.0 if number % 2 else 90.0) for number, one in enumerate(many)])
    standing.apply([AdmitPeer(one, PEER, 10.0) for one in many])
    clock.now = 130.0
    steps = standing.forget_ended()
    next(steps)
    # In between, of what has been looked at and of what hasn't: closed, renewed, and open again.
    standing.apply((CloseMapping(many[0]), CloseMapping(many[198]), RefreshMapping(many[2], 500.0)))
    standing.apply((RefreshMapping(many[196], 500.0), OpenMapping(many[1], 500.0), OpenMapping(many[199], 500.0)))
    count = sum(1 for _ in steps)
    assert count > 4
    # What is forgotten doesn't come back, even if the clock does.
    clock.now = 100.0
    assert standing.put_back() == 100
    assert not [one for one in table.installed[0] if isinstance(one, AdmitPeer)]
    clock.now = 200.0
    for _ in standing.forget_ended():
        pass
    clock.now = 100.0
    assert standing.put_back() == 4


def test_what_was_not_looked_at_is_by_the_next(table: Table, clock: Clock, standing: Standing) -> None:
    many = [SIP._replace(public=Endpoint("203.0.113.1", 1000 + number)) for number in range(200)]
    standing.apply([OpenMapping(one, 10.0) for one in many])
    clock.now = 130.0
    next(standing.forget_ended())
    for _ in standing.forget_ended():
        pass
    clock.now = 100.0
    assert standing.put_back() == 0
    assert table.installed == [()]
