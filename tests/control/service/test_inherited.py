"""The media of calls that began before the start: looked after for as long as there is a reason to."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from sipalg.control.service.inherited import LONGEST_SILENCE_S, InheritedMedia
from sipalg.datapath.conntrack import FlowState, FlowTakenError
from sipalg.datapath.netlink import NetlinkError
from sipalg.engine.alg import Alg
from sipalg.engine.dialogs import Dialog
from sipalg.engine.existing import Restored
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import UDP, Endpoint, Flow, Mapping

ROUTER = "203.0.113.1"
MAPPING = Mapping(UDP, Endpoint("192.168.33.10", 10000), Endpoint(ROUTER, 10000), "media")
FLOW = Flow(UDP, MAPPING.private, MAPPING.public, Endpoint("203.0.113.60", 4000))
OTHER = FLOW._replace(private=Endpoint("192.168.33.11", 10000))


class World:
    """A clock, a connection tracker, and an engine that has restored one media mapping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.checked: list[tuple[Flow, float]] = []
        self.traffic = False
        self.error: Exception | None = None
        self.alg = Alg(Settings(frozenset({"lan0"}), ROUTER, ROUTER, flow_check_s=48.0), lambda *_: False)
        self.alg.restore([Restored(MAPPING, 3600.0, "lan0")], self.now)
        self.media = InheritedMedia(self.alg, self, lambda: self.now)

    def check(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> FlowState:
        assert not fixed
        if self.error is not None:
            raise self.error
        self.checked.append((flow, timeout_s))
        return FlowState(True, self.traffic)


@pytest.fixture
def world() -> World:
    return World()


def test_flows_are_given_time_at_once_and_at_every_look(world: World) -> None:
    world.media.take([FLOW, OTHER])
    assert world.checked == [(FLOW, 144.0)]
    world.now += 48
    world.media.look()
    assert world.checked == [(FLOW, 144.0)] * 2
    assert len(world.media) == 1


def test_a_call_on_hold_is_kept_for_long_and_one_that_is_silent_for_longer_is_over(world: World) -> None:
    world.media.take([FLOW])
    world.now += LONGEST_SILENCE_S
    world.traffic = True
    world.media.look()
    world.traffic = False
    world.now += LONGEST_SILENCE_S
    world.media.look()
    assert len(world.media) == 1
    world.now += 1
    world.media.look()
    assert len(world.media) == 0


def test_a_flow_ends_with_its_mapping(world: World) -> None:
    world.media.take([FLOW])
    moved = replace(world.alg.settings, nat_address="203.0.113.9", advertised_address="203.0.113.9")
    world.alg.change_settings(moved, world.now)
    world.media.look()
    assert len(world.media) == 0
    assert len(world.checked) == 1


def test_a_flow_that_the_engine_holds_is_its_business(world: World) -> None:
    world.media.take([FLOW])
    sip = (UDP, Endpoint("192.168.33.10", 5060))
    dialog = Dialog(("192.168.33.10", b"call", b"a", b"b"), (sip,), 100.0, 1, "203.0.113.50")
    world.alg.calls.holders[FLOW] = (dialog,)
    world.media.look()
    assert len(world.media) == 0


@pytest.mark.parametrize("error", [FlowTakenError("another's"), NetlinkError(errno.ENOMEM)])
def test_a_flow_that_cannot_be_kept_is_let_go(world: World, error: Exception) -> None:
    world.error = error
    world.media.take([FLOW])
    assert len(world.media) == 0
