"""Machine code that receives a dump; `test_netlink` has the same answers read with it and without."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipalg import builds
from sipalg.codec.machine import machine_code
from sipalg.datapath.netlink import Message, encode

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

DONE = encode(Message(3, 2, bytes(4)), 7)
ERROR = encode(Message(2, 0, struct.pack("=i", -errno.ENOENT) + bytes(16)), 7)


def received(near: socket.socket) -> Any:
    function: Callable[..., Any] | None = machine_code("sipalg.datapath.dumps", "received")
    assert function is not None
    return function(near.fileno(), 7)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    far, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.setblocking(False)
    with far, near:
        yield far, near


@pytest.mark.parametrize("last", [DONE, ERROR, encode(Message(101, 2, b"odd"), 7) + DONE])
def test_all_buffers_to_the_last_are_received(ends: tuple[socket.socket, socket.socket], last: bytes) -> None:
    far, near = ends
    one = encode(Message(101, 2, bytes(30000)), 7)
    of_another = encode(Message(3, 2, bytes(4)), 6)
    pieces = [one, of_another, b"short", bytes(16), one[:1000], last]
    for piece in pieces:
        far.send(piece)
    far.send(one)
    assert received(near) == b"".join(pieces)


def test_more_than_there_was_room_for_at_first(ends: tuple[socket.socket, socket.socket]) -> None:
    far, near = ends
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    pieces = [encode(Message(101, 2, bytes(count) * 100_000), 7) for count in range(1, 20)]
    near.settimeout(None)
    for piece in (*pieces, DONE):
        far.send(piece[:100_000])
    assert len(received(near)) == sum(len(piece[:100_000]) for piece in (*pieces, DONE))


def test_what_cannot_be_received_raises(ends: tuple[socket.socket, socket.socket]) -> None:
    far, near = ends
    with pytest.raises(BlockingIOError):
        received(near)
    far.close()
    near.setblocking(True)
    with pytest.raises(OSError, match="dump"):
        received(near)
