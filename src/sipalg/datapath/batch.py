"""The packet queue's bytes in machine code: many packets by one `recvmmsg`, their verdicts in parcels.

What `nfqueue` and `codec.datagram` do for a packet, for those packets that are most: IPv4 without options and a whole
UDP datagram in it, as the forward hook hands it over. All others go through these two, so what they say holds for all.
Nothing is kept from one packet to the next. Cython compiles this file, in its pure-Python mode, since these calls are
the C library's; it can't be imported interpreted, where `nfqueue` does it by itself.
Sources: include/uapi/linux/netfilter/nfnetlink_queue.h, RFC 768, RFC 791, RFC 1071.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint8_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.sipalg.datapath.batch import Queued
from cython.cimports.sipalg.datapath.sender import Parcel, Sender
from cython.cimports.sipalg.datapath.sockets import MSG_DONTWAIT, htonl, iovec, mmsghdr, ntohl, recvmmsg

from sipalg.codec import datagram
from sipalg.datapath import nfqueue

#: As many as are received at once, and as many verdicts as one `send` carries.
_MOST = cython.declare(cython.int, 32)
#: One received message: 64 KiB of packet and its attributes. No round number, since the places in the processor's
#: cache that messages may lie in repeat every 4 KiB, and all of their beginnings would share one.
_SLOT_BYTES = cython.declare(cython.int, 0x122C0)
#: What one `send` carries, so that the buffer of a process without privileges holds it; `sender` has more room.
_SEND_BYTES = cython.declare(cython.int, 1 << 17)

_PACKET = cython.declare(cython.int, 3 << 8)
_ERROR = cython.declare(cython.int, 2)
_PAYLOAD = cython.declare(cython.int, 10)
#: Where things are in a packet message: the headers are 20 bytes long, and what comes first is always the same.
_ID_AT = cython.declare(cython.int, 24)
_IN_AT = cython.declare(cython.int, 36)
_OUT_AT = cython.declare(cython.int, 44)
_REST_AT = cython.declare(cython.int, 48)
#: Where the queue's number is, in a packet's message and in a verdict.
_NUMBER_AT = cython.declare(cython.int, 18)
#: A verdict up to the packet's id, with the id, and with the payload attribute's header.
_PREFIX_BYTES = cython.declare(cython.int, 28)
_VERDICT_BYTES = cython.declare(cython.int, 32)
_REPLACE_BYTES = cython.declare(cython.int, 36)
#: What a netlink attribute holds: its length is 16 bits wide, with its own header.
_LARGEST_PACKET_BYTES = cython.declare(cython.int, 65531)
_HEADERS_BYTES = cython.declare(cython.int, 28)
_DONT_FRAGMENT = cython.declare(cython.int, 0x4000)
_MORE_OR_OFFSET = cython.declare(cython.int, 0x3FFF)


@cython.cclass
class Batch:
    """The buffers of a queue: what was received, and the verdicts that wait for `flush`."""

    def __cinit__(
        self,
        fd: cython.int,
        first: cython.int,
        accept_prefix: bytes,
        drop_prefix: bytes,
        beside: cython.bint = False,
    ):
        """`fd` is the bound socket, `first` the first queue's number.

        The prefixes are the two verdicts' bytes up to the packet's id, with any queue's number. With `beside`
        another thread sends verdicts while more packets wait, until `finish`.
        """
        i: cython.int
        self.fd = fd
        self.first = first
        self.last_ids = {}
        self.accept_prefix = accept_prefix
        self.drop_prefix = drop_prefix
        if len(accept_prefix) != _PREFIX_BYTES or len(drop_prefix) != _PREFIX_BYTES:
            raise ValueError("a verdict's beginning has 28 bytes")
        self.place = cython.cast(cython.p_uchar, malloc(_MOST * _SLOT_BYTES))
        self.vectors = cython.cast(cython.pointer(iovec), calloc(_MOST, cython.sizeof(iovec)))
        self.heads = cython.cast(cython.pointer(mmsghdr), calloc(_MOST, cython.sizeof(mmsghdr)))
        self.beside = beside
        self.sender = Sender(fd)
        if not self.place or not self.vectors or not self.heads:
            raise MemoryError
        for i in range(_MOST):
            self.vectors[i].iov_base = self.place + i * _SLOT_BYTES
            self.vectors[i].iov_len = _SLOT_BYTES
            self.heads[i].msg_hdr.msg_iov = cython.address(self.vectors[i])
            self.heads[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.place)
        free(self.vectors)
        free(self.heads)

    def receive(self, limit: cython.int) -> list:
        """Take up to `limit` waiting packets, at most 32, without blocking: what `nfqueue.parse_packet` makes."""
        packets: list = []
        i: cython.int
        for i in range(self.take(limit)):
            packet = self.read(i)
            if packet is not None:
                packets.append(packet)
        if packets:
            last: uint64_t = packets[len(packets) - 1][0]
            self.last_ids[last >> 32] = last & 0xFFFFFFFF
        return packets

    @cython.cfunc
    @cython.exceptval(check=False)
    def take(self, limit: cython.int) -> cython.int:
        """Receive up to `limit` messages, at most 32; how many came."""
        taken: cython.int = recvmmsg(self.fd, self.heads, min(limit, _MOST), MSG_DONTWAIT, cython.NULL)
        self.backlog = self.beside and taken == _MOST  # then most likely others wait
        return taken

    @cython.cfunc
    @cython.exceptval(check=False)
    def message(self, i: cython.int) -> cython.p_uchar:
        """Where a received message is."""
        return self.place + i * _SLOT_BYTES

    @cython.cfunc
    def read(self, i: cython.int):
        """A received packet as `nfqueue.parse_packet` makes it, and counted; None for any other message."""
        queued = cython.declare(Queued)
        at: cython.p_uchar = self.place + i * _SLOT_BYTES
        size: cython.int = self.heads[i].msg_len
        if read_message(at, size, self.first, cython.address(queued)):
            self.received += 1
            return (
                queued.number,
                queued.mark,
                queued.in_interface,
                queued.out_interface,
                PyBytes_FromStringAndSize(cython.cast(cython.p_char, queued.packet), queued.size),
            )
        packet = nfqueue.parse_packet(bytearray(at[:size]), size, self.first)
        if packet is not None:
            self.received += 1
        elif size >= 20 and _u16(at + 4) == _ERROR:
            self.refusals += 1
        return packet

    def verdict_accept(self, packet_id: uint64_t):
        """Let the packet go on as it came, with the next `flush`."""
        self.short_verdict(self.accept_prefix, packet_id)

    def verdict_drop(self, packet_id: uint64_t):
        """Let the packet go nowhere, with the next `flush`."""
        self.short_verdict(self.drop_prefix, packet_id)

    def verdict_replace(self, packet_id: uint64_t, packet: bytes):
        """Let `packet` go on in its place, with the next `flush`."""
        size: cython.int = cython.cast(cython.int, PyBytes_GET_SIZE(packet))
        if size > _LARGEST_PACKET_BYTES:
            raise ValueError(f"a packet of {size} bytes doesn't fit into a verdict")
        at: cython.p_uchar = self.replacement(packet_id, size)
        memcpy(at, PyBytes_AS_STRING(packet), size)

    def verdict_payload(
        self,
        packet_id: uint64_t,
        packet: bytes,
        payload: bytes,
        mtu_bytes: cython.int,
        identification: cython.int,
    ):
        """Let the packet go on with another payload: what `datagram.replace_payload` makes of these."""
        old: cython.p_uchar = cython.cast(cython.p_uchar, PyBytes_AS_STRING(packet))
        before: cython.Py_ssize_t = PyBytes_GET_SIZE(packet)
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(payload)
        total: cython.int = cython.cast(cython.int, size) + _HEADERS_BYTES
        if before < _HEADERS_BYTES or old[0] != 0x45 or total > _LARGEST_PACKET_BYTES:
            self.verdict_replace(packet_id, datagram.replace_payload(packet, payload, mtu_bytes, identification))
            return
        new: cython.p_uchar = self.replacement(packet_id, total)
        memcpy(new, old, _HEADERS_BYTES)
        memcpy(new + _HEADERS_BYTES, PyBytes_AS_STRING(payload), size)
        fill_headers(new, size, total, mtu_bytes, identification)

    @cython.cfunc
    @cython.exceptval(check=False)
    def short_verdict(self, prefix: bytes, packet_id: uint64_t) -> cython.void:
        """Write a verdict that is its beginning and the packet's id."""
        at: cython.p_uchar = self._reserve(_VERDICT_BYTES)
        self._begin(at, prefix, packet_id)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _begin(self, at: cython.p_uchar, prefix: bytes, packet_id: uint64_t) -> cython.void:
        """Write a verdict up to the packet's id, with that."""
        memcpy(at, PyBytes_AS_STRING(prefix), _PREFIX_BYTES)
        _put16(at + _NUMBER_AT, self.first + cython.cast(cython.int, packet_id >> 32))
        _put32(at + _PREFIX_BYTES, cython.cast(uint32_t, packet_id & 0xFFFFFFFF))

    @cython.cfunc
    @cython.exceptval(check=False)
    def replacement(self, packet_id: uint64_t, size: cython.int) -> cython.p_uchar:
        """Write a verdict's beginning; returns where `size` bytes of packet are to be put."""
        padded: cython.int = (size + 3) & ~3
        at: cython.p_uchar = self._reserve(_REPLACE_BYTES + padded)
        self._begin(at, self.accept_prefix, packet_id)
        length: uint32_t = _REPLACE_BYTES + size
        memcpy(at, cython.address(length), 4)
        part: uint16_t = cython.cast(uint16_t, size + 4)
        memcpy(at + _VERDICT_BYTES, cython.address(part), 2)
        part = cython.cast(uint16_t, _PAYLOAD)
        memcpy(at + _VERDICT_BYTES + 2, cython.address(part), 2)
        memset(at + _REPLACE_BYTES + size, 0, padded - size)
        return at + _REPLACE_BYTES

    @cython.cfunc
    @cython.exceptval(check=False)
    def _reserve(self, size: cython.int) -> cython.p_uchar:
        """Make room for one more verdict."""
        parcel: cython.pointer(Parcel) = self.sender.parcel
        if parcel.count == _MOST or parcel.size + size > _SEND_BYTES:
            self._flush()
        return self.sender.reserve(size)

    def flush(self):
        """Send all pending verdicts. Never raises: where a batch doesn't get through, each goes alone."""
        if self.sender.parcel.count:
            self._flush()

    @cython.cfunc
    @cython.exceptval(check=False)
    def _flush(self) -> cython.void:
        if self.backlog or not self.sender.idle():
            self.sender.send_beside()
        else:
            self.sender.send_here()

    def finish(self):
        """Send all verdicts, and return when they are in the kernel; the thread has ended then."""
        self.flush()
        self.sender.finish()

    @property
    def refused(self) -> int:
        """Verdicts that the kernel refused, as far as that is known."""
        return self.refusals + self.sender.refused()

    def split_udp(self, packet: bytes):
        """Return what `codec.datagram.split_udp` does."""
        return _split(packet)


