"""`sipalg status`, `mappings`, and `calls` without files: what the running ALG knows, as tables or as JSON.

The ALG sends facts, and how they look is decided here: durations in words, columns by the names of their facts, colour
only on a terminal. A fact that a newer ALG adds is shown without this module knowing it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sipalg.capture import reasons
from sipalg.control.asking.columns import in_columns, text_of, words
from sipalg.control.socket.client import SOCKET_HELP, ControlError, ask, socket_path

#: What `calls` and `mappings` say where there are none.
_NONE_YET: Final = {"mappings": "No mappings: no phone has registered or called yet.", "calls": "No calls."}
_OBSERVED: Final = "observe: what would have been done; nothing is changed"
#: Counters by reason: each is explained.
_BY_REASON: Final = frozenset({"passes", "refusals", "packets_that_hold_no_datagram"})
_NARROWEST: Final = 20
#: Lists of rows that `status` shows, each under its name.
_LISTS: Final = ("phones", "contacts")
#: SGR (ECMA-48): bold, yellow.
_BOLD: Final = "\x1b[1m"
_YELLOW: Final = "\x1b[33m"
_PLAIN: Final = "\x1b[0m"


class Line(NamedTuple):
    """A line without its end, and the sequence that styles it on a terminal, "" for none."""

    text: str
    style: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that the three commands share."""
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    parser.add_argument("--socket", metavar="PATH", help=SOCKET_HELP)


def main(args: argparse.Namespace) -> int:
    """Ask, print, and return 0; or one line on stderr and 2 where there is no answer."""
    try:
        answer = ask(socket_path(args.socket), args.command)
    except ControlError as error:
        sys.stderr.write(f"sipalg: {error}\n")
        return 2
    if args.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        return 0
    terminal = sys.stdout.isatty()
    # A file or a pipe has no width: whole rows are for `grep`.
    width = max(_NARROWEST, shutil.get_terminal_size().columns) if terminal else None
    coloured = terminal and "NO_COLOR" not in os.environ
    for line in shown(args.command, answer, width):
        sys.stdout.write((f"{line.style}{line.text}{_PLAIN}" if coloured and line.style else line.text) + "\n")
    return 0


def shown(command: str, answer: Mapping[str, Any], width: int | None) -> Iterator[Line]:
    """Yield an answer to `command` as lines, fit for a terminal of `width` columns; None stands for a pipe."""
    if command == "status":
        yield from _status(answer, width)
        return
    rows = answer.get(command)
    if not isinstance(rows, list) or not rows:
        yield Line(_NONE_YET[command])
        return
    if answer.get("mode") == "observe":
        yield Line(_OBSERVED, _YELLOW)
    if command == "calls":
        yield from _calls(rows, width)
    else:
        yield from _table(rows, width)


def _status(answer: Mapping[str, Any], width: int | None) -> Iterator[Line]:
    """Yield blocks with an empty line between them."""
    facts = _mapping(answer.get("status"))
    widest = max((len(words(key)) for key in facts), default=0)
    blocks = [[Line(f"{words(key):{widest}}  {text_of(key, value)}") for key, value in facts.items()]]
    if facts.get("mode") == "observe":
        blocks.append([Line(_OBSERVED, _YELLOW)])
    for title, counts in _mapping(answer.get("counters")).items():
        if isinstance(counts, dict) and counts:
            blocks.append([Line(words(title), _BOLD), *_counts(title, counts)])
    for name in _LISTS:
        rows = answer.get(name)
        if isinstance(rows, list) and rows:
            blocks.append([Line(name, _BOLD), *_table(rows, width)])
    blocks.append([Line(f"warning: {text_of('', warning)}", _YELLOW) for warning in answer.get("warnings") or ()])
    blocks.append([Line(f"note: {text_of('', note)}") for note in answer.get("notes") or ()])
    first = True
    for block in filter(None, blocks):
        if not first:
            yield Line("")
        first = False
        yield from block


def _counts(title: str, counts: Mapping[str, Any]) -> Iterator[Line]:
    """Yield a line a counter, largest first; behind a reason, what it means."""
    named = {text_of("", words(name)): name for name in sorted(counts, key=lambda name: (-counts[name], name))}
    widest = max(map(len, named))
    digits = max(len(str(count)) for count in counts.values())
    for text, name in named.items():
        meaning = reasons.sentence(name) if title in _BY_REASON else ""
        yield Line(f"  {text:{widest}}  {counts[name]:{digits}}  {meaning}".rstrip())


def _calls(rows: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[Line]:
    """Yield the calls, each with its media below it: a line a stream, from the phone to the far end."""
    table = _table([{key: value for key, value in row.items() if key != "media"} for row in rows], width)
    yield next(table)
    for row, line in zip(rows, table, strict=True):
        yield line
        for flow in row.get("media") or ():
            private, public, remote = (text_of(key, flow.get(key)) for key in ("private", "public", "remote"))
            yield Line(f"  {private} ↔ {public} ↔ {remote}")


def _table(rows: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[Line]:
    """Yield rows in columns below their heads."""
    lines = in_columns(rows, width)
    yield Line(next(lines), _BOLD)
    yield from map(Line, lines)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
