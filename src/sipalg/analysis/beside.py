"""Two messages side by side, what differs marked in both: for terminals in colour, else with wdiff's signs.

Lines that belong together stand in one row, by what they begin with and in order; a line longer than its column is
folded. On a packet's way this shows its two ends. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Final

from sipalg.analysis.marks import COLOURED, PLAIN, text_of

#: A line in pieces: text, and whether the other side has something else there.
Pieces = list[tuple[str, bool]]
Row = tuple[Pieces, Pieces]

_BETWEEN: Final = " │ "
_NARROWEST: Final = 30
#: Longer ones are compared as they stand, since finding what belongs together takes the square of their length.
_MOST_LINES: Final = 400
_MOST_WORDS: Final = 400
#: What isn't cut in two: an address with its port, a name; and any other sign.
_TOKENS: Final = re.compile(r"[\w.:-]+|[^\w.:-]")


def rows(before: bytes, after: bytes) -> Iterator[Row]:
    """Yield the lines of two messages, those that belong together in one row, with what differs told apart."""
    left, right = _split(before), _split(after)
    if max(len(left), len(right)) > _MOST_LINES:
        yield from map(_compared, left, right)
        return
    matcher = SequenceMatcher(None, [_head(line) for line in left], [_head(line) for line in right], autojunk=False)
    for kind, begin, end, other, stop in matcher.get_opcodes():
        if kind == "equal":
            yield from map(_compared, left[begin:end], right[other:stop])
            continue
        count = max(end - begin, stop - other)
        mine = [*left[begin:end], *[""] * count][:count]
        theirs = [*right[other:stop], *[""] * count][:count]
        for line, twin in zip(mine, theirs, strict=True):
            yield [(line, True)], [(twin, True)]


def side_by_side(before: bytes, after: bytes, width: int, *, coloured: bool) -> Iterator[str]:
    """Yield the rows as lines of text, at most `width` characters wide (60 at least)."""
    column = max((width - len(_BETWEEN)) // 2, _NARROWEST)
    styles = (COLOURED.before[0].replace(";9", ""), COLOURED.after[0]) if coloured else ("", "")
    signs = (("", ""), ("", "")) if coloured else (PLAIN.before, PLAIN.after)
    for row in rows(before, after):
        folded = [_folded(_signed(pieces, sign), column) for pieces, sign in zip(row, signs, strict=True)]
        for number in range(max(map(len, folded))):
            cells = [lines[number] if number < len(lines) else [] for lines in folded]
            texts = [_painted(cell, style) for cell, style in zip(cells, styles, strict=True)]
            gap = " " * (column - sum(len(text) for text, _ in cells[0]))
            yield f"{texts[0]}{gap}{_BETWEEN}{texts[1]}".rstrip()


def _split(message: bytes) -> list[str]:
    return [text_of(line.removesuffix(b"\r")) for line in message.rstrip(b"\r\n").split(b"\n")]


def _head(line: str) -> str:
    """Return what a line is recognised by: a header's name, an SDP line's type with its first word, else all of it."""
    if line[1:2] == "=":
        return line.partition(" ")[0] if line[:1] in "ma" else line[:2]
    name, colon, _ = line.partition(":")
    return name.strip().lower() if colon and " " not in name.strip() else line.partition(" ")[0]


def _compared(line: str, twin: str) -> Row:
    if line == twin:
        return [(line, False)], [(twin, False)]
    mine: Pieces = []
    theirs: Pieces = []
    words, others = _words(line), _words(twin)
    if max(len(words), len(others)) > _MOST_WORDS:
        return [(line, True)], [(twin, True)]
    for kind, begin, end, other, stop in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        mine.append(("".join(words[begin:end]), kind != "equal"))
        theirs.append(("".join(others[other:stop]), kind != "equal"))
    return mine, theirs


def _words(line: str) -> list[str]:
    """Return a line in addresses, words and signs, so that marks don't cut numbers in two."""
    words: list[str] = []
    for char in line:
        if words and _is_word(char) and _is_word(words[-1][-1]):
            words[-1] += char
        else:
            words.append(char)
    return words


def _is_word(char: str) -> bool:
    return char.isalnum() or char in ".-_"


def _signed(pieces: Pieces, sign: tuple[str, str]) -> Pieces:
    return [(sign[0] + text + sign[1] if differs and text else text, differs) for text, differs in pieces]


def _folded(pieces: Pieces, column: int) -> list[Pieces]:
    lines: list[Pieces] = [[]]
    room = column
    for piece, differs in pieces:
        begin = at = 0
        for token in _TOKENS.findall(piece):
            # Cut before an address or a word, where it fits into a line of its own.
            if (len(token) > room and len(token) <= column) or not room:
                if at > begin:
                    lines[-1].append((piece[begin:at], differs))
                lines.append([])
                begin, room = at, column
            at += len(token)
            while len(token) > room:
                lines[-1].append((piece[begin : at - len(token) + room], differs))
                begin = at - len(token) + room
                lines.append([])
                token, room = token[room:], column
            room -= len(token)
        if at > begin:
            lines[-1].append((piece[begin:at], differs))
    return lines


def _painted(pieces: Pieces, style: str) -> str:
    return "".join(f"{style}{text}{COLOURED.after[1]}" if differs and style else text for text, differs in pieces)
