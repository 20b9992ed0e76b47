"""The settings file: TOML, read strictly and written back with its comments.

What can't be read is refused whole, in one line that names the file, the line, the key and what is allowed: settings
of a broken file are never half in force. Off a packet's way: it is read at start and on `reload`, and written when a
command changes something.
"""

from __future__ import annotations

import codecs
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array

from sipalg.control.settings.durable import replace_file
from sipalg.control.settings.model import Settings, contradiction
from sipalg.control.settings.properties import PROPERTIES, Kind, Property, find

DEFAULT_FILE: Final = "/etc/sipalg/sipalg.toml"
FILE_VARIABLE: Final = "SIPALG_CONFIG"

#: No settings are longer, and a wrong path may name anything.
_LARGEST_BYTES: Final = 1 << 20
_SYNTAX: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
#: What TOML's reader finds wrong with one line, whatever stands on the others.
_TWICE: Final = "Cannot overwrite a value"
_OF_ONE_LINE: Final = ("Invalid value", "Expected newline or end of document after a statement", _TWICE)
_SETTING_LINE: Final = re.compile(r"""[ \t]*(?:"|')?([a-z-]+)(?:"|')?[ \t]*=([^#]*)(?:#.*)?""")
#: What a value may be in the file, for people.
_FORMS: Final[dict[Kind, str]] = {
    "flag": "true or false",
    "number": "an integer",
    "text": "a string",
    "time": "a string or a number of seconds",
    "numbers": "an array of integers",
    "texts": "an array of strings",
}


class SettingsError(Exception):
    """The file can't be used: one line for people, with its name. `lines` has one for each mistake in it."""

    def __init__(self, line: str, *more: str) -> None:
        further = f" (and {len(more)} more: see `sipalg config check`)" if more else ""
        super().__init__(line + further)
        self.lines = (line, *more)


class SettingsMissingError(SettingsError):
    """There is no such file."""


def settings_path(chosen: str | None) -> Path:
    """Return the file's path: `chosen`, or $SIPALG_CONFIG, or the default."""
    return Path(chosen or os.environ.get(FILE_VARIABLE) or DEFAULT_FILE)


def load(path: Path) -> Settings:
    """Return the file's settings, with the defaults for what it doesn't name. Raises SettingsError."""
    return read(path)[0]


def read(path: Path) -> tuple[Settings, frozenset[str]]:
    """Return the file's settings and the keys that it names. Raises SettingsError."""
    try:
        return _settings(path, _content(path))
    except FileNotFoundError:
        raise SettingsMissingError(
            f"{path}: there is no such file; `sipalg config default` prints one to begin with"
        ) from None


def is_missing(path: Path) -> bool:
    """Tell whether there is no such file; what can't be looked at may be there."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def save(path: Path, values: Mapping[str, str], besides: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Write these values (as texts, the form that `set` takes) into the file, and leave all else in it as it is.

    The values are texts that were read before (`properties.with_texts`). A file that isn't there is made, and holds
    what `besides` says too. Returns the path of what was written. Raises SettingsError, also for values that
    contradict what else the file says: it is as it was then.
    """

    def changed(content: bytes | None) -> bytes:
        found = _with_values(path, content or b"", {**besides, **values} if content is None else values)
        _settings(path, found)
        return found

    try:
        if path.parent == Path(DEFAULT_FILE).parent:
            path.parent.mkdir(mode=0o755, exist_ok=True)
        return replace_file(path, changed)
    except OSError as error:
        raise SettingsError(f"{path}: can't be written: {error.strerror or error}") from None


def merged(path: Path, values: Mapping[str, str], besides: Mapping[str, str] = MappingProxyType({})) -> Settings:
    """Return what the file's settings would be after `save`; nothing is written. Raises SettingsError."""
    try:
        content = _content(path)
    except FileNotFoundError:
        content, values = b"", {**besides, **values}
    return _settings(path, _with_values(path, content, values))[0]


