"""A capture file that appears only when it is whole, and the error of all that reads and writes captures.

libpcap's writer can't take a packet that grew, so the writer is ours: one header a file, one a packet
(draft-ietf-opsawg-pcap, sections 4 and 5), or pcapng's blocks. On a packet's way offline this is the last step, as
`reading` is the first.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Final, Self

from sipalg.capture.records import NS_PER_S, Captured, Pcapng

#: What a reader may hold of one packet; libpcap's own maximum. A grown packet still fits under it.
SNAPLEN_BYTES: Final = 262144

_MAGIC_MICROSECONDS: Final = 0xA1B2C3D4
_MAGIC_NANOSECONDS: Final = 0xA1B23C4D
_FILE_HEADER: Final = Struct("<IHHiIII")
_RECORD_HEADER: Final = Struct("<IIII")

#: libpcap's numbers in memory (DLT) that are others in a file (LINKTYPE), on Linux.
_LINK_TYPES_IN_FILES: Final = {11: 100, 12: 101, 15: 102, 16: 103, 19: 106}


class CaptureError(Exception):
    """A capture that can't be read or written; its text is one line that says what, where and what would be right."""


def is_pcapng(path: Path) -> bool:
    """Whether a file of this name is written as pcapng."""
    return path.name.endswith(".pcapng")


class CaptureWriter:
    """A capture in the making: a temporary file beside the target, which takes its name in :meth:`commit`.

    It is pcapng where the name ends with `.pcapng`, and pcap otherwise.
    Leaving the `with` without a commit removes it, and the target stays as it was.
    """

    def __init__(self, path: Path, link_type: int, *, nanoseconds: bool = False) -> None:
        #: A link's target is replaced, not the link.
        self._path = path.resolve()
        if self._path.exists() and not self._path.is_file():
            raise CaptureError(f"{path}: is no regular file; give the name of a file to write")
        self._ns_per_unit = 1 if nanoseconds else 1000
        magic = _MAGIC_NANOSECONDS if nanoseconds else _MAGIC_MICROSECONDS
        file_type = _LINK_TYPES_IN_FILES.get(link_type, link_type)
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}; give a file in a folder that can be written to") from None
        self._temporary = Path(name)
        self._file = os.fdopen(descriptor, "wb")
        self._pcapng = Pcapng(file_type) if is_pcapng(path) else None
        header = _FILE_HEADER.pack(magic, 2, 4, 0, 0, SNAPLEN_BYTES, file_type)
        self._file.write(header if self._pcapng is None else self._pcapng.header())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # A full disk was told already, and what is still in the buffer is no loss.
            with contextlib.suppress(OSError):
                self._file.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(
        self, time_ns: int, frame: bytes, wire_bytes: int, *, interface: str = "", link_type: int | None = None
    ) -> None:
        """Append one packet; only pcapng keeps `interface`, and a link type of the packet's own, as in files.

        CaptureError where the disk is full.
        """
        if self._pcapng is not None:
            record = self._pcapng.packet(Captured(time_ns, frame, wire_bytes, interface, link_type=link_type))
        else:
            seconds, rest_ns = divmod(time_ns, NS_PER_S)
            record = _RECORD_HEADER.pack(seconds, rest_ns // self._ns_per_unit, len(frame), wire_bytes) + frame
        try:
            self._file.write(record)
        except OSError as error:
            raise self._refused(error) from None

    def commit(self) -> None:
        """Give the file its name, with the rights that a new file would have; CaptureError if that can't be."""
        mask = os.umask(0)
        os.umask(mask)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temporary.chmod(0o666 & ~mask)
            self._temporary.replace(self._path)
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> CaptureError:
        return CaptureError(f"{self._path}: {error.strerror}; give a file that can be written")
