"""Captures that come through a pipe: standard input as `-`, and a copy on disk of what has to be read more than once.

`tcpdump -w - | sipalg calls -` is ended by Ctrl-C, which every program of a pipe gets: the first one ends only who
writes, so that what was captured is still shown. On a packet's way offline this stands where the disk does.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import threading
import weakref
from io import BufferedReader
from pathlib import Path
from types import FrameType
from typing import Final

from sipalg.capture.pcap import CaptureError

#: What standard input is called; a file of this name is `./-`.
STANDARD_INPUT: Final = Path("-")
_DESCRIPTOR: Final = 0


class Patience:
    """Lets one Ctrl-C pass, since it is meant for who writes into the pipe; the next one counts."""

    def __init__(self) -> None:
        # Python has handlers in its main thread only.
        self._is_main = threading.current_thread() is threading.main_thread()
        self._before = signal.getsignal(signal.SIGINT)
        if self._is_main:
            signal.signal(signal.SIGINT, self._pressed)

    def _pressed(self, _number: int, _frame: FrameType | None) -> None:
        self.end()

    def end(self) -> None:
        """Let Ctrl-C be what it was before."""
        if self._is_main:
            signal.signal(signal.SIGINT, self._before)


def open_input(path: Path) -> tuple[BufferedReader, Patience | None]:
    """Open a capture, and what has to be ended after it: a pipe's patience. Raises OSError, and CaptureError."""
    if path != STANDARD_INPUT:
        return path.open("rb"), None
    if os.isatty(_DESCRIPTOR):
        raise CaptureError("-: is a terminal; send a capture through a pipe, as in `tcpdump -w - | sipalg …`")
    return os.fdopen(os.dup(_DESCRIPTOR), "rb"), Patience()


def is_piped(path: Path) -> bool:
    """Whether a path can be read only once."""
    try:
        mode = os.fstat(_DESCRIPTOR).st_mode if path == STANDARD_INPUT else path.stat().st_mode
    except OSError:
        return False
    return path == STANDARD_INPUT or stat.S_ISFIFO(mode)


class Copy:
    """What came through a pipe, in a file without a name: `path` may be opened as often as one likes while this is."""

    def __init__(self, path: Path) -> None:
        try:
            file, patience = open_input(path)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}; give a pcap or pcapng file") from None
        try:
            with file, tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                descriptor = os.dup(copy.fileno())
        except OSError as error:
            place = tempfile.gettempdir()
            raise CaptureError(f"{path}: can't be kept in {place}: {error.strerror}; set TMPDIR to another") from None
        finally:
            if patience is not None:
                patience.end()
        self.path = Path(f"/proc/self/fd/{descriptor}")
        weakref.finalize(self, os.close, descriptor)
