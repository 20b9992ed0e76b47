"""The command line: which commands there are, and how each one's module is found, told its arguments and run.

A command's module is imported only when that command is called, so that `sipalg explain` doesn't wait for the daemon's
imports nor the other way round. Each module has `configure(parser)`, which declares its arguments, and
`main(args) -> int`, which returns the exit code: 0 done, 1 done in part or found wanting, 2 nothing done because of
what stood in the way. On a packet's way this is before the beginning.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final, NoReturn

from sipalg import __version__, builds, wrong_build

#: name → (module, one line of help), in the order in which the help lists them.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("sipalg.control.service.daemon", "translate live traffic on this router, in the foreground"),
    "config": ("sipalg.control.settings.config", "check or show the settings file, or print a new one"),
    "status": ("sipalg.control.asking.tables", "show what the running ALG does and counts"),
    "mappings": ("sipalg.control.asking.tables", "list the running ALG's mappings, private to public"),
    "calls": ("sipalg.browse.command", "list calls: the running ALG's with their media, or those in captures"),
    "trace": ("sipalg.control.asking.trace", "show or write each SIP message before and after the running ALG"),
    "metrics": ("sipalg.control.asking.metrics", "print the running ALG's counters for Prometheus, or serve them"),
    "/": ("sipalg.routeros.shell", "run a RouterOS command: sipalg '/ip firewall service-port print'"),
    "console": ("sipalg.routeros.console", "type RouterOS commands, with history, Tab and ?"),
    "script": ("sipalg.routeros.script", "run RouterOS commands from a file"),
    "sniffer": ("sipalg.routeros.captures", "capture what passes: set, start, stop and the rest of /tool sniffer"),
    "file": ("sipalg.routeros.captures", "list captures, remove one, or write one out"),
    "doctor": ("sipalg.doctor.command", "say what stands in the way of SIP on this router"),
    "install-service": ("sipalg.control.setup.install", "install the systemd service, man page and completions"),
    "explain": ("sipalg.analysis.explain", "show what the ALG would do to one message in a file"),
    "rewrite": ("sipalg.capture.rewrite", "pass a capture through the router and the ALG, offline"),
    "diagnose": ("sipalg.analysis.diagnose.command", "say what a capture proves: is an ALG needed, what breaks calls"),
    "follow": ("sipalg.analysis.follow", "one UDP stream of a capture as a conversation, with its counts"),
    "compare": ("sipalg.analysis.compare", "judge the device between two captures: no ALG, a good one or a poor one"),
    "lab": ("sipalg.lab.command", "phones, router and servers in network namespaces, to try it"),
}

#: Options of RouterOS commands that take a value, and may stand in front of the command.
_PLACES: Final = ("--socket", "--config")

#: What people try who know other programs, where no command is called nearly so.
_GUESSES: Final = {
    "analyse": "diagnose",
    "analyze": "diagnose",
    "browse": "calls",
    "capture": "sniffer",
    "check": "diagnose",
    "diff": "compare",
    "dump": "sniffer",
    "flow": "calls",
    "help": "--help",
    "ladder": "calls",
    "list": "calls",
    "show": "calls",
    "sngrep": "calls",
    "start": "run",
    "stream": "follow",
    "test": "lab",
    "version": "--version",
}
#: How a capture's name ends, compressed or not.
_CAPTURE_NAME: Final = re.compile(r"\.(?:pcap|pcapng|cap)[0-9]*(?:\.(?:gz|xz|zst))?$", re.IGNORECASE)

#: What a shell reports for a program that SIGINT or SIGPIPE ended (128 + signal).
INTERRUPTED: Final = 130
READER_GONE: Final = 141


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line: what is wrong and where to read what would be right."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on stderr and exit with 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see `{self.prog} --help`)\n")


def build_parser(arguments: Sequence[str]) -> OneLineParser:
    """Return the parser for these arguments: every command by name, and only the one that is called in full."""
    parser = OneLineParser(
        prog="sipalg",
        description="A SIP application layer gateway for Linux NAT routers.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sipalg {__version__} ({builds.running()} build)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    if called is not None and called not in COMMANDS and called in _routeros_menus():
        rest = " ".join(arguments[arguments.index(called) :])
        parser.error(f"there is no command {called!r}; RouterOS's commands begin with /: sipalg '/{rest}'")
    if called is not None and called not in COMMANDS:
        parser.error(f"there is no command {called!r}{_hint(called)}")
    for name, (module_name, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == called:
            module = importlib.import_module(module_name)
            command.set_defaults(module=module, parser=command)
            module.configure(command)
    return parser


def _hint(called: str) -> str:
    """Say what somebody who wrote this for a command may have meant, "" if nothing is like it."""
    if _CAPTURE_NAME.search(called):
        return f"; with a capture: sipalg calls {called}, or sipalg diagnose {called}"
    word = called.lower()
    begun = [name for name in COMMANDS if name.startswith(word)]
    close = begun if len(begun) == 1 else difflib.get_close_matches(word, COMMANDS, n=1)
    meant = _GUESSES.get(word) or (close[0] if close else "")
    return f"; did you mean {meant}?" if meant else ""


def routed(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the command `/` in front where the first word is a RouterOS command's: `/ip …`."""
    before = ""
    for argument in arguments:
        if not argument.startswith("-") and before not in _PLACES:
            return ["/", *arguments] if argument.startswith("/") else list(arguments)
        before = argument
    return list(arguments)


def _routeros_menus() -> list[str]:
    """Return the names that RouterOS's commands begin with."""
    menus: list[str] = importlib.import_module("sipalg.routeros.menus").children(())
    return menus


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default the process's) name and return the exit code."""
    given = routed(sys.argv[1:] if arguments is None else arguments)
    if wrong_build:
        sys.stderr.write(f"sipalg: {wrong_build}\n")
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no arrows gets question marks.
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            parser = build_parser(given)
            args, unknown = parser.parse_known_args(given)
            if unknown:
                args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
            module: ModuleType = args.module
            code: int = module.main(args)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return READER_GONE
    except OSError as error:
        if error.filename is not None:
            # A place that a person named, or that a setting names, and that isn't for this user.
            sys.stderr.write(f"sipalg: {os.fsdecode(error.filename)}: {error.strerror}\n")
            return 2
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        sys.stderr.write(f"sipalg: standard output: {error.strerror}; what it holds isn't complete\n")
        return 2
    return code


def _drop_output() -> None:
    """Python flushes once more when it exits; what is left has nobody to read it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
