"""pcap and pcapng as bytes, a packet at a time, for files that grow while they are read: headers, records, blocks.

Each piece is whole by itself, so that a file that ends behind any of them is a good file; `whole_bytes` finds where
that is in one whose writer was killed. Pure, but for reading in `whole_bytes`. On a packet's way this is where a copy
of it is put down. Sources: draft-ietf-opsawg-pcap sections 4 and 5, draft-ietf-opsawg-pcapng sections 3 and 4.
"""

from __future__ import annotations

from struct import Struct
from typing import BinaryIO, Final, NamedTuple, Protocol

#: LINKTYPE_ETHERNET.
ETHERNET: Final = 1
SNAPLEN_BYTES: Final = 262144
NS_PER_S: Final = 1_000_000_000

_PCAP_HEADER: Final = Struct("<IHHiIII")
_PCAP_RECORD: Final = Struct("<IIII")
_PCAP_MAGIC: Final = 0xA1B2C3D4

_BLOCK: Final = Struct("<II")
_SECTION: Final = Struct("<IHHq")
_INTERFACE: Final = Struct("<HHI")
_PACKET: Final = Struct("<IIIII")
_OPTION: Final = Struct("<HH")
_SECTION_BLOCK: Final = 0x0A0D0D0A
_SECTION_MAGIC: Final = 0x1A2B3C4D
_INTERFACE_BLOCK: Final = 1
_PACKET_BLOCK: Final = 6
#: Options: a comment, an interface's name, the unit of its times, a packet's flags.
_COMMENT: Final = 1
_NAME: Final = 2
_UNIT: Final = 9
_FLAGS: Final = 2
_NANOSECONDS: Final = b"\x09"
#: The lowest two bits of a packet's flags (section 4.3.1).
_INBOUND: Final = 1
_OUTBOUND: Final = 2
_LARGEST_PIECE_BYTES: Final = 1 << 24


class Captured(NamedTuple):
    """A copy of a frame: `time_ns` since 1970, `wire_bytes` its size on the wire, of which `frame` may be the begin.

    `outgoing` is None where nobody knows; `comment` is for those who read the file; `link_type` is the number as in
    files (LINKTYPE_…), None for the format's own.
    """

    time_ns: int
    frame: bytes
    wire_bytes: int
    interface: str = ""
    outgoing: bool | None = None
    comment: str = ""
    link_type: int | None = None


class Format(Protocol):
    """A kind of file."""

    def header(self) -> bytes:
        """Return what stands at the file's begin."""

    def packet(self, packet: Captured) -> bytes:
        """Return a packet's record, with all that has to stand before it."""


