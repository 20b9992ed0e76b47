"""pcapng's blocks: what a file says of its interfaces, and the packets, each with its interface's link type and clock.

Fed with pieces of a file of any size, it takes the whole blocks out and leaves the rest for the next piece. Blocks of
other kinds (names, statistics, secrets) are stepped over. Under the reading of captures. Pure; nothing here raises on
a file's bytes. Source: draft-ietf-opsawg-pcapng, sections 3 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from sipalg.capture.records import NS_PER_S
from sipalg.capture.tally import ENDS_AT, NOWHERE, SSRC_FROM, SSRC_TO, Tallies, Tally

#: The first four bytes of a file: a Section Header Block's type, the same in either byte order.
SECTION: Final = b"\x0a\x0d\x0d\x0a"

_INTERFACE: Final = 1
_PACKET_OBSOLETE: Final = 2
_PACKET_SIMPLE: Final = 3
_PACKET: Final = 6
_SECTION_MAGIC: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

_OPTION_NAME: Final = 2
_OPTION_UNIT: Final = 9
_OPTION_OFFSET: Final = 14
_DEFAULT_UNITS_PER_S: Final = 1_000_000
#: The finest clock that is believed: beyond attoseconds a file is damaged.
_FINEST_EXPONENT: Final = 63

#: What must be there of a block before its size can be known and, in a section's, its byte order.
_BLOCK_START_BYTES: Final = 12
#: A damaged length must not make the reader hold the whole file.
_LARGEST_BLOCK_BYTES: Final = 16_777_216

#: No clock says more: what doesn't fit pcap's seconds, or lies before 1970, comes from damage.
_LATEST_NS: Final = (1 << 32) * NS_PER_S - 1

#: A frame without its number: time in ns, bytes, bytes on the wire, link type, interface.
_Content = tuple[int, bytes, int, int, int]


class Interface(NamedTuple):
    """What a capture says of one interface; `name` may be empty, `snaplen_bytes` 0 means no limit."""

    link_type: int
    name: str
    snaplen_bytes: int
    units_per_s: int
    offset_s: int

    def time_ns(self, high: int, low: int) -> int:
        """Return a packet's time by its two numbers, in ns since 1970, within what any clock says."""
        time_ns = self.offset_s * NS_PER_S + (high << 32 | low) * NS_PER_S // self.units_per_s
        return time_ns if 0 <= time_ns <= _LATEST_NS else 0 if time_ns < 0 else _LATEST_NS


