from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import netlink
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket, decode, encode

HEADER = struct.Struct("=IHHII")
Answer = tuple[int, Message]


class FakeKernel:
    """Stands where the socket was: `answer` sees each (sequence, message) sent and says what comes back.

    It has a socket, since machine code receives from its descriptor.
    """

    def __init__(self, answer: Callable[[int, Message], list[Answer]]) -> None:
        self.sent: list[Answer] = []
        self.received = 0
        self._answer = answer
        self.far, self._near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._near.setblocking(False)

    def send(self, data: bytes) -> int:
        for sequence, message in decode(data):
            self.sent.append((sequence, message))
            for number, reply in self._answer(sequence, message):
                self.far.send(encode(reply, number))
        return len(data)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        self.received += 1
        return self._near.recv(size, flags)

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self.far.close()
        self._near.close()

    __del__ = close


def connected(answer: Callable[[int, Message], list[Answer]]) -> tuple[NetlinkSocket, FakeKernel]:
    made, kernel = NetlinkSocket(netlink.NETLINK_ROUTE), FakeKernel(answer)
    made._socket.close()
    made._socket = kernel  # type: ignore[assignment]
    return made, kernel


def error(code: int, text: str = "") -> Message:
    """Make the kernel's answer to a message: 0 acknowledges, others are errno values."""
    body = struct.pack("=i", -code) + bytes(16)
    return Message(2, 0x200 if text else 0, body + (netlink.text(1, text) if text else b""))


def done() -> Message:
    return Message(3, 2, bytes(4))


ASK = Message(100, 0, b"ask!")
DUMP = Message(100, netlink.DUMP, b"dump")


def test_an_attribute_is_length_kind_value_and_padding() -> None:
    assert netlink.attribute(7, b"abcde") == struct.pack("=HH", 9, 7) + b"abcde\0\0\0"
    assert netlink.u8(1, 255) == struct.pack("=HHB3x", 5, 1, 255)
    assert netlink.u16(1, 0x1234) == struct.pack("=HH", 6, 1) + b"\x12\x34\0\0"
    assert netlink.u32(1, 1) == struct.pack("=HH", 8, 1) + b"\0\0\0\1"
    assert netlink.u64(1, 1) == struct.pack("=HH", 12, 1) + b"\0\0\0\0\0\0\0\1"
    assert netlink.text(1, "abc") == struct.pack("=HH", 8, 1) + b"abc\0"
    assert netlink.nested(3, netlink.u32(1, 1)) == struct.pack("=HH", 12, 0x8003) + netlink.u32(1, 1)


def test_a_netfilter_message_has_its_own_header() -> None:
    message = netlink.nfnetlink(10, 3, 5, b"rest", family=2, resource=0x0102)
    assert message == Message(0x0A03, 5, b"\2\0\1\2rest", 0)


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20))))
def test_attributes_are_read_as_they_were_written(wanted: list[tuple[int, bytes]]) -> None:
    data = b"head" + b"".join(netlink.attribute(kind, value) for kind, value in wanted)
    assert list(netlink.each_attribute(data, 4)) == wanted
    assert netlink.attributes(data, 4) == dict(wanted)


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=9)))
)
def test_messages_are_read_as_they_were_written(wanted: list[tuple[int, int, int, bytes]]) -> None:
    messages = [(sequence, Message(kind, flags, body)) for sequence, kind, flags, body in wanted]
    assert list(decode(b"".join(encode(message, sequence) for sequence, message in messages))) == messages


@given(st.binary(max_size=200))
def test_bytes_without_sense_never_raise(data: bytes) -> None:
    assert sum(4 + len(value) for _, value in netlink.each_attribute(data)) <= len(data)
    assert sum(16 + len(message.body) for _, message in decode(data)) <= len(data)
    netlink.string(data)


def test_what_is_cut_off_is_left_out() -> None:
    whole = encode(Message(1, 2, b"body"), 9)
    assert len(list(decode(whole + whole[:-1]))) == 1
    assert list(decode(struct.pack("=IHHII", 15, 1, 2, 3, 4))) == []
    attribute = netlink.u32(1, 5)
    assert len(list(netlink.each_attribute(attribute + attribute[:-1]))) == 1
    assert list(netlink.each_attribute(struct.pack("=HH", 3, 1))) == []


