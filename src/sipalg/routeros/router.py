"""What commands work on: the running ALG over its control socket, or the settings file where none runs.

Each command finds out anew which of the two it is, and says so in one line where it is the file. Errors are one line
for people, and nothing is changed then. A packet never comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sipalg.control.asking.columns import duration
from sipalg.control.settings import file as settings_file
from sipalg.control.settings.file import SettingsError, SettingsMissingError
from sipalg.control.settings.model import Settings, incomplete
from sipalg.control.settings.properties import texts
from sipalg.control.socket.client import PATIENCE_S, ControlError, NotRunningError, ask

#: Where Linux lists the interfaces of this network namespace.
_INTERFACES: Final = Path("/sys/class/net")
#: What may take the running ALG longer than a look at its tables: a disk, a connection tracker with many flows.
_PATIENCE_S: Final = {"set": 10.0, "disable": 10.0, "connections": 60.0}
_CHANGES: Final = frozenset({"set", "disable"})
#: What an answer's keys are called in RouterOS.
_WORDS: Final = {
    "src": "src-address",
    "dst": "dst-address",
    "reply_src": "reply-src-address",
    "reply_dst": "reply-dst-address",
    "purpose": "connection-type",
}


class RefusedError(Exception):
    """A command can't be done: one line for people; nothing was changed."""


class UnansweredError(RefusedError):
    """A change was asked for, and no answer came: it may have been made, or not: one line for people."""


class Change(NamedTuple):
    """What came of a change: the keys that are other than before, and the file that has them now, if one has.

    `ended` counts what was ended with it.
    """

    changed: tuple[str, ...]
    saved: str | None
    ended: Mapping[str, int] = MappingProxyType({})


class Router:
    """The ALG behind `socket`, else `file`; `tell` gets a line where that isn't plain."""

    def __init__(self, socket: Path, file: Path, tell: Callable[[str], None], interfaces: Path = _INTERFACES) -> None:
        self._socket = socket
        self._file = file
        self._tell = tell
        self._interfaces = interfaces

    def settings(self) -> dict[str, str]:
        """Return the settings as texts. Raises RefusedError."""
        try:
            found: dict[str, str] = self._ask("settings")["settings"]
        except NotRunningError:
            return texts(self._load())
        return found

    def service_port(self) -> dict[str, str]:
        """Return the settings and `invalid`: yes where what they name isn't there, so that nothing can be translated.

        Of a running ALG that is an interface that isn't there, or an outside one without address. Raises RefusedError.
        """
        try:
            found: dict[str, str] = self._ask("settings")["settings"]
            status = self._ask("metrics")["status"]
            invalid = not status["nat_address"] or bool(status["missing_interfaces"])
        except NotRunningError:
            settings = self._load()
            found = texts(settings)
            names = (*settings.inside, settings.outside)
            invalid = incomplete(settings) is not None or any(not (self._interfaces / name).exists() for name in names)
        return {**found, "invalid": "yes" if invalid else "no"}

    def set(self, values: Mapping[str, str]) -> Change:
        """Change settings: all of these or none. Raises RefusedError."""
        return self._change(values, "set", {"values": dict(values)})

    def disable(self, *, now: bool) -> Change:
        """Translate no more; with `now` end what stands too. Raises RefusedError."""
        return self._change({"disabled": "yes"}, "disable", {"now": now})

    def rows(self, command: str) -> list[dict[str, str]]:
        """Return what the running ALG tells of, in RouterOS's words. Raises RefusedError."""
        try:
            # One that is stuck is told of soon; only one that works is waited for.
            self._ask("settings")
            answer = self._ask(command)
        except NotRunningError as error:
            raise RefusedError(str(error)) from None
        if answer.get("mode") == "observe":
            self._tell("observe: what would have been done; nothing is changed")
        return [_in_words(row) for row in answer[command]]

    def tell(self, line: str) -> None:
        """Say something that isn't part of an answer."""
        self._tell(line)

    def captures(self) -> Path:
        """Return the directory of captures: the running ALG's, else the file's, else the default. RefusedError."""
        try:
            found: dict[str, str] = self._ask("settings")["settings"]
            return Path(found["captures"])
        except NotRunningError:
            pass
        try:
            return settings_file.load(self._file).captures
        except SettingsMissingError:
            return Settings().captures
        except SettingsError as error:
            raise RefusedError(str(error)) from None

    def _change(self, values: Mapping[str, str], command: str, arguments: Mapping[str, Any]) -> Change:
        try:
            answer = self._ask(command, arguments)
        except NotRunningError:
            return self._save(values)
        if "not_saved" in answer:
            self._tell(f"in force until the next start, but not saved: {answer['not_saved']}")
        for note in answer.get("notes", ()):
            self._tell(note)
        return Change(tuple(answer["changed"]), answer["saved"], answer.get("ended", {}))

    def _ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            return ask(self._socket, command, patience_s=_PATIENCE_S.get(command, PATIENCE_S), arguments=arguments)
        except NotRunningError:
            raise
        except ControlError as error:
            if error.asked and command in _CHANGES:
                unsure = "the change may have been made, or not; look with print when it answers"
                raise UnansweredError(f"{error}; {unsure}") from None
            raise RefusedError(str(error)) from None

    def _load(self) -> Settings:
        try:
            settings = settings_file.load(self._file)
        except SettingsMissingError:
            self._tell(f"no sipalg is running behind {self._socket}, and there is no {self._file}: these are defaults")
            return Settings()
        except SettingsError as error:
            raise RefusedError(str(error)) from None
        self._tell(f"no sipalg is running behind {self._socket}: these are the settings of {self._file}")
        return settings

    def _save(self, values: Mapping[str, str]) -> Change:
        try:
            before = texts(_settings_of(self._file))
            saved = settings_file.save(self._file, values)
            after = _settings_of(self._file)
        except SettingsError as error:
            raise RefusedError(str(error)) from None
        self._tell(f"no sipalg is running behind {self._socket}: changed in {saved}")
        lacking = incomplete(after)
        if lacking:
            self._tell(f"{saved}: {lacking[0]}: {lacking[1]}; without it sipalg can't start")
        return Change(tuple(key for key, text in texts(after).items() if text != before[key]), str(saved))


def _settings_of(file: Path) -> Settings:
    try:
        return settings_file.load(file)
    except SettingsMissingError:
        return Settings()


def _in_words(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of an answer as `print` has it."""
    found: dict[str, str] = {}
    for key, value in row.items():
        if key == "flags":
            found.update(dict.fromkeys(value, "yes"))
        elif key.endswith("_s"):
            found[key.removesuffix("_s")] = duration(value)
        else:
            found[_WORDS.get(key, key.replace("_", "-"))] = str(value)
    return found
