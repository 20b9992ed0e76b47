"""One capture or several as one stream of SIP messages in the order of time, read as often as somebody asks.

A command opens its files here: what isn't a capture is refused before anything is shown, damage is noted for the end,
and a bar shows how far the reading is where a person waits for it. Between the files and whatever judges them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sipalg.analysis.messages import SipMessage, sip_messages
from sipalg.capture.blocks import Interface
from sipalg.capture.decode import Decoder, Segment
from sipalg.capture.piped import Copy, is_piped
from sipalg.capture.progress import with_bar
from sipalg.capture.reading import CaptureSource, Frame, faults, open_capture, refuse_twice
from sipalg.capture.tally import Tallies


class Located(NamedTuple):
    """A message and which of the files it is in, counted from 0."""

    file: int
    message: SipMessage


class Captures:
    """Some files, `-` for standard input; CaptureError, one line, if one is there twice, or is no capture."""

    def __init__(self, paths: Sequence[Path]) -> None:
        refuse_twice(paths)
        self.paths = tuple(paths)
        #: By path, why its end is missing; complete once the file has been read once.
        self.damage: dict[Path, str] = {}
        #: Is a bar shown while large files are read?
        self.bar = True
        self._interfaces: list[list[Interface]] = [[] for _ in paths]
        #: What is read more than once is kept where it can be, while this object is.
        self._copies = [Copy(path) if is_piped(path) else None for path in paths]
        for number in range(len(paths)):
            with self._open(number):
                pass

    def messages(self) -> Iterator[Located]:
        """Yield the SIP messages of all files by their time; those of one file stay in its order."""
        rows = [self._messages_of(number) for number in range(len(self.paths))]
        return rows[0] if len(rows) == 1 else heapq.merge(*rows, key=lambda row: row.message.time_ns)

    def frames(self, number: int, tallies: Tallies | None = None) -> Iterator[Frame]:
        """Yield the frames of one file; CaptureError if none of its link types can be read.

        Media of `tallies`, which may be filled meanwhile, is counted by the reader and not given.
        """
        with self._open(number) as source:
            if tallies is not None:
                source.tallies = tallies
            self._interfaces[number] = source.interfaces
            yield from with_bar(source) if self.bar else source
            note = faults(source)
        if note:
            self.damage[self.paths[number]] = note

    def interface_name(self, number: int, interface: int) -> str:
        """Return what an interface of a file that is being read is called: as in the file, else by the file's name."""
        name = self._interfaces[number][interface].name
        return name or (self.paths[number].name if len(self.paths) > 1 else "")

    def segments(self, number: int) -> Iterator[Segment]:
        """Yield the segments of one file."""
        return Decoder().segments(self.frames(number))

    def _open(self, number: int) -> CaptureSource:
        copy = self._copies[number]
        return open_capture(self.paths[number], None if copy is None else copy.path)

    def _messages_of(self, number: int) -> Iterator[Located]:
        origin = self.paths[number].name if len(self.paths) > 1 else ""
        for message in sip_messages(self.segments(number)):
            yield Located(number, message._replace(origin=origin) if origin else message)
