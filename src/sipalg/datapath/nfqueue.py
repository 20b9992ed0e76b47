"""The packet queue: packets that the forward hook holds come in here, and verdicts go back in batches.

Our table's last chain puts SIP packets into a numbered kernel queue (net/netfilter/nfnetlink_queue.c); the process
that bound the number receives each as one netlink datagram and owes a verdict. There are several, by the hash of a
packet's addresses, so that one phone can't take the room of all (docs/overload.md), and all come in by one socket.
Every packet goes through here, so this is written for speed: one fixed structure for what always comes first, a walk
for the rest, and one `send` for up to 32 verdicts. In the compiled build `batched` puts machine code in place of the
packets' and verdicts' part.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from pathlib import Path
from typing import Final, NamedTuple

from sipalg.codec import datagram
from sipalg.datapath import netlink
from sipalg.datapath.netlink_error import NetlinkError

#: A NamedTuple's own constructor costs twice as much, and each packet pays for it.
new: Final = tuple.__new__

_QUEUE: Final = 3  # NFNL_SUBSYS_QUEUE
_PACKET: Final = _QUEUE << 8
_VERDICT: Final = _QUEUE << 8 | 1
_CONFIG: Final = 2
_VERDICT_UP_TO: Final = _QUEUE << 8 | 3

# NFQA_CFG_…
_CFG_COMMAND: Final = 1
_CFG_PARAMS: Final = 2
_CFG_MAX_LENGTH: Final = 3
_CFG_MASK: Final = 4
_CFG_FLAGS: Final = 5
_BIND: Final = 1
_COPY_PACKET: Final = 2
_FAIL_OPEN: Final = 1
_GSO: Final = 4

# NFQA_…
_VERDICT_HEADER: Final = 2
_PAYLOAD: Final = 10
DROP: Final = 0  # NFDROP
_ACCEPT: Final = 1  # NF_ACCEPT

_NETLINK_NO_ENOBUFS: Final = 5
_COPY_BYTES: Final = 0xFFFF
_BUFFER_BYTES: Final = 0x14000
_RECEIVE_BYTES: Final = 1 << 25

#: What one `send` carries: small enough for the send buffer of a process without privileges.
_BATCH_VERDICTS: Final = 32
_BATCH_BYTES: Final = 1 << 17

#: How many queues there are, from one number on, and how many packets wait in each before more pass by. At 60,000
#: packets a second all of them full take 0.2 s; a request and its answer wait twice, and after 0.5 s
#: it is sent again (RFC 3261, T1).
QUEUES: Final = 8
QUEUE_PACKETS: Final = 1536
#: The highest number that has all of them: numbers end with 65535.
LAST_NUMBER: Final = 65536 - QUEUES

_MESSAGE = struct.Struct("=IH")
_ATTRIBUTE = struct.Struct("=HH")
_ID = struct.Struct("!I")
#: In a packet's id: how far the queue's number is from the first one's, above the kernel's own 32 bits.
_QUEUE_SHIFT: Final = 32
_KERNELS_ID: Final = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
#: A verdict: what is the same in all (see `verdict_prefix`) around the queue's number, and the id.
_SHORT = struct.Struct("!18sH8sI")
#: The same with a packet, up to that: length, then as above, and the payload attribute's header.
_REPLACE = struct.Struct("=I14sH8sIHH")
#: What nfqnl_build_packet_message always puts first: packet header, then interface in, interface out (forward hook
#: packets have both). Attribute headers are compared as bytes.
_FIXED = struct.Struct("!H4sI2xBx4sI4sI")
_FIXED_AT: Final = 18
_REST_AT: Final = _FIXED_AT + _FIXED.size
_PACKET_HEADER_ATTRIBUTE: Final = _ATTRIBUTE.pack(11, 1)
_IN_ATTRIBUTE: Final = _ATTRIBUTE.pack(8, 5)
_OUT_ATTRIBUTE: Final = _ATTRIBUTE.pack(8, 6)


class QueuedPacket(NamedTuple):
    """One held packet: `packet` begins with its IP header; `hook` is netfilter's number (2 is forward).

    The id is the kernel's own, with the queue above it: how far its number is from the first one's, times 2**32.
    An interface's index is 0 where the kernel didn't tell both.
    """

    packet_id: int
    hook: int
    in_ifindex: int
    out_ifindex: int
    packet: bytes


class QueueStatistics(NamedTuple):
    """The kernel's view of the queues together, counted since they were bound.

    With fail-open packets that found it full are in none of these; the table's own counter less what was received
    tells them.
    """

    #: Packets that wait for a verdict.
    waiting: int
    #: Dropped because the queue was full (never, with fail-open).
    queue_dropped: int
    #: Dropped because our receive buffer was full (never, with fail-open).
    user_dropped: int
    #: The last packets' ids, added up: each queue's begin with 1.
    id_sequence: int


class PacketQueue:
    """Bound queue numbers. Every packet that `receive` returns must get exactly one verdict."""

    def __init__(
        self, number: int, max_length: int = QUEUE_PACKETS, fail_open: bool = True, queues: int = 1
    ) -> None:
        """Bind `queues` queues from `number`, 0–65535, on, each of which holds up to `max_length` packets.

        With `fail_open` what overflows passes as if there were no queue. Raises NetlinkError, which names the number:
        EPERM without the right to, EBUSY or EPERM when another process has it. Then none is bound.
        """
        self.number = number
        self.numbers = range(number, number + queues)
        self._received = 0
        self._refused = 0
        #: By queue, the last one of the packets that were received together.
        self._last_ids = dict.fromkeys(range(queues), 0)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        accept, drop = verdict_prefix(number), verdict_prefix(number, decision=DROP)
        self._accept = accept[:18], accept[20:]
        self._drop = drop[:18], drop[20:]
        self._constant = accept[4:18], accept[20:]
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12)
        try:
            self._socket.setsockopt(netlink.SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
            self._socket.setsockopt(netlink.SOL_NETLINK, netlink.CAP_ACK, 1)
            netlink.grow_buffer(self._socket, _RECEIVE_BYTES, receiving=True)
            netlink.grow_buffer(self._socket, 4 * _BATCH_BYTES, receiving=False)
            self._socket.setblocking(False)
            self._socket.bind((0, 0))
            self._bind(max_length, fail_open)
        except OSError:
            self._socket.close()
            raise

    def _bind(self, max_length: int, fail_open: bool) -> None:
        # First the numbers, and what can be refused, without copies: until these are asked for no packet comes, which
        # would hide a refusal (nfqnl_enqueue_packet drops meanwhile, as it does while nobody has the queue).
        # GSO stays off: the kernel segments.
        bind = [
            netlink.attribute(_CFG_COMMAND, struct.pack("!BxH", _BIND, socket.AF_INET)),
            netlink.u32(_CFG_MAX_LENGTH, max_length),
            netlink.u32(_CFG_MASK, _FAIL_OPEN | _GSO),
            netlink.u32(_CFG_FLAGS, _FAIL_OPEN if fail_open else 0),
        ]
        self._socket.send(self._configuration(*bind))
        # Without an acknowledgement asked for, only a refusal answers.
        with contextlib.suppress(BlockingIOError):
            for place, received in netlink.decode(self._socket.recv(256)):
                error = netlink.refusal(received, place) if received.kind == netlink.ERROR else None
                if error is not None:
                    what = f"queue {self.numbers[place]}: {error.strerror}"
                    remedy = "stop the program that has it, or choose another number with --queue"
                    raise NetlinkError(error.errno or errno.EPERM, place, f"{what}; {remedy}")
        copies = netlink.attribute(_CFG_PARAMS, struct.pack("!IB", _COPY_BYTES, _COPY_PACKET))
        self._socket.send(self._configuration(copies))

    def _configuration(self, *attributes: bytes) -> bytes:
        """Return the messages that configure each queue so, numbered from 0 on."""
        messages = (
            netlink.nfnetlink(_QUEUE, _CONFIG, netlink.REQUEST, *attributes, resource=number)
            for number in self.numbers
        )
        return b"".join(netlink.encode(message, place) for place, message in enumerate(messages))

    @property
    def received(self) -> int:
        """Packets received since the start."""
        return self._received

    @property
    def refused(self) -> int:
        """Verdicts that the kernel refused since the start, since their packet was gone."""
        return self._refused

    def fileno(self) -> int:
        """Return the descriptor, for a selector: readable when packets wait."""
        return self._socket.fileno()

    def receive(self, limit: int = 256) -> list[QueuedPacket]:
        """Take up to `limit` waiting packets, without blocking; an empty list when there are none."""
        packets: list[QueuedPacket] = []
        receive_into = self._socket.recv_into
        buffer = self._buffer
        with contextlib.suppress(BlockingIOError):
            for _ in range(limit):
                size = receive_into(buffer)
                packet = parse_packet(buffer, size, self.number)
                if packet is not None:
                    packets.append(packet)
                elif size >= 20 and _MESSAGE.unpack_from(buffer)[1] == netlink.ERROR:
                    self._refused += 1
        if packets:
            self._received += len(packets)
            self._note_last(packets[-1].packet_id)
        return packets

    def verdict_accept(self, packet_id: int) -> None:
        """Let the packet go on as it came, with the next `flush`."""
        self._short(self._accept, packet_id)

    def verdict_drop(self, packet_id: int) -> None:
        """Let the packet go nowhere, with the next `flush`."""
        self._short(self._drop, packet_id)

    def _short(self, prefix: tuple[bytes, bytes], packet_id: int) -> None:
        number = self.number + (packet_id >> _QUEUE_SHIFT)
        self._pending.append(_SHORT.pack(prefix[0], number, prefix[1], packet_id & _KERNELS_ID))
        if len(self._pending) >= _BATCH_VERDICTS:
            self.flush()

    def verdict_replace(self, packet_id: int, packet: bytes) -> None:
        """Let `packet` (from its IP header on, checksums right, at most 65535 bytes) go on in its place."""
        length = len(packet)
        if self._pending_bytes + length > _BATCH_BYTES:
            self.flush()
        number = socket.htons(self.number + (packet_id >> _QUEUE_SHIFT))
        kernels_id = socket.htonl(packet_id & _KERNELS_ID)
        before, behind = self._constant
        head = _REPLACE.pack(36 + length, before, number, behind, kernels_id, length + 4, _PAYLOAD)
        self._pending.append(b"".join((head, packet, netlink.PADDING[length & 3])))
        self._pending_bytes += length
        if len(self._pending) >= _BATCH_VERDICTS:
            self.flush()

    @staticmethod
    def split_udp(packet: bytes) -> tuple[bytes, bytes] | str:
        """Return the ends and the payload of a packet, as `codec.datagram.split_udp` does."""
        return datagram.split_udp(packet)

    def verdict_payload(
        self, packet_id: int, packet: bytes, payload: bytes, mtu_bytes: int, identification: int
    ) -> None:
        """Let the packet go on with another payload; for the rest see `codec.datagram.replace_payload`."""
        self.verdict_replace(packet_id, datagram.replace_payload(packet, payload, mtu_bytes, identification))

    def flush(self) -> None:
        """Send all pending verdicts at once. Never raises: where a batch doesn't get through, each goes alone."""
        pending = self._pending
        if not pending:
            return
        self._pending = []
        self._pending_bytes = 0
        try:
            self._socket.send(b"".join(pending))
        except OSError:
            for verdict in pending:
                try:
                    self._socket.send(verdict)
                except OSError:
                    self._refused += 1

    def statistics(self) -> QueueStatistics:
        """Return the kernel's counters of these queues; all zero where it shows none."""
        path = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
        try:
            listing = path.read_text(encoding="ascii")
        except OSError:
            listing = ""
        return parse_statistics(listing, self.numbers)

    def close(self, *, let_go: bool = True) -> None:
        """Give back the queue; the packets in it pass as they are, or are dropped with it without `let_go`.

        Without `let_go` no packet passes meanwhile either.
        """
        self.flush()
        if not let_go:
            # A socket that is closing can't be sent to some microseconds before its queue is gone, and fail-open lets
            # pass what comes in between (nfnetlink_queue.c, __nfqnl_enqueue_packet).
            with contextlib.suppress(OSError):
                self._socket.send(self._configuration(netlink.u32(_CFG_MASK, _FAIL_OPEN), netlink.u32(_CFG_FLAGS, 0)))
            self._socket.close()
            return
        for place, last_id in self._last_ids.items():
            # Ids are compared as serial numbers, so this is after every one that was given out.
            last = _ID.pack((last_id + (1 << 30)) & _KERNELS_ID)
            with contextlib.suppress(OSError):
                self._socket.send(verdict_prefix(self.number + place, _VERDICT_UP_TO) + last)
        self._socket.close()

    def _note_last(self, packet_id: int) -> None:
        self._last_ids[packet_id >> _QUEUE_SHIFT] = packet_id & _KERNELS_ID


