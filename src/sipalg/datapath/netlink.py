"""Netlink: messages and attributes as bytes, and a socket that sends requests and takes the kernel's answers.

Everything that the datapath asks of the kernel (rules, elements, connection tracking, the packet queue, interfaces)
goes through here; the modules beside it know what the attributes mean, this one knows how they are laid out
(include/uapi/linux/netlink.h, include/uapi/linux/netfilter/nfnetlink.h). Bytes that make no sense are cut off and
never raise: what is whole before them is returned.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from sipalg.codec.machine import machine_code, new
from sipalg.datapath.netlink_error import NetlinkError as NetlinkError

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12

# Message flags (nlmsg_flags).
REQUEST: Final = 0x1
ACK: Final = 0x4
DUMP_INTERRUPTED: Final = 0x10
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400
APPEND: Final = 0x800
DUMP: Final = 0x300

# Control messages (nlmsg_type).
ERROR: Final = 2
_DONE: Final = 3
_BATCH_BEGIN: Final = 16
_BATCH_END: Final = 17

NESTED: Final = 0x8000
_KIND_MASK: Final = 0x3FFF

SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
CAP_ACK: Final = 10
_EXT_ACK: Final = 11
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_ACK_TLVS: Final = 0x200
_EXT_ACK_TEXT: Final = 1

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_ATTRIBUTE = struct.Struct("=HH")  # length, kind
_ERRNO = struct.Struct("=i")
_GENERIC = struct.Struct("!BBH")  # nfgenmsg: family, version, resource
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")

#: The kernel's errors are above -4096 (include/linux/err.h); what isn't one has no text.
_MAX_ERRNO: Final = 4095
#: A dump's messages come in buffers of at most 32 KiB; one netlink message never needs more than this.
_RECEIVE_BYTES: Final = 1 << 17
_BUFFER_BYTES: Final = 1 << 22
#: A limit, not an allocation: a transaction is one datagram, and one of ten thousand mappings takes megabytes.
_SEND_BYTES: Final = 1 << 26
_DUMP_ATTEMPTS: Final = 10
_received: Final = machine_code("sipalg.datapath.dumps", "received")


class Message(NamedTuple):
    """One netlink message without its header: `body` begins with the family's own header (nfgenmsg, ifinfomsg …).

    `port` is set in received messages: in a notification, the port id of the socket that made the change.
    """

    kind: int
    flags: int
    body: bytes
    port: int = 0


def attribute(kind: int, value: bytes) -> bytes:
    """Make one attribute, padded to four bytes."""
    length = len(value)
    return _ATTRIBUTE.pack(length + 4, kind) + value + PADDING[length & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """Make one attribute that holds others."""
    value = b"".join(attributes)
    return _ATTRIBUTE.pack(len(value) + 4, kind | NESTED) + value


def u8(kind: int, value: int) -> bytes:
    """Make an attribute of one byte."""
    return attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    """Make an attribute of two bytes, big-endian as netfilter has them."""
    return attribute(kind, _U16.pack(value))


def u32(kind: int, value: int) -> bytes:
    """Make an attribute of four bytes, big-endian."""
    return attribute(kind, _U32.pack(value))


def u64(kind: int, value: int) -> bytes:
    """Make an attribute of eight bytes, big-endian."""
    return attribute(kind, _U64.pack(value))


def text(kind: int, value: str) -> bytes:
    """Make an attribute that holds a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def nfnetlink(
    subsystem: int, command: int, flags: int, *attributes: bytes, family: int = socket.AF_UNSPEC, resource: int = 0
) -> Message:
    """Make a netfilter message: subsystem and command are its type, `family` and `resource` (res_id) its header."""
    body = _GENERIC.pack(family, 0, resource) + b"".join(attributes)
    return Message(subsystem << 8 | command, flags, body)


