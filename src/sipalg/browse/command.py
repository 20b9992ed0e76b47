"""`sipalg calls`: the running ALG's calls, or, with files, those in captures: a table, one call's ladder, a message.

Without files it is one of the tables; with `--device` it listens to interfaces. With files it needs neither root nor
an ALG: a row a dialog or registration; `--call` chooses one and draws its ladder, `--message` and `--diff` show what
was sent, `--export`, `--svg` and `--html` write what was chosen; `--interactive` leaves choosing to the browser. Off a
packet's way: this is where people look.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sipalg.analysis.files import Captures
from sipalg.analysis.ladder import before_after, draw, printable, text_of_message, title_of
from sipalg.analysis.messages import SipMessage
from sipalg.analysis.picture import page, svg
from sipalg.analysis.selection import (
    UnknownCallError,
    as_facts,
    as_row,
    choose,
    conversations,
    export,
    read_messages,
    title_of_call,
)
from sipalg.browse.sources import CapturedCalls, Source
from sipalg.capture.pcap import CaptureError
from sipalg.control.asking import tables
from sipalg.control.asking.columns import in_columns
from sipalg.control.settings.durable import replace_file

_NARROWEST: Final = 20
#: More calls than these nobody reads on one page, and they would all be held at once.
MOST_CALLS_OF_A_PAGE: Final = 500
#: What to do where a capture has no SIP.
_RIGHT_CAPTURE: Final = "check the interface and the filter that it was captured with, and capture whole packets"
#: Options that make sense for a chosen call only.
_OF_ONE_CALL: Final = ("message", "diff", "svg")
#: SGR (ECMA-48): red and green, as diffs have them.
_COLOURS: Final = {"-": "\x1b[31m", "+": "\x1b[32m"}
_PLAIN: Final = "\x1b[0m"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="captures to read (default: ask the running ALG)"
    )
    parser.add_argument(
        "-d",
        "--device",
        action="append",
        metavar="INTERFACE",
        help="listen to this interface (repeatable; any for all) and look through what comes; needs root",
    )
    parser.add_argument(
        "-i", "--interactive", action="store_true", help="look through them on the terminal, with sngrep's keys"
    )
    parser.add_argument("--call", metavar="N|CALL-ID", help="show this call's ladder: its number, or its Call-ID")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--message", type=int, metavar="N", help="show this message of the call whole")
    shown.add_argument(
        "--diff", type=int, nargs=2, metavar=("N", "M"), help="show what is different in two messages of the call"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="OUT.pcap",
        help="write the packets of the call, or of all, and their media; pcapng if it ends so",
    )
    parser.add_argument("--svg", type=Path, metavar="OUT.svg", help="write the call's ladder as a picture")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write the call, or all, as a page by itself")
    tables.configure(parser)


def main(args: argparse.Namespace) -> int:
    """Show what was asked for; 0, 1 if a file was read in part only, 2 with one line on stderr if nothing could be."""
    needs_files = [name for name in ("call", *_OF_ONE_CALL, "export", "html") if getattr(args, name) is not None]
    if args.device:
        return _listen(args, needs_files)
    if args.interactive and (needs_files or args.json):
        return _refuse(f"--interactive shows all by itself: leave --{[*needs_files, 'json'][0]} out")
    if args.interactive and not sys.stdout.isatty():
        return _refuse("--interactive needs a terminal")
    if not args.files:
        if needs_files or args.interactive:
            return _refuse(f"--{[*needs_files, 'interactive'][0]} is for captures: give a file")
        return tables.main(args)
    if args.socket is not None:
        return _refuse("--socket is for the running ALG's calls: leave it or the files out")
    for_one = [name for name in _OF_ONE_CALL if getattr(args, name) is not None]
    if args.call is None and for_one:
        return _refuse(f"--{for_one[0]} is for one call: choose it with --call")
    same = _same_file({name: getattr(args, name) for name in ("export", "svg", "html")})
    if same:
        return _refuse(same)
    try:
        captures = Captures(args.files)
        some = True
        if args.interactive:
            _look_through(CapturedCalls(captures))
        else:
            some = _show(captures, args)
    except (CaptureError, UnknownCallError) as error:
        return _refuse(str(error))
    for damage in captures.damage.values():
        _tell(damage)
    if not some and not captures.damage:
        _tell(f"{', '.join(map(str, args.files))}: no SIP in it; {_RIGHT_CAPTURE}")
    return 2 if not some else 1 if captures.damage else 0


def _listen(args: argparse.Namespace, needs_files: list[str]) -> int:
    """Look through what interfaces have; without a terminal, print it when Ctrl-C or SIGTERM has come."""
    wrong = [*needs_files, *(["socket"] if args.socket is not None else [])]
    if args.files or wrong:
        return _refuse(f"--device listens: leave {f'--{wrong[0]}' if wrong else 'the files'} out")
    # The packet socket and its filters are for those only who listen.
    from sipalg.browse.device import Device, listen

    try:
        with closing(Device(args.device)) as device:
            if sys.stdout.isatty() and not args.json:
                _look_through(device.calls, device.fileno(), device.take)
                return 0
            listen(device, lambda: _tell(f"listening to {', '.join(args.device)}; Ctrl-C ends it"))
    except CaptureError as error:
        return _refuse(str(error))
    rows = device.calls.rows()
    if args.json:
        sys.stdout.write(json.dumps({"calls": rows, "dropped": device.calls.dropped}, indent=2) + "\n")
    else:
        _write(in_columns(rows, _width()) if rows else ["No SIP came."])
    return 0


def _look_through(source: Source, descriptor: int | None = None, take: Callable[[], None] = lambda: None) -> None:
    """Show a source on the terminal; live ones take what comes on the descriptor."""
    # A terminal's program takes as long to load as all the rest.
    from sipalg.browse.browser import Browser
    from sipalg.browse.screen import Screen

    Screen(Browser(source), live=descriptor is not None).run(descriptor, take)


def _same_file(written: Mapping[str, Path | None]) -> str:
    """Say which two files to write are one, "" where none are."""
    names: dict[Path, str] = {}
    for name, path in written.items():
        other = names.setdefault(path.resolve(), name) if path is not None else name
        if other != name:
            return f"--{other} and --{name} are the same file, {path}: give each its own"
    return ""


def _show(captures: Captures, args: argparse.Namespace) -> bool:
    """Show or write what was asked for; return whether there was any SIP."""
    found = conversations(captures)
    rows = [as_row(number, one) for number, one in enumerate(found, 1)]
    if args.call is not None:
        call_id = choose(found, args.call).call_id
        rows = [row for row in rows if row["call_id"] == call_id]
    written = [path for path in (args.export, args.svg, args.html) if path is not None]
    if args.call is None and not written:
        _show_table(rows, captures, as_json=args.json)
        return bool(rows)
    call_ids = frozenset(row["call_id"] for row in rows)
    if args.html is not None and len(rows) > MOST_CALLS_OF_A_PAGE:
        raise UnknownCallError(f"--html: {len(rows)} calls are too many for a page; choose one with --call")
    messages = read_messages(captures, call_ids) if args.call is not None or args.html is not None else {}
    _write_files(captures, rows, messages, args)
    if args.call is not None and (args.json or args.message is not None or args.diff is not None or not written):
        _show_call(rows[0], messages[rows[0]["call_id"]], captures, args)
    elif args.json:
        _show_table(rows, captures, as_json=True)
    return bool(rows)


def _write_files(
    captures: Captures, rows: list[dict[str, Any]], messages: dict[str, list[SipMessage]], args: argparse.Namespace
) -> None:
    """Write what is to be written, and say so where nothing else is shown."""
    said = []
    if args.export is not None:
        count = export(captures, frozenset(row["call_id"] for row in rows), args.export)
        said.append(f"{args.export}: {_count('packet', count)} of {_count('call', len(rows))}")
    if args.svg is not None:
        shown = messages[rows[0]["call_id"]]
        _write_file(captures, args.svg, svg(shown))
        said.append(f"{args.svg}: the ladder of {_count('message', len(shown))}")
    if args.html is not None:
        _write_file(captures, args.html, "".join(page(rows, messages)))
        said.append(f"{args.html}: {_count('call', len(rows))}")
    if not args.json and args.message is None and args.diff is None:
        _write(said)


def _write_file(captures: Captures, path: Path, text: str) -> None:
    if path.resolve() in {source.resolve() for source in captures.paths}:
        raise CaptureError(f"{path}: is read from; give the name of another file to write")
    if path.exists() and not path.is_file():
        raise CaptureError(f"{path}: is no regular file; give the name of a file to write")
    try:
        replace_file(path, lambda _: text.encode())
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}; give a file in a folder that can be written to") from None


def _show_call(row: dict[str, Any], messages: list[SipMessage], captures: Captures, args: argparse.Namespace) -> None:
    numbers = [args.message] if args.message is not None else args.diff or []
    picked = [_pick(messages, number) for number in numbers]
    if args.json:
        facts = [as_facts(number, messages[number - 1]) for number in numbers or range(1, len(messages) + 1)]
        _write_json({"call": row, "messages": facts}, captures)
    elif args.message is not None:
        _write([title_of(picked[0]), "", *text_of_message(picked[0]).splitlines()])
    elif picked:
        _write_diff(*picked)
    else:
        _write([title_of_call(row), *draw(messages, _width())])


def _show_table(rows: list[dict[str, Any]], captures: Captures, *, as_json: bool) -> None:
    if as_json:
        _write_json({"calls": rows}, captures)
    elif rows:
        _write(in_columns(rows, _width()))


def _pick(messages: list[SipMessage], number: int) -> SipMessage:
    if not 1 <= number <= len(messages):
        raise UnknownCallError(f"message {number}: there is no such message; the call has 1 to {len(messages)}")
    return messages[number - 1]


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


def _tell(line: str) -> None:
    sys.stderr.write(f"sipalg calls: {printable(line)}\n")
    sys.stderr.flush()


def _refuse(why: str) -> int:
    _tell(why)
    return 2