class Blocks:
    """Reads blocks; interfaces are appended to the list that it is given, those of a second section behind them.

    Packets of the streams in `tallies` are counted there and aren't given. Numbers go on from `before`.
    """

    def __init__(self, interfaces: list[Interface], tallies: Tallies, before: int = 0) -> None:
        self._tallies = tallies
        #: The number of the last packet, counted or given.
        self.number = before
        #: The stream that was counted last.
        self._counted: Tally | None = None
        self._given_ns = 0
        #: How many packets had more bytes on the wire than here.
        self.cut = 0
        #: How much of the last piece was whole blocks.
        self.used_bytes = 0
        #: What ends the reading, without the packet's number; "" as long as nothing does.
        self.damage = ""
        self._interfaces = interfaces
        #: Where this section's interfaces begin in the list.
        self._base = 0
        self._order = "<"
        self._head = struct.Struct("<II")
        self._packet = struct.Struct("<IIIII")

    def packets(self, buffer: bytes) -> Iterator[_Content]:
        """Yield the packets of the whole blocks in `buffer`; :attr:`used_bytes` is then where the rest begins."""
        at, end = 0, len(buffer)
        self.used_bytes = 0
        tallies = self._tallies
        while at + _BLOCK_START_BYTES <= end and not self.damage:
            if buffer[at : at + 4] == SECTION and not self._begin_section(buffer[at + 8 : at + 12]):
                return
            kind, size_bytes = self._head.unpack_from(buffer, at)
            if not _BLOCK_START_BYTES <= size_bytes <= _LARGEST_BLOCK_BYTES or size_bytes % 4:
                self.damage = f"is in a block that says it has {size_bytes} bytes: the file is damaged there"
                return
            stop = at + size_bytes
            if stop > end:
                return
            if kind == _PACKET and tallies and size_bytes >= 32 and self._is_counted(buffer, at, stop):
                at = self.used_bytes = stop
                continue
            if kind == _PACKET and size_bytes >= 32:
                interface, high, low, captured_bytes, wire_bytes = self._packet.unpack_from(buffer, at + 8)
                found = self._content(interface, (high, low), buffer, at + 28, stop, captured_bytes, wire_bytes)
            else:
                found = self._other(kind, buffer, at, stop)
            at = self.used_bytes = stop
            if found is not None:
                self.number += 1
                self.cut += found[2] > len(found[1])
                yield found

    def _is_counted(self, buffer: bytes, at: int, stop: int) -> bool:
        """Count a packet of a known way; a block that isn't as it should be is left to who reads it in full."""
        interface, high, low, captured_bytes, wire_bytes = self._packet.unpack_from(buffer, at + 8)
        index = self._base + interface
        if index >= len(self._interfaces):
            return False
        described = self._interfaces[index]
        ends_at = at + 28 + ENDS_AT.get(described.link_type, NOWHERE)
        tally = self._tallies.get(buffer[ends_at : ends_at + 12])
        ssrc_to = ends_at + SSRC_TO
        if tally is None or ssrc_to > stop or buffer[ends_at + SSRC_FROM : ssrc_to] != tally.ssrc:
            return False
        self.number += 1
        self.cut += wire_bytes > captured_bytes
        tally.count += 1
        tally.last = self.number
        tally.high = high
        tally.low = low
        tally.clock = described.time_ns
        self._counted = tally
        return True

    @property
    def last_ns(self) -> int:
        """When the latest packet came, one that was only counted or one that was given."""
        return self._given_ns if self._counted is None else max(self._given_ns, self._counted.last_ns)

    def _begin_section(self, magic: bytes) -> bool:
        order = _SECTION_MAGIC.get(magic)
        if order is None:
            self.damage = "is behind a section header without a byte order: the file is damaged there"
            return False
        self._order, self._base = order, len(self._interfaces)
        self._head = struct.Struct(order + "II")
        self._packet = struct.Struct(order + "IIIII")
        return True

    def _other(self, kind: int, buffer: bytes, at: int, stop: int) -> _Content | None:
        """Take a block that isn't today's packet block: an interface, a packet in an older shape, or anything."""
        body = buffer[at + 8 : stop - 4]
        if kind == _INTERFACE and len(body) >= 8:
            link_type, _, snaplen_bytes = struct.unpack_from(self._order + "HHI", body)
            self._interfaces.append(_interface(link_type, snaplen_bytes, body[8:], self._order))
        elif kind == _PACKET_OBSOLETE and len(body) >= 20:
            interface, _, high, low, captured_bytes, wire_bytes = struct.unpack_from(self._order + "HHIIII", body)
            return self._content(interface, (high, low), buffer, at + 28, stop, captured_bytes, wire_bytes)
        elif kind == _PACKET_SIMPLE and len(body) >= 4:
            (wire_bytes,) = struct.unpack_from(self._order + "I", body)
            captured_bytes = min(wire_bytes, len(body) - 4)
            if self._base < len(self._interfaces):
                captured_bytes = min(captured_bytes, self._interfaces[self._base].snaplen_bytes or captured_bytes)
            return self._content(0, (0, 0), buffer, at + 12, stop, captured_bytes, wire_bytes)
        return None

    def _content(
        self,
        interface: int,
        stamp: tuple[int, int],
        buffer: bytes,
        begin: int,
        stop: int,
        captured_bytes: int,
        wire_bytes: int,
    ) -> _Content | None:
        index = self._base + interface
        if index >= len(self._interfaces):
            self.damage = f"is of interface {interface}, which the file doesn't describe: it is damaged there"
            return None
        if begin + captured_bytes > stop - 4:
            self.damage = f"says that it has {captured_bytes} bytes, more than its block: the file is damaged there"
            return None
        described = self._interfaces[index]
        self._given_ns = time_ns = described.time_ns(*stamp)
        return time_ns, buffer[begin : begin + captured_bytes], wire_bytes, described.link_type, index


def _interface(link_type: int, snaplen_bytes: int, options: bytes, order: str) -> Interface:
    """Return what an Interface Description Block says; options that can't be read are left out."""
    name, units_per_s, offset_s = "", _DEFAULT_UNITS_PER_S, 0
    while len(options) >= 4:
        code, size_bytes = struct.unpack_from(order + "HH", options)
        value = options[4 : 4 + size_bytes]
        if code == _OPTION_NAME:
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif code == _OPTION_UNIT and len(value) == 1 and value[0] & 0x7F <= _FINEST_EXPONENT:
            units_per_s = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
        elif code == _OPTION_OFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        options = options[4 + size_bytes + -size_bytes % 4 :]
    return Interface(link_type, name, snaplen_bytes, units_per_s, offset_s)
