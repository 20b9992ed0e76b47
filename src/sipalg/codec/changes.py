"""A message with its changes made: spans replaced, every other byte as it was.

The codec's last word on a packet's way: what the engine decided to replace is put in here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sipalg.codec.machine import quick

Changes = list[tuple[int, int, bytes, str]]

#: Machine code that is asked first, None in the interpreted build.
_quick_edited: Final = quick("edited")


def edited(data: bytes, changes: Changes) -> bytes:
    """The message with its changes (offset, length, replacement, rule) made, which are in order and don't overlap."""
    found: bytes | None = _quick_edited(data, changes) if _quick_edited else None
    return edit_by_parts(data, changes, {}) if found is None else found


def edit_by_parts(data: bytes, changes: Changes, counts: dict[str, int]) -> bytes:
    """What `edited` does, for any changes, counted by their rules; of two that overlap the second's rest stays."""
    parts: list[bytes] = []
    position = 0
    for offset, length, replacement, rule in changes:
        counts[rule] = counts.get(rule, 0) + 1
        if offset > position:
            parts.append(data[position:offset])
        parts.append(replacement)
        position = offset + length
    parts.append(data[position:])
    return b"".join(parts)


def replace_by_parts(verdict: type[Any], data: bytes, changes: Changes, counts: dict[str, int]) -> Any:
    """The verdict that sends a message on with its changes made, counted by their rules."""
    changes.sort()
    return tuple.__new__(verdict, ("replace", edit_by_parts(data, changes, counts), tuple(changes), (), "", 0))


#: Makes a verdict of a message and its changes: machine code, which leaves some to others, or what is here.
replaced: Final[Callable[..., Any]] = quick("replaced") or replace_by_parts
