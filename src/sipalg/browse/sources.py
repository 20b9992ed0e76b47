"""What is looked through: calls with their messages, out of captures; live ones have the same shape.

Captures are read once for all, and their messages kept as long as they are few; of larger ones what is chosen is read
again. Off a packet's way: this is where people look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

from sipalg.analysis.dialogs import Conversations, name_of
from sipalg.analysis.files import Captures
from sipalg.analysis.messages import SipMessage
from sipalg.analysis.selection import as_row, export, read_messages
from sipalg.capture.piped import STANDARD_INPUT

#: Messages of captures are kept up to so many bytes.
MOST_KEPT_BYTES: Final = 64 << 20
#: What a message costs beside its bytes, about.
MESSAGE_BYTES: Final = 2048

Row = dict[str, Any]


class Source(Protocol):
    """Calls to look through; `version` changes whenever they do."""

    version: int

    @property
    def name(self) -> str:
        """What they are from, for a heading."""

    def rows(self) -> list[Row]:
        """Return a row a call, as `selection.as_row` makes them, in the order in which they began."""

    def methods(self) -> dict[str, str]:
        """Return the methods of each call in one text, by Call-ID."""

    def messages(self, call_ids: frozenset[str]) -> list[SipMessage]:
        """Return the messages of some calls in the order of time. Raises CaptureError."""

    def save(self, call_ids: frozenset[str], path: Path) -> int:
        """Write the packets of some calls to a capture; return how many there were. Raises CaptureError."""


class CapturedCalls:
    """The calls of captures, read now. Raises CaptureError."""

    version = 0

    def __init__(self, captures: Captures, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._captures = captures
        found, kept, kept_bytes = Conversations(), list[SipMessage](), 0
        for _, message in captures.messages():
            found.add(message)
            kept_bytes += len(message.data) + MESSAGE_BYTES
            if kept_bytes <= most_bytes:
                kept.append(message)
        self._kept = kept if kept_bytes <= most_bytes else None
        self._rows = [as_row(number, one) for number, one in enumerate(found.by_call_id.values(), 1)]
        self._methods = {name: " ".join(sorted(one.methods)) for name, one in found.by_call_id.items()}
        # A bar would be drawn over what is shown.
        captures.bar = False

    @property
    def name(self) -> str:
        """The files' names."""
        paths = self._captures.paths
        return ", ".join("standard input" if path == STANDARD_INPUT else path.name for path in paths)

    def rows(self) -> list[Row]:
        """Return the calls."""
        return self._rows

    def methods(self) -> dict[str, str]:
        """Return each call's methods."""
        return self._methods

    def messages(self, call_ids: frozenset[str]) -> list[SipMessage]:
        """Return messages in the order of time."""
        if self._kept is None:
            read = read_messages(self._captures, call_ids)
            found = [message for messages in read.values() for message in messages]
        else:
            found = [message for message in self._kept if name_of(message) in call_ids]
        return sorted(found, key=lambda message: message.time_ns)

    def save(self, call_ids: frozenset[str], path: Path) -> int:
        """Write packets of signalling and media."""
        return export(self._captures, call_ids, path)
