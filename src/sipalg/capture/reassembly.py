"""IP fragments of either version, put together for reading: offsets and bytes in, a datagram's body out.

A reader needs the datagram alone, unlike the rewriter, which cuts it again (`fragments`). What waits is bounded in
time, in number and in bytes, so that a flood of fragments can't fill the memory. Behind the decoding of frames. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sipalg.capture.fragments import WAIT_S
from sipalg.capture.reading import Frame
from sipalg.capture.records import NS_PER_S

#: Datagrams that may wait at once; the oldest goes first.
MOST_WAITING: Final = 1024
#: More pieces than a datagram of 65535 bytes has in any real network.
MOST_PIECES: Final = 256
_LARGEST_BODY_BYTES: Final = 65535


@dataclass(slots=True)
class _Waiting:
    """A datagram of which pieces are missing; `size_bytes` is known from its last piece, 0 before."""

    started_ns: int
    size_bytes: int = 0
    held_bytes: int = 0
    pieces: dict[int, bytes] = field(default_factory=dict)
    frames: list[int] = field(default_factory=list)


class Reassembly:
    """The datagrams of which not all fragments have come yet."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Waiting] = {}

    def add(
        self, key: bytes, offset: int, more: bool, body: bytes, frame: Frame
    ) -> tuple[bytes, tuple[int, ...]] | None:
        """Take one fragment; return the whole body and the numbers of its frames if it is now complete.

        `key` names the datagram: its hosts, protocol and identification. The first of two pieces at one offset counts.
        """
        waiting = self._waiting.get(key)
        if waiting is None or waiting.started_ns + WAIT_S * NS_PER_S < frame.time_ns:
            self._waiting.pop(key, None)
            if len(self._waiting) >= MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            waiting = self._waiting[key] = _Waiting(frame.time_ns)
        if offset not in waiting.pieces:
            if len(waiting.pieces) >= MOST_PIECES or offset + len(body) > _LARGEST_BODY_BYTES:
                del self._waiting[key]
                return None
            waiting.pieces[offset] = body
            waiting.held_bytes += len(body)
            waiting.frames.append(frame.number)
        if not more:
            waiting.size_bytes = offset + len(body)
        if not waiting.size_bytes or waiting.held_bytes < waiting.size_bytes:
            return None
        del self._waiting[key]
        whole = _joined(waiting)
        return None if whole is None else (whole, tuple(waiting.frames))


def _joined(waiting: _Waiting) -> bytes | None:
    """The pieces in a row, None where they leave a hole or overlap."""
    at, row = 0, []
    for offset, body in sorted(waiting.pieces.items()):
        if offset != at:
            return None
        at += len(body)
        row.append(body)
    return b"".join(row) if at == waiting.size_bytes else None
