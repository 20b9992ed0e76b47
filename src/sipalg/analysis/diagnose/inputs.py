"""Several files as one capture in the order of time, as mergecap makes one: ring files, or both sides of a NAT.

Where the files follow each other, as those of a ring do, each is read in turn and the reader counts media by itself.
Where their times overlap, all is read again from the start, and their packets are merged one by one. Numbers are those
of the merged capture. On a packet's way offline this stands before the decoding.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from sipalg.capture.pcap import CaptureError
from sipalg.capture.piped import Copy, is_piped
from sipalg.capture.progress import with_bar
from sipalg.capture.reading import CaptureSource, Frame, faults, open_capture
from sipalg.capture.tally import Tallies


class OverlapError(Exception):
    """The files don't follow each other: they have to be merged."""


class Input(NamedTuple):
    """One file: how many packets it had, the number of its first one, and what is wrong with it, a line each.

    `first` is 0 where the files were merged. `damage` leaves what was read before, `error` says that nothing was.
    """

    path: str
    packets: int = 0
    first: int = 0
    damage: str = ""
    error: str = ""


class _File(NamedTuple):
    """A file that can be opened: its place among those given, what it is read from, and when its first packet came."""

    place: int
    path: Path
    copy: Copy | None
    first_ns: int


class Inputs:
    """The files that are given; those that are no captures are noted, and the others read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        #: One for each path, in the order of the paths; whole when the frames have been read.
        self.all = [Input(str(path)) for path in paths]
        self.packets = 0
        self.last_ns = 0
        self._files: list[_File] = []
        # A single one is read once, so it may come through a pipe as it is.
        several = len(paths) > 1
        for place, path in enumerate(paths):
            try:
                copy = Copy(path) if several and is_piped(path) else None
                first_ns = _first_ns(path, copy) if several else 0
            except CaptureError as error:
                self.all[place] = Input(str(path), error=str(error))
                continue
            self._files.append(_File(place, path, copy, first_ns))
        self._files.sort(key=lambda file: file.first_ns)

    def frames(self, tallies: Tallies) -> Iterator[Frame]:
        """Yield the frames of one file after the other; media of `tallies` is counted by the reader.

        OverlapError where one begins before the last one ended.
        """
        self.packets = self.last_ns = 0
        for file, following in zip_longest(self._files, self._files[1:]):
            if self.packets and file.first_ns < self.last_ns:
                raise OverlapError
            try:
                with _open(file) as source:
                    source.tallies, source.before = tallies, self.packets
                    yield from _until(with_bar(source), following.first_ns if following else None)
                    self._note(file, source, self.packets + 1)
            except CaptureError as error:
                self.all[file.place] = Input(str(file.path), error=str(error))

    def merged(self) -> Iterator[Frame]:
        """Yield the frames of all files by their time; those of one file stay in its order."""
        self.packets = self.last_ns = 0
        with ExitStack() as stack:
            sources = [stack.enter_context(_open(file)) for file in self._files]
            frames = heapq.merge(*sources, key=lambda frame: frame.time_ns)
            for number, frame in enumerate(frames, 1):
                yield frame._replace(number=number)
            for file, source in zip(self._files, sources, strict=True):
                try:
                    self._note(file, source, 0)
                except CaptureError as error:
                    self.all[file.place] = Input(str(file.path), error=str(error))

    def _note(self, file: _File, source: CaptureSource, first: int) -> None:
        damage = faults(source)
        self.packets += source.packets
        self.last_ns = max(self.last_ns, source.last_ns)
        self.all[file.place] = Input(str(file.path), source.packets, first, damage)


def _until(frames: Iterator[Frame], following_ns: int | None) -> Iterator[Frame]:
    """Yield the frames of a file; OverlapError at one that is later than the begin of the file that follows."""
    if following_ns is None:
        yield from frames
        return
    for frame in frames:
        if frame.time_ns > following_ns:
            raise OverlapError
        yield frame


def _open(file: _File) -> CaptureSource:
    return open_capture(file.path, None if file.copy is None else file.copy.path)


def _first_ns(path: Path, copy: Copy | None) -> int:
    """Return when a file's first packet came, 0 if it has none."""
    with open_capture(path, None if copy is None else copy.path) as source:
        first = next(iter(source), None)
    return 0 if first is None else first.time_ns
