"""The shortest way of a packet: from the queue's buffer to the verdicts' buffer, without a Python object between.

A registered phone's refresh, or an answer to it, is followed by `engine.express` where the kernel has put it, and its
new text is written where the verdict is sent from. Every other packet goes to the driver, in its turn: packets get
their verdicts in the order in which they came. Cython compiles it (pure-Python mode).
"""

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.string import memcpy
from cython.cimports.sipalg.datapath.batch import Batch, Queued, fill_headers, payload_end, read_message
from cython.cimports.sipalg.engine.express import Express
from cython.cimports.sipalg.engine.express_texts import Passing, write

_HEADERS_BYTES = cython.declare(cython.int, 28)
_UDP = cython.declare(cython.int, 17)
#: Longer ones go the other way: with the edits they might not fit into a verdict.
_LONGEST_BYTES = cython.declare(cython.int, 60000)


@cython.cclass
class ExpressBatch(Batch):
    """A queue's buffers, and the way between them."""

    #: The last number given to a packet whose fragments have to be put together; the driver has its own.
    identification: cython.int
    passing: Passing
    in_number: uint32_t
    out_number: uint32_t
    in_name: object
    mtu_bytes: cython.int

    def pass_known(
        self, limit: cython.int, express: Express, interfaces, decide, log, now: cython.double
    ) -> tuple[int, int, int]:
        """Take up to `limit` waiting packets, at most 32, and give each its verdict, or have `decide` do so.

        `interfaces` says names and MTUs by index, `decide(packet, now)` is the driver, and `log` its fault log: a
        packet at which something fails here goes to the driver. Returns how many came, how many went this way with
        another text, and how many as they were.
        """
        i: cython.int
        edits: cython.int
        replaced: cython.int = 0
        unchanged: cython.int = 0
        packets: cython.int = 0
        queued = cython.declare(Queued)
        taken: cython.int = self.take(limit)
        for i in range(taken):
            self._expect(i, express)
        self.in_number = self.out_number = 0
        for i in range(taken):
            edits = -1
            if read_message(self.message(i), self.heads[i].msg_len, self.first, cython.address(queued)):
                # Else all that came with it would wait for ever.
                try:
                    edits = self._look(cython.address(queued), express, interfaces, now)
                except Exception:
                    edits = -1
                    log.exception("shortest-way", "decided-as-any-other")
            if edits < 0:
                packet = self.read(i)
                if packet is not None:
                    packets += 1
                    number = packet[0]
                    self.last_ids[number >> 32] = number & 0xFFFFFFFF
                    decide(packet, now)
                continue
            packets += 1
            self.received += 1
            if edits == 0:
                unchanged += 1
                self.short_verdict(self.accept_prefix, queued.number)
            else:
                replaced += 1
                self._replace(cython.address(queued))
            if i == taken - 1:
                self.last_ids[queued.number >> 32] = queued.number & 0xFFFFFFFF
        return packets, replaced, unchanged

    @cython.cfunc
    @cython.exceptval(check=False)
    def _expect(self, i: cython.int, express: Express) -> cython.void:
        """Have the processor fetch what the packet's phone may be found at, while others are followed."""
        queued = cython.declare(Queued)
        if not read_message(self.message(i), self.heads[i].msg_len, self.first, cython.address(queued)):
            return
        if queued.size >= _HEADERS_BYTES:
            express.expect(_UDP, _word(queued.packet + 12), _half(queued.packet + 20))
            express.expect(_UDP, _word(queued.packet + 16), _half(queued.packet + 22))

    @cython.cfunc
    @cython.exceptval(-2, check=False)
    def _look(self, queued: cython.pointer(Queued), express: Express, interfaces, now: cython.double) -> cython.int:
        """The number of a packet's edits; -1 if it is to go the other way."""
        passing: cython.pointer(Passing) = cython.address(self.passing)
        at: cython.p_uchar = queued.packet
        end: cython.int = payload_end(at, queued.size)
        if end < 0 or end > _LONGEST_BYTES or not express.is_free():
            return -1
        if queued.in_interface != self.in_number or queued.out_interface != self.out_number:
            # What fails half way isn't taken for known.
            self.in_number = 0
            interface = interfaces.known.get(queued.in_interface) or interfaces[queued.in_interface]
            self.in_name = interface.name
            interface = interfaces.known.get(queued.out_interface) or interfaces[queued.out_interface]
            self.mtu_bytes = interface.mtu_bytes
            self.in_number = queued.in_interface
            self.out_number = queued.out_interface
        passing.text = cython.cast(cython.p_char, at + _HEADERS_BYTES)
        passing.size = end - _HEADERS_BYTES
        passing.source = _word(at + 12)
        passing.destination = _word(at + 16)
        passing.source_port = _half(at + 20)
        passing.destination_port = _half(at + 22)
        passing.protocol = _UDP
        passing.now = now
        return express.look(passing, self.in_name)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _replace(self, queued: cython.pointer(Queued)) -> cython.void:
        """Write a packet's verdict, with its new text."""
        passing: cython.pointer(Passing) = cython.address(self.passing)
        size: cython.Py_ssize_t = passing.size + passing.grown
        total: cython.int = cython.cast(cython.int, size) + _HEADERS_BYTES
        new: cython.p_uchar = self.replacement(queued.number, total)
        memcpy(new, queued.packet, _HEADERS_BYTES)
        write(passing, cython.cast(cython.p_char, new + _HEADERS_BYTES))
        self.identification = self.identification % 65535 + 1
        fill_headers(new, size, total, self.mtu_bytes, self.identification)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _word(at: cython.p_uchar) -> uint32_t:
    return cython.cast(uint32_t, at[0]) << 24 | at[1] << 16 | at[2] << 8 | at[3]


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _half(at: cython.p_uchar) -> cython.int:
    return at[0] << 8 | at[1]
