"""When the administrator's rules are read again: after whose notification, and after which silence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from sipalg.control.service import rules
from sipalg.control.service.rules import RulesWatch, concerns
from sipalg.datapath import netlink
from sipalg.datapath.admin_rules import AdminRules, AdminRulesError
from sipalg.datapath.loop import Loop
from sipalg.datapath.netlink import Message, nfnetlink

NF_TABLES = 10
NEW_TABLE, NEW_RULE, NEW_ELEMENT, DELETE_ELEMENT, NEW_GENERATION = 0, 6, 12, 14, 15


def notification(kind: int, *attributes: bytes, subsystem: int = NF_TABLES) -> Message:
    return nfnetlink(subsystem, kind, 0, *attributes)


@pytest.mark.parametrize("kind", [NEW_TABLE, NEW_RULE])
def test_another_tables_rules_do(kind: int) -> None:
    assert concerns(notification(kind, netlink.text(1, "nat")), "sipalg")


@pytest.mark.parametrize(
    "message",
    [
        notification(NEW_RULE, netlink.text(1, "sipalg")),
        notification(NEW_ELEMENT, netlink.text(1, "nat")),
        notification(DELETE_ELEMENT, netlink.text(1, "nat")),
        notification(NEW_GENERATION, netlink.u32(1, 5)),
        notification(NEW_RULE),
        notification(NEW_RULE, netlink.text(1, "nat"), subsystem=1),
    ],
)
def test_ours_and_what_is_no_rule_do_not(message: Message) -> None:
    assert not concerns(message, "sipalg")


# Rules of the old iptables, of which the kernel tells nothing


class Rules:
    """Rules that a test may change, and what came of them; waits for the thread that reads them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.legacy = ""
        self.error: AdminRulesError | None = None
        self.read = 0
        self.told: list[AdminRules] = []
        self.loop = Loop(lambda: self.now)
        self.watch = RulesWatch(self.loop, self.read_all, self.told.append, "sipalg", self.read_legacy)

    def read_all(self) -> AdminRules:
        self.read += 1
        return AdminRules()

    def read_legacy(self) -> str:
        if self.error is not None:
            raise self.error
        return self.legacy

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.loop.step(0)
        for thread in threading.enumerate():
            if thread.name == "rules":
                thread.join()
        self.loop.step(0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rules]:
    class NoNetlink:
        """Notifications that never come."""

        def __init__(self, groups: tuple[int, ...]) -> None:
            assert groups
            self.end, self.other = socket.socketpair()

        def fileno(self) -> int:
            return self.end.fileno()

        def close(self) -> None:
            self.end.close()
            self.other.close()

    monkeypatch.setattr(rules, "NetlinkSocket", NoNetlink)
    world = Rules()
    yield world
    world.watch.close()
    world.loop.close()


def test_another_question_has_the_rules_read_again(world: Rules) -> None:
    world.watch.look_again()
    world.pass_time(2.0)
    assert world.read == 1


def test_the_old_iptables_is_compared_every_minute(world: Rules) -> None:
    world.legacy = "-A POSTROUTING -j MASQUERADE"
    world.pass_time(59)
    assert world.read == 0
    world.pass_time(1)
    assert (world.read, len(world.told)) == (1, 1)
    for _ in range(3):
        world.pass_time(60)
    assert world.read == 1
    world.legacy = ""
    world.pass_time(60)
    assert (world.read, len(world.told)) == (2, 2)


def test_rules_that_cannot_be_read_are_tried_again(world: Rules, caplog: pytest.LogCaptureFixture) -> None:
    world.error = AdminRulesError("iptables-legacy-save: no answer")
    world.pass_time(60)
    assert world.told == []
    assert "rules-unreadable why='iptables-legacy-save: no answer'" in caplog.text
    world.error = None
    world.pass_time(60)
    assert len(world.told) == 1


def test_rules_that_could_not_be_read_once_are_read_again_without_a_change(
    world: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pass_time(60)
    assert (world.read, len(world.told)) == (1, 1)
    world.legacy = "-P FORWARD DROP"
    fail = AdminRulesError("nft: no answer")
    monkeypatch.setattr(world.watch, "_read", _raising(fail))
    world.pass_time(60)
    assert len(world.told) == 1
    monkeypatch.setattr(world.watch, "_read", world.read_all)
    world.pass_time(60)
    assert len(world.told) == 2


def _raising(error: Exception) -> Callable[[], AdminRules]:
    def read() -> AdminRules:
        raise error

    return read