def test_more_flags_are_set_besides_a_messages_own() -> None:
    assert next(decode(encode(Message(1, 0x400, b""), 9, 1)))[1].flags == 0x401


def test_numbers_and_strings() -> None:
    assert netlink.number(b"\1\0") == 256
    assert netlink.string(b"name\0rest") == "name"
    assert netlink.string(b"\xff") == "\N{REPLACEMENT CHARACTER}"


def test_a_refusal_is_told_from_an_acknowledgement() -> None:
    assert netlink.refusal(error(0), 0) is None
    assert netlink.refusal(Message(2, 0, b"\1"), 0) is None
    beyond = netlink.refusal(error(1 << 31), 0)
    assert beyond is not None
    assert beyond.errno == 4095
    refused = netlink.refusal(error(errno.ENOENT), 3)
    assert refused is not None
    assert (refused.errno, refused.index, refused.strerror) == (errno.ENOENT, 3, "No such file or directory")
    explained = netlink.refusal(error(errno.EINVAL, "because"), 0)
    assert explained is not None
    assert str(explained) == "[Errno 22] because"


def test_a_request_returns_the_object_and_asks_for_an_acknowledgement() -> None:
    made, kernel = connected(lambda n, _: [(n - 1, error(5)), (n, Message(101, 0, b"object")), (n, error(0))])
    assert made.request(ASK) == [Message(101, 0, b"object")]
    assert kernel.sent[0][1].flags == netlink.REQUEST | netlink.ACK


def test_a_request_that_is_refused_raises() -> None:
    made, _ = connected(lambda n, _: [(n, error(errno.EPERM))])
    with pytest.raises(NetlinkError) as caught:
        made.request(ASK)
    assert caught.value.errno == errno.EPERM


def test_a_dump_returns_all_messages_until_done() -> None:
    made, kernel = connected(lambda n, _: [(n, Message(101, 2, b"1")), (n, Message(101, 2, b"2")), (n, done())])
    assert [message.body for message in made.request(DUMP)] == [b"1", b"2"]
    assert kernel.sent[0][1].flags == netlink.REQUEST | netlink.DUMP


def test_a_dump_that_changes_disturbed_is_asked_for_again() -> None:
    def answer(sequence: int, _: Message) -> list[Answer]:
        disturbed = netlink.DUMP_INTERRUPTED if len(kernel.sent) < 3 else 0
        return [(sequence, Message(101, 2 | disturbed, b"%d" % len(kernel.sent))), (sequence, done())]

    made, kernel = connected(answer)
    assert [message.body for message in made.request(DUMP)] == [b"3"]


def test_a_dump_that_is_always_disturbed_gives_up() -> None:
    made, kernel = connected(lambda n, _: [(n, Message(3, netlink.DUMP_INTERRUPTED, bytes(4)))])
    with pytest.raises(NetlinkError, match="kept changing"):
        made.request(DUMP)
    assert 1 < len(kernel.sent) < 100


def test_a_dump_in_pieces_is_read_as_it_is_asked_for() -> None:
    one, two = (Message(101, 2, body) for body in (b"1", b"2"))
    made, kernel = connected(lambda n, _: [(n, one), (n + 9, ASK), (n, two), (n, done())])
    pieces = made.pieces(DUMP)
    assert kernel.sent == []
    assert [message.body for message in next(pieces)] == [b"1"]
    assert kernel.received == 1
    assert [[message.body for message in piece] for piece in pieces] == [[], [b"2"], []]
    assert kernel.sent[0][1].flags == netlink.REQUEST | netlink.DUMP


def test_a_dump_in_pieces_that_is_refused_raises() -> None:
    made, _ = connected(lambda n, _: [(n, error(errno.EPERM))])
    with pytest.raises(NetlinkError) as caught:
        next(made.pieces(DUMP))
    assert caught.value.errno == errno.EPERM


def test_independent_messages_get_an_errno_each() -> None:
    def answer(sequence: int, message: Message) -> list[Answer]:
        replies = {b"good": [error(0)], b"bad!": [error(errno.ENOENT)], b"mute": []}[message.body]
        return [(sequence + 50, error(0)), *((sequence, reply) for reply in replies)]

    made, _ = connected(answer)
    assert made.acknowledge([ASK._replace(body=body) for body in (b"good", b"bad!", b"mute", b"good")]) == [
        0,
        errno.ENOENT,
        errno.ENODATA,
        0,
    ]
    assert made.acknowledge([]) == []


