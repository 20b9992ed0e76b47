# What datapath/express_batch.py calls of datapath/batch.py: its buffers, and steps over a packet's bytes.
from libc.stdint cimport uint32_t, uint64_t
from sipalg.datapath.sender cimport Sender
from sipalg.datapath.sockets cimport iovec, mmsghdr

cdef class Batch:
    cdef int fd
    cdef unsigned char *place
    cdef iovec *vectors
    cdef mmsghdr *heads
    cdef Sender sender
    # Whether it may send beside, and whether it is to, since the last packets came with others behind them.
    cdef bint beside
    cdef bint backlog
    cdef int first
    cdef bytes accept_prefix
    cdef bytes drop_prefix
    # Packets received, answers that refuse a verdict, and each queue's last id, as far as it came last.
    cdef readonly long received
    cdef long refusals
    cdef readonly dict last_ids
    cdef int take(self, int limit) noexcept
    cdef unsigned char *message(self, int i) noexcept
    cdef object read(self, int i)
    cdef void short_verdict(self, bytes prefix, uint64_t packet_id) noexcept
    cdef unsigned char *replacement(self, uint64_t packet_id, int size) noexcept
    cdef void _begin(self, unsigned char *at, bytes prefix, uint64_t packet_id) noexcept
    cdef unsigned char *_reserve(self, int size) noexcept
    cdef void _flush(self) noexcept

# A packet message as the forward hook's are: its number, interfaces and bytes.
cdef struct Queued:
    uint64_t number
    int mark
    uint32_t in_interface
    uint32_t out_interface
    unsigned char *packet
    int size

cdef bint read_message(unsigned char *at, int size, int first, Queued *queued) noexcept
cdef int payload_end(unsigned char *packet, Py_ssize_t size) noexcept
cdef void fill_headers(unsigned char *new, Py_ssize_t size, int total, int mtu_bytes, int identification) noexcept
