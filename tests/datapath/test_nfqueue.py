from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import netlink
from sipalg.datapath.netlink import Message, NetlinkError, decode, encode
from sipalg.datapath.nfqueue import (
    PacketQueue,
    QueuedPacket,
    QueueStatistics,
    parse_packet,
    parse_statistics,
)

PAYLOAD = b"E" + bytes(range(99))
PACKET_MESSAGE, VERDICT, CONFIG, VERDICT_UP_TO = 0x300, 0x301, 0x302, 0x303


def packet_message(
    packet_id: int, payload: bytes = PAYLOAD, *, interfaces: bool = True, extra: bytes = b"", number: int = 77
) -> bytes:
    """Build what nfqnl_build_packet_message sends."""
    body = struct.pack("!BBH", 2, 0, number) + netlink.attribute(1, struct.pack("!IHB", packet_id, 0x800, 2))
    if interfaces:
        body += netlink.u32(5, 3) + netlink.u32(6, 4)
    return encode(Message(PACKET_MESSAGE, 0, body + extra + netlink.attribute(10, payload)), 0)


def parsed(data: bytes) -> QueuedPacket | None:
    return parse_packet(bytearray(data) + bytearray(1000), len(data), 77)


class FakeSocket:
    """Stands for the kernel's end: what waits is received, what is sent is kept, and refused where `broken` says."""

    def __init__(self, *_: int) -> None:
        self.waiting: deque[bytes] = deque()
        self.sent: list[bytes] = []
        self.broken: set[int] = set()
        self.closed = False
        made.append(self)

    def setsockopt(self, *_: int) -> None: ...

    def setblocking(self, _blocking: bool) -> None: ...

    def bind(self, _address: tuple[int, int]) -> None: ...

    def fileno(self) -> int:
        return 99

    def send(self, data: bytes) -> int:
        if len(data) in self.broken:
            raise OSError(errno.EMSGSIZE, "too long")
        self.sent.append(data)
        for sequence, message in decode(data):
            if message.kind == CONFIG:
                self._configure(sequence, message)
        return len(data)

    def _configure(self, sequence: int, message: Message) -> None:
        number = int.from_bytes(message.body[2:4], "big")
        code = refuse_bind.get(number)
        if code is not None:
            self.waiting.append(encode(Message(2, 0, struct.pack("=i", code) + bytes(16)), sequence))
        elif flooded and 2 in netlink.attributes(message.body, 4):
            self.waiting.append(packet_message(1, number=number))

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting[0]

    def recv_into(self, buffer: bytearray) -> int:
        if not self.waiting:
            raise BlockingIOError
        data = self.waiting.popleft()
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.closed = True

    def messages(self) -> list[Message]:
        """Give what was sent since the queue was bound."""
        return [message for data in self.sent[2:] for _, message in decode(data)]


made: list[FakeSocket] = []
#: What the kernel says to any configuration of a queue, by its number.
refuse_bind: dict[int, int] = {}
#: Not empty while a packet waits in each queue as soon as copies are asked for.
flooded: list[bool] = []


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSocket:
    made.clear()
    refuse_bind.clear()
    flooded.clear()
    monkeypatch.setattr(socket, "socket", FakeSocket)
    queue = PacketQueue(77, 500)
    fake = made[0]
    fake.queue = queue  # type: ignore[attr-defined]
    return fake


def queue_of(fake: FakeSocket) -> PacketQueue:
    queue: PacketQueue = fake.queue  # type: ignore[attr-defined]
    return queue


def accept_of(packet_id: int, number: int = 77) -> Message:
    verdict = netlink.attribute(2, struct.pack("!II", 1, packet_id))
    return Message(VERDICT, 1, struct.pack("!BBH", 0, 0, number) + verdict)


