"""Edits made visible: a message with what was struck out and what was put in, line by line, each with its rule.

The edits are the engine's own, so what is shown is what was done. Bytes that could move a terminal's cursor are shown
as escapes. On a packet's way this stands beside it and looks on. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sipalg.engine.verdict import Edit


class Style(NamedTuple):
    """What stands around a text that was struck, between it and the new one, around that, and around a rule's name."""

    before: tuple[str, str]
    between: str
    after: tuple[str, str]
    rule: tuple[str, str]


#: For files and pipes: wdiff's signs.
PLAIN: Final = Style(("[-", "-]"), "", ("{+", "+}"), ("    # ", ""))
#: For terminals: red and struck through, green, dim (ECMA-48, SGR).
COLOURED: Final = Style(("\x1b[31;9m", "\x1b[0m"), "→", ("\x1b[32m", "\x1b[0m"), ("    \x1b[2m← ", "\x1b[0m"))
#: Nothing around anything.
_BARE: Final = Style(("", ""), "", ("", ""), ("", ""))


class _Line(NamedTuple):
    """A line in pieces, each as it was and as it is, and the rules by which the two differ, each once."""

    offset: int
    pieces: list[tuple[str, str]]
    rules: list[str]


def marked_lines(
    message: bytes, edits: Sequence[Edit], style: Style, notes: Mapping[int, str] | None = None
) -> Iterator[str]:
    """Yield the message's lines without line ends, edits marked, the rules' names behind each edited line.

    `edits` are in order and don't overlap. An edit that spans lines stands in the line that it begins in. `notes` are
    shown behind lines without edits, by the offset that the line begins at.
    """
    for offset, pieces, rules in _lines(message, edits):
        text = "".join(_marked(before, after, style) for before, after in pieces)
        behind = ", ".join(rules) or (notes or {}).get(offset, "")
        yield text + (style.rule[0] + behind + style.rule[1] if behind else "")


def diff_lines(message: bytes, edits: Sequence[Edit], *, coloured: bool) -> Iterator[str]:
    """Yield the message's lines as a unified diff has them: an edited one twice, behind `- ` and behind `+ `."""
    struck, put_in = (COLOURED.before, COLOURED.after) if coloured else (_BARE.before, _BARE.after)
    for _, pieces, rules in _lines(message, edits):
        before, after = ("".join(piece[side] for piece in pieces) for side in (0, 1))
        if rules:
            yield f"{struck[0].replace(';9', '')}- {before}{struck[1]}"
            yield f"{put_in[0]}+ {after}{put_in[1]}"
        else:
            yield f"  {before}".rstrip()


def text_of(data: bytes) -> str:
    """Return bytes as text for a terminal: UTF-8 where it is, control characters and everything else as escapes."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() or char == "\t" else _escape(char) for char in text)


def _lines(message: bytes, edits: Sequence[Edit]) -> Iterator[_Line]:
    position = 0
    waiting = list(edits)
    while position < len(message) or waiting:
        begin = position
        end = _line_end(message, position)
        pieces, rules = [], []
        while waiting and waiting[0].offset <= end:
            edit = waiting.pop(0)
            kept = text_of(message[position : edit.offset])
            position = edit.offset + edit.length
            pieces += [(kept, kept), (text_of(message[edit.offset : position]), text_of(edit.replacement))]
            rules.append(edit.rule)
            end = max(end, _line_end(message, position))
        rest = text_of(message[position:end].removesuffix(b"\r"))
        yield _Line(begin, [*pieces, (rest, rest)], list(dict.fromkeys(rules)))
        position = end + 1


def _line_end(message: bytes, position: int) -> int:
    newline = message.find(b"\n", position)
    return len(message) if newline < 0 else newline


def _marked(before: str, after: str, style: Style) -> str:
    """Return the struck text and the new one; either is left out if it is empty."""
    if before == after:
        return before
    struck = style.before[0] + before + style.before[1] if before else ""
    put_in = style.after[0] + after + style.after[1] if after else ""
    return struck + (style.between if struck and put_in else "") + put_in


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