def test_of_independent_messages_only_refusals_are_asked_for() -> None:
    def answer(sequence: int, message: Message) -> list[Answer]:
        refused = [(sequence, error(errno.EEXIST))] if message.body == b"bad!" else []
        return [(sequence + 50, error(errno.EIO)), *refused]

    made, kernel = connected(answer)
    assert made.refusals([ASK._replace(body=b"good")]) == {}
    found = made.refusals([ASK._replace(body=body) for body in (b"good", b"bad!", b"good")])
    assert {index: (one.errno, one.index) for index, one in found.items()} == {1: (errno.EEXIST, 1)}
    assert [message.flags for _, message in kernel.sent] == [netlink.REQUEST] * 4


def test_a_transaction_stands_between_begin_and_end() -> None:
    made, kernel = connected(lambda _n, _m: [])
    made.transaction([ASK, ASK])
    assert [message.kind for _, message in kernel.sent] == [16, 100, 100, 17]
    assert all(message.flags & netlink.REQUEST for _, message in kernel.sent)
    assert kernel.sent[0][1].body == b"\0\0\0\x0a"
    made.attempt([ASK], subsystem=3, commit=False)
    assert [message.kind for _, message in kernel.sent[4:]] == [16, 100]
    assert kernel.sent[4][1].body == b"\0\0\0\3"


@pytest.mark.parametrize(("fails", "index"), [((16,), -1), ((17,), -1), ((100,), 0), ((100, 17), -1), ((101,), 1)])
def test_a_failing_transaction_tells_the_first_message_that_failed(fails: tuple[int, ...], index: int) -> None:
    made, _ = connected(lambda n, m: [(n, error(errno.EBUSY if m.kind in fails else 0)), (n + 99, error(1))])
    with pytest.raises(NetlinkError) as caught:
        made.transaction([ASK, Message(101, 0, b"")])
    assert (caught.value.errno, caught.value.index) == (errno.EBUSY, index)


def test_notifications_are_taken_without_blocking() -> None:
    made, kernel = connected(lambda _n, _m: [])
    kernel.far.send(encode(Message(1, 0, b"a"), 0) + encode(Message(2, 0, b"b"), 0))
    kernel.far.send(encode(Message(3, 0, b"c"), 0))
    assert [message.kind for message in made.receive()] == [1, 2, 3]
    assert made.receive() == []


def test_lost_notifications_raise() -> None:
    made, kernel = connected(lambda _n, _m: [])

    def overrun(_size: int, _flags: int = 0, /) -> bytes:
        raise OSError(errno.ENOBUFS, "lost")

    kernel.recv = overrun  # type: ignore[method-assign]
    with pytest.raises(NetlinkError) as caught:
        made.receive()
    assert caught.value.errno == errno.ENOBUFS


def test_sequence_numbers_begin_anew_before_they_would_wrap() -> None:
    made, kernel = connected(lambda n, _: [(n, error(0))])
    made._sequence = 2**32 - 1
    made.request(ASK)
    assert kernel.sent[0][0] == 1


def test_the_kernel_itself_answers() -> None:
    with NetlinkSocket(netlink.NETLINK_ROUTE) as made:
        links = made.request(Message(18, netlink.DUMP, bytes(16)))
        assert b"lo" in {netlink.attributes(link.body, 16).get(3, b"").rstrip(b"\0") for link in links}
        assert made.port_id > 0
        assert made.fileno() >= 0
    assert made.fileno() == -1


def test_a_group_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        NetlinkSocket(netlink.NETLINK_ROUTE, groups=(1, 100_000))


@pytest.mark.parametrize("privileged", [True, False])
@pytest.mark.parametrize(("receiving", "expected"), [(True, [33, socket.SO_RCVBUF]), (False, [32, socket.SO_SNDBUF])])
def test_a_buffer_is_forced_or_as_large_as_may_be(privileged: bool, receiving: bool, expected: list[int]) -> None:
    tried: list[int] = []

    class Sock:
        def setsockopt(self, _level: int, option: int, value: int) -> None:
            assert value == 1000
            tried.append(option)
            if option in {32, 33} and not privileged:
                raise PermissionError

    netlink.grow_buffer(Sock(), 1000, receiving=receiving)  # type: ignore[arg-type]
    assert tried == (expected[:1] if privileged else expected)
