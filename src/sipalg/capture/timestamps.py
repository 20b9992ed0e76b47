"""Nanoseconds: the digits of captured times that libpcap rounds off when it is opened the plain way.

pcapy-ng has no way to ask libpcap for more than microseconds, and today's captures have more: Wireshark's pcapng by
default, tcpdump's pcap on request. This walks the file beside libpcap and reads nothing but the times; whatever it
can't follow it leaves to libpcap's microseconds. On a packet's way this is the clock of the first step offline.
Sources: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng (sections 4.1 to 4.4).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

NS_PER_S: Final = 1_000_000_000

#: A pcap file with nanoseconds, by the byte order that its first four bytes are in.
_PCAP_MAGIC: Final = {b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\x3c\x4d": ">"}
_PCAP_HEADER_BYTES: Final = 24

#: pcapng's block types.
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET_OBSOLETE: Final = 2
_PACKET_SIMPLE: Final = 3
_PACKET: Final = 6
_SECTION_MAGIC: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

#: Options of an interface: the unit of its times (10^-n s, or 2^-n s with the top bit), and what to add to them.
_OPTION_UNIT: Final = 9
_OPTION_OFFSET: Final = 14
_DEFAULT_UNITS_PER_S: Final = 1_000_000

#: A damaged length must not make the walk read the whole disk.
_LARGEST_BLOCK_BYTES: Final = 16_777_216

#: An interface's units per second and offset in seconds.
_Clock = tuple[int, int]


def precise_times(path: Path) -> Iterator[int] | None:
    """Return the packets' times in nanoseconds since 1970, in order, or None if the file has no finer than µs.

    The walk ends early where the file can't be followed. OSError if it can't be opened.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in _PCAP_MAGIC:
        return _pcap_times(path, _PCAP_MAGIC[magic])
    if magic != _SECTION.to_bytes(4, "big"):
        return None
    times = _pcapng_times(path)
    first = next(times, None)
    if first is None or first[1] <= _DEFAULT_UNITS_PER_S:
        return None
    return (time_ns for time_ns, _ in chain((first,), times))


def _pcap_times(path: Path, order: str) -> Iterator[int]:
    record = struct.Struct(order + "IIII")
    with path.open("rb") as file:
        file.seek(_PCAP_HEADER_BYTES)
        while len(header := file.read(record.size)) == record.size:
            seconds, nanoseconds, captured_bytes, _ = record.unpack(header)
            yield seconds * NS_PER_S + nanoseconds
            file.seek(captured_bytes, 1)


def _pcapng_times(path: Path) -> Iterator[tuple[int, int]]:
    """Yield (time in ns, units per second) of each packet."""
    order = "<"
    clocks: list[_Clock] = []
    with path.open("rb") as file:
        while (block := _next_block(file, order)) is not None:
            kind, order, body = block
            if kind == _SECTION:
                clocks = []
            elif kind == _INTERFACE:
                clocks.append(_clock(body[8:], order))
            elif kind == _PACKET_SIMPLE:
                yield 0, _DEFAULT_UNITS_PER_S
            elif kind in (_PACKET, _PACKET_OBSOLETE):
                if len(body) < 12:
                    return
                (interface,) = struct.unpack_from(order + ("I" if kind == _PACKET else "H"), body)
                high, low = struct.unpack_from(order + "II", body, 4)
                if interface >= len(clocks):
                    return
                units_per_s, offset_s = clocks[interface]
                yield offset_s * NS_PER_S + (high << 32 | low) * NS_PER_S // units_per_s, units_per_s


def _next_block(file: BinaryIO, order: str) -> tuple[int, str, bytes] | None:
    """Return the next block's (type, byte order, body), None at the end and where there is no block."""
    start = file.read(12)
    if len(start) < 12:
        return None
    if start[:4] == _SECTION.to_bytes(4, "big"):
        order = _SECTION_MAGIC.get(start[8:12], "")
        if not order:
            return None
    kind, size_bytes = struct.unpack_from(order + "II", start)
    if not 12 <= size_bytes <= _LARGEST_BLOCK_BYTES or size_bytes % 4:
        return None
    body = (start[8:] + file.read(size_bytes - 12))[: size_bytes - 12]
    return kind, order, body


def _clock(options: bytes, order: str) -> _Clock:
    """Return the clock that an interface's options describe."""
    units_per_s, offset_s = _DEFAULT_UNITS_PER_S, 0
    while len(options) >= 4:
        code, size_bytes = struct.unpack_from(order + "HH", options)
        value = options[4 : 4 + size_bytes]
        if code == _OPTION_UNIT and len(value) == 1:
            units_per_s = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
        elif code == _OPTION_OFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        options = options[4 + size_bytes + -size_bytes % 4 :]
    return units_per_s, offset_s
