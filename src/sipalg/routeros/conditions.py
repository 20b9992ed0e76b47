"""Conditions on rows, as `where` and `[find …]` have them: read from tokens, and tried on a row.

`name=value` with `=`, `!=`, `<`, `>`, `<=`, `>=` and `~` (a regular expression), a bare name for what is set and isn't
no, `!name` for the others; `and` or nothing between conditions joins them, `or` separates alternatives. Parentheses
aren't taken.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sipalg.routeros.lexer import GrammarError, Token, position
from sipalg.routeros.menus import Column, Menu, matching

_AND: Final = ("and", "&&")
_OR: Final = ("or", "||")
_COMPARED: Final = frozenset({"=", "!=", "<", ">", "<=", ">=", "~"})
_TIME: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_CLOCK: Final = re.compile(r"(\d+):(\d\d)(?::(\d\d))?")
_UNITS_S: Final = (604800, 86400, 3600, 60, 1)
_LONGEST_SIZE: Final = 40
#: Kinds of columns whose texts may differ and be the same: 90s and 1m30s.
_SIZED: Final = ("time", "number")


class Condition(NamedTuple):
    """One comparison of a row's property with a value; `kind` as in Column.

    The operator "" is for a property that is set, and "!" for one that isn't; "no" isn't set.
    """

    name: str
    operator: str
    value: str
    kind: str = "text"

    def holds(self, row: Mapping[str, str]) -> bool:
        """Tell whether it holds for the row; a property that the row hasn't is an empty text."""
        found = row.get(self.name, "")
        if self.operator in ("", "!"):
            return (found not in ("", "no")) == (self.operator == "")
        if self.operator == "~":
            return _pattern(self.value).search(found) is not None
        left, right = (size(text, self.kind) for text in (found, self.value))
        if self.operator in ("=", "!="):
            same = found == self.value or (self.kind in _SIZED and left is not None and left == right)
            return same == (self.operator == "=")
        if left is None or right is None:
            return False
        return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[self.operator]


#: Alternatives, each a list of what must hold together.
Conditions = tuple[tuple[Condition, ...], ...]


def hold(conditions: Conditions, row: Mapping[str, str]) -> bool:
    """Tell whether the row is meant; without conditions all are."""
    return not conditions or any(all(one.holds(row) for one in together) for together in conditions)


def size(text: str, kind: str) -> float | None:
    """Return what a text compares by: seconds of a time, a number; None for what is neither."""
    if not text or len(text) > _LONGEST_SIZE or not text.isascii():
        return None
    if text.isdigit():
        return float(text)
    if kind != "time":
        return None
    clock = _CLOCK.fullmatch(text)
    if clock:
        return float(int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0))
    units = _TIME.fullmatch(text)
    if units is None:
        return None
    return float(sum(int(count or 0) * unit for count, unit in zip(units.groups(), _UNITS_S, strict=True)))


def read(source: str, tokens: Sequence[Token], menu: Menu) -> Conditions:
    """Read the tokens behind `where` or `find`, of which there may be none."""
    alternatives: list[list[Condition]] = [[]]
    index = 0
    joined = False
    while index < len(tokens):
        token = tokens[index]
        if token.kind == "word" and token.text in (*_AND, *_OR) and not joined and alternatives[-1]:
            joined = True
            index += 1
            if token.text in _OR:
                alternatives.append([])
            continue
        condition, index = _condition(source, tokens, index, menu)
        alternatives[-1].append(condition)
        joined = False
    if joined:
        raise GrammarError("syntax error", position(source, tokens[-1].start), "a condition is missing behind it")
    return tuple(map(tuple, alternatives)) if alternatives[0] else ()


def _condition(source: str, tokens: Sequence[Token], index: int, menu: Menu) -> tuple[Condition, int]:
    """Read one condition; returns it and the index behind it."""
    negated = tokens[index].kind == "operator" and tokens[index].text == "!"
    index += negated
    if index == len(tokens) or tokens[index].kind != "word":
        wrong = tokens[min(index, len(tokens) - 1)]
        raise GrammarError("syntax error", position(source, wrong.start), "a condition begins with a property's name")
    token = tokens[index]
    name, kind = _property(source, token, menu)
    index += 1
    following = tokens[index] if index < len(tokens) else None
    if negated or following is None or following.kind != "operator" or following.text not in _COMPARED:
        return Condition(name, "!" if negated else "", ""), index
    value = tokens[index + 1] if index + 1 < len(tokens) else None
    if value is None or value.kind not in ("value", "word"):
        place = position(source, following.start)
        raise GrammarError("syntax error", place, f"a value is missing behind {following.text}")
    text = {"true": "yes", "false": "no"}.get(value.text, value.text)
    _check(source, following, value, kind)
    return Condition(name, following.text, text, kind), index + 2


def _check(source: str, operator: Token, value: Token, kind: str) -> None:
    """Refuse what can't be compared."""
    place = position(source, value.start)
    if operator.text == "~":
        try:
            _pattern(value.text)
        except (re.error, OverflowError, RecursionError) as error:
            raise GrammarError("syntax error", place, f"no regular expression: {error}") from None
    elif operator.text not in ("=", "!=") and size(value.text, kind) is None:
        remedy = "a time, such as 1m30s" if kind == "time" else "a number"
        raise GrammarError("syntax error", place, f"{operator.text} compares with {remedy}")


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression; Python's advice on unusual ones is no concern of the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return re.compile(text)


def _property(source: str, token: Token, menu: Menu) -> tuple[str, str]:
    """Return the property that a word means, and its kind."""
    columns = [*menu.columns, *(Column(flag.name) for flag in menu.flags)]
    names = [column.name for column in columns]
    found = matching(token.text, names)
    if len(found) == 1:
        return found[0], columns[names.index(found[0])].kind
    what = f"ambiguous property {token.text}" if found else f"bad property {token.text}"
    raise GrammarError(what, position(source, token.start), f"there are {', '.join(found or names)}")
