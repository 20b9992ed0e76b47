"""RouterOS's commands read against the table of menus: text in, statements out, and nothing done yet.

Each part may be abbreviated as long as only one name begins so. All that can be known to be wrong without asking
anybody is refused here with its place: names, values, entries. A script is read whole before its first command runs.
A packet never comes here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from sipalg.routeros import conditions
from sipalg.routeros.conditions import Conditions
from sipalg.routeros.lexer import GrammarError, Position, Token, position, tokenise
from sipalg.routeros.menus import MENUS, Argument, Command, Menu, Path, children, matching

#: What a token turned out to be, for colours.
Role = Literal["menu", "command", "name", "value", "word", "condition"]

_NUMBERS: Final = "numbers"
_UP: Final = ".."


class Items(NamedTuple):
    """Which entries are meant: by name, or all for which conditions hold."""

    names: tuple[str, ...] = ()
    found: Conditions | None = None


class Move(NamedTuple):
    """A statement that only names a menu: those that follow begin there."""

    path: Path
    position: Position


class Call(NamedTuple):
    """A statement that names a command, with everything that it needs."""

    menu: Menu
    command: Command
    position: Position
    items: Items | None = None
    values: Mapping[str, str] = MappingProxyType({})
    words: frozenset[str] = frozenset()
    where: Conditions = ()


Statement = Move | Call


@dataclass(slots=True)
class Reading:
    """What has been read of one statement; after a GrammarError, what came before it."""

    source: str
    path: Path
    command: Command | None = None
    items: Items | None = None
    values: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    where: Conditions | None = None
    roles: list[tuple[Token, Role]] = field(default_factory=list)

    @property
    def menu(self) -> Menu:
        """The menu that has been reached."""
        return MENUS[self.path]

    def fail(self, token: Token, what: str, remedy: str = "") -> GrammarError:
        """Return the error about a token."""
        return GrammarError(what, position(self.source, token.start), remedy)


def read(source: str, path: Path = ()) -> list[Statement]:
    """Read all statements of a text that begins in a menu. Raises GrammarError for the first that is wrong."""
    statements: list[Statement] = []
    for tokens in split(tokenise(source)):
        reading = Reading(source, path)
        statement = fill(reading, tokens)
        if isinstance(statement, Move):
            path = statement.path
        statements.append(statement)
    return statements


def split(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield each statement's tokens; empty ones are left out."""
    statement: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.kind == "open") - (token.kind == "close")
        if token.kind == "end" and depth <= 0:
            if statement:
                yield statement
            statement, depth = [], 0
        elif token.kind != "end" or token.text == ";":
            statement.append(token)
    if statement:
        yield statement


def fill(reading: Reading, tokens: Sequence[Token]) -> Statement:
    """Read one statement's tokens, of which there is at least one, into `reading`. Raises GrammarError."""
    index = 0
    if tokens[0].kind == "slash":
        reading.path, index = (), 1
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if token.kind == "slash":
            continue
        if token.kind != "word":
            raise reading.fail(token, "syntax error", "a menu's or a command's name is expected")
        command = _step(reading, token)
        if command is not None:
            return _call(reading, command, tokens, index)
    return Move(reading.path, position(reading.source, tokens[0].start))


def _step(reading: Reading, token: Token) -> Command | None:
    """Go into the menu that a word means, or return the command."""
    if token.text == _UP:
        if not reading.path:
            raise reading.fail(token, f"bad command name {_UP}", "this is the root")
        reading.path = reading.path[:-1]
        reading.roles.append((token, "menu"))
        return None
    below = children(reading.path)
    commands = {command.name: command for command in reading.menu.commands}
    found = matching(token.text, [*below, *commands])
    if len(found) > 1:
        raise reading.fail(token, f"ambiguous command name {token.text}", f"it may be {' or '.join(found)}")
    if not found:
        raise reading.fail(token, f"bad command name {token.text}", _nearest(token.text, [*below, *commands]))
    if found[0] in below:
        reading.path = (*reading.path, found[0])
        reading.roles.append((token, "menu"))
        return None
    reading.command = commands[found[0]]
    reading.roles.append((token, "command"))
    return reading.command


def _call(reading: Reading, command: Command, tokens: Sequence[Token], index: int) -> Call:
    """Read a command's arguments."""
    menu = reading.menu
    name_token = tokens[index - 1]
    while index < len(tokens):
        token = tokens[index]
        if token.kind == "open":
            _next_unnamed(reading, command, token)
            index = _bracket(reading, tokens, index)
        elif token.kind == "word" and _is_named(tokens, index):
            index = _named(reading, command, tokens, index)
        elif token.kind == "word" and command.where and token.text == "where":
            reading.roles.append((token, "word"))
            rest = tokens[index + 1 :]
            reading.roles.extend((one, "condition") for one in rest)
            reading.where = conditions.read(reading.source, rest, menu)
            if not reading.where:
                raise reading.fail(token, "syntax error", "conditions follow where, such as name=value")
            break
        else:
            _bare(reading, command, token)
            index += 1
    missing = [one.name for one in command.unnamed[: command.required] if not _is_given(reading, one)]
    if missing:
        raise reading.fail(name_token, f"missing value(s) of argument(s) {', '.join(missing)}", _usage(command, menu))
    if command.needs_named and not reading.values:
        raise reading.fail(name_token, "nothing to set", "a name=value is expected")
    return Call(
        menu,
        command,
        position(reading.source, name_token.start),
        reading.items,
        reading.values,
        frozenset(reading.words),
        reading.where or (),
    )


