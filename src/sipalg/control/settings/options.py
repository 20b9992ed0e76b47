"""The arguments of `sipalg run`, and the settings that they and the settings file make together.

Each setting has an option of its name, from the one table of settings; what the command line says wins over the file,
for this process. What contradicts itself is refused here, before anything is looked up or changed. On a packet's way
this is before the beginning.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sipalg.control.settings import file as settings_file
from sipalg.control.settings.file import DEFAULT_FILE, FILE_VARIABLE, SettingsError, SettingsMissingError
from sipalg.control.settings.model import Settings, incomplete
from sipalg.control.settings.properties import PROPERTIES, Property, text_of, with_texts
from sipalg.control.settings.values import argument
from sipalg.control.socket.client import SOCKET_HELP, socket_path

#: What a value is called in the help.
_METAVARS: Final = {
    "inside": "NAME",
    "outside": "NAME",
    "public": "ADDRESS",
    "ipv6": "WORD",
    "public-ipv6": "ADDRESS",
    "ports": "PORTS",
    "sip-timeout": "TIME",
    "mode": "MODE",
    "media-ports": "LOW-HIGH",
    "reserved-ports": "PORTS",
    "except": "CIDR",
    "trusted-peers": "CIDR",
    "inside-servers": "CIDR",
    "call-timeout": "TIME",
    "tcp": "WORD",
    "captures": "PATH",
    "queue": "NUMBER",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What the administrator asked for, checked as far as that goes without looking at the system."""

    #: The settings in force.
    settings: Settings
    socket: Path
    #: The settings file, whether there is one or not.
    file: Path
    #: What the command line says, as texts: it wins over the file.
    given: Mapping[str, str]
    #: The keys that the file names.
    named: frozenset[str] = frozenset()
    #: What commands changed for this process only, as texts: it wins over both.
    unsaved: Mapping[str, str] = field(default_factory=dict)

    def source_of(self, key: str) -> str:
        """Return where a setting's value comes from: a command, the command line, the file, or the default."""
        if key in self.unsaved:
            return "unsaved command"
        return "command line" if key in self.given else "file" if key in self.named else "default"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    default = Settings()
    for one in PROPERTIES.values():
        shown = text_of(default, one.key)
        several = " (repeatable)" if one.kind == "texts" else ""
        explained = f"{one.help}{several}{f' (default: {shown})' if shown else ''}"
        name, place, check = f"--{one.key}", f"setting_{one.field}", _reader(one)
        if one.kind == "flag":
            # Alone it means yes.
            add(name, nargs="?", const="yes", dest=place, type=check, metavar="yes|no", help=explained)
        elif one.kind == "texts":
            add(name, action="append", dest=place, type=check, metavar=_METAVARS[one.key], help=explained)
        else:
            add(name, dest=place, type=check, metavar=_METAVARS[one.key], help=explained)
    add("--config", metavar="PATH", help=f"the settings file (default: ${FILE_VARIABLE} or {DEFAULT_FILE})")
    add("--socket", metavar="PATH", help=SOCKET_HELP)


def read(args: argparse.Namespace) -> Options:
    """Return the options; SettingsError, one line, for what the file or both together can't be."""
    given = {}
    for one in PROPERTIES.values():
        text = getattr(args, f"setting_{one.field}")
        if text is not None:
            given[one.key] = ",".join(text) if isinstance(text, list) else text
    return resolve(Options(Settings(), socket_path(args.socket), settings_file.settings_path(args.config), given))


def resolve(options: Options) -> Options:
    """Return the options as the file has them now, under the same command line; SettingsError as above.

    Without a file the command line has to say all that has no default.
    """
    missing = ""
    try:
        settings, named = settings_file.read(options.file)
    except SettingsMissingError:
        settings, named = Settings(), frozenset()
        missing = ", which isn't there"
    try:
        settings = with_texts(settings, {**options.given, **options.unsaved})
    except ValueError as error:
        raise SettingsError(f"{error} (command line and {options.file} together)") from None
    lacking = incomplete(settings)
    if lacking:
        raise SettingsError(f"{lacking[0]}: {lacking[1]}: as --{lacking[0]}, or in {options.file}{missing}")
    return replace(options, settings=settings, named=named)


def _reader(one: Property) -> Callable[[str], str]:
    """Return what argparse checks an option's text with; the text itself is kept, since it goes over the file's."""

    def check(text: str) -> str:
        one.parse(text)
        return text

    return argument(check)
