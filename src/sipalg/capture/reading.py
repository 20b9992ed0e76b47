"""Captures of any size as a stream of frames: pcap and pcapng, compressed or not, in one pass and in flat memory.

All commands read through it: it takes files whose interfaces have different link types, keeps nanoseconds, and gives
what can be read of a damaged file, with one line that says where it ends. It is written for files of which nine tenths
are voice: one loop over a piece's bytes, nothing made twice. On a packet's way offline this is the first step.
Sources: draft-ietf-opsawg-pcap (4, 5) and draft-ietf-opsawg-pcapng (4.1 to 4.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Final, NamedTuple, Self

from sipalg.capture.blocks import SECTION, Blocks, Interface
from sipalg.capture.link import is_known
from sipalg.capture.pcap import SNAPLEN_BYTES, CaptureError
from sipalg.capture.records import NS_PER_S
from sipalg.capture.tally import ENDS_AT, NOWHERE, SSRC_FROM, SSRC_TO, Tallies
from sipalg.capture.unpacking import Pieces, packed_as

#: A NamedTuple's own constructor costs twice as much, and a frame is made for every packet.
_new: Final = tuple.__new__

#: pcap's first four bytes: byte order and nanoseconds per unit of the fraction.
_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAP_HEADER_BYTES: Final = 24
_JOINED: Final = "another capture begins here: give them as two files"
_RECORD_HEADER_BYTES: Final = 16
#: The link type's field has other things in its upper bits (FCS length).
_LINK_TYPE_BITS: Final = 0x0FFFFFFF


class Frame(NamedTuple):
    """One captured frame. `number` counts from 1; `wire_bytes` is its size on the wire, `data` may be less of it.

    `link_type` is the number as in files (LINKTYPE_…); `interface` is the index in `CaptureSource.interfaces`.
    """

    number: int
    time_ns: int
    data: bytes
    wire_bytes: int
    link_type: int
    interface: int


class CaptureSource:
    """The frames of one file, in order; iterate once. `damage` says in one line why the end is missing, if it is."""

    def __init__(self, path: Path, content: Path | None = None) -> None:
        self.path = path
        self.damage: str | None = None
        #: What the file says of each interface so far: one in pcap, any number in pcapng.
        self.interfaces: list[Interface] = []
        #: Packets of these ways are counted where they lie, and no frame is made of them; may be filled while reading.
        self.tallies: Tallies = {}
        #: How many packets other files had before this one: numbers go on from there. To be set before reading.
        self.before = 0
        #: How many packets have been read so far, and when the last of them came, counted ones too; right at the end.
        self.packets = 0
        self.last_ns = 0
        #: How many of them the file has less of than there was on the wire; right at the end.
        self.cut = 0
        self._pieces = Pieces(content or path)
        self._start = self._at_least(_PCAP_HEADER_BYTES)
        order = _MAGIC.get(self._start[:4])
        if order is None and self._start[:4] != SECTION:
            self._pieces.close()
            what = self._pieces.damage or ("is no capture" if self._start else "is empty")
            packed = packed_as(self._start)
            if packed:
                raise CaptureError(f"{path}: is no capture, but a {packed} file; unpack it first")
            raise CaptureError(f"{path}: {what}; give a pcap or pcapng file")
        if order is not None and len(self._start) < _PCAP_HEADER_BYTES:
            self._pieces.close()
            raise CaptureError(f"{path}: is cut off in its header; give a pcap or pcapng file")
        self._order = order

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces.close()

    @property
    def total_bytes(self) -> int:
        """The file's size on disk."""
        return self._pieces.total_bytes

    @property
    def done_bytes(self) -> int:
        """How much of that has been read so far."""
        return self._pieces.done_bytes

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; where the file is damaged it ends there, and :attr:`damage` says so."""
        return self._pcapng_frames() if self._order is None else self._pcap_frames(*self._order)

    def _at_least(self, size_bytes: int) -> bytes:
        start = b""
        while len(start) < size_bytes and (piece := self._pieces.read()):
            start += piece
        return start

    def _pcap_frames(self, order: str, ns_per_unit: int) -> Iterator[Frame]:
        _, snaplen_bytes, link_field = Struct(order + "QII").unpack_from(self._start, 8)
        link_type = link_field & _LINK_TYPE_BITS
        self.interfaces.append(Interface(link_type, "", snaplen_bytes, 10**9 // ns_per_unit, 0))
        unpack_from = Struct(order + "IIII").unpack_from
        tallies, find = self.tallies, self.tallies.get
        ends_at = ENDS_AT.get(link_type, NOWHERE)
        ends_stop, ssrc_at, ssrc_stop = ends_at + 12, ends_at + SSRC_FROM, ends_at + SSRC_TO
        buffer, at, number = self._start, _PCAP_HEADER_BYTES, self.before
        seconds = fraction = 0

        def clock(high: int, low: int) -> int:
            return high * NS_PER_S + low * ns_per_unit

        while True:
            end = len(buffer)
            while at + _RECORD_HEADER_BYTES <= end:
                seconds, fraction, captured_bytes, wire_bytes = unpack_from(buffer, at)
                if not captured_bytes and buffer[at : at + 4] in _MAGIC:
                    self.packets = number - self.before
                    self._damaged(_JOINED)
                    return
                begin = at + _RECORD_HEADER_BYTES
                stop = begin + captured_bytes
                if stop > end:
                    break
                at = stop
                number += 1
                if wire_bytes > captured_bytes:
                    self.cut += 1
                if tallies:
                    tally = find(buffer[begin + ends_at : begin + ends_stop])
                    if tally is not None and buffer[begin + ssrc_at : begin + ssrc_stop] == tally.ssrc:
                        tally.count += 1
                        tally.last = number
                        tally.high = seconds
                        tally.low = fraction
                        tally.clock = clock
                        continue
                time_ns = seconds * NS_PER_S + fraction * ns_per_unit
                yield _new(Frame, (number, time_ns, buffer[begin:stop], wire_bytes, link_type, 0))
            else:
                captured_bytes = 0
            if captured_bytes > SNAPLEN_BYTES:
                self.packets = number - self.before
                damaged = f"says that it has {captured_bytes} bytes: the file is damaged there"
                self._damaged(_JOINED if buffer[at : at + 4] == SECTION else damaged)
                return
            piece = self._pieces.read()
            self.packets, self.last_ns = number - self.before, clock(seconds, fraction)
            if not piece:
                self._end(len(buffer) - at)
                return
            buffer, at = buffer[at:] + piece, 0

    def _pcapng_frames(self) -> Iterator[Frame]:
        blocks = Blocks(self.interfaces, self.tallies, self.before)
        buffer = self._start
        while True:
            for packet in blocks.packets(buffer):
                yield _new(Frame, (blocks.number, *packet))
            self.packets, self.last_ns = blocks.number - self.before, blocks.last_ns
            self.cut = blocks.cut
            if blocks.damage:
                begun = buffer[blocks.used_bytes : blocks.used_bytes + 4]
                self._damaged(_JOINED if begun in _MAGIC else blocks.damage)
                return
            rest = buffer[blocks.used_bytes :]
            piece = self._pieces.read()
            if not piece:
                self._end(len(rest))
                return
            buffer = rest + piece

    def _end(self, left_bytes: int) -> None:
        """Note what is wrong with the end, if anything: bytes of a packet that isn't whole, or broken compression."""
        if self._pieces.damage:
            self._damaged(self._pieces.damage)
        elif left_bytes:
            self._damaged("is cut off: the file ends in its middle")

    def _damaged(self, what: str) -> None:
        self.damage = f"{self.path}, packet {self.packets + 1}: {what}"


