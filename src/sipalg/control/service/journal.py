"""The journal: contacts and calls in a file beside the control socket, so that they outlive the process.

Beside a packet's way: a chore writes down, some times a second, what has changed since the last time, a few records at
a time with packets in between; a clean end writes the rest. Lines are only added; when most of them are of the past, a
new file is written piece by piece and takes the old one's name. Nothing is forced to the disk: what a process has
written survives its death, and a boot ends all that the journal is about. Where nothing can be written, the ALG goes
on without.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from sipalg.control.service import journal_lines
from sipalg.control.service.journal_lines import JournalError
from sipalg.engine.records import Plain, RecordKey
from sipalg.engine.resuming import PlainRecord

_LOG = logging.getLogger("sipalg")

#: How often what has changed is written down: what a killed process loses at most.
INTERVAL_S: Final = 0.25
#: How many records are written at once: some hundredths of a millisecond's work.
_STEP: Final = 6
#: How many records of a new file are written each time: some milliseconds' work, in steps.
_PIECE: Final = 400
#: How many are written before the start is over; of more the earlier process's file goes on until all are.
_AT_START: Final = 20_000
#: More than any line has.
_TAIL_BYTES: Final = 1 << 20
#: A new file is begun when the lines are more than this many times the records that stand, and some more.
_FACTOR: Final = 2
_SPARE_LINES: Final = 2000
#: How long after a failure it is tried again.
_RETRY_S: Final = 60.0


def journal_of(socket: Path) -> Path:
    """Return where the journal of the ALG with this control socket is: sipalg.journal beside sipalg.sock."""
    return socket.with_name(f"{socket.name.removesuffix('.sock')}.journal")


class Source(Protocol):
    """What this asks of `engine.records.Records`."""

    def watch(self) -> None:
        """Note changes from now on."""

    def take_changed(self) -> list[RecordKey]:
        """Return what has changed since the last call."""

    def all(self) -> list[RecordKey]:
        """Return the keys of all records."""

    def value(self, record: RecordKey) -> Plain | None:
        """Return a record's value; None where it is gone."""