@cython.cfunc
def _split(packet: bytes):
    at: cython.p_uchar = cython.cast(cython.p_uchar, PyBytes_AS_STRING(packet))
    end: cython.int = payload_end(at, PyBytes_GET_SIZE(packet))
    if end < 0:
        return datagram.split_udp(packet)
    return (
        PyBytes_FromStringAndSize(cython.cast(cython.p_char, at + 12), 12),
        PyBytes_FromStringAndSize(cython.cast(cython.p_char, at + _HEADERS_BYTES), end - _HEADERS_BYTES),
    )


@cython.cfunc
@cython.exceptval(check=False)
def payload_end(at: cython.p_uchar, size: cython.Py_ssize_t) -> cython.int:
    """Where a whole UDP datagram's payload ends, which begins at 28; -1 for any other packet, or with options."""
    if size < _HEADERS_BYTES or at[0] != 0x45 or at[9] != 17 or _be16(at + 6) & _MORE_OR_OFFSET:
        return -1
    total: cython.int = _be16(at + 2)
    end: cython.int = 20 + _be16(at + 24)
    return -1 if total > size or end < _HEADERS_BYTES or end > total else end


@cython.cfunc
@cython.exceptval(check=False)
def read_message(
    at: cython.p_uchar, size: cython.int, first: cython.int, queued: cython.pointer(Queued)
) -> cython.bint:
    """Read a packet message as the forward hook's are; False for any other."""
    if size < _REST_AT + 8:
        return False
    length: cython.int = _u32(at)
    if length > size or _u16(at + 4) != _PACKET:
        return False
    # Attribute headers, in the machine's order: packet header, interface in, interface out.
    if _u16(at + 20) != 11 or _u16(at + 22) != 1 or _u16(at + 32) != 8 or _u16(at + 34) != 5:
        return False
    if _u16(at + 40) != 8 or _u16(at + 42) != 6:
        return False
    offset: cython.int = _REST_AT
    part: cython.int
    while offset + 4 <= length:
        part = _u16(at + offset)
        if part < 4 or offset + part > length:
            return False
        if _u16(at + offset + 2) == _PAYLOAD:
            queue: uint64_t = (_be16(at + _NUMBER_AT) - first) & 0xFFFF
            queued.number = queue << 32 | ntohl(_u32(at + _ID_AT))
            queued.mark = at[30]
            queued.in_interface = ntohl(_u32(at + _IN_AT))
            queued.out_interface = ntohl(_u32(at + _OUT_AT))
            queued.packet = at + offset + 4
            queued.size = part - 4
            return True
        offset += (part + 3) & ~3
    return False


