"""Machine code against the interpreted way: the same packets out of the same bytes, the same verdicts into them."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.datapath.queued import DROP, NUMBER, batch_at, packet_message, packet_of, verdict_of

from sipalg import builds
from sipalg.codec import datagram
from sipalg.datapath import netlink
from sipalg.datapath.nfqueue import parse_packet

if TYPE_CHECKING:
    from sipalg.datapath.batched import Machine

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[socket.socket, Machine]]:
    """The kernel's end, and the batch at the other one."""
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (kernel, ours):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        end.settimeout(30)
    yield kernel, batch_at(ours.fileno())
    kernel.close()
    ours.close()


@given(
    st.integers(0, 2**35 - 1),
    st.binary(max_size=2000),
    st.booleans(),
    st.binary(max_size=24),
    st.integers(0, 2**32 - 1),
    st.integers(0, 3),
)
def test_a_message_is_read_as_the_interpreted_way_reads_it(
    ends: tuple[socket.socket, Machine],
    packet_id: int,
    packet: bytes,
    interfaces: bool,
    more: bytes,
    at: int,
    cut: int,
) -> None:
    kernel, batch = ends
    message = bytearray(packet_message(packet_id, packet, interfaces=interfaces, more=more))
    if cut == 1:
        del message[at % len(message) :]
    elif cut == 2:
        message[at % len(message)] ^= 1 << at % 8
    kernel.send(message)
    expected = parse_packet(bytearray(message), len(message), NUMBER)
    assert batch.receive(5) == ([] if expected is None else [expected])


def test_packets_come_in_order_and_no_more_than_asked_for(ends: tuple[socket.socket, Machine]) -> None:
    kernel, batch = ends
    before = batch.received
    for packet_id in range(8):
        kernel.send(packet_message(packet_id, b"x" * packet_id))
    assert [packet[0] for packet in batch.receive(5)] == [0, 1, 2, 3, 4]
    assert [packet[0] for packet in batch.receive(5)] == [5, 6, 7]
    assert batch.receive(5) == []
    assert batch.received - before == 8
    kernel.send(packet_message(2 << 32 | 9, b""))
    batch.receive(5)
    assert (batch.last_ids[0], batch.last_ids[2]) == (7, 9)


def test_a_refusal_is_counted(ends: tuple[socket.socket, Machine]) -> None:
    kernel, batch = ends
    before = batch.refused
    kernel.send(netlink.encode(netlink.Message(netlink.ERROR, 0, struct.pack("=i", -2) + bytes(16)), 0))
    assert batch.receive(5) == []
    assert batch.refused == before + 1


@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 70), st.binary(max_size=8))
def test_a_packet_is_split_as_the_interpreted_way_splits_it(
    ends: tuple[socket.socket, Machine], payload: bytes, first: int, at: int, behind: bytes
) -> None:
    packet = bytearray(packet_of(payload) + behind)
    packet[at % 28] ^= first
    for size in (len(packet), at):
        assert ends[1].split_udp(bytes(packet[:size])) == datagram.split_udp(bytes(packet[:size]))


@given(
    st.binary(max_size=1600),
    st.binary(max_size=1600),
    st.sampled_from([0, 0x4000]),
    st.booleans(),
    st.integers(68, 2000),
    st.integers(1, 65535),
    st.sampled_from([0x45, 0x46]),
)
def test_a_new_payload_is_put_in_as_the_interpreted_way_does_it(
    ends: tuple[socket.socket, Machine],
    before: bytes,
    after: bytes,
    fragment: int,
    summed: bool,
    mtu_bytes: int,
    identification: int,
    first: int,
) -> None:
    kernel, batch = ends
    packet = packet_of(before, fragment)
    if first == 0x46:
        packet = b"\x46" + packet[1:20] + b"\1\1\1\1" + packet[20:]
    if not summed:
        packet = packet[:26] + b"\0\0" + packet[28:]
    batch.verdict_payload(9, packet, after, mtu_bytes, identification)
    batch.flush()
    expected = datagram.replace_payload(packet, after, mtu_bytes, identification)
    assert kernel.recv(70_000) == verdict_of(9, expected)


@pytest.mark.parametrize("size_bytes", [0, 1, 65503])
@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_sums_that_are_all_alike(ends: tuple[socket.socket, Machine], size_bytes: int, byte: bytes) -> None:
    kernel, batch = ends
    packet, payload = packet_of(b"before"), byte * size_bytes
    batch.verdict_payload(1, packet, payload, 1500, 3)
    batch.flush()
    assert kernel.recv(70_000) == verdict_of(1, datagram.replace_payload(packet, payload, 1500, 3))


def test_a_payload_that_fits_no_packet_is_none(ends: tuple[socket.socket, Machine]) -> None:
    kernel, batch = ends
    for size in (65504, 65507, 65508):
        with pytest.raises(ValueError, match="fit"):
            batch.verdict_payload(1, packet_of(b""), bytes(size), 1500, 3)
    batch.verdict_accept(2)
    batch.flush()
    assert kernel.recv(70_000) == verdict_of(2, None)


def test_verdicts_go_in_batches(ends: tuple[socket.socket, Machine]) -> None:
    kernel, batch = ends
    draw = random.Random(3)
    expected = [b""]
    for number in range(200):
        # Each queue counts by itself.
        packet_id = number % 8 << 32 | 2**32 - 1 - number
        size = draw.choice((0, 1, 500, 1473, 9000, 60_000))
        payload = draw.randbytes(size)
        packet = packet_of(b"a")
        if number % 3 == 0:
            batch.verdict_accept(packet_id)
            expected.append(verdict_of(packet_id, None))
        elif number % 7 == 0:
            batch.verdict_drop(packet_id)
            queue = struct.pack("!H", NUMBER + number % 8)
            expected.append(DROP[:18] + queue + DROP[20:] + struct.pack("!I", packet_id & 0xFFFFFFFF))
        else:
            batch.verdict_payload(packet_id, packet, payload, 1500, 1)
            expected.append(verdict_of(packet_id, datagram.replace_payload(packet, payload, 1500, 1)))
        if number % 50 == 49:
            batch.flush()
        kernel.setblocking(False)
        try:
            while True:
                got = kernel.recv(1 << 19)
                assert len(got) <= 1 << 17
                expected[0] += got
        except BlockingIOError:
            pass
    assert expected[0] == b"".join(expected[1:])


def test_where_a_batch_does_not_get_through_each_goes_alone() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, ours:
        # A datagram larger than the sender's buffer is refused.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        kernel.settimeout(30)
        batch = batch_at(ours.fileno())
        packet = packet_of(b"a")
        for packet_id, size in enumerate((3000, 3000, 60_000)):
            batch.verdict_payload(packet_id, packet, bytes(size), 9000, 1)
        batch.flush()
        assert batch.refused == 1
        for packet_id in (0, 1):
            got = kernel.recv(70_000)
            assert got == verdict_of(packet_id, datagram.replace_payload(packet, bytes(3000), 9000, 1))
        batch.flush()
        kernel.setblocking(False)
        with pytest.raises(BlockingIOError):
            kernel.recv(1)


def test_a_prefix_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="28 bytes"):
        batch_at(0, b"")