def open_capture(path: Path, content: Path | None = None) -> CaptureSource:
    """Open a capture, compressed or not, `-` for standard input; CaptureError, one line, where there is none.

    Lines for people name `path`, also where what it had is read from a copy, `content`.
    """
    return CaptureSource(path, content)


def refuse_twice(paths: Sequence[Path]) -> None:
    """Raise CaptureError where a file is named twice: all in it would be counted twice."""
    seen: dict[Path, Path] = {}
    for path in paths:
        other = seen.setdefault(path.resolve(), path)
        if other is not path:
            raise CaptureError(f"{path}: is named twice, and all in it would count twice; give each file once")


def unknown_links(source: CaptureSource, fate: str = "left out") -> str:
    """Say which link types of a file can't be read, and that such packets are `fate`; CaptureError if it has no other.

    To be asked when the packets have been read: pcapng may tell of an interface anywhere.
    """
    unknown = sorted({interface.link_type for interface in source.interfaces if not is_known(interface.link_type)})
    if not unknown:
        return ""
    what = f"{source.path}: link type {', '.join(map(str, unknown))} isn't one that is read here"
    if len(unknown) == len({interface.link_type for interface in source.interfaces}):
        raise CaptureError(f"{what}; capture Ethernet, Linux cooked, loopback or bare IP")
    return f"{what}: those packets are {fate}"


def faults(source: CaptureSource) -> str:
    """Say in one line why less than all of a file's packets could be read in full, "" if all could.

    To be asked when the packets have been read; CaptureError if it has only link types that can't be read.
    """
    return "; ".join(note for note in (source.damage or unknown_links(source), _cut_short(source)) if note)


def _cut_short(source: CaptureSource) -> str:
    if not source.cut:
        return ""
    packets = "1 packet is" if source.cut == 1 else f"{source.cut} packets are"
    return f"{source.path}: {packets} cut short (snaplen); capture whole ones, with -s 0 or only-headers=no"