@cython.cfunc
@cython.exceptval(check=False)
def fill_headers(
    new: cython.p_uchar,
    size: cython.Py_ssize_t,
    total: cython.int,
    mtu_bytes: cython.int,
    identification: cython.int,
) -> cython.void:
    """Make lengths and checksums right for a payload of `size` bytes; see `datagram.replace_payload`."""
    total_before: cython.int = _be16(new + 2)
    fragment: cython.int = _be16(new + 6)
    checksum: cython.long = _be16(new + 10) + total_before - total
    udp_bytes: cython.int = cython.cast(cython.int, size) + 8
    if total > mtu_bytes and total > total_before and fragment & _DONT_FRAGMENT:
        checksum += _DONT_FRAGMENT + _be16(new + 4) - identification
        _put16(new + 6, fragment - _DONT_FRAGMENT)
        _put16(new + 4, identification)
    checksum %= 65535
    if checksum < 0:
        checksum += 65535
    _put16(new + 2, total)
    _put16(new + 10, cython.cast(cython.int, checksum))
    _put16(new + 24, udp_bytes)
    if _be16(new + 26):
        # Addresses, ports and payload, and what stands in the pseudo-header: protocol and length once more.
        words: uint64_t = _sum(new + 12, 12) + _sum(new + _HEADERS_BYTES, size) + 17 + 2 * udp_bytes
        words = 65535 - words % 65535
        _put16(new + 26, cython.cast(cython.int, words))


