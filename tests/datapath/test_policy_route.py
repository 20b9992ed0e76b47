"""The routing rule for the relay: what others use is left to them, what a dead process left is taken away."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import ClassVar, Self

import pytest

from sipalg.datapath import netlink, policy_route
from sipalg.datapath.netlink import Message, NetlinkError
from sipalg.datapath.policy_route import BITS, PRIORITIES, PROTOCOL, TABLES, NoRoomError, Place, PolicyRule, choose

MAIN = PolicyRule(32766, 254, 0, 0, "", 2)
FIRST = Place(PRIORITIES[0], TABLES[0], BITS[0])


def test_the_first_of_each_is_taken_where_nobody_has_it() -> None:
    assert choose([MAIN], {254, 255}) == FIRST
    ours = PolicyRule(FIRST.priority, FIRST.table, FIRST.bit, FIRST.bit, "lan0", PROTOCOL)
    assert choose([MAIN, ours], set()) == FIRST, "what is ours is in nobody's way"


def test_what_others_use_is_left_to_them() -> None:
    marked = PolicyRule(PRIORITIES[0], TABLES[0], BITS[0] | 1, 0xFF << 24, "", 4)
    with pytest.raises(NoRoomError, match="all bits of the mark"):
        choose([marked], set())
    marked = marked._replace(mask=BITS[0] | 1)
    assert choose([marked], {TABLES[1]}) == (PRIORITIES[1], TABLES[2], BITS[1])


def test_no_room_is_told() -> None:
    with pytest.raises(NoRoomError, match="priorities from 50 to 57"):
        choose([PolicyRule(priority, 254, 0, 0, "", 2) for priority in PRIORITIES], set())
    with pytest.raises(NoRoomError, match="routing tables from 50600 to 50607"):
        choose([MAIN], set(TABLES))


class Kernel:
    """Rules and routes as messages, by request."""

    rules: ClassVar[list[Message]] = []
    routes: ClassVar[list[Message]] = []
    results: ClassVar[list[int]] = []
    sent: ClassVar[list[Message]] = []

    def __init__(self, _family: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, message: Message) -> list[Message]:
        return self.rules if message.kind == 34 else self.routes

    def acknowledge(self, messages: Sequence[Message]) -> list[int]:
        self.sent.extend(messages)
        return self.results or [0] * len(messages)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[Kernel]:
    monkeypatch.setattr(policy_route, "NetlinkSocket", Kernel)
    Kernel.rules, Kernel.routes, Kernel.results, Kernel.sent = [], [], [], []
    return Kernel


def added(kernel: type[Kernel]) -> tuple[list[Message], list[Message]]:
    """What `add` sends, as the kernel would list it."""
    policy_route.add(FIRST, ("lan0", "wan0"))
    routes = [Message(24, 0, one.body) for one in kernel.sent if one.kind == 24]
    rules = [Message(32, 0, one.body) for one in kernel.sent if one.kind == 32]
    kernel.sent = []
    return rules, routes


def test_what_is_added_is_read_back(kernel: type[Kernel]) -> None:
    kernel.rules, kernel.routes = added(kernel)
    rules, tables = policy_route.rules_and_tables()
    place = (FIRST.priority, FIRST.table, FIRST.bit, FIRST.bit)
    assert rules == [PolicyRule(*place, "lan0", PROTOCOL), PolicyRule(*place, "wan0", PROTOCOL)]
    assert tables == set()


def test_whether_it_stands(kernel: type[Kernel]) -> None:
    rules, routes = added(kernel)
    for kernel.rules, kernel.routes, all_there in (
        (rules, routes, True),
        (rules[:1], routes, False),
        (rules, [], False),
        ([*rules, Message(32, 0, b"")], [Message(24, 0, b""), *routes], True),
    ):
        assert policy_route.stands(FIRST, ("lan0", "wan0")) == all_there


def test_ours_is_taken_away_and_nothing_else(kernel: type[Kernel]) -> None:
    rules, routes = added(kernel)
    header = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0)
    others = netlink.attribute(10, (7).to_bytes(4, "little"))
    kernel.rules = [*rules, Message(32, 0, header + others), Message(32, 0, b""), Message(3, 0, header)]
    route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0)
    kernel.routes = [*routes, Message(24, 0, route)]
    policy_route.remove()
    assert [message.kind for message in kernel.sent] == [33, 33, 25]
    found, tables = policy_route.rules_and_tables()
    assert found[-1] == PolicyRule(0, 254, 7, 0xFFFFFFFF, "", 0)
    assert tables == {254}
    kernel.results = [errno.ENOENT, errno.ESRCH, 0]
    policy_route.remove()
    kernel.results = [errno.EPERM, 0, 0]
    with pytest.raises(NetlinkError, match="permitted"):
        policy_route.remove()


def test_what_is_refused_leaves_nothing(kernel: type[Kernel], monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[bool] = []
    monkeypatch.setattr(policy_route, "remove", lambda: removed.append(True))
    kernel.results = [0, errno.EPERM, 0]
    with pytest.raises(NetlinkError) as caught:
        policy_route.add(FIRST, ("lan0", "wan0"))
    assert (caught.value.errno, caught.value.index, removed) == (errno.EPERM, 1, [True])