def _is_named(tokens: Sequence[Token], index: int) -> bool:
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    return following is not None and following.kind == "operator" and following.text == "=" and following.glued


def _is_given(reading: Reading, argument: Argument) -> bool:
    return reading.items is not None if argument.name == _NUMBERS else argument.name in reading.values


def _usage(command: Command, menu: Menu) -> str:
    """Say how a command begins, by an example."""
    examples = {
        _NUMBERS: menu.items[0] if menu.items else "0",
        "value-name": "ports" if menu.items else "file-name",
        "file-name": "file-name=memory.pcapng",
        "name": "before-ALG.pcap",
    }
    return f"such as {' '.join([command.name, *(examples[one.name] for one in command.unnamed)])}"


def _named(reading: Reading, command: Command, tokens: Sequence[Token], index: int) -> int:
    """Read `name=value`, and return the index behind it."""
    token, operator = tokens[index], tokens[index + 1]
    names = {one.name: one for one in command.named}
    found = matching(token.text, list(names))
    if not found:
        remedy = _nearest(token.text, list(names)) if names else f"{command.name} takes no name=value"
        raise reading.fail(token, f"bad parameter {token.text}", remedy)
    if len(found) > 1:
        raise reading.fail(token, f"ambiguous parameter {token.text}", f"it may be {' or '.join(found)}")
    argument = names[found[0]]
    if _is_given(reading, argument):
        raise reading.fail(token, "syntax error", f"{argument.name} is given twice")
    reading.roles.append((token, "name"))
    value = tokens[index + 2] if index + 2 < len(tokens) else None
    if value is not None and value.glued and value.kind == "open" and argument.name == _NUMBERS:
        return _bracket(reading, tokens, index + 2)
    if value is None or not value.glued or value.kind != "value":
        _take(reading, argument, Token("value", "", operator.start, operator.end))
        return index + 2
    _take(reading, argument, value)
    reading.roles.append((value, "value"))
    return index + 3


def _bare(reading: Reading, command: Command, token: Token) -> None:
    """Read a token that stands alone: one of the command's words, or the next argument without a name."""
    if token.kind == "word":
        found = matching(token.text.removeprefix("--"), [one.name for one in command.words])
        if len(found) == 1:
            reading.words.add(found[0])
            reading.roles.append((token, "word"))
            return
    if token.kind not in ("word", "value"):
        raise reading.fail(token, "expected end of command", f"{token.text} can't stand here")
    _take(reading, _next_unnamed(reading, command, token), token)
    reading.roles.append((token, "value"))


def _next_unnamed(reading: Reading, command: Command, token: Token) -> Argument:
    """Return the next argument that may come without a name; GrammarError where there is none left."""
    for argument in command.unnamed:
        if not _is_given(reading, argument):
            return argument
    what = "expected end of command"
    words = [one.name for one in command.words] + ["where"] * command.where
    remedy = f"{command.name} takes {', '.join(words)}" if words else ""
    if command.named and command.unnamed != command.named:
        remedy = f"{token.text} is no name=value"
    raise reading.fail(token, what, remedy)


def _take(reading: Reading, argument: Argument, token: Token) -> None:
    """Take a value, checked as far as that goes here."""
    text = token.text
    if argument.name == _NUMBERS:
        reading.items = Items(tuple(_item(reading, token, name) for name in text.split(",")))
        return
    if argument.choices:
        found = matching(text, list(argument.choices))
        if len(found) > 1:
            what = f"ambiguous value of {argument.name}, more than one possible value matches input"
            raise reading.fail(token, what, f"it may be {' or '.join(found)}")
        if not found:
            raise reading.fail(token, f"input does not match any value of {argument.name}", f"it is {argument.values}")
        text = found[0]
    if argument.check is not None:
        try:
            argument.check(text)
        except ValueError as error:
            raise reading.fail(token, f"invalid value of {argument.name}", str(error)) from None
    reading.values[argument.name] = text


def _nearest(text: str, names: list[str]) -> str:
    """Say what was meant, or what there is."""
    near = difflib.get_close_matches(text, names, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def _item(reading: Reading, token: Token, name: str) -> str:
    """Return the name of the entry that a name or number means."""
    menu = reading.menu
    if name in menu.items:
        return name
    if name.isascii() and name.isdigit() and len(name) < len("100") and int(name) < len(menu.items):
        return menu.items[int(name)]
    raise reading.fail(token, f"no such item {name}".rstrip(), f"there is {', '.join(menu.items)}, number 0")


def _bracket(reading: Reading, tokens: Sequence[Token], start: int) -> int:
    """Read `[find …]`, and return the index behind it."""
    menu = reading.menu
    end = next((index for index in range(start, len(tokens)) if tokens[index].kind == "close"), None)
    if end is None:
        raise reading.fail(tokens[start], "expected closing bracket", "[find …] ends with ]")
    inner = tokens[start + 1 : end]
    if not inner or inner[0].kind != "word" or inner[0].text != "find":
        raise reading.fail(inner[0] if inner else tokens[start], "syntax error", "only [find …] is taken in brackets")
    rest = inner[1:]
    if rest and rest[0].kind == "word" and rest[0].text == "where":
        rest = rest[1:]
    reading.roles.extend((one, "condition") for one in inner)
    reading.items = Items(found=conditions.read(reading.source, rest, menu))
    return end + 1
