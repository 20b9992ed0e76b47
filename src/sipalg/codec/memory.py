"""Texts with what was read in them, so that it needn't be read again: a bounded memory of a pure function.

A phone writes the same start lines, the same Contact and the same Via up to its branch into all of its messages. Such
lines are read once on their way through the codec. A memory is a dict, since a look-up is all that a packet pays;
`functools.lru_cache` would touch the neighbours of what it finds, too, and those are rarely in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

Value = TypeVar("Value")

#: Longer texts aren't kept, so that nobody fills the memory with them: a Contact with all its parameters is shorter.
LONGEST_REMEMBERED: Final = 512


class Memory(dict[bytes, Value]):
    """`memory[text]` is `function(text)`; at most `size` answers are kept, and a flood of texts empties it."""

    def __init__(self, function: Callable[[bytes], Value], size: int) -> None:
        super().__init__()
        self._function = function
        self._size = size

    def __missing__(self, text: bytes) -> Value:
        value = self._function(text)
        if len(text) <= LONGEST_REMEMBERED:
            if len(self) >= self._size:
                self.clear()
            self[text] = value
        return value


#: One object for equal texts, such as the host in all lines of a phone: fewer places in memory are looked at.
SAME: Final = Memory(bytes, 16384)
