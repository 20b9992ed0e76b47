"""What may come next in a command that is being typed: for Tab, for `?`, and which words get which colour.

Pure: the text before the cursor in, names with a line of help out. What was typed so far is read by the grammar
itself. A packet never comes here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sipalg.routeros.grammar import Reading, Role, fill, split
from sipalg.routeros.lexer import GrammarError, Token, tokenise
from sipalg.routeros.menus import MENUS, Argument, Command, Menu, Path, children

#: Words are wrapped only where there's room for some of them.
_NARROWEST_HELP: Final = 20


class Candidate(NamedTuple):
    """Something that may come: the text, how many characters before the cursor it stands for, and what it means."""

    text: str
    typed: int
    help: str
    kind: Role


class Span(NamedTuple):
    """A piece of a line, and what it is; None is what can't be read."""

    start: int
    end: int
    role: Role | None


def candidates(before: str, path: Path) -> list[Candidate]:
    """Return what may stand at the end of the text, which begins in the menu `path`; what was begun goes on."""
    try:
        tokens = tokenise(before)
    except GrammarError:
        return []
    statements = list(split(tokens))
    last = statements[-1] if statements and tokens[-1].kind != "end" else []
    for statement in statements[:-1] if last else statements:
        path = _moved(before, statement, path)
    begun = last[-1] if last and last[-1].end == len(before) and last[-1].kind in ("word", "value") else None
    reading = Reading(before, path)
    done = last[:-1] if begun else last
    name = _open_name(last) if last and last[-1].end == len(before) else None
    if name is not None:
        # `name=` or the beginning of its value.
        done = last[: last.index(name)]
    text = begun.text if begun else ""
    conditions = _conditions_at(done)
    if conditions:
        _fills(reading, done[:conditions])
        return [one._replace(typed=len(text)) for one in _properties(reading.menu) if one.text.startswith(text)]
    if done and not _fills(reading, done):
        return []
    if name is not None:
        return [one for one in _values(reading, name.text, "" if begun is name else text) if one.text.startswith(text)]
    command = reading.command
    found = _names(reading.path) if command is None else _arguments(reading.menu, command, reading)
    return [one._replace(typed=len(text)) for one in found if one.text.startswith(text)]


def asked_about(line: str) -> str | None:
    """Return what stands before a question mark at the line's end, or None; one in quotes is only a text's."""
    text = line.rstrip()
    return text[:-1] if text.endswith("?") and text.count('"') % 2 == 0 else None


def help_lines(before: str, path: Path, columns: int | None = None) -> list[str]:
    """Return what `?` shows at the end of the text: a line for each thing that may come.

    What is longer than a terminal's `columns` goes on in the next line.
    """
    found = candidates(before, path)
    if not found:
        return ["nothing is known to come here"]
    width = max(len(one.text) for one in found)
    lines = [f"{one.text:{width}}  {one.help}".rstrip() for one in found]
    if columns is None or columns < width + _NARROWEST_HELP:
        return lines
    indent = " " * (width + 2)
    parts = (textwrap.wrap(line, columns, subsequent_indent=indent, break_on_hyphens=False) for line in lines)
    return [part for wrapped in parts for part in wrapped]


def spans(line: str, path: Path) -> Iterator[Span]:
    """Yield the pieces of a line with what they are, in order; what stands between them is neither."""
    try:
        tokens = tokenise(line)
    except GrammarError as error:
        # All before it can be read.
        offset = error.position.column - 1
        yield from spans(line[:offset], path)
        yield Span(offset, len(line), None)
        return
    for statement in split(tokens):
        reading = Reading(line, path)
        fine = _fills(reading, statement)
        for token, role in reading.roles:
            yield Span(token.start, token.end, role)
        if not fine:
            read = max((token.end for token, _ in reading.roles), default=statement[0].start)
            rest = next((token for token in statement if token.start >= read and token.kind != "slash"), None)
            # What ends with `name=` is only unfinished.
            if rest is not None and (rest.kind, rest) != ("operator", statement[-1]):
                yield Span(rest.start, statement[-1].end, None)
        elif reading.command is None:
            path = reading.path


def _moved(source: str, statement: Sequence[Token], path: Path) -> Path:
    """Return the menu behind a statement."""
    reading = Reading(source, path)
    return reading.path if _fills(reading, statement) and reading.command is None else path


def _fills(reading: Reading, tokens: Sequence[Token]) -> bool:
    """Read what is there; tells whether it is right, but for what is still missing."""
    try:
        fill(reading, tokens)
    except GrammarError as error:
        return error.what.startswith(("missing value", "nothing to set"))
    return True


def _open_name(tokens: Sequence[Token]) -> Token | None:
    """Return the name of a `name=value` whose value is being typed at the end, or None."""
    for back in (2, 3):
        if len(tokens) >= back:
            name, operator, *value = tokens[-back:]
            glued = operator.kind == "operator" and operator.text == "=" and all(one.glued for one in value)
            if name.kind == "word" and glued and all(one.kind == "value" for one in value):
                return name
    return None


def _conditions_at(tokens: Sequence[Token]) -> int:
    """Return where conditions begin that the end of the tokens is in, 0 for none."""
    for index in range(len(tokens) - 1, -1, -1):
        token = tokens[index]
        if token.kind == "close":
            return 0
        if token.kind == "word" and token.text in ("where", "find"):
            return index
    return 0


def _properties(menu: Menu) -> list[Candidate]:
    columns = [Candidate(column.name, 0, "", "condition") for column in menu.columns]
    return columns + [Candidate(flag.name, 0, f"flag {flag.letter}", "condition") for flag in menu.flags]


def _names(path: Path) -> list[Candidate]:
    below = [Candidate(name, 0, MENUS[*path, name].help, "menu") for name in children(path)]
    return below + [Candidate(command.name, 0, command.help, "command") for command in MENUS[path].commands]


def _arguments(menu: Menu, command: Command, reading: Reading) -> list[Candidate]:
    """Return what may follow a command: entries, words, names, `where`."""
    if reading.where is not None:
        return []
    found: list[Candidate] = []
    for argument in command.unnamed:
        if argument.name == "numbers" and reading.items is None:
            found += [Candidate(name, 0, f"entry {number}", "value") for number, name in enumerate(menu.items)]
            break
        if argument.name != "numbers" and argument.name not in reading.values:
            found += [Candidate(choice, 0, "", "value") for choice in argument.choices]
            break
    found += [Candidate(one.name, 0, one.help, "word") for one in command.words if one.name not in reading.words]
    if command.where:
        found.append(Candidate("where", 0, "only entries with name=value, and so on", "word"))
    unnamed = [one.name for one in command.unnamed]
    found += [
        Candidate(f"{one.name}=", 0, _about(one), "name")
        for one in command.named
        if one.name not in reading.values and one.name not in unnamed
    ]
    return found


def _values(reading: Reading, name: str, text: str) -> list[Candidate]:
    """Return what may stand behind `name=`."""
    command = reading.command
    argument = next((one for one in command.named if one.name == name), None) if command else None
    if argument is None:
        return []
    if argument.choices:
        return [Candidate(choice, len(text), "", "value") for choice in argument.choices]
    return [] if text else [Candidate("", 0, _about(argument), "value")]


def _about(argument: Argument) -> str:
    return f"{argument.help} ({argument.values})" if argument.values else argument.help
