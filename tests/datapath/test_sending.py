"""Verdicts sent beside the engine: the same, in the same order, and only while there is more than it can do."""

from __future__ import annotations

import random
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.datapath.queued import DROP, batch_at, packet_message, packet_of, verdict_of

from sipalg import builds
from sipalg.codec import datagram

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

MANY = 16


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The kernel's end, and ours."""
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (kernel, ours):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        end.settimeout(30)
    yield kernel, ours
    kernel.close()
    ours.close()


def threads() -> set[Path]:
    return set(Path("/proc/self/task").iterdir())


def test_only_many_packets_at_once_make_a_thread_which_gets_no_signals_and_ends(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    kernel, ours = ends
    before = threads()
    begun = False
    batch = batch_at(ours.fileno(), alone=False)
    for count in (1, MANY - 1, MANY, 1, 32):
        for packet_id in range(count):
            kernel.send(packet_message(packet_id, b"x"))
        for packet in batch.receive(32):
            batch.verdict_accept(packet[0])
        batch.flush()
        assert kernel.recv(70_000) == b"".join(verdict_of(packet_id, None) for packet_id in range(count))
        begun = begun or count >= MANY
        made = threads() - before
        assert len(made) == begun
        for thread in made:
            status = (thread / "status").read_text().splitlines()
            blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
            assert blocked & 1 << signal.SIGTERM - 1
    del batch
    assert threads() == before


def test_without_a_second_processor_there_is_no_thread(ends: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = ends
    before = threads()
    batch = batch_at(ours.fileno())
    for packet_id in range(32):
        kernel.send(packet_message(packet_id, b"x"))
    for packet in batch.receive(32):
        batch.verdict_accept(packet[0])
    batch.flush()
    assert kernel.recv(70_000) == b"".join(verdict_of(packet_id, None) for packet_id in range(32))
    assert threads() == before


def test_verdicts_keep_their_order_whoever_sends_them(ends: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = ends
    draw = random.Random(7)
    batch = batch_at(ours.fileno(), alone=False)
    packet = packet_of(b"before")
    packet_id = 0
    expected = []
    got = b""
    for _ in range(300):
        count = draw.choice((0, 1, 2, MANY - 1, MANY, 31, 32, 32, 32))
        for one in range(packet_id, packet_id + count):
            kernel.send(packet_message(one, packet))
        for held in batch.receive(32):
            kind = draw.randrange(3)
            if kind == 0:
                batch.verdict_accept(held[0])
                expected.append(verdict_of(held[0], None))
            elif kind == 1:
                batch.verdict_drop(held[0])
                expected.append(DROP + struct.pack("!I", held[0]))
            else:
                payload = draw.randbytes(draw.choice((0, 1, 600, 9000)))
                batch.verdict_payload(held[0], packet, payload, 1500, 1)
                expected.append(verdict_of(held[0], datagram.replace_payload(packet, payload, 1500, 1)))
        packet_id += count
        batch.flush()
        if draw.randrange(8) == 0:
            batch.settle()
            got += waiting(kernel)
    batch.settle()
    got += waiting(kernel)
    assert got == b"".join(expected)
    assert (batch.received, batch.refused) == (packet_id, 0)


def test_what_does_not_get_through_beside_the_engine_is_counted_and_the_rest_does() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, ours:
        # A datagram larger than the sender's buffer is refused.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        kernel.settimeout(30)
        batch = batch_at(ours.fileno(), alone=False)
        packet = packet_of(b"a")
        for packet_id in range(MANY):
            kernel.send(packet_message(packet_id, packet))
        for held in batch.receive(32):
            batch.verdict_payload(held[0], packet, bytes(60_000 if held[0] % 8 == 7 else 300), 1500, 1)
        batch.flush()
        small = datagram.replace_payload(packet, bytes(300), 1500, 1)
        for packet_id in range(MANY):
            if packet_id % 8 != 7:
                assert kernel.recv(70_000) == verdict_of(packet_id, small)
        batch.settle()
        assert batch.refused == 2


def waiting(kernel: socket.socket) -> bytes:
    """All that has come by now."""
    got = b""
    kernel.setblocking(False)
    try:
        while True:
            got += kernel.recv(1 << 19)
    except BlockingIOError:
        kernel.settimeout(30)
        return got
