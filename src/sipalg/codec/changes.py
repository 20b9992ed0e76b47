"""A message with its changes made: spans replaced, every other byte as it was.

The codec's last word on a packet's way: what the engine decided to replace is put in here.
"""

from __future__ import annotations

from typing import Final

from sipalg.codec.machine import quick

#: Machine code that makes a verdict of a message and its changes, None in the interpreted build.
replaced: Final = quick("replaced")
#: Machine code that is asked first, None in the interpreted build.
_quick_edited: Final = quick("edited")


def edited(data: bytes, changes: list[tuple[int, int, bytes, str]]) -> bytes:
    """The message with its changes (offset, length, replacement, rule) made, which are in order and don't overlap."""
    found: bytes | None = _quick_edited(data, changes) if _quick_edited else None
    return edit_by_parts(data, changes) if found is None else found


def edit_by_parts(data: bytes, changes: list[tuple[int, int, bytes, str]]) -> bytes:
    """What `edited` does, for any changes; of two that overlap the second's rest stays."""
    parts: list[bytes] = []
    position = 0
    for offset, length, replacement, _ in changes:
        if offset > position:
            parts.append(data[position:offset])
        parts.append(replacement)
        position = offset + length
    parts.append(data[position:])
    return b"".join(parts)