def default_file() -> str:
    """Return a file with every key, its meaning, what is allowed and its default; inside and outside are to be set.

    None is in force: what a later version has as its default reaches a router that never chose another.
    """
    lines = ["# The settings of sipalg. Take the # away in front of what is to be other than the default shown.", ""]
    settings = Settings()
    for one in PROPERTIES.values():
        value = getattr(settings, one.field)
        live = "" if one.live else " A change needs a restart."
        lines.append(f"# {one.help[0].upper()}{one.help[1:]}{'' if one.help.endswith('?') else '.'}{live}")
        lines.append(f"# Allowed: {_allowed(one)}.")
        # What has no default is shown by an example, which isn't in force.
        example = {"inside": ("lan0",), "outside": "wan0"}.get(one.key)
        if example is not None:
            lines.append("# Has no default and has to be set; an example:")
        lines += [f"#{_line(one, value if example is None else example)}", ""]
    return "\n".join(lines[:-1]) + "\n"


def _content(path: Path) -> bytes:
    """Return what stands in the file, at most one byte more than is allowed.

    Raises FileNotFoundError, and SettingsError for a pipe or a terminal: who reads one might wait for ever, and
    packets with it.
    """
    try:
        if path.is_fifo() or (path.is_char_device() and str(path) != os.devnull):
            raise SettingsError(f"{path}: is no regular file, and so no settings file")
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror or error}") from None


def _settings(path: Path, content: bytes) -> tuple[Settings, frozenset[str]]:
    if len(content) > _LARGEST_BYTES:
        raise SettingsError(f"{path}: is longer than {_LARGEST_BYTES} bytes, and so no settings file")
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}: line {line}: isn't UTF-8 text, which TOML is") from None
    found, mistakes = _parsed(path, text)
    fields = {}
    for key, value in found.items():
        try:
            one = find(key)
        except ValueError as error:
            mistakes.append(f"{_place(path, text, key)}{error}")
            continue
        try:
            fields[one.field] = one.parse(_text(one, value))
        except ValueError as error:
            mistakes.append(f"{_place(path, text, key)}{key}: {error}; allowed: {_allowed(one)}")
    settings = Settings(**fields)
    wrong = contradiction(settings)
    if wrong:
        key, what = wrong
        mistakes.append(f"{_place(path, text, key)}{key}: {what}; allowed: {_allowed(PROPERTIES[key])}")
    if mistakes:
        raise SettingsError(*mistakes)
    return settings, frozenset(found)


def _parsed(path: Path, text: str) -> tuple[dict[str, Any], list[str]]:
    """Return what TOML's reader makes of the text, and a line for each setting whose line it can't read.

    Such a line is left out, so that one without quotes doesn't hide what is wrong with the others. Raises
    SettingsError where it isn't plain how to go on.
    """
    lines = text.split("\n")
    mistakes: list[str] = []
    while True:
        try:
            return tomllib.loads("\n".join(lines)), mistakes
        except (ValueError, RecursionError) as error:
            known = _SYNTAX.fullmatch(str(error))
            number = int(known[2] or len(lines)) if known else len(lines)
            setting = _SETTING_LINE.fullmatch(lines[number - 1])
            one = PROPERTIES.get(setting[1]) if setting else None
            if known is None or setting is None or one is None or known[1] not in _OF_ONE_LINE:
                raise SettingsError(*mistakes, f"{path}: {_syntax_error(error)}") from None
            what = f"isn't TOML: {known[1]}; {_remedy(one, setting[2])}"
            if known[1] == _TWICE:
                what = "is named before already; once is allowed"
            mistakes.append(f"{path}: line {number}: {one.key}: {what}")
            lines[number - 1] = ""
            if len(mistakes) > len(PROPERTIES):
                raise SettingsError(*mistakes) from None


def _remedy(one: Property, written: str) -> str:
    """Return what would be right for a value that is no TOML: the same as TOML writes it, else what is allowed."""
    try:
        return f"did you mean {_line(one, one.parse(written.strip()))}"
    except ValueError:
        return f"allowed: {_allowed(one)}"


