"""`sipalg calls`: the running ALG's calls, or, with files, those in captures: a table, one call's ladder, a message.

Without files it is one of the tables. With files it needs neither root nor an ALG: a row a dialog or registration;
`--call` chooses one and draws its ladder, `--message` and `--diff` show what was sent, `--export` writes the chosen
packets. Off a packet's way: this is where people look.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from sipalg.analysis.files import Captures
from sipalg.analysis.ladder import before_after, draw, printable, text_of_message, title_of
from sipalg.analysis.messages import SipMessage
from sipalg.analysis.selection import (
    UnknownCallError,
    as_facts,
    as_row,
    choose,
    conversations,
    export,
    read_chosen,
)
from sipalg.capture.pcap import CaptureError
from sipalg.control import tables
from sipalg.control.columns import in_columns

_NARROWEST: Final = 20
#: SGR (ECMA-48): red and green, as diffs have them.
_COLOURS: Final = {"-": "\x1b[31m", "+": "\x1b[32m"}
_PLAIN: Final = "\x1b[0m"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="captures to read (default: ask the running ALG)"
    )
    parser.add_argument("--call", metavar="N|CALL-ID", help="show this call's ladder: its number, or its Call-ID")
    parser.add_argument("--message", type=int, metavar="N", help="show this message of the call whole")
    parser.add_argument(
        "--diff", type=int, nargs=2, metavar=("N", "M"), help="show what is different in two messages of the call"
    )
    parser.add_argument(
        "--export", type=Path, metavar="OUT.pcap", help="write the packets of the call, or of all, and their media"
    )
    tables.configure(parser)


def main(args: argparse.Namespace) -> int:
    """Show what was asked for; 0, 1 if a file was read in part only, 2 with one line on stderr if nothing could be."""
    needs_files = [name for name in ("call", "message", "diff", "export") if getattr(args, name) is not None]
    if not args.files:
        if needs_files:
            return _refuse(f"--{needs_files[0]} is for captures: give a file")
        return tables.main(args)
    if args.socket is not None:
        return _refuse("--socket is for the running ALG's calls: leave it or the files out")
    if args.call is None and (args.message is not None or args.diff is not None):
        return _refuse(f"--{'diff' if args.message is None else 'message'} is for one call: choose it with --call")
    try:
        captures = Captures(args.files)
        _show(captures, args)
    except (CaptureError, UnknownCallError) as error:
        return _refuse(str(error))
    for damage in captures.damage.values():
        sys.stderr.write(f"sipalg calls: {printable(damage)}\n")
    return 1 if captures.damage else 0


def _show(captures: Captures, args: argparse.Namespace) -> None:
    found = conversations(captures)
    numbers = {one.call_id: number for number, one in enumerate(found, 1)}
    one = choose(found, args.call) if args.call is not None else None
    row = None if one is None else as_row(numbers[one.call_id], one)
    chosen = None
    if one is not None or args.export is not None:
        chosen = read_chosen(captures, frozenset(numbers) if one is None else frozenset({one.call_id}))
    if args.export is not None and chosen is not None:
        count = export(captures, chosen, args.export)
        if not args.json and args.message is None and args.diff is None:
            _write([f"{args.export}: {_count('packet', count)} of {_count('call', len(found) if one is None else 1)}"])
            return
    if row is None or chosen is None:
        rows = [as_row(number, conversation) for number, conversation in enumerate(found, 1)]
        _show_table(rows, captures, as_json=args.json)
        return
    messages = [located.message for located in chosen.messages]
    picked = [_pick(messages, number) for number in ([args.message] if args.message is not None else args.diff or [])]
    if args.json:
        facts = [as_facts(number, message) for number, message in enumerate(messages, 1)]
        wanted = [args.message] if args.message is not None else args.diff or range(1, len(facts) + 1)
        _write_json({"call": row, "messages": [facts[number - 1] for number in wanted]}, captures)
    elif args.message is not None:
        _write([title_of(picked[0]), "", *text_of_message(picked[0]).splitlines()])
    elif picked:
        _write_diff(*picked)
    else:
        _write([_title(row), *draw(messages, _width())])


def _show_table(rows: list[dict[str, Any]], captures: Captures, *, as_json: bool) -> None:
    if as_json:
        _write_json({"calls": rows}, captures)
    elif rows:
        _write(in_columns(rows, _width()))
    else:
        _write(["No SIP in it." if len(captures.paths) == 1 else "No SIP in them."])


def _pick(messages: list[SipMessage], number: int) -> SipMessage:
    if not 1 <= number <= len(messages):
        raise UnknownCallError(f"message {number}: there is no such message; the call has 1 to {len(messages)}")
    return messages[number - 1]


def _title(row: dict[str, Any]) -> str:
    failure = f", {row['failure']}" if row["failure"] else ""
    what = f"{row['kind']} {row['number']}, {row['from']} → {row['to']}"
    return printable(f"{what}: {row['state']}{failure}, Call-ID {row['call_id']}")


def _write_diff(before: SipMessage, after: SipMessage) -> None:
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    _write([f"- {title_of(before)}", f"+ {title_of(after)}", ""])
    for line in before_after(text_of_message(before), text_of_message(after)):
        colour = _COLOURS.get(line[:1], "") if coloured else ""
        _write([f"{colour}{line}{_PLAIN}" if colour else line])


def _write(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines))


def _write_json(answer: dict[str, Any], captures: Captures) -> None:
    whole = {**answer, "damage": list(captures.damage.values())}
    sys.stdout.write(json.dumps(whole, indent=2) + "\n")


def _count(noun: str, count: int) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _width() -> int | None:
    """The terminal's columns; None where there is none: a file or a pipe has whole rows for `grep`."""
    return max(_NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def _refuse(why: str) -> int:
    sys.stderr.write(f"sipalg calls: {printable(why)}\n")
    return 2
