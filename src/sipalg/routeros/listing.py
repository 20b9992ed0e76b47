"""Rows as RouterOS 7 prints them: in columns, in detail, a line each, as values, as JSON, and settings as an export.

Pure: a menu's columns and flags, rows of texts, and lines out. A value never breaks its line: what strangers sent
can't move the cursor. A packet never comes here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sipalg.control.asking.columns import text_of
from sipalg.routeros.lexer import quote
from sipalg.routeros.menus import Column, Flag, Menu

#: Where RouterOS breaks the lines of exports and details for a reader who has no terminal.
WIDTH: Final = 80
_INDENT: Final = "    "


class Row(NamedTuple):
    """An entry: its number, as `print` without conditions counts, and its properties; flags are "yes" or "no"."""

    number: int
    values: Mapping[str, str]


def table(menu: Menu, rows: Sequence[Row], width: int | None = None) -> Iterator[str]:
    """Yield the lines of a plain `print`; only heads where there are no rows. Columns that are empty are left out.

    What is wider than `width` goes on in further lines below, columns whole; None is for a pipe, and a line an entry.
    """
    columns = [one for one in menu.columns if one.brief and _is_filled(one, rows)]
    names = [column.name.upper() for column in columns]
    if menu.flags:
        yield from _listed("Flags:", [f"{flag.letter} - {flag.name.upper()}" for flag in menu.flags], ";", width)
    yield from _listed("Columns:", names, ",", width)
    shown_flags = [flag for flag in menu.flags if any(_is_set(row, flag) for row in rows)]
    digits = len(str(rows[-1].number)) if rows else 1
    #: Each entry takes as many lines as its longest list.
    entries = [[[_begin("#", " " * len(shown_flags), digits), *names]]]
    entries += [list(_cells(row, columns, shown_flags, digits)) for row in rows]
    widths = [max(len(line[index]) for lines in entries for line in lines) for index in range(len(columns) + 1)]
    right = [False, *(column.right for column in columns)]
    for lines in entries:
        for indent, first, end in _groups(widths, width):
            for line in lines:
                padded = (
                    line[index].rjust(widths[index]) if right[index] else line[index].ljust(widths[index])
                    for index in range(first, end)
                )
                text = "  ".join(padded).rstrip()
                if text:
                    yield " " * indent + text


def _is_filled(column: Column, rows: Sequence[Row]) -> bool:
    return not rows or any(row.values.get(column.name) for row in rows)


def _groups(widths: Sequence[int], width: int | None) -> Iterator[tuple[int, int, int]]:
    """Yield which columns stand in a line together, as indent, first and end; the first line has the number too."""
    first = room = 0
    for index, wide in enumerate(widths):
        indent = widths[0] + 2 if first else 0
        if width is not None and index > max(first, 1) and indent + room + wide > width:
            yield indent, first, index
            first, room = index, 0
        room += wide + 2
    yield widths[0] + 2 if first else 0, first, len(widths)


def _listed(head: str, parts: Sequence[str], mark: str, width: int | None) -> Iterator[str]:
    """Yield the parts with the mark between them, in lines that fit."""
    marked = [part + mark for part in parts[:-1]] + list(parts[-1:])
    if width is None:
        yield " ".join([head, *marked])
    else:
        yield from _wrapped(f"{head} ", marked, width, _INDENT, "")


def _cells(row: Row, columns: Sequence[Column], flags: Sequence[Flag], digits: int) -> Iterator[list[str]]:
    """Yield a row's lines: the second and further values of a list stand below the first."""
    parts = [_text(row, column).split(",") if column.right else [_text(row, column)] for column in columns]
    letters = "".join(flag.letter if _is_set(row, flag) else " " for flag in flags)
    for index in range(max(map(len, parts), default=1)):
        begin = _begin(str(row.number), letters, digits) if index == 0 else ""
        yield [begin, *(part[index] if index < len(part) else "" for part in parts)]


def _begin(number: str, letters: str, digits: int) -> str:
    return f"{number:{digits}} {letters}" if letters else f"{number:{digits}}"


def detail(menu: Menu, rows: Sequence[Row], width: int = WIDTH) -> Iterator[str]:
    """Yield the lines of `print detail`."""
    if rows and menu.flags:
        yield "Flags: " + ", ".join(f"{flag.letter} - {flag.name}" for flag in menu.flags)
    digits = len(str(rows[-1].number)) if rows else 1
    for row in rows:
        letters = "".join(flag.letter if _is_set(row, flag) else " " for flag in menu.flags)
        head = f" {row.number:>{digits}} {letters} "
        yield from _wrapped(head, _pairs(menu, row, quoted=True), width, " " * len(head), "")


def terse(menu: Menu, rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line an entry."""
    for row in rows:
        letters = "".join(flag.letter for flag in menu.flags if _is_set(row, flag))
        yield " ".join(filter(None, [str(row.number), letters, *_pairs(menu, row, quoted=False)]))


def as_value(menu: Menu, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the one line of `print as-value`: all entries' properties, each with a semicolon before it."""
    parts = []
    for row in rows:
        flags = [f"{flag.name}={'true' if _is_set(row, flag) else 'false'}" for flag in menu.flags]
        parts += [f".id=*{row.number + 1:X}", *_pairs(menu, row, quoted=False), *flags]
    yield ";".join(parts)


def as_json(menu: Menu, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as RouterOS's REST interface names them; flags are booleans."""
    return [
        {
            ".id": f"*{row.number + 1:X}",
            **{one.name: row.values[one.name] for one in menu.columns if one.name in row.values},
            **{flag.name: _is_set(row, flag) for flag in menu.flags},
        }
        for row in rows
    ]


class Section(NamedTuple):
    """A menu's settings in an export, of its entry `name`, "" where it has none."""

    menu: Menu
    name: str
    settings: Mapping[str, str]


def export(head: str, sections: Sequence[Section], *, one_line: bool, width: int = WIDTH) -> Iterator[str]:
    """Yield the commands that set these settings, below a line with `head`."""
    yield f"# {head}"
    for section in sections:
        if not section.settings:
            continue
        place = "/" + " ".join(section.menu.path)
        begin = f"set {section.name}".rstrip()
        pairs = [f"{key}={quote(value)}" for key, value in section.settings.items()]
        if one_line:
            yield " ".join([place, begin, *pairs])
            continue
        yield place
        yield from _wrapped(f"{begin} ", pairs, width, _INDENT, " \\")


def _wrapped(head: str, parts: Sequence[str], width: int, indent: str, mark: str) -> Iterator[str]:
    """Yield the parts behind the head in lines that fit, if a part does; `mark` ends a line that goes on."""
    line = head
    begin = True
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if not begin and len(line) + 1 + len(part) + (0 if last else len(mark)) > width:
            yield (line + mark).rstrip()
            line, begin = indent, True
        line += part if begin else " " + part
        begin = False
    yield line.rstrip()


def _pairs(menu: Menu, row: Row, *, quoted: bool) -> list[str]:
    """Return name=value for each property that the row has."""
    pairs = []
    for column in menu.columns:
        if column.name in row.values:
            text = _text(row, column)
            pairs.append(f"{column.name}={_in_detail(column, text) if quoted else text}")
    return pairs


def _in_detail(column: Column, text: str) -> str:
    return f'"{text}"' if column.kind == "string" else quote(text)


def _text(row: Row, column: Column) -> str:
    """Return a property as a line may hold it."""
    value = row.values.get(column.name, "")
    return text_of("", value) if value else ""


def _is_set(row: Row, flag: Flag) -> bool:
    return row.values.get(flag.name) == "yes"
