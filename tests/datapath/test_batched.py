"""The queue that the build has, with the socket's other end in this process."""

from __future__ import annotations

import _socket
import socket
import struct

import pytest

from sipalg import builds
from sipalg.datapath import netlink
from sipalg.datapath.batched import BatchedQueue, open_queue
from sipalg.datapath.nfqueue import LAST_NUMBER

#: The class as it is, while another one stands in its place.
Socket = socket.socket


def packet_message(number: int, packet_id: int) -> bytes:
    """What the kernel says of a packet that a queue holds."""
    body = struct.pack("!BBH", 2, 0, number) + netlink.attribute(1, struct.pack("!IHB", packet_id, 0x800, 2))
    return netlink.encode(netlink.Message(0x300, 0, body + netlink.attribute(10, bytes(40))), 0)


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
    queue, way = open_queue(LAST_NUMBER, 100)
    assert isinstance(queue, BatchedQueue)
    assert way is queue.way
    for _ in ("the binding", "the copies"):
        messages = [message for _, message in netlink.decode(Pair.kernel.recv(1000))]
        assert [message.body[2:4] for message in messages] == [struct.pack("!H", n) for n in range(65528, 65536)]
    assert (queue.received, queue.refused) == (0, 0)
    Pair.kernel.send(packet_message(65535, 5))
    (packet,) = way.receive(10)
    assert packet[0] == 7 << 32 | 5
    way.verdict_accept(packet[0])
    queue.close()
    verdict = Pair.kernel.recv(1000)  # what waited goes first
    assert (verdict[18:20], verdict[-4:]) == (b"\xff\xff", b"\0\0\0\5")
    up_to = [Pair.kernel.recv(1000)[-4:] for _ in range(8)]
    assert up_to == [struct.pack("!I", (1 << 30) + last) for last in (*[0] * 7, 5)]
    Pair.kernel.close()
