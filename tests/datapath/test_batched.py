"""The queue that the build has, with the socket's other end in this process."""

from __future__ import annotations

import _socket
import socket

import pytest

from sipalg import builds
from sipalg.datapath import netlink
from sipalg.datapath.batched import BatchedQueue, open_queue

#: The class as it is, while another one stands in its place.
Socket = socket.socket


class Pair(Socket):
    """Half of a pair of sockets, as a netlink socket is asked for; `kernel` is the other half."""

    kernel: Socket

    def __init__(self, *_what: int) -> None:
        ours, kernel = _socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        Pair.kernel = Socket(fileno=kernel.detach())
        super().__init__(fileno=ours.detach())

    def setsockopt(self, *_what: object) -> None:
        """A netlink socket has options of its own."""

    def bind(self, _address: object) -> None:
        """It has an address already."""


@pytest.fixture(autouse=True)
def paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Pair)
    monkeypatch.setattr(netlink, "grow_buffer", lambda *_what, **_which: None)


def test_interpreted_it_is_the_queue_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "running", lambda: "interpreted")
    queue, way = open_queue(7, 100)
    assert way is queue
    assert not isinstance(queue, BatchedQueue)
    queue.close()
    Pair.kernel.close()


@pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")
def test_compiled_it_is_machine_code_which_counts() -> None:
    queue, way = open_queue(7, 100)
    assert isinstance(queue, BatchedQueue)
    assert way is queue.way
    assert Pair.kernel.recv(1000)  # the binding
    assert (queue.received, queue.refused) == (0, 0)
    way.verdict_accept(3)
    queue.close()
    assert Pair.kernel.recv(1000)[-4:] == b"\0\0\0\3"  # what waited goes first
    assert Pair.kernel.recv(1000)
    Pair.kernel.close()
