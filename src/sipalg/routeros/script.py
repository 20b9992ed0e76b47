"""`sipalg script FILE`: RouterOS's commands from a file, read whole before the first of them runs.

What is wrong in a line is told as FILE:LINE:COLUMN, and then nothing at all was done. What only the router can refuse
ends the script at that command. A packet never comes here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from sipalg.routeros.execute import perform
from sipalg.routeros.grammar import Call, read
from sipalg.routeros.lexer import GrammarError, Position
from sipalg.routeros.router import RefusedError, UnansweredError
from sipalg.routeros.shell import add_places, router_of, surroundings, tell, write

#: No script is longer, and a wrong path may name anything.
_LONGEST_BYTES: Final = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="the commands, a line each; - for standard input")
    add_places(parser)


def main(args: argparse.Namespace) -> int:
    """Run the commands and return 0; 2 where nothing was done, 1 where commands before the one that failed were.

    1 also where something is in force that couldn't be written to the settings file.
    """
    name: str = args.file
    try:
        source = _content(name)
        calls = [statement for statement in read(source) if isinstance(statement, Call)]
    except GrammarError as error:
        tell(_placed(name, error.position, error.without_place))
        return 2
    except (OSError, ValueError) as error:
        tell(f"{name}: {error.strerror or error}" if isinstance(error, OSError) else f"{name}: {error}")
        return 2
    router = router_of(args)
    changed, saved = False, True
    for call in calls:
        try:
            result = perform(call, router, surroundings())
        except RefusedError as error:
            done = "; what stands before it is done" if changed else ""
            tell(_placed(name, call.position, f"{error}{done}"))
            return 1 if changed or isinstance(error, UnansweredError) else 2
        changed, saved = changed or result.changed, saved and result.saved
        write(result)
    return 0 if saved else 1


def _content(name: str) -> str:
    """Return the script's text. Raises OSError, and ValueError for what is no script."""
    if name == "-":
        content = sys.stdin.buffer.read(_LONGEST_BYTES + 1)
    else:
        with Path(name).open("rb") as file:
            content = file.read(_LONGEST_BYTES + 1)
    if len(content) > _LONGEST_BYTES:
        raise ValueError(f"is longer than {_LONGEST_BYTES} bytes, and so no script")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: isn't UTF-8 text") from None


def _placed(name: str, place: Position, what: str) -> str:
    return f"{name}:{place.line}:{place.column}: {what}"
