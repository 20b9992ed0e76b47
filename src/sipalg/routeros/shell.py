"""`sipalg '/ip firewall service-port print'`: one RouterOS command from a shell, as one argument or as several.

A packet never comes here.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from typing import Final

from sipalg.control.settings.file import DEFAULT_FILE, FILE_VARIABLE, settings_path
from sipalg.control.socket.client import SOCKET_HELP, socket_path
from sipalg.routeros.complete import asked_about, help_lines
from sipalg.routeros.execute import Result, Surroundings, perform
from sipalg.routeros.grammar import Move, read
from sipalg.routeros.lexer import GrammarError
from sipalg.routeros.router import RefusedError, Router, UnansweredError

_NARROWEST: Final = 40
_JSON_AT_END: Final = re.compile(r"\s+--json\s*$")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("words", nargs="+", metavar="WORD", help="the command, such as '/ip firewall service-port print'")
    add("--now", action="store_true", help="with disable: end standing calls and mappings too")
    add("--json", action="store_true", help="print the answer as JSON")
    add_places(parser)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Declare where the ALG and its settings are."""
    add = parser.add_argument
    add("--socket", metavar="PATH", help=SOCKET_HELP)
    add("--config", metavar="FILE", help=f"the settings if none runs (default: ${FILE_VARIABLE} or {DEFAULT_FILE})")


def main(args: argparse.Namespace) -> int:
    """Run the command and return 0; or one line on stderr and 2, and nothing is changed.

    1 where something is in force that couldn't be written to the settings file, or where a change wasn't answered, so
    that it may have been made.
    """
    line = " ".join([*args.words, *(["now"] if args.now else [])])
    # It may have slipped into the quotes.
    as_json = args.json or _JSON_AT_END.search(line) is not None
    line = _JSON_AT_END.sub("", line)
    before = asked_about(line)
    if before is not None:
        sys.stdout.writelines(f"{text}\n" for text in help_lines(before, (), terminal_width()))
        return 0
    router = router_of(args)
    saved = True
    try:
        for statement in read(line):
            if isinstance(statement, Move):
                sys.stdout.writelines(f"{text}\n" for text in help_lines("", statement.path, terminal_width()))
                continue
            result = perform(statement, router, surroundings())
            saved = saved and result.saved
            if not as_json:
                write(result)
            elif result.json is not None:
                sys.stdout.write(json.dumps(result.json, indent=2) + "\n")
    except (GrammarError, RefusedError) as error:
        sys.stderr.write(f"sipalg: {error}\n")
        return 1 if isinstance(error, UnansweredError) else 2
    return 0 if saved else 1


def write(result: Result) -> None:
    """Write a result's lines; those that come one by one are seen one by one."""
    for text in result.lines:
        sys.stdout.write(f"{text}\n")
        if result.live:
            sys.stdout.flush()


def router_of(args: argparse.Namespace) -> Router:
    """Return what `--socket` and `--config` name; what it has to tell goes to stderr."""
    return Router(socket_path(args.socket), settings_path(args.config), tell)


def tell(line: str) -> None:
    """Say something that isn't part of the answer."""
    sys.stderr.write(f"sipalg: {line}\n")
    sys.stderr.flush()


def surroundings() -> Surroundings:
    """Return the date, and the terminal's width where there is one."""
    return Surroundings(time.strftime("%Y-%m-%d %H:%M:%S"), terminal_width())


def terminal_width() -> int | None:
    """Return how many columns the terminal has; None for a file or a pipe."""
    return max(_NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