@cython.cfunc
@cython.exceptval(check=False)
def _sum(at: cython.p_uchar, size: cython.Py_ssize_t) -> uint64_t:
    """The sum of 16-bit words in network order modulo 65535, below 65536; an odd byte is a word's first."""
    total: uint64_t = 0
    four: uint32_t = 0
    last: uint16_t = 0
    i: cython.Py_ssize_t = 0
    while i + 4 <= size:
        memcpy(cython.address(four), at + i, 4)
        total += four
        i += 4
    while i + 2 <= size:
        memcpy(cython.address(last), at + i, 2)
        total += last
        i += 2
    if i < size:
        last = 0
        memcpy(cython.address(last), at + i, 1)
        total += last
    # The words were read in the machine's order; their sum, brought to 16 bits, is turned once.
    total = (total & 0xFFFFFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    last = cython.cast(uint16_t, total)
    two: cython.p_uchar = cython.cast(cython.p_uchar, cython.address(last))
    return cython.cast(uint64_t, _be16(two))


@cython.cfunc
@cython.inline
def _u16(at: cython.p_uchar) -> cython.int:
    value: uint16_t = 0
    memcpy(cython.address(value), at, 2)
    return value


@cython.cfunc
@cython.inline
def _u32(at: cython.p_uchar) -> uint32_t:
    value: uint32_t = 0
    memcpy(cython.address(value), at, 4)
    return value


@cython.cfunc
@cython.inline
def _be16(at: cython.p_uchar) -> cython.int:
    return at[0] << 8 | at[1]


@cython.cfunc
@cython.inline
def _put16(at: cython.p_uchar, value: cython.int) -> cython.void:
    at[0] = cython.cast(uint8_t, (value >> 8) & 255)
    at[1] = cython.cast(uint8_t, value & 255)


@cython.cfunc
@cython.inline
def _put32(at: cython.p_uchar, value: uint32_t) -> cython.void:
    value = htonl(value)
    memcpy(at, cython.address(value), 4)