def each_attribute(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield kind (flags taken off) and value of each attribute from `offset` on, to the first that is cut off."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            return
        yield kind & _KIND_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Return the attributes by kind, the last of each; netfilter's own begin at offset 4 of a message's body."""
    return dict(each_attribute(data, offset))


def number(value: bytes) -> int:
    """Read a big-endian integer of any size, as netfilter's attributes are."""
    return int.from_bytes(value, "big")


def string(value: bytes) -> str:
    """Read a string attribute without its NUL; bytes that aren't UTF-8 are shown as replacement characters."""
    return value.split(b"\0", 1)[0].decode(errors="replace")


def encode(message: Message, sequence: int, more_flags: int = 0) -> bytes:
    """Return the message with its header, padded; `more_flags` are set besides its own."""
    kind, flags, body, _ = message
    length = len(body)
    return _HEADER.pack(length + 16, kind, flags | more_flags, sequence, 0) + body + PADDING[length & 3]


def decode(data: bytes) -> Iterator[tuple[int, Message]]:
    """Yield sequence number and message of each message in a received buffer, to the first that is cut off."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > end:
            return
        yield sequence, new(Message, (kind, flags, data[offset + 16 : offset + length], port))
        offset += (length + 3) & ~3


def refusal(message: Message, index: int) -> NetlinkError | None:
    """Read what an NLMSG_ERROR or NLMSG_DONE message says; `index` is for the error, None is success."""
    if len(message.body) < 4:
        return None
    code = min(-_ERRNO.unpack_from(message.body)[0], _MAX_ERRNO)
    if code <= 0:
        return None
    detail = ""
    if message.kind == ERROR and message.flags & _ACK_TLVS:
        # With NETLINK_CAP_ACK only the refused message's header is echoed, the explanation follows it.
        detail = string(attributes(message.body, 20).get(_EXT_ACK_TEXT, b""))
    return NetlinkError(code, index, detail)


def _raise_refusal(answer: Message) -> None:
    """Raise what an answer refuses, if it does.

    A refusal is a plain answer to some questions, and the collector would have to find a frame that holds its error.
    """
    error = refusal(answer, 0)
    try:
        if error is not None:
            raise error
    finally:
        error = None


class NetlinkSocket:
    """One netlink socket: for requests (`request`, `acknowledge`, `transaction`) or for notifications (`receive`).

    A socket that joined multicast groups gets their messages between its answers, so use one for each purpose.
    `groups` are group numbers (NFNLGRP_…, RTNLGRP_…), not masks.
    """

    def __init__(
        self, protocol: int = NETLINK_NETFILTER, groups: Iterable[int] = (), receive_bytes: int = _BUFFER_BYTES
    ) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            grow_buffer(self._socket, receive_bytes, receiving=True)
            grow_buffer(self._socket, _SEND_BYTES, receiving=False)
            self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, _EXT_ACK, 1)
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; what it owns in the kernel (a table, a queue) loses its owner."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, for a selector: readable when a notification waits."""
        return self._socket.fileno()

    @property
    def port_id(self) -> int:
        """Return the kernel's name for this socket; a table says by it who owns it."""
        address: tuple[int, int] = self._socket.getsockname()
        return address[0]

    def request(self, message: Message) -> list[Message]:
        """Send one message and return what comes back: nothing, one object, or a whole dump.

        Raises NetlinkError with the kernel's errno. A dump that changes disturbed is asked for again, a few times.
        """
        for _ in range(_DUMP_ATTEMPTS):
            answers, interrupted = self._exchange(message)
            if not interrupted:
                return answers
        raise NetlinkError(errno.EINTR, 0, "the table kept changing while it was read")

    def pieces(self, message: Message) -> Iterator[list[Message]]:
        """Send a dump's question and yield what comes back, a buffer (at most 32 KiB) each time that one is asked for.

        The kernel walks its table no further than it is asked for, so a large table needn't be read in one go. What
        changes meanwhile may be there twice or not at all. Use the socket for nothing else until the end.
        """
        sequence = self._next_sequence(1)
        self._socket.send(encode(message, sequence, REQUEST))
        while True:
            received = decode(self._socket.recv(_RECEIVE_BYTES))
            answers = [answer for answered, answer in received if answered == sequence]
            for last in answers:
                if last.kind in {ERROR, _DONE}:
                    _raise_refusal(last)
                    yield [answer for answer in answers if answer is not last]
                    return
            yield answers

    def _exchange(self, message: Message) -> tuple[list[Message], bool]:
        dump = message.flags & DUMP == DUMP
        sequence = self._next_sequence(1)
        self._socket.send(encode(message, sequence, REQUEST if dump else REQUEST | ACK))
        answers: list[Message] = []
        interrupted = False
        while True:
            whole = _received if dump else None
            data = self._socket.recv(_RECEIVE_BYTES) if whole is None else whole(self._socket.fileno(), sequence)
            for answered, answer in decode(data):
                if answered != sequence:
                    continue
                interrupted = interrupted or bool(dump and answer.flags & DUMP_INTERRUPTED)
                if answer.kind in {ERROR, _DONE}:
                    _raise_refusal(answer)
                    return answers, interrupted
                answers.append(answer)

    def acknowledge(self, messages: Sequence[Message]) -> list[int]:
        """Send independent messages in one go and return an errno for each, 0 where the kernel agreed."""
        if not messages:
            return []
        first = self._next_sequence(len(messages))
        self._socket.send(b"".join(encode(m, first + i, REQUEST | ACK) for i, m in enumerate(messages)))
        results = [errno.ENODATA] * len(messages)
        for sequence, answer in self._waiting():
            index = sequence - first
            if answer.kind == ERROR and 0 <= index < len(messages):
                error = refusal(answer, index)
                results[index] = 0 if error is None else error.errno or 0
        return results

    def refusals(self, messages: Sequence[Message]) -> dict[int, NetlinkError]:
        """Send independent messages in one go; return the error of each that the kernel refused, by its index.

        What it agrees to it doesn't answer, which costs half of an acknowledgement.
        """
        count = len(messages)
        first = self._next_sequence(count)
        self._socket.send(b"".join([encode(message, first + i, REQUEST) for i, message in enumerate(messages)]))
        return self.refused(first, count)

    def refused(self, first: int, count: int) -> dict[int, NetlinkError]:
        """Read what waits: the errors of `count` messages that were numbered from `first` on, by their index."""
        errors: dict[int, NetlinkError] = {}
        # As `_waiting`, which is a generator: mostly nothing waits, and then making one costs most.
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return errors
            except OSError as error:
                raise NetlinkError(error.errno or errno.EIO, -1) from error
            for sequence, answer in decode(data):
                index = sequence - first
                if answer.kind == ERROR and 0 <= index < count:
                    refused = refusal(answer, index)
                    if refused is not None:
                        errors[index] = refused

    def transaction(self, messages: Sequence[Message], subsystem: int = 10, commit: bool = True) -> None:
        """Run messages of one nfnetlink subsystem (nf_tables unless told) as one transaction: all or none.

        Raises NetlinkError with the index of the first message that failed; nothing was changed then. Without
        `commit` the kernel checks everything and takes it back.
        """
        errors = self.attempt(messages, subsystem, commit)
        if errors:
            raise errors[min(errors)]

    def attempt(
        self, messages: Sequence[Message], subsystem: int = 10, commit: bool = True
    ) -> dict[int, NetlinkError]:
        """As `transaction`, but return the error of each message that failed, by its index; empty is success."""
        first = self._next_sequence(len(messages) + 2)
        parts = [encode(Message(_BATCH_BEGIN, REQUEST, _GENERIC.pack(0, 0, subsystem)), first)]
        parts.extend(encode(m, first + 1 + i, REQUEST) for i, m in enumerate(messages))
        if commit:
            # A batch without its end is checked and aborted (nfnetlink_rcv_batch in net/netfilter/nfnetlink.c).
            end = Message(_BATCH_END, REQUEST, _GENERIC.pack(0, 0, subsystem))
            parts.append(encode(end, first + 1 + len(messages)))
        self._socket.send(b"".join(parts))
        errors: dict[int, NetlinkError] = {}
        for sequence, answer in self._waiting():
            index = sequence - first - 1
            if answer.kind == ERROR and -1 <= index <= len(messages):
                index = -1 if index == len(messages) else index
                error = refusal(answer, index)
                if error is not None:
                    errors.setdefault(index, error)
        return errors

    def receive(self) -> list[Message]:
        """Return the notifications that wait, without blocking; empty when there are none.

        Raises NetlinkError(ENOBUFS) when some were lost: then read the state anew.
        """
        return [message for _, message in self._waiting()]

    def _waiting(self) -> Iterator[tuple[int, Message]]:
        # The kernel works while we are in send(), so all answers to it wait when send() returns.
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                raise NetlinkError(error.errno or errno.EIO, -1) from error
            yield from decode(data)

    def _next_sequence(self, count: int) -> int:
        """Return the first of `count` fresh sequence numbers; they never wrap within one call."""
        if self._sequence + count >= 1 << 32:
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += count
        return first


def grow_buffer(sock: socket.socket, size_bytes: int, *, receiving: bool) -> None:
    """Make a socket's buffer as large as asked, or as large as the system's limit where privileges are missing."""
    force, plain = (_SO_RCVBUFFORCE, socket.SO_RCVBUF) if receiving else (_SO_SNDBUFFORCE, socket.SO_SNDBUF)
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size_bytes)