def verdict_prefix(number: int, kind: int = _VERDICT, decision: int = _ACCEPT) -> bytes:
    """Return a verdict's bytes up to the packet id; the length is the whole message's, where it has no packet."""
    return (
        _HEADER.pack(32, kind, netlink.REQUEST, 0, 0)
        + struct.pack("!BBH", 0, 0, number)
        + _ATTRIBUTE.pack(12, _VERDICT_HEADER)
        + _ID.pack(decision)
    )


def parse_packet(buffer: bytearray, size: int, first: int) -> QueuedPacket | None:
    """Read one received datagram, the first `size` bytes of `buffer`; None when it is no whole packet message.

    `first` is the first queue's number.
    The kernel sends every packet in a datagram of its own. One that has no readable payload comes out empty.
    """
    if size < _REST_AT:
        return None
    length, kind = _MESSAGE.unpack_from(buffer)
    if kind != _PACKET or length > size:
        return None
    fixed = _FIXED.unpack_from(buffer, _FIXED_AT)
    number, header, packet_id, hook, in_header, in_ifindex, out_header, out_ifindex = fixed
    if header != _PACKET_HEADER_ATTRIBUTE:
        return None
    offset = _REST_AT
    if in_header != _IN_ATTRIBUTE or out_header != _OUT_ATTRIBUTE:
        in_ifindex = out_ifindex = 0
        offset = _FIXED_AT + 14
    packet_id |= (number - first & 0xFFFF) << _QUEUE_SHIFT
    unpack = _ATTRIBUTE.unpack_from
    while offset + 4 <= length:
        size, kind = unpack(buffer, offset)
        end = offset + size
        if size < 4 or end > length:
            break
        if kind == _PAYLOAD:
            return new(QueuedPacket, (packet_id, hook, in_ifindex, out_ifindex, bytes(buffer[offset + 4 : end])))
        offset += (size + 3) & ~3
    # It has an id, so it is owed a verdict.
    return QueuedPacket(packet_id, hook, in_ifindex, out_ifindex, b"")


def parse_statistics(listing: str, numbers: range) -> QueueStatistics:
    """Read /proc/net/netfilter/nfnetlink_queue, and add up these queues' lines; all zero when none is listed."""
    lines = [line.split()[:8] for line in listing.splitlines()]
    found = [list(map(int, line)) for line in lines if len(line) == 8 and all(field.isdecimal() for field in line)]
    ours = [(line[2], line[5], line[6], line[7]) for line in found if line[0] in numbers]
    return QueueStatistics(*map(sum, zip((0, 0, 0, 0), *ours, strict=True)))
