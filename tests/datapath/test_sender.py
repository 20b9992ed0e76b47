"""Verdicts sent by another thread while more packets wait: all of them, in order, and none later than the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.datapath.queued import batch_at, packet_message, verdict_of

from sipalg import builds

if TYPE_CHECKING:
    from sipalg.datapath.batched import Machine

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

#: As many as one `receive` takes: others may wait behind them.
FULL = 32


@contextmanager
def ends(*, sent_bytes: int = 1 << 22) -> Iterator[tuple[socket.socket, Machine]]:
    """The kernel's end, and at the other one a batch with a thread, which may send so much before it is read."""
    # Of datagrams only so many can wait, whatever their size.
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sent_bytes)
        kernel.settimeout(30)
        batch = batch_at(ours.fileno(), beside=True)
        yield kernel, batch
        batch.finish()


def pass_on(kernel: socket.socket, batch: Machine, packet_ids: Sequence[int]) -> None:
    """Have the kernel queue packets with ids from 0 to 2**16 - 1, and let them go on as they came."""
    for packet_id in packet_ids:
        kernel.send(packet_message(packet_id, b""))
    for packet in batch.receive(FULL):
        batch.verdict_accept(packet[0])
    batch.flush()


def sent(kernel: socket.socket, verdicts: int) -> list[bytes]:
    """What so many verdicts are as bytes, as they came."""
    got: list[bytes] = []
    size = len(verdict_of(0, None))
    while len(got) < verdicts:
        data = kernel.recv(1 << 18)
        got += [data[at : at + size] for at in range(0, len(data), size)]
    return got


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([1, 5, FULL, FULL]), max_size=12))
def test_verdicts_keep_their_order_whoever_sends_them(sizes: list[int]) -> None:
    with ends() as (kernel, batch):
        first = 0
        for size in sizes:
            pass_on(kernel, batch, range(first, first + size))
            first += size
        assert sent(kernel, first) == [verdict_of(packet_id, None) for packet_id in range(first)]
        assert batch.refused == 0


def test_at_the_end_all_are_in_the_kernel_and_later_ones_go_too() -> None:
    with ends() as (kernel, batch):
        for first in range(0, 3 * FULL, FULL):
            pass_on(kernel, batch, range(first, first + FULL))
        batch.verdict_accept(3 * FULL)
        batch.finish()
        kernel.setblocking(False)
        assert len(sent(kernel, 3 * FULL + 1)) == 3 * FULL + 1
        batch.finish()
        for first in range(0, 2 * FULL, FULL):
            pass_on(kernel, batch, range(first, first + FULL))
        batch.finish()
        assert len(sent(kernel, 2 * FULL)) == 2 * FULL


def test_where_the_thread_is_behind_the_packets_wait_without_pythons_lock() -> None:
    with ends(sent_bytes=1) as (kernel, batch), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(sent, kernel, 20 * FULL)
        for first in range(0, 20 * FULL, FULL):
            pass_on(kernel, batch, range(first, first + FULL))
        assert reading.result() == [verdict_of(packet_id, None) for packet_id in range(20 * FULL)]


def test_what_the_kernel_refuses_is_counted_one_by_one() -> None:
    with ends() as (kernel, batch):
        for packet_id in range(FULL):
            kernel.send(packet_message(packet_id, b""))
        packets = batch.receive(FULL)
        kernel.close()
        for packet in packets:
            batch.verdict_accept(packet[0])
        batch.finish()
        assert batch.refused == FULL
