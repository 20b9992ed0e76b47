"""`sipalg sniffer …` and `sipalg file …`: `/tool sniffer` and `/file` from a shell, and a file's content.

A packet never comes here, but in files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import BinaryIO, Final

from sipalg.routeros import shell
from sipalg.routeros.menus import matching
from sipalg.routeros.router import RefusedError
from sipalg.sniffer.directory import Captures, CapturesError

_MENUS: Final = {"sniffer": "/tool/sniffer", "file": "/file"}
_OF_FILES: Final = ("print", "remove", "get")
_EXAMPLES: Final = {
    "sniffer": "set, print, get, export, start, stop, save, quick, reset; packet print and the like; with arguments",
    "file": "print; remove NAME; get NAME, which writes the file to standard output",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command = parser.prog.rpartition(" ")[2]
    parser.add_argument("words", nargs="+", metavar="WORD", help=_EXAMPLES[command])
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    if command == "file":
        parser.add_argument("--output", metavar="FILE", help="with get: the file to write, instead of standard output")
    shell.add_places(parser)


def main(args: argparse.Namespace) -> int:
    """Do what the words say and return 0; or one line on stderr and 2."""
    if args.command == "file":
        found = matching(args.words[0], list(_OF_FILES))
        if found == ["get"]:
            return _get(args)
        if not found and "/" not in args.words[0]:
            args.parser.error(f"there is no command {args.words[0]!r}; there are {', '.join(_OF_FILES)}")
    if getattr(args, "output", None):
        args.parser.error("--output is only for get")
    args.words = [_MENUS[args.command], *args.words]
    args.now = False
    return shell.main(args)


def _copy(file: BinaryIO, path: Path) -> int:
    """Write a capture to a file, but never over itself, which would be the end of it; return its size in bytes."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise CapturesError(f"{path}: is the capture itself; give another file to write")
    with path.open("wb") as target:
        shutil.copyfileobj(file, target)
        return target.tell()


def _get(args: argparse.Namespace) -> int:
    """Write a capture out."""
    names = args.words[1:]
    try:
        if len(names) != 1:
            raise CapturesError("get takes one file's name, such as before-ALG.pcap")
        if args.json and not args.output:
            raise CapturesError(f"a capture isn't JSON; with --json, use --output {names[0]}")
        with Captures(shell.router_of(args).captures()).open(names[0]) as file:
            if args.output:
                size_bytes = _copy(file, Path(args.output))
                if args.json:
                    answer = {"name": names[0], "output": args.output, "size": size_bytes}
                    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
            elif sys.stdout.isatty():
                raise CapturesError(f"a capture is nothing for a terminal; use --output {names[0]}, or a pipe")
            else:
                shutil.copyfileobj(file, sys.stdout.buffer)
    except (CapturesError, RefusedError) as error:
        shell.tell(str(error))
        return 2
    except BrokenPipeError:
        raise
    except OSError as error:
        if not args.output:
            raise
        shell.tell(f"{args.output}: {error.strerror}")
        return 2
    return 0
