"""The log: one line for each thing that happened, `name key=value …`, on stderr.

What an event says is made of bytes that strangers sent, so values are quoted wherever they could be taken for
something else, and a flood of events costs lines a second, not the disk. Nor is a reader waited for who reads no
more, a terminal that is stopped or a pipe that is full: packets would wait too. Where stderr is the journal, each
line begins with its priority (sd-daemon(3)), elsewhere with date and time of day. Off a packet's way: events
are written after the verdicts are sent.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TextIO

from sipalg.engine.verdict import Event

_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.:;@/,+*<>\[\]()-]+")
_PRIORITIES: Final = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))
#: Events that a person should do something about.
_WARNINGS: Final = frozenset(
    {"address-lost", "sip-timeout-too-short"}
    | {f"too-many-{what}" for what in ("peers", "contacts", "calls", "removals")}
)
_LINES_A_SECOND: Final = 200
_FRAMES_SHOWN: Final = 4
#: Less than a pipe has room for when it says that it has some (PIPE_BUF, pipe(7)), whatever the line begins with.
_LONGEST_LINE: Final = 3900


def event_line(name: str, facts: Iterable[tuple[str, str]]) -> str:
    """Return `name key=value …`; values that aren't plain are quoted with JSON's escapes, all in ASCII."""
    parts = [name]
    for key, value in facts:
        parts.append(f"{key}={value if _PLAIN_VALUE.fullmatch(value) else json.dumps(value)}")
    return " ".join(parts)


def is_journal(environment: Mapping[str, str], descriptor: int) -> bool:
    """Tell whether the descriptor is the journal's stream that JOURNAL_STREAM (`device:inode`) names."""
    named = environment.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


class LineHandler(logging.Handler):
    """Writes each record as one line, at most 200 a second; what is left out is counted and said."""

    def __init__(
        self,
        stream: TextIO,
        *,
        priorities: bool = False,
        times: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `stream`, before each line its `priorities` for the journal or the `times` of day for people."""
        super().__init__()
        self._stream = stream
        self._priorities = priorities
        self._times = times
        self._clock = clock
        self._second = clock()
        self._lines = 0
        self._left_out = 0

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line without its line end; an exception becomes two more values."""
        line = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES_SHOWN:])
            where = "<".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
            line = f"{line} {event_line('', (('error', repr(error)), ('at', where))).lstrip()}"
        line = " ".join(line.splitlines())
        if not self._priorities:
            return line
        return next((prefix for level, prefix in _PRIORITIES if record.levelno >= level), "<7>") + line

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless this second has had its lines. A stream that is gone is no error."""
        if self._admits():
            self._write(self.format(record))

    def event(self, event: Event) -> None:
        """Write one of the engine's events; straight, since a thousand phones that come back make thousands."""
        if self._admits():
            priority = "" if not self._priorities else "<4>" if event.name in _WARNINGS else "<6>"
            self._write(priority + event_line(event.name, event.facts))

    def has_room(self) -> bool:
        """Tell whether this second has room for another event's line; one that has none is counted as left out."""
        if self._lines < _LINES_A_SECOND or self._clock() - self._second >= 1.0:
            return True
        self._left_out += 1
        return False

    def _admits(self) -> bool:
        """Count a line, and tell whether this second has room for it."""
        now = self._clock()
        if now - self._second >= 1.0:
            self._second = now
            self._lines = 0
            if self._left_out and _has_room(self._stream):
                self._write(f"{'<4>' if self._priorities else ''}log-lines-left-out count={self._left_out}")
                self._left_out = 0
        self._lines += 1
        if self._lines > _LINES_A_SECOND:
            self._left_out += 1
            return False
        return True

    def _write(self, line: str) -> None:
        if not _has_room(self._stream):
            self._left_out += 1
            return
        try:
            begin = time.strftime("%Y-%m-%d %H:%M:%S ") if self._times else ""
            self._stream.write(f"{begin}{line[:_LONGEST_LINE]}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def _has_room(stream: TextIO) -> bool:
    """Tell whether a line can be written without waiting; one without descriptor never waits."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return True
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(0))
