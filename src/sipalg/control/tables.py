"""`sipalg status`, `sipalg mappings`, `sipalg calls`: what the running ALG knows, as tables for people or as JSON.

The ALG sends facts, and how they look is decided here: durations in words, columns by the names of their facts, colour
only on a terminal. A fact that a newer ALG adds is shown without this module knowing it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sipalg.control.client import ControlError, ask, socket_path

#: What `calls` and `mappings` say where there are none.
_NONE_YET: Final = {"mappings": "No mappings: no phone has registered or called yet.", "calls": "No calls."}
_TITLES: Final = {
    "mappings": "Mappings",
    "calls": "Calls",
    "phones": "Phones",
    "contacts": "Contacts",
}
_NARROW_COLUMNS: Final = 160


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that the three commands share."""
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    parser.add_argument("--socket", metavar="PATH", help="the ALG's control socket (default: $SIPALG_SOCKET or /run)")


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
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        # A file or a pipe has no width; nothing is to be cut off there.
        console = Console(highlight=False, width=max(console.width, _NARROW_COLUMNS))
    show(console, args.command, answer)
    return 0


def show(console: Console, command: str, answer: Mapping[str, Any]) -> None:
    """Print an answer to `command` as tables."""
    if command == "status":
        _show_status(console, answer)
        return
    rows = answer.get(command)
    if isinstance(rows, list) and rows:
        console.print(rows_table(_TITLES[command], rows))
    else:
        console.print(_NONE_YET[command])


def _show_status(console: Console, answer: Mapping[str, Any]) -> None:
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column()
    for key, value in _mapping(answer.get("status")).items():
        facts.add_row(_words(key), _text(key, value))
    console.print(facts)
    for title, counts in _mapping(answer.get("counters")).items():
        if isinstance(counts, dict) and counts:
            console.print(counts_table(title, counts))
    for name in ("phones", "contacts"):
        rows = answer.get(name)
        if isinstance(rows, list) and rows:
            console.print(rows_table(_TITLES[name], rows))
    for warning in answer.get("warnings") or ():
        console.print(Text(f"warning: {warning}", style="yellow"))


def counts_table(title: str, counts: Mapping[str, Any]) -> Table:
    """Make a table of counters, largest first."""
    table = Table(title=_words(title), title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(Text(name), Text(str(count)))
    return table


def rows_table(title: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    """Make a table of rows that share most of their keys; a column for each key, in the order they come up in."""
    rows = list(rows)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for key in keys:
        numeric = all(isinstance(row.get(key), (int, float)) for row in rows if key in row)
        table.add_column(_words(key.removesuffix("_s")), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(key, row.get(key)) for key in keys))
    return table


def duration(seconds: float) -> str:
    """Return a duration in RouterOS's way: `1d2h3m4s`, without what is zero."""
    left = max(0, round(seconds))
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(key: str) -> str:
    return key.removesuffix("_s").replace("_", " ")


def _text(key: str, value: object) -> Text:
    """Return a value as people read it; what strangers sent can't move the cursor or colour the line."""
    if value is None or value in ("", []):
        text = "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, (int, float)):
        text = duration(value) if key.endswith("_s") else f"{value:g}" if isinstance(value, float) else str(value)
    elif isinstance(value, list):
        text = ", ".join("-".join(map(str, item.values())) if isinstance(item, dict) else str(item) for item in value)
    else:
        text = str(value)
    return Text("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text))
