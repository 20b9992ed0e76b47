"""The event loop: descriptors, the timer, chores, and handlers that fail; its clock is a number."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from sipalg.datapath.loop import READ, WRITE, FaultLog, Loop, Steps


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[Loop]:
    loop = Loop(clock)
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_a_ready_descriptor_is_handled(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    seen: list[int] = []
    loop.watch(left, seen.append)
    loop.step(0)
    assert seen == []
    right.send(b"x")
    loop.step(0)
    assert seen == [READ]
    loop.change(left, READ | WRITE)
    loop.step(0)
    assert seen == [READ, READ | WRITE]
    loop.unwatch(left)
    loop.unwatch(left)
    loop.step(0)
    assert len(seen) == 2


def test_unwatching_a_closed_socket_is_no_error(loop: Loop) -> None:
    left, right = socket.socketpair()
    left.close()
    right.close()
    loop.unwatch(left)


def test_a_descriptor_that_an_earlier_handler_took_away_is_not_handled(loop: Loop) -> None:
    first, second = socket.socketpair()
    called: list[str] = []

    def take(name: str, other: socket.socket) -> None:
        called.append(name)
        loop.unwatch(other)

    with first, second:
        first.send(b"x")
        second.send(b"x")
        loop.watch(first, lambda _: take("first", second))
        loop.watch(second, lambda _: take("second", first))
        loop.step(0)
    assert len(called) == 1


def test_the_timer_runs_when_it_is_due_and_not_before(loop: Loop, clock: Clock) -> None:
    due: list[float | None] = [1000.5]
    ran: list[float] = []
    loop.set_timer(lambda: due[0], lambda: ran.append(clock.now))
    loop.step(0)
    assert ran == []
    clock.now = 1000.5
    loop.step(60)
    assert ran == [1000.5]
    due[0] = None
    loop.step(0)
    assert ran == [1000.5]


def test_chores_keep_their_interval_and_are_not_made_up_for(loop: Loop, clock: Clock) -> None:
    done: list[float] = []
    loop.every(10.0, lambda: done.append(clock.now))
    for now in (1009.0, 1010.0, 1011.0, 1055.0, 1056.0, 1065.0):
        clock.now = now
        loop.step(0)
    assert done == [1010.0, 1055.0, 1065.0]


def stepping(clock: Clock, done: list[str], name: str, count: int, each_s: float) -> Steps:
    for _ in range(count):
        clock.now += each_s
        done.append(name)
        yield


def test_work_is_done_a_slice_at_a_time_with_what_is_ready_in_between(
    loop: Loop, clock: Clock, pair: tuple[socket.socket, socket.socket]
) -> None:
    done: list[str] = []
    left, right = pair
    loop.watch(left, lambda _: done.append(left.recv(1).decode()))
    loop.work(stepping(clock, done, "a", 5, 0.00006))
    loop.work(stepping(clock, done, "b", 3, 0.00006))
    right.send(b"1")
    loop.step(60)
    assert done == ["1", "a", "a"]
    right.send(b"2")
    for _ in range(4):
        loop.step(60)
    assert "".join(done[3:]) == "2bbaaba"
    loop.step(0)
    assert len(done) == 10


def test_work_gets_its_part_where_packets_take_all_the_time(
    loop: Loop, clock: Clock, pair: tuple[socket.socket, socket.socket]
) -> None:
    def handle(_events: int) -> None:
        clock.now += 0.02

    left, right = pair
    right.send(b"always ready")
    loop.watch(left, handle)
    done: list[str] = []
    loop.work(stepping(clock, done, "a", 100, 0.0011))
    loop.step(60)
    assert len(done) == 5, "a quarter of the packets' time"
    loop.step(60)
    assert len(done) == 10


def test_a_chore_may_be_work_and_is_not_begun_again_before_its_end(loop: Loop, clock: Clock) -> None:
    done: list[str] = []
    begun: list[float] = []

    def chore() -> Steps:
        begun.append(clock.now)
        return stepping(clock, done, "a", 4, 0.4)

    loop.every(1.0, chore)
    clock.now = 1001.0
    for _ in range(3):
        loop.step(0)
    assert begun == [1001.0]
    assert clock.now > 1002.0
    for _ in range(2):
        loop.step(0)
    assert len(done) == 4
    clock.now = 1005.0
    loop.step(0)
    assert len(begun) == 2


def test_work_that_raises_is_logged_and_over(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> Steps:
        yield
        raise ValueError("at the second step")

    done: list[None] = []

    def other() -> Steps:
        yield
        done.append(None)

    loop.work(failing())
    loop.work(other())
    for _ in range(6):
        loop.step(0)
    assert done == [None]
    (record,) = caplog.records
    assert "failing" in record.getMessage()
    assert loop.log.total == 1


def test_the_longest_turn_is_told_and_forgotten(
    loop: Loop, clock: Clock, pair: tuple[socket.socket, socket.socket]
) -> None:
    def handle(_events: int) -> None:
        clock.now += len(left.recv(10))

    left, right = pair
    loop.watch(left, handle)
    for text in (b"12", b"12345", b"123"):
        right.send(text)
        loop.step(0)
    assert loop.longest_turn_s == 5.0
    loop.forget_longest_turn()
    right.send(b"1")
    loop.step(0)
    assert loop.longest_turn_s == 5.0
    loop.forget_longest_turn()
    assert loop.longest_turn_s == 1.0
    loop.work(stepping(clock, [], "a", 1, 7.0))
    loop.step(0)
    assert loop.longest_turn_s == 7.0, "chores and slices are part of it"
    loop.forget_longest_turn()
    loop.forget_longest_turn()
    assert loop.longest_turn_s == 0.0


def test_run_ends_when_a_handler_stops_it(loop: Loop, clock: Clock) -> None:
    def stop() -> None:
        loop.stop()

    loop.every(5.0, stop)
    clock.now = 1005.0
    loop.run()


def test_a_handler_that_raises_is_logged_and_called_again(
    loop: Loop, pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    left, right = pair
    right.send(b"x")
    calls: list[int] = []

    def fail(events: int) -> None:
        calls.append(events)
        raise ValueError("no good")

    loop.watch(left, fail)
    loop.step(0)
    loop.step(0)
    assert len(calls) == 2
    assert loop.log.total == 2
    assert len(caplog.records) == 1
    assert "fail" in caplog.text
    assert "no good" in caplog.text


def test_a_handler_that_only_raises_ends_the_loop(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    right.send(b"x")

    def fail(_events: int) -> None:
        raise ValueError("no good")

    loop.watch(left, fail)
    with pytest.raises(ValueError, match="no good"):
        loop.run()
    assert loop.log.total == 99


def test_faults_are_logged_once_a_minute_and_kind(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    log = FaultLog(clock)

    def fault(text: str) -> None:
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("packet", "ignored")

    with caplog.at_level(logging.ERROR):
        for text in ("a", "a", "b"):
            fault(text)
        assert len(caplog.records) == 2
        clock.now += 61
        fault("a")
        assert len(caplog.records) == 3
        for number in range(150):
            fault(f"kind {number}")
    assert log.total == 154
    assert "consequence=ignored" in caplog.text


def test_what_is_to_be_done_soon_comes_behind_what_is_ready_once_a_turn() -> None:
    loop = Loop()
    left, right = socket.socketpair()
    said: list[str] = []

    def again() -> None:
        said.append("soon")
        if len(said) < 4:
            loop.soon(again)

    with left, right:
        right.send(b"x")
        loop.watch(left, lambda _: said.append("ready"))
        loop.soon(again)
        for _ in range(3):
            loop.step(60.0)
        loop.close()
    assert said == ["ready", "soon", "ready", "soon", "ready"]