def _line(one: Property, value: Any) -> str:
    """Return a setting as the file's line."""
    return f"{one.key} = {tomlkit.item(_toml(one, value)).as_string()}"


def _allowed(one: Property) -> str:
    """Return what a value may be, in the file's own words."""
    return _FORMS["flag"] if one.kind == "flag" else one.values


def _syntax_error(error: Exception) -> str:
    """Return what TOML's reader found, with the line in front as everywhere here."""
    known = _SYNTAX.fullmatch(str(error))
    if known is None:
        return "isn't TOML that can be read"
    what = " ".join(known[1].split())
    return f"line {known[2]}: isn't TOML: {what}" if known[2] else f"isn't TOML, as its end shows: {what}"


def _place(path: Path, text: str, key: str) -> str:
    """Return file and line of a key, or the file alone where that isn't plain."""
    named = re.compile(rf"""[ \t]*(["']?){re.escape(key)}\1[ \t]*[=.]""")
    numbers = [number for number, line in enumerate(text.split("\n"), start=1) if named.match(line)]
    return f"{path}: line {numbers[0]}: " if len(numbers) == 1 else f"{path}: "


def _text(one: Property, value: object) -> str:
    """Return a TOML value as the text that `parse` takes; ValueError for one of a wrong type.

    A string may always stand for the value, as in RouterOS's grammar.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        if one.kind == "flag":
            return "yes" if value else "no"
    elif isinstance(value, int):
        if one.kind in ("number", "numbers", "time"):
            return str(value)
    elif isinstance(value, list):
        member = {"numbers": int, "texts": str}.get(one.kind)
        if member is not None and all(type(part) is member for part in value):
            return ",".join(map(str, value))
    raise ValueError(f"must be {_FORMS[one.kind]}")


def _toml(one: Property, value: Any) -> bool | int | str | list[int] | list[str]:
    """Return a setting's value as it stands in the file."""
    if one.kind in ("flag", "number"):
        plain: bool | int = value
        return plain
    if one.kind == "numbers":
        return list(value)
    if one.kind == "texts":
        return [str(part) for part in value]
    return one.format(value)


def _with_values(path: Path, content: bytes, values: Mapping[str, str]) -> bytes:
    """Return the file's content with these values in it."""
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
        for key, new in values.items():
            text = _with_value(text, PROPERTIES[key], PROPERTIES[key].parse(new))
        return text.encode()
    except (TOMLKitError, UnicodeDecodeError, RecursionError):
        # The strict reader says what is wrong with it.
        _settings(path, content)
        raise SettingsError(f"{path}: can't be changed by a command; edit it by hand") from None


def _with_value(text: str, one: Property, value: Any) -> str:
    """Return the file's text with this value in it, in the place of the default that stands there as a comment."""
    document = tomlkit.parse(text)
    line = re.compile(rf"^#{re.escape(one.key)} = .*$", re.MULTILINE)
    if one.key not in document and len(line.findall(text)) == 1:
        filled = line.sub(lambda _: _line(one, value), text)
        if one.key in tomlkit.parse(filled):
            return filled
    wanted = _toml(one, value)
    present = document.get(one.key)
    if isinstance(present, Array) and isinstance(wanted, list):
        _make(present, wanted)
        changed = tomlkit.dumps(document)
        # A comment behind the last value takes in what comes after it, if no comma was there.
        if _reads_as(changed, one.key, wanted):
            return changed
    document[one.key] = wanted
    return tomlkit.dumps(document)


def _reads_as(text: str, key: str, wanted: object) -> bool:
    try:
        return bool(tomllib.loads(text)[key] == wanted)
    except ValueError:
        return False


def _make(present: Array, wanted: Sequence[int | str]) -> None:
    """Take away and put in what differs, so that the comments beside the others stay; another order isn't made."""
    for index in reversed(range(len(present))):
        if present[index] not in wanted:
            del present[index]
    for index, value in enumerate(wanted):
        if value not in present:
            present.insert(index, value)