class _File:
    """One file: its descriptor, and how many lines it has."""

    def __init__(self, path: Path, boot: str | None) -> None:
        """Make the file, readable for us only; one that lies there from an attempt before goes. Raises OSError.

        Without `boot` it is the one that an earlier process left, which goes on.
        """
        self.path = path
        self.lines = 0
        if boot is None:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_APPEND | os.O_CLOEXEC)
            return
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        try:
            self._write(journal_lines.header(boot))
        except OSError:
            self.discard()
            raise

    def add(self, lines: list[bytes]) -> None:
        """Write lines. Raises OSError."""
        if lines:
            self.lines += len(lines)
            self._write(b"".join(lines))

    def end_line(self) -> None:
        """Take off what stands behind the last whole line: its writer died. Raises OSError."""
        size = os.fstat(self._descriptor).st_size
        tail = os.pread(self._descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        os.ftruncate(self._descriptor, size - len(tail) + tail.rfind(b"\n") + 1)

    def close(self) -> None:
        """Close it; it stays."""
        os.close(self._descriptor)

    def discard(self) -> None:
        """Close it, and take away what hasn't got the journal's name yet."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _write(self, text: bytes) -> None:
        while text:
            text = text[os.write(self._descriptor, text) :]


class Journal:
    """The journal at `path`. No method raises for what the file system does."""

    def __init__(self, path: Path, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._source = source
        self._clock = clock
        self._file: _File | None = None
        #: The file that is to take its place.
        self._next: _File | None = None
        #: The things that `_file` says to exist: those that `_next` doesn't say yet, and those that it does as well.
        #: Apart, so that a new file begins and ends without a look at all of them.
        self._known: set[RecordKey] = set()
        self._carried: set[RecordKey] = set()
        #: What has changed and isn't written yet, last first.
        self._changed: list[RecordKey] = []
        self._retry_at = 0.0
        self._failed = False
        #: Whether the file at `path` is a good one of an earlier process, of this boot.
        self._left_behind = False

    @property
    def failed(self) -> bool:
        """Whether nothing is written down because the file system refused."""
        return self._failed

    def read(self) -> list[PlainRecord]:
        """Return what an earlier process left; a file that can't be relied on is set aside, with a line."""
        try:
            found = journal_lines.read(self._path, journal_lines.boot_id())
            self._left_behind = bool(found)
            return found
        except JournalError as error:
            aside = self._path.with_name(f"{self._path.name}.bad")
            _LOG.warning("journal-set-aside path=%s why=%r kept_as=%s", self._path, str(error), aside)
            with contextlib.suppress(OSError):
                self._path.rename(aside)
        except OSError as error:
            _LOG.warning("journal-not-read path=%s why=%r", self._path, error.strerror)
        return []

    def begin(self) -> None:
        """Write down everything, in a new file, and note changes from now on.

        Of very much, `keep_up` writes the most by and by. The earlier process's file stands until then, and gets the
        changes too.
        """
        self._attempt(self._begin_file)
        goes_on, self._left_behind = self._left_behind, False
        if goes_on and len(self._known) > _AT_START:
            self._attempt(self._go_on_with_old)
            return
        while (new := self._next) is not None:
            self._attempt(partial(self._continue_file, new, _PIECE))

    def keep_up(self) -> Iterator[None]:
        """Write down what has changed, and a piece of the new file where there is one, a step each time.

        To be called regularly, and done to its end; a step is some hundredths of a millisecond's work.
        """
        self._note_changed()
        if self._next is None and self._is_due():
            self._attempt(self._begin_file)
        while self._changed:
            self._attempt(partial(self._add, _STEP))
            yield
        for _ in range(0, _PIECE, _STEP):
            if self._next is None:
                return
            self._attempt(partial(self._continue_file, self._next, _STEP))
            yield

    def close(self) -> None:
        """Write down the rest, and let the file lie for the next process; `keep_up` would begin another one."""
        self._note_changed()
        self._attempt(partial(self._add, len(self._changed)))
        if self._file is not None:
            self._file.close()
        if self._next is not None:
            self._next.discard()
        self._forget_files()

    def _note_changed(self) -> None:
        changed = self._source.take_changed()
        if self._file is not None or self._next is not None:
            changed.reverse()
            self._changed = changed + self._changed

    def _is_due(self) -> bool:
        if self._file is None:
            return self._clock() >= self._retry_at
        return self._file.lines > _FACTOR * len(self._known) + _SPARE_LINES

    def _add(self, count: int) -> None:
        """Write down the next of what has changed; in a storm most calls came and went since last time."""
        known, carried = self._known, self._carried
        old, new = self._file, self._next
        lines: list[bytes] = []
        in_new: list[bytes] = []
        for key in self._take(self._changed, count):
            value = self._source.value(key)
            was_carried = key in carried
            if value is None and not was_carried and key not in known:
                continue
            line = journal_lines.line(key, value)
            lines.append(line)
            if value is not None or was_carried:
                in_new.append(line)
            known.discard(key)
            carried.discard(key)
            if value is not None:
                (known if new is None else carried).add(key)
        if old is not None:
            old.add(lines)
        if new is not None:
            new.add(in_new)

    def _begin_file(self) -> None:
        self._source.watch()
        self._next = _File(self._path.with_name(f"{self._path.name}.new"), journal_lines.boot_id())
        if self._file is None:
            self._known = set(self._source.all())

    def _go_on_with_old(self) -> None:
        self._file = _File(self._path, None)
        self._file.end_line()

    def _continue_file(self, new: _File, count: int) -> None:
        """Write the next records; what changes meanwhile is written to both files, so the order doesn't matter."""
        lines = []
        for _ in range(min(count, len(self._known))):
            key = self._known.pop()
            value = self._source.value(key)
            # What is gone is among what has changed.
            lines.append(journal_lines.line(key, value))
            self._carried.add(key)
        new.add(lines)
        if self._known:
            return
        new.path.rename(self._path)
        if self._file is not None:
            self._file.close()
        elif self._failed:
            self._failed = False
            _LOG.info("journal-written-again path=%s", self._path)
        self._file, self._next = new, None
        self._known, self._carried = self._carried, self._known

    def _forget_files(self) -> None:
        self._file = self._next = None
        self._known, self._carried, self._changed = set(), set(), []

    @staticmethod
    def _take(keys: list[RecordKey], count: int) -> list[RecordKey]:
        """Take the next of them out."""
        first = max(0, len(keys) - count)
        taken = keys[first:][::-1]
        del keys[first:]
        return taken

    def _attempt(self, step: Callable[[], None]) -> None:
        """Do a step; where the file system refuses, go on without journal, and try anew later.

        One that isn't kept up would bring back calls that are over, so it goes.
        """
        try:
            step()
        except OSError as error:
            if not self._failed:
                why, what_then = error.strerror, "a-restart-forgets-contacts-and-calls"
                _LOG.error("journal-not-written path=%s why=%r consequence=%s", self._path, why, what_then)
            self._failed = True
            self._retry_at = self._clock() + _RETRY_S
            for file in (self._file, self._next):
                if file is not None:
                    file.discard()
            self._forget_files()
            with contextlib.suppress(OSError):
                self._path.unlink()
