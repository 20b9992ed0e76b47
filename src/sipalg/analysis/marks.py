"""Edits made visible: a message with what was struck out and what was put in, line by line, each with its rule.

The edits are the engine's own, so what is shown is what was done. Bytes that could move a terminal's cursor are shown
as escapes. On a packet's way this stands beside it and looks on. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sipalg.engine.verdict import Edit


class Style(NamedTuple):
    """What stands around a text that was struck, one that was put in, and a rule's name."""

    before: tuple[str, str]
    after: tuple[str, str]
    rule: tuple[str, str]


#: For files and pipes: wdiff's signs.
PLAIN: Final = Style(("[-", "-]"), ("{+", "+}"), ("    # ", ""))
#: For terminals: red and struck through, green, dim (ECMA-48, SGR).
COLOURED: Final = Style(("\x1b[31;9m", "\x1b[0m"), ("\x1b[32m", "\x1b[0m"), ("    \x1b[2m← ", "\x1b[0m"))


def marked_lines(message: bytes, edits: Sequence[Edit], style: Style) -> Iterator[str]:
    """Yield the message's lines without line ends, edits marked, the rules' names behind each edited line.

    `edits` are in order and don't overlap. An edit that spans lines stands in the line that it begins in.
    """
    position = 0
    waiting = list(edits)
    while position < len(message) or waiting:
        newline = message.find(b"\n", position)
        end = len(message) if newline < 0 else newline
        line, rules = "", []
        while waiting and waiting[0].offset <= end:
            edit = waiting.pop(0)
            line += text_of(message[position : edit.offset]) + _mark(message, edit, style)
            position = edit.offset + edit.length
            rules.append(edit.rule)
            if position > end:
                newline = message.find(b"\n", position)
                end = len(message) if newline < 0 else newline
        line += text_of(message[position:end].removesuffix(b"\r"))
        named = ", ".join(dict.fromkeys(rules))
        yield line + (style.rule[0] + named + style.rule[1] if rules else "")
        position = end + 1


def text_of(data: bytes) -> str:
    """Return bytes as text for a terminal: UTF-8 where it is, control characters and everything else as escapes."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() or char == "\t" else _escape(char) for char in text)


def _mark(message: bytes, edit: Edit, style: Style) -> str:
    """Return the struck text and the new one; either is left out if it is empty."""
    struck = text_of(message[edit.offset : edit.offset + edit.length])
    put_in = text_of(edit.replacement)
    return (style.before[0] + struck + style.before[1] if struck else "") + (
        style.after[0] + put_in + style.after[1] if put_in else ""
    )


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
