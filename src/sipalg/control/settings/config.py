"""`sipalg config`: the settings file checked, shown together with the defaults, or a new one printed to begin with.

It reads the file and nothing else: neither the running process nor the kernel is asked. Off a packet's way.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sipalg.control.asking.columns import in_columns
from sipalg.control.settings import file as settings_file
from sipalg.control.settings.file import (
    DEFAULT_FILE,
    FILE_VARIABLE,
    SettingsError,
    SettingsMissingError,
    default_file,
    settings_path,
)
from sipalg.control.settings.model import Settings, lacking
from sipalg.control.settings.properties import texts

DONE: Final = 0
WANTING: Final = 1
REFUSED: Final = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = ("check", "show", "default")
    parser.add_argument(
        "action", choices=actions, help="check the file, show the settings that it gives, or print a new one"
    )
    parser.add_argument(
        "--config", metavar="PATH", help=f"the settings file (default: ${FILE_VARIABLE} or {DEFAULT_FILE})"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Do it; 0 if all is well, 1 if the file isn't enough to start with, 2 with a line for each mistake in it."""
    path = settings_path(args.config)
    if args.action == "default":
        _print({"file": None, "text": default_file()} if args.json else default_file())
        return DONE
    return _check(path, as_json=args.json) if args.action == "check" else _show(path, as_json=args.json)


def _check(path: Path, *, as_json: bool) -> int:
    errors: tuple[str, ...] = ()
    notes: list[str] = []
    try:
        notes = list(_notes(path, settings_file.load(path)))
    except SettingsError as error:
        errors = error.lines
    code = REFUSED if errors else WANTING if notes else DONE
    if as_json:
        _print({"file": str(path), "ok": code == DONE, "errors": list(errors), "notes": notes})
    else:
        for line in (*errors, *notes):
            sys.stderr.write(f"sipalg: {line}\n")
        if code == DONE:
            _print(f"{path}: all is well\n")
    return code


def _show(path: Path, *, as_json: bool) -> int:
    note = ""
    try:
        settings, named = settings_file.read(path)
    except SettingsMissingError as error:
        settings, named, note = Settings(), frozenset[str](), str(error)
    except SettingsError as error:
        for line in error.lines:
            sys.stderr.write(f"sipalg: {line}\n")
        return REFUSED
    shown = texts(settings)
    sources = {key: "file" if key in named else "default" for key in shown}
    if as_json:
        _print({"file": str(path), "settings": shown, "from": sources})
    else:
        rows = [{"setting": key, "value": text, "from": sources[key]} for key, text in shown.items()]
        _print("".join(f"{line}\n" for line in in_columns(rows, None)))
        if note:
            sys.stderr.write(f"sipalg: {note}; these are the defaults\n")
    return DONE


def _notes(path: Path, settings: Settings) -> Iterator[str]:
    """Yield what a file lacks though nothing in it is wrong."""
    for key, what in lacking(settings).items():
        yield f"{path}: {key}: {what}, here or as --{key}"


def _print(what: str | dict[str, Any]) -> None:
    sys.stdout.write(what if isinstance(what, str) else json.dumps(what, indent=2) + "\n")