def test_a_packet_is_read_with_and_without_what_else_the_kernel_tells() -> None:
    assert parsed(packet_message(5)) == QueuedPacket(5, 2, 3, 4, PAYLOAD)
    hardware = netlink.u32(3, 1) + netlink.attribute(9, bytes(12)) + netlink.u32(14, 1)
    assert parsed(packet_message(2**32 - 1, extra=hardware)) == QueuedPacket(2**32 - 1, 2, 3, 4, PAYLOAD)


def test_a_packet_without_interfaces_is_still_read() -> None:
    assert parsed(packet_message(5, interfaces=False)) == QueuedPacket(5, 2, 0, 0, PAYLOAD)


def test_a_message_about_no_packet_is_none() -> None:
    whole = packet_message(5)
    assert parsed(b"") is None
    assert parsed(encode(Message(2, 0, bytes(100)), 0)) is None
    assert parsed(encode(Message(PACKET_MESSAGE, 0, bytes(100)), 0)) is None
    assert parsed(whole[:-1]) is None
    assert parsed(whole) is not None


@pytest.mark.parametrize(
    "end", [b"", struct.pack("=HH", 50, 10), struct.pack("=HH", 3, 9), struct.pack("=HH", 2, 10), b"\0\0"]
)
def test_a_packet_without_whole_payload_comes_out_empty_since_it_is_owed_a_verdict(end: bytes) -> None:
    body = next(decode(packet_message(5, extra=netlink.u32(3, 1))))[1].body
    without = body[: -len(netlink.attribute(10, PAYLOAD))]
    assert parsed(encode(Message(PACKET_MESSAGE, 0, without + end), 0)) == QueuedPacket(5, 2, 3, 4, b"")


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_bytes_without_sense_never_raise(noise: bytes, place: int, byte: int) -> None:
    parsed(noise)
    spoiled = bytearray(packet_message(5))
    spoiled[place % len(spoiled)] = byte
    packet = parsed(bytes(spoiled))
    assert packet is None or packet.packet in PAYLOAD or len(packet.packet) <= len(spoiled)


def test_numbers_are_bound_before_copies_are_asked_for(fake: FakeSocket) -> None:
    (bound,), (copies,) = ([message for _, message in decode(data)] for data in fake.sent)
    for message in (bound, copies):
        assert (message.kind, message.body[:4]) == (CONFIG, struct.pack("!BBH", 0, 0, 77))
    assert netlink.attributes(bound.body, 4) == {
        1: b"\1\0\0\2",
        3: struct.pack("!I", 500),
        4: struct.pack("!I", 1 | 4),
        5: struct.pack("!I", 1),
    }
    assert netlink.attributes(copies.body, 4) == {2: b"\0\0\xff\xff\2"}
    assert queue_of(fake).fileno() == 99


def test_without_fail_open_the_flag_is_not_set(fake: FakeSocket) -> None:
    PacketQueue(77, fail_open=False)
    ((_, message),) = decode(made[1].sent[0])
    assert netlink.attributes(message.body, 4)[5] == bytes(4)
    assert not fake.closed


def test_a_refused_binding_raises_and_closes(fake: FakeSocket) -> None:
    refuse_bind[77] = -errno.EPERM
    with pytest.raises(NetlinkError) as caught:
        PacketQueue(77)
    assert caught.value.errno == errno.EPERM
    assert made[1].closed
    assert not fake.closed


def test_a_refusal_is_seen_and_named_however_many_packets_come(fake: FakeSocket) -> None:
    flooded.append(True)
    refuse_bind.update({82: -errno.EPERM, 83: -errno.EBUSY})
    with pytest.raises(NetlinkError, match="queue 82: Operation not permitted; stop the program that") as caught:
        PacketQueue(77, queues=8)
    assert (caught.value.errno, caught.value.index) == (errno.EPERM, 5)
    assert made[1].closed
    # Nobody was promised a verdict.
    assert [message for message in made[1].waiting if struct.unpack_from("=H", message, 4)[0] == PACKET_MESSAGE] == []
    assert not fake.closed


