"""Where the sniffer's packets are kept: a ring in memory, and a file that ends behind a whole record at any instant.

On a packet's way this is where its copy is put down.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import BinaryIO, Final

from sipalg.capture.records import Captured, Format, Pcapng

#: What a packet in memory counts besides its bytes: a record's header, as in a file.
_RECORD_BYTES: Final = 16


class Memory:
    """The last packets that fit, or with `scroll` off the first."""

    def __init__(self, limit_bytes: int, *, scroll: bool) -> None:
        self._limit_bytes = limit_bytes
        self._scroll = scroll
        self._packets: deque[Captured] = deque()
        self.size_bytes = 0
        #: No more is taken in.
        self.full = False

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packet: Captured) -> None:
        """Take a packet in, if it may be."""
        size_bytes = len(packet.frame) + _RECORD_BYTES
        if self.full or size_bytes > self._limit_bytes:
            self.full = self.full or not self._scroll
            return
        if not self._scroll and self.size_bytes + size_bytes > self._limit_bytes:
            self.full = True
            return
        self._packets.append(packet)
        self.size_bytes += size_bytes
        while self.size_bytes > self._limit_bytes:
            self.size_bytes -= len(self._packets.popleft().frame) + _RECORD_BYTES

    def content(self) -> bytes:
        """Return all of it as a pcapng file."""
        kind = Pcapng()
        return b"".join([kind.header(), *map(kind.packet, self._packets)])


class File:
    """A capture on disk of up to so many bytes, header and all; written at once, in whole records."""

    def __init__(self, file: BinaryIO, kind: Format, limit_bytes: int) -> None:
        self._file = file
        self._kind = kind
        self._limit_bytes = limit_bytes
        self._waiting = [kind.header()]
        self.size_bytes = len(self._waiting[0])
        self.packets = 0
        #: The limit is reached: no more is written.
        self.full = False
        #: What kept it from being written, in words; "" for nothing.
        self.problem = ""
        self.flush()

    def add(self, packet: Captured) -> None:
        """Take a packet in, which `flush` writes; the first that doesn't fit is the end."""
        if self.full:
            return
        record = self._kind.packet(packet)
        if self.size_bytes + len(record) > self._limit_bytes:
            self.full = True
            return
        self._waiting.append(record)
        self.size_bytes += len(record)
        self.packets += 1

    def flush(self) -> None:
        """Write what waits. A disk that takes only a part of it gets none of it, and no more after that."""
        if not self._waiting:
            return
        content = b"".join(self._waiting)
        packets, begin = len(self._waiting), self.size_bytes - len(content)
        self._waiting.clear()
        try:
            written = self._file.write(content)
            self.problem = "" if written == len(content) else "the disk took only a part"
        except OSError as error:
            self.problem = error.strerror or str(error)
        if self.problem:
            with contextlib.suppress(OSError):
                self._file.truncate(begin)
            self.size_bytes = begin
            self.packets = max(0, self.packets - packets)
            self.full = True

    def close(self) -> None:
        """Write what waits and close it."""
        self.flush()
        self._file.close()
