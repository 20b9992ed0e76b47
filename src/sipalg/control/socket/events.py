"""What happens, sent as it happens: one follower's line buffer, which has an end.

Beside a packet's way. Whoever reads too slowly, or not at all, costs the packet loop nothing: lines that don't fit are
left out and counted, and the count is told when there is room again.
"""

from __future__ import annotations

import json
from typing import Final

from sipalg.engine.verdict import Event

#: What one follower may leave unread.
BUFFER_BYTES: Final = 1 << 18
#: Room that is kept for the line that says how many were left out.
_SPARE_BYTES: Final = 256
LEFT_OUT: Final = "events-left-out"


def line_of(event: Event, at: float) -> bytes:
    """Return an event as a line of JSON; `at` is the time of day, in seconds since 1970."""
    return _line(event.name, dict(event.facts), at)


def _line(name: str, facts: dict[str, str], at: float) -> bytes:
    return json.dumps({"event": name, "time": round(at, 3), "facts": facts}).encode() + b"\n"


class Follower:
    """The lines that one client hasn't taken yet."""

    def __init__(self, most_bytes: int = BUFFER_BYTES) -> None:
        self._most_bytes = most_bytes
        self._unsent = bytearray()
        #: How many lines didn't fit since the last that did.
        self.left_out = 0

    def add(self, line: bytes, at: float) -> None:
        """Take a line in, if there is room for it; before it goes how many were left out."""
        room = self._most_bytes - len(self._unsent)
        if len(line) + _SPARE_BYTES > room:
            self.left_out += 1
            return
        self._tell_left_out(at)
        self._unsent += line

    def next_piece(self, most_bytes: int) -> bytes:
        """Return what is to be sent next; b"" while there is nothing."""
        return bytes(self._unsent[:most_bytes])

    def sent(self, size_bytes: int, at: float) -> None:
        """Forget what was sent; at the end of it, tell how many lines there was no room for."""
        del self._unsent[:size_bytes]
        if not self._unsent:
            self._tell_left_out(at)

    def _tell_left_out(self, at: float) -> None:
        if self.left_out:
            self._unsent += _line(LEFT_OUT, {"count": str(self.left_out)}, at)
            self.left_out = 0
