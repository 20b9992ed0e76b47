"""`sipalg console`: RouterOS's commands typed one after another, with history, Tab, `?` and colours.

Menus are entered and left as in RouterOS. Without a terminal it reads lines, so that commands can be piped in. A
packet never comes here.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from sipalg.routeros.complete import asked_about, candidates, help_lines, spans
from sipalg.routeros.execute import perform
from sipalg.routeros.grammar import Move, read
from sipalg.routeros.lexer import GrammarError
from sipalg.routeros.menus import Path as MenuPath
from sipalg.routeros.router import RefusedError, Router
from sipalg.routeros.shell import add_places, router_of, surroundings, terminal_width, write

_LEAVE: Final = ("quit", "exit", "/quit", "/exit")
_HELP: Final = ("help", "/help")
_HINT: Final = "; ? shows what may come, quit leaves"
#: RouterOS's colours: menus cyan, commands magenta, names green, what can't be read red.
_STYLE: Final = {
    "typed-menu": "ansicyan",
    "typed-command": "ansimagenta",
    "typed-name": "ansigreen",
    "typed-word": "ansigreen",
    "typed-condition": "ansiblue",
    "typed-wrong": "ansired",
}
_GREETING: Final = "RouterOS's commands: /ip firewall service-port print. Tab completes, ? helps, quit leaves.\n"
#: SGR (ECMA-48): red, and back.
_RED: Final = "\x1b[31m"
_PLAIN: Final = "\x1b[0m"


class Console:
    """The commands' side of it: a menu that one is in, and lines that are carried out there."""

    def __init__(self, router: Router, *, coloured: bool = False) -> None:
        self.path: MenuPath = ()
        self._router = router
        self._coloured = coloured

    @property
    def prompt(self) -> str:
        """Return RouterOS's prompt."""
        menu = f"/{'/'.join(self.path)}" if self.path else ""
        return f"[sipalg@{socket.gethostname()}] {menu}> "

    def enter(self, line: str) -> bool:
        """Carry out what a line says; tells whether it worked. What is wrong is told on stderr."""
        before = "" if line.strip() in _HELP else asked_about(line)
        if before is not None:
            self.help(before)
            return True
        saved = True
        try:
            for statement in read(line, self.path):
                if isinstance(statement, Move):
                    self.path = statement.path
                    continue
                result = perform(statement, self._router, surroundings())
                saved = saved and result.saved
                write(result)
                sys.stdout.flush()
        except (GrammarError, RefusedError) as error:
            hint = _HINT if isinstance(error, GrammarError) and error.what.startswith("bad command name") else ""
            said = f"{error}{hint}"
            sys.stderr.write(f"{_RED}{said}{_PLAIN}\n" if self._coloured else f"{said}\n")
            sys.stderr.flush()
            return False
        return saved

    def help(self, before: str) -> None:
        """Show what may come behind the text."""
        sys.stdout.writelines(f"{text}\n" for text in help_lines(before, self.path, terminal_width()))
        sys.stdout.flush()


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_places(parser)


def main(args: argparse.Namespace) -> int:
    """Read commands to the end, and return 0; 1 where lines that were piped in failed."""
    router = router_of(args)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return read_lines(Console(router), sys.stdin)
    coloured = "NO_COLOR" not in os.environ
    sys.stdout.write(_GREETING)
    talk(Console(router, coloured=coloured), session_of(history(), coloured=coloured))
    return 0


def read_lines(console: Console, lines: Iterable[str]) -> int:
    """Carry out lines, with those joined that end in a backslash; 1 where one failed."""
    failed = False
    whole = ""
    for line in lines:
        whole += line
        if line.rstrip("\r\n").endswith("\\"):
            continue
        if whole.strip() in _LEAVE:
            whole = ""
            break
        failed = not console.enter(whole) or failed
        whole = ""
    if whole:
        failed = not console.enter(whole) or failed
    return int(failed)


def talk(console: Console, session: PromptSession[str]) -> None:
    """Ask for lines at the prompt until the user leaves."""
    session.completer = _Completer(console)
    session.lexer = _Colours(console)
    session.key_bindings = _keys(console.help)
    while True:
        try:
            line = session.prompt(lambda: console.prompt)
            if line.strip() in _LEAVE:
                return
            console.enter(line)
        except KeyboardInterrupt:
            # The line is given up, or the command that waits for its answer.
            continue
        except EOFError:
            return


def session_of(past: History, *, coloured: bool) -> PromptSession[str]:
    """Return a prompt with this history."""
    return PromptSession(history=past, style=Style.from_dict(_STYLE if coloured else {}), complete_while_typing=False)


def history() -> History:
    """Return what was typed before, from the user's state directory; only this session's where that can't be had."""
    base = os.environ.get("XDG_STATE_HOME")
    try:
        directory = (Path(base) if base else Path.home() / ".local" / "state") / "sipalg"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = directory / "console_history"
        file.touch(mode=0o600)
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return FileHistory(str(file))


class _Completer(Completer):
    """Tab."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def get_completions(self, document: Document, _complete_event: CompleteEvent) -> Iterable[Completion]:
        for one in candidates(document.text_before_cursor, self._console.path):
            if one.text:
                # A menu or a word is finished by it, a name goes on with its value.
                text = one.text if one.text.endswith("=") else f"{one.text} "
                yield Completion(text, -one.typed, display=one.text, display_meta=one.help)


class _Colours(Lexer):
    """The colours of the line as it is typed."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        def coloured(number: int) -> StyleAndTextTuples:
            line = document.lines[number]
            if line.strip() in (*_LEAVE, *_HELP):
                return [("class:typed-command", line)]
            found: StyleAndTextTuples = []
            end = 0
            for span in spans(line, self._console.path):
                found.append(("", line[end : span.start]))
                found.append((f"class:typed-{span.role or 'wrong'}", line[span.start : span.end]))
                end = span.end
            found.append(("", line[end:]))
            return found

        return coloured


def _keys(show: Callable[[str], None]) -> KeyBindings:
    """Return the key that RouterOS has besides a shell's: `?` helps at any place, but is itself in quotes."""
    keys = KeyBindings()

    @keys.add("?")
    def _(event: KeyPressEvent) -> None:
        before = event.current_buffer.document.text_before_cursor
        if asked_about(before + "?") is None:
            event.current_buffer.insert_text("?")
        else:
            run_in_terminal(lambda: show(before))

    return keys