class Pcap:
    """The old kind, which every tool reads: microseconds, and neither interface nor direction nor comment."""

    def __init__(self, link_type: int = ETHERNET) -> None:
        self._link_type = link_type

    def header(self) -> bytes:
        """Return the file's header."""
        return _PCAP_HEADER.pack(_PCAP_MAGIC, 2, 4, 0, 0, SNAPLEN_BYTES, self._link_type)

    def packet(self, packet: Captured) -> bytes:
        """Return a record."""
        seconds, rest_ns = divmod(packet.time_ns, NS_PER_S)
        return _PCAP_RECORD.pack(seconds, rest_ns // 1000, len(packet.frame), packet.wire_bytes) + packet.frame


class Pcapng:
    """The new kind: nanoseconds, interfaces by name and each with its link type, directions, comments."""

    def __init__(self, link_type: int = ETHERNET) -> None:
        self._link_type = link_type
        self._interfaces: dict[tuple[str, int], int] = {}

    def header(self) -> bytes:
        """Return the section's header; interfaces are described when their first packet comes."""
        return _block(_SECTION_BLOCK, _SECTION.pack(_SECTION_MAGIC, 1, 0, -1))

    def packet(self, packet: Captured) -> bytes:
        """Return a packet's block, after its interface's where that is new."""
        before = b""
        link_type = self._link_type if packet.link_type is None else packet.link_type
        number = self._interfaces.get((packet.interface, link_type))
        if number is None:
            number = self._interfaces[packet.interface, link_type] = len(self._interfaces)
            options = _option(_NAME, packet.interface.encode()) if packet.interface else b""
            options += _option(_UNIT, _NANOSECONDS) + _option(0, b"")
            before = _block(_INTERFACE_BLOCK, _INTERFACE.pack(link_type, 0, SNAPLEN_BYTES) + options)
        size_bytes = len(packet.frame)
        high, low = divmod(packet.time_ns, 1 << 32)
        body = _PACKET.pack(number, high, low, size_bytes, packet.wire_bytes) + packet.frame + bytes(-size_bytes % 4)
        options = b""
        if packet.comment:
            options += _option(_COMMENT, packet.comment.encode())
        if packet.outgoing is not None:
            options += _option(_FLAGS, (_OUTBOUND if packet.outgoing else _INBOUND).to_bytes(4, "little"))
        return before + _block(_PACKET_BLOCK, body + (options + _option(0, b"") if options else b""))


def format_for(name: str) -> Format:
    """Return the kind of a file by its name: pcapng for `….pcapng`, pcap for all others."""
    return Pcapng() if name.endswith(".pcapng") else Pcap()


def read_blocks(file: BinaryIO) -> list[Captured]:
    """Return the packets of a file that `Pcapng` wrote, up to what isn't whole."""
    found: list[Captured] = []
    names: list[str] = []
    while (piece := _next_block(file)) is not None:
        kind, body = piece
        if kind == _INTERFACE_BLOCK:
            names.append(_options(body[_INTERFACE.size :]).get(_NAME, b"").decode(errors="replace"))
        elif kind == _PACKET_BLOCK and len(body) >= _PACKET.size:
            number, high, low, size_bytes, wire_bytes = _PACKET.unpack_from(body)
            frame = body[_PACKET.size : _PACKET.size + size_bytes]
            options = _options(body[_PACKET.size + size_bytes + -size_bytes % 4 :])
            flags = int.from_bytes(options.get(_FLAGS, b""), "little") & 3
            outgoing = {_INBOUND: False, _OUTBOUND: True}.get(flags)
            name = names[number] if number < len(names) else ""
            comment = options.get(_COMMENT, b"").decode(errors="replace")
            found.append(Captured(high << 32 | low, frame, wire_bytes, name, outgoing, comment))
    return found


def whole_bytes(file: BinaryIO) -> int:
    """Return how much of a file, from its begin, is whole records; all of what isn't this module's."""
    size_bytes = file.seek(0, 2)
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    if magic == _SECTION_BLOCK.to_bytes(4, "little"):
        end = 0
        while _next_block(file) is not None:
            end = file.tell()
        return end
    if magic != _PCAP_MAGIC.to_bytes(4, "little"):
        return size_bytes
    if size_bytes < _PCAP_HEADER.size:
        return 0
    end = file.seek(_PCAP_HEADER.size)
    while len(head := file.read(_PCAP_RECORD.size)) == _PCAP_RECORD.size:
        after = end + _PCAP_RECORD.size + int(_PCAP_RECORD.unpack(head)[2])
        if after > size_bytes:
            break
        end = file.seek(after)
    return end


def _block(kind: int, body: bytes) -> bytes:
    size_bytes = len(body) + 12
    return _BLOCK.pack(kind, size_bytes) + body + size_bytes.to_bytes(4, "little")


def _option(code: int, value: bytes) -> bytes:
    # An option's length has two bytes.
    value = value[:0xFFFF]
    return _OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4)


def _options(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _OPTION.size:
        code, size_bytes = _OPTION.unpack_from(data)
        if code == 0:
            break
        found[code] = data[_OPTION.size : _OPTION.size + size_bytes]
        data = data[_OPTION.size + size_bytes + -size_bytes % 4 :]
    return found


def _next_block(file: BinaryIO) -> tuple[int, bytes] | None:
    head = file.read(_BLOCK.size)
    if len(head) < _BLOCK.size:
        return None
    kind, size_bytes = _BLOCK.unpack(head)
    if not 12 <= size_bytes <= _LARGEST_PIECE_BYTES:
        return None
    rest = file.read(size_bytes - _BLOCK.size)
    return (kind, rest[:-4]) if len(rest) == size_bytes - _BLOCK.size else None
