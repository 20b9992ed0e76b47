"""One end of a relayed connection: what waits, when it is watched, and how it ends."""

from __future__ import annotations

import gc
import select
import socket
import weakref
from collections.abc import Callable, Iterator

import pytest

from sipalg.datapath.loop import READ, WRITE, HasFileno
from sipalg.datapath.relay_leg import FULL_BYTES, Leg


class Watching:
    """A loop that only notes what it is asked."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int]] = []

    def watch(self, _source: HasFileno, _on_ready: Callable[[int], None], events: int = READ) -> None:
        self.said.append(("watch", events))

    def change(self, _source: HasFileno, events: int) -> None:
        self.said.append(("change", events))

    def unwatch(self, _source: HasFileno) -> None:
        self.said.append(("unwatch", 0))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def leg_of(sock: socket.socket, loop: Watching | None = None, *, connected: bool = True) -> Leg:
    return Leg(loop or Watching(), sock, lambda _: None, connected=connected)


def test_it_is_watched_for_what_is_needed_and_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = Watching()
    leg = leg_of(pair[0], loop)
    leg.watch(reading=True)
    leg.watch(reading=True)
    leg.send(b"x" * 10_000_000)
    leg.watch(reading=True)
    leg.watch(reading=False)
    assert leg.full
    got = 0
    while got < 10_000_000:
        got += len(pair[1].recv(1 << 20))
        leg.flush()
    leg.close()
    assert loop.said == [("watch", READ), ("change", READ | WRITE), ("change", WRITE), ("unwatch", 0)]


def test_nothing_is_watched_for_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = Watching()
    leg = leg_of(pair[0], loop)
    leg.watch(reading=True)
    leg.watch(reading=False)
    leg.close()
    assert loop.said == [("watch", READ), ("unwatch", 0)]


def test_what_is_sent_before_it_is_connected_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = Watching()
    leg = leg_of(pair[0], loop, connected=False)
    leg.send(b"early")
    leg.finish()
    leg.watch(reading=True)
    assert loop.said == [("watch", WRITE)]
    pair[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        pair[1].recv(10)
    leg.check_connected()
    leg.flush()
    assert pair[1].recv(10) == b"early"
    assert pair[1].recv(10) == b""
    assert not leg.done
    pair[1].close()
    assert leg.read() == b""
    assert (leg.ended, leg.done) == (True, True)


def test_the_end_comes_behind_what_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    leg = leg_of(pair[0])
    sent = b"x" * (4 * FULL_BYTES)
    leg.send(sent)
    leg.finish()
    got = bytearray()
    while len(got) < len(sent):
        got += pair[1].recv(1 << 20)
        leg.flush()
    assert pair[1].recv(1) == b""


def test_reading_says_what_came_and_when_it_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    leg = leg_of(pair[0])
    assert (leg.read(), leg.ended) == (b"", False)
    pair[1].send(b"hello")
    assert (leg.read(), leg.ended) == (b"hello", False)
    pair[1].close()
    assert (leg.read(), leg.ended) == (b"", True)


def test_connecting_that_failed_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    sock = socket.socket()
    sock.setblocking(False)
    assert sock.connect_ex(address) != 0
    leg = leg_of(sock, connected=False)
    select.select([], [sock], [], 5)
    with pytest.raises(OSError, match="refused"):
        leg.check_connected()
    leg.close(reset=True)
    leg.close(reset=True)


def test_a_host_that_is_there_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as here:
        there, _ = server.accept()
        leg = leg_of(there)
        leg.ask()
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
        assert leg.has_answered(3600.0), "it has just confirmed the connection"
        assert not leg.has_answered(-1.0)
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) > 60, "no more questions"
        assert here.getpeername() == server.getsockname()
        leg.close()


def test_a_closed_one_lets_go_of_whom_it_called(pair: tuple[socket.socket, socket.socket]) -> None:
    class Caller:
        def __init__(self) -> None:
            self.leg = Leg(Watching(), pair[0], self.ready)

        def ready(self, _events: int) -> None:
            self.leg.close()

    collecting = gc.isenabled()
    gc.disable()
    try:
        caller = Caller()
        caller.ready(READ)
        caller.leg.close()
        gone = weakref.ref(caller)
        del caller
        assert gone() is None
    finally:
        if collecting:
            gc.enable()
