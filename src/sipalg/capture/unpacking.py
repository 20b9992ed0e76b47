"""A capture file's bytes in pieces, decompressed on the way: plain, gzip, xz and Zstandard, told by their first bytes.

Nothing is ever held but one piece, and no piece is larger than a bound, whatever a compressed file claims. Where the
compressed data is damaged, what came before it is still given, and the damage is noted. On a packet's way offline this
is the disk.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import zstandard

from sipalg.capture.pcap import CaptureError
from sipalg.capture.piped import open_input

#: What is read from the disk at once, and the most that comes out at once.
PIECE_BYTES: Final = 262144

_GZIP: Final = b"\x1f\x8b"
_XZ: Final = b"\xfd7zXZ\0"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_LONGEST_MAGIC: Final = 6
#: What isn't unpacked here: where its first bytes stand, what they are, and what it is called.
_FOREIGN: Final = (
    (0, b"BZh", "bzip2"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (257, b"ustar", "tar"),
)

#: zlib's window size that means: a gzip header and the largest window.
_GZIP_WINDOW: Final = 31

#: What xz may need: its own largest preset needs 65 MiB, a file may claim 4 GiB.
XZ_MEMORY_BYTES: Final = 128 << 20

#: What a decompressor says of damaged data.
_DAMAGES: Final = (zlib.error, lzma.LZMAError, zstandard.ZstdError)


class _Decompressor(Protocol):
    """One compressed stream: bytes in, at most a piece out; what is left over is its own to keep."""

    def next_piece(self, file: BinaryIO) -> bytes: ...


class Pieces:
    """The bytes of one file, a piece after the other; CaptureError if it can't be opened. Close it after use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file, self._patience = open_input(path)
            # A pipe can't be read twice, so this only looks at what comes.
            magic = self._file.peek(_LONGEST_MAGIC)
            #: The size of the file on disk, compressed as it is; 0 of a pipe.
            self.total_bytes = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}; give a pcap or pcapng file") from None
        self._seekable = self._file.seekable()
        self._stream = _decompressor(magic)
        #: What was wrong with the compressed data, in one line; None as long as nothing was.
        self.damage: str | None = None

    @property
    def done_bytes(self) -> int:
        """How much of the file on disk has been read; 0 of a pipe."""
        return self._file.tell() if self._seekable and not self._file.closed else 0

    def read(self) -> bytes:
        """Return the next piece, b"" at the end and where damage ends what can be read."""
        if self.damage is not None:
            return b""
        try:
            return self._stream.next_piece(self._file)
        except EOFError:
            self.damage = "the compressed data is cut off"
        except _DAMAGES as error:
            self.damage = f"the compressed data is damaged ({error})"
        except OSError as error:
            self.damage = f"{error.strerror} while reading"
        return b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._patience is not None:
            self._patience.end()


class _Plain:
    def next_piece(self, file: BinaryIO) -> bytes:
        return file.read(PIECE_BYTES)


class _Zlib:
    """zlib's object in the shape that lzma's has."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_WINDOW)

    def decompress(self, data: bytes, most_bytes: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, most_bytes)

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data


class _Members:
    """gzip or xz: one compressed stream or several, one behind the other."""

    def __init__(self, make: Callable[[], _Zlib | lzma.LZMADecompressor]) -> None:
        self._make = make
        self._stream = make()

    def next_piece(self, file: BinaryIO) -> bytes:
        while True:
            data = b""
            if self._stream.eof:
                # Zeros behind a stream pad it; anything else is another stream.
                data = self._stream.unused_data.lstrip(b"\0") or file.read(PIECE_BYTES).lstrip(b"\0")
                if not data:
                    return b""
                self._stream = self._make()
            elif self._stream.needs_input:
                data = file.read(PIECE_BYTES)
                if not data:
                    raise EOFError
            piece = self._stream.decompress(data, PIECE_BYTES)
            if piece:
                return piece


class _Zstandard:
    def __init__(self) -> None:
        self._reader: zstandard.ZstdDecompressionReader | None = None

    def next_piece(self, file: BinaryIO) -> bytes:
        if self._reader is None:
            self._reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
        return self._reader.read(PIECE_BYTES)


def _decompressor(magic: bytes) -> _Decompressor:
    if magic.startswith(_GZIP):
        return _Members(_Zlib)
    if magic.startswith(_XZ):
        return _Members(lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY_BYTES))
    return _Zstandard() if magic.startswith(_ZSTANDARD) else _Plain()


def packed_as(start: bytes) -> str:
    """Return what a file with this beginning is packed with that isn't unpacked here, "" if that can't be told."""
    return next((name for at, magic, name in _FOREIGN if start.startswith(magic, at)), "")