def test_a_packet_that_comes_right_after_binding_is_not_lost(fake: FakeSocket) -> None:
    refuse_bind[78] = 0  # an acknowledgement is no refusal
    flooded.append(True)
    queue = PacketQueue(77, queues=2)
    assert [packet.packet_id for packet in queue.receive()] == [1]
    assert not fake.closed


def test_receiving_drains_up_to_the_limit(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    fake.waiting.extend(packet_message(number) for number in range(1, 6))
    assert [packet.packet_id for packet in queue.receive(3)] == [1, 2, 3]
    assert [packet.packet_id for packet in queue.receive(3)] == [4, 5]
    assert queue.receive(3) == []
    assert queue.received == 5


def test_refusals_are_counted_and_other_messages_left_out(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    fake.waiting.extend(
        [
            encode(Message(2, 0, struct.pack("=i", -errno.ENOENT) + bytes(16)), 0),
            b"",
            packet_message(1),
            encode(Message(3, 0, b""), 0),
        ]
    )
    assert len(queue.receive()) == 1
    assert queue.refused == 1


def test_verdicts_wait_for_a_flush(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    queue.verdict_accept(1)
    queue.verdict_replace(2, b"abcde")
    assert fake.messages() == []
    queue.flush()
    assert len(fake.sent) == 3
    accepted, replaced = fake.messages()
    assert accepted == accept_of(1)
    assert netlink.attributes(replaced.body, 4) == {2: struct.pack("!II", 1, 2), 10: b"abcde"}
    queue.flush()
    assert len(fake.sent) == 3


def test_a_drop_is_a_verdict_too(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    queue.verdict_drop(3)
    queue.flush()
    (dropped,) = fake.messages()
    assert netlink.attributes(dropped.body, 4) == {2: struct.pack("!II", 0, 3)}
    assert dropped.kind == VERDICT
    for number in range(33):
        queue.verdict_drop(number)
    assert len(fake.messages()) == 33


@pytest.mark.parametrize("replace", [False, True])
def test_no_more_than_32_verdicts_go_at_once(fake: FakeSocket, replace: bool) -> None:
    queue = queue_of(fake)
    for number in range(70):
        if replace:
            queue.verdict_replace(number, b"x")
        else:
            queue.verdict_accept(number)
    queue.flush()
    assert [len(list(decode(data))) for data in fake.sent[2:]] == [32, 32, 6]


def test_large_packets_go_in_smaller_batches(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    for number in range(5):
        queue.verdict_replace(number, bytes(60_000))
    queue.flush()
    assert [len(list(decode(data))) for data in fake.sent[2:]] == [2, 2, 1]


def test_where_a_batch_does_not_get_through_each_verdict_goes_alone(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    queue.verdict_accept(1)
    queue.verdict_replace(2, bytes(1000))
    fake.broken = {32 + 32 + 4 + 1000, 32 + 4 + 1000}
    queue.flush()
    assert fake.messages() == [accept_of(1)]
    assert queue.refused == 1


def test_closing_accepts_all_that_is_still_held(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    fake.waiting.append(packet_message(2**32 - 1))
    queue.receive()
    queue.verdict_accept(7)
    queue.close()
    accepted, rest = fake.messages()
    assert accepted == accept_of(7)
    assert rest.kind == VERDICT_UP_TO
    _, last = struct.unpack("!II", netlink.attributes(rest.body, 4)[2])
    assert 0 < (last - (2**32 - 1)) % 2**32 < 2**31
    assert fake.closed


def test_several_queues_are_bound_served_and_closed_each_by_its_number(fake: FakeSocket) -> None:
    queue = PacketQueue(77, 500, queues=3)
    fake = made[1]
    for data in fake.sent:
        assert [message.body[:4] for _, message in decode(data)] == [bytes((0, 0, 0, n)) for n in (77, 78, 79)]
    fake.waiting.extend([packet_message(1), packet_message(1, number=79), packet_message(2, number=79)])
    packets = queue.receive()
    assert [packet.packet_id for packet in packets] == [1, 2 << 32 | 1, 2 << 32 | 2]
    queue.verdict_accept(packets[0].packet_id)
    queue.verdict_accept(packets[1].packet_id)
    queue.verdict_drop(packets[2].packet_id)
    queue.verdict_replace(packets[2].packet_id, b"abcde")
    queue.flush()
    *accepted, dropped, replaced = fake.messages()
    assert accepted == [accept_of(1), accept_of(1, 79)]
    for other in (dropped, replaced):
        assert other.body[:4] == struct.pack("!BBH", 0, 0, 79)
    assert netlink.attributes(dropped.body, 4) == {2: struct.pack("!II", 0, 2)}
    assert netlink.attributes(replaced.body, 4) == {2: struct.pack("!II", 1, 2), 10: b"abcde"}
    sent = len(fake.sent)
    queue.close()
    last = [next(decode(data))[1] for data in fake.sent[sent:]]
    assert {one.kind for one in last} == {VERDICT_UP_TO}
    beyond = {77: 1 << 30, 78: 1 << 30, 79: (1 << 30) + 2}
    for one, (number, packet_id) in zip(last, beyond.items(), strict=True):
        assert one.body[:4] == struct.pack("!BBH", 0, 0, number)
        assert struct.unpack("!II", netlink.attributes(one.body, 4)[2]) == (1, packet_id)


def test_fail_open_ends_in_each_queue_that_is_given_back(fake: FakeSocket) -> None:
    queue = PacketQueue(77, 500, queues=3)
    queue.close(let_go=False)
    assert not fake.closed
    strict = [message for _, message in decode(made[1].sent[-1])]
    assert [message.body[:4] for message in strict] == [struct.pack("!BBH", 0, 0, number) for number in (77, 78, 79)]
    assert {netlink.attributes(message.body, 4)[5] for message in strict} == {bytes(4)}


def test_closing_without_letting_go_leaves_what_is_held_to_be_dropped(fake: FakeSocket) -> None:
    queue = queue_of(fake)
    fake.waiting.append(packet_message(1))
    queue.receive()
    queue.verdict_accept(7)
    queue.close(let_go=False)
    verdict, strict = fake.messages()
    assert verdict == accept_of(7)
    # The last word ends fail-open, so that nothing passes while the socket goes.
    assert (strict.kind, strict.body[:4]) == (CONFIG, struct.pack("!BBH", 0, 0, 77))
    assert netlink.attributes(strict.body, 4) == {4: struct.pack("!I", 1), 5: bytes(4)}
    assert fake.closed


@pytest.mark.parametrize("let_go", [True, False])
def test_closing_never_raises(fake: FakeSocket, let_go: bool) -> None:
    fake.broken = set(range(1000))
    queue_of(fake).close(let_go=let_go)
    assert fake.closed
    assert fake.messages() == []


LISTING = """\
   76  23333     5 2 65535     1     2       17  1
   77  23345     3 2 65535     4     5       99  1
"""


@pytest.mark.parametrize(
    ("listing", "numbers", "expected"),
    [
        (LISTING, range(77, 78), (3, 4, 5, 99)),
        (LISTING, range(76, 77), (5, 1, 2, 17)),
        (LISTING, range(76, 84), (8, 5, 7, 116)),
        (LISTING, range(7, 15), (0, 0, 0, 0)),
        ("", range(77, 78), (0, 0, 0, 0)),
        ("77 1 2\n77 a 3 2 65535 4 5 99 1\n", range(77, 78), (0, 0, 0, 0)),
    ],
)
def test_statistics_are_read_from_the_kernels_list(listing: str, numbers: range, expected: tuple[int, ...]) -> None:
    assert parse_statistics(listing, numbers) == QueueStatistics(*expected)


def test_statistics_are_zero_where_the_kernel_has_no_list(fake: FakeSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert queue_of(fake).statistics() == QueueStatistics(0, 0, 0, 0)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: LISTING)
    assert queue_of(fake).statistics().id_sequence == 99
