"""The console: lines one after another, with and without a terminal."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from tests.routeros.conftest import Places
from tests.routeros.fake import FakeAlg

from sipalg.routeros import console
from sipalg.routeros.console import Console, history, read_lines, session_of, talk
from sipalg.routeros.router import Router


@pytest.fixture
def typed() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


def test_menus_are_entered_and_left(router: Router, alg: FakeAlg, capsys: pytest.CaptureFixture[str]) -> None:
    sitting = Console(router)
    assert sitting.prompt.endswith("] > ")
    assert sitting.enter("/ip firewall")
    assert sitting.prompt.endswith("] /ip/firewall> ")
    assert sitting.enter("service-port")
    assert sitting.enter("set sip ports=5070")
    assert alg.settings.ports == (5070,)
    assert sitting.enter("get sip ports")
    assert capsys.readouterr().out == "5070\n"
    assert sitting.enter(".. nat")
    assert sitting.prompt.endswith("] /ip/firewall/nat> ")
    assert sitting.enter("/")
    assert sitting.prompt.endswith("] > ")


def test_what_is_wrong_is_told_and_the_menu_stays(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    sitting = Console(router)
    sitting.enter("/ip firewall")
    assert not sitting.enter("foo")
    assert not Console(router, coloured=True).enter("/ip firewall nat print")
    plain, coloured = capsys.readouterr().err.splitlines()
    assert plain.startswith("bad command name foo (line 1 column 1): there are service-port")
    assert plain.endswith("; ? shows what may come, quit leaves")
    assert coloured.startswith("\x1b[31mno sipalg is running")
    assert sitting.path == ("ip", "firewall")


def test_help_is_what_a_question_mark_is(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    sitting = Console(router)
    sitting.enter("/ip firewall")
    assert sitting.enter("?")
    asked = capsys.readouterr().out
    assert sitting.enter(" help\n")
    assert capsys.readouterr().out == asked
    assert "service-port" in asked


def test_lines_are_read_without_a_terminal(
    places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines"
    file.write_text(
        "/ip firewall\nservice-port set \\\n  sip ports=5070\nservice-port\nget sip ports\nfire?\nquit\nfoo\n"
    )
    with file.open() as lines:
        monkeypatch.setattr("sys.stdin", lines)
        assert console.main(places.parse(console)) == 0
    assert capsys.readouterr().out == "5070\nnothing is known to come here\n"


def test_lines_that_fail_are_told_by_the_exit_code(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_lines(Console(router), ["foo\n", "/ip\n", "firewall \\"]) == 1
    assert read_lines(Console(router), ["/ip\n", "/ip firewall \\\n", "nat\n"]) == 0
    assert "bad command name foo" in capsys.readouterr().err


def test_a_sitting_at_a_terminal(
    typed: PipeInput, router: Router, alg: FakeAlg, capsys: pytest.CaptureFixture[str]
) -> None:
    past = InMemoryHistory()
    sitting = Console(router)
    typed.send_text("/ip fire serv\rset sip ports=5070\rprint ?\rfoo\r\x03get sip ports\rexit\r")
    talk(sitting, session_of(past, coloured=True))
    assert alg.settings.ports == (5070,)
    output = capsys.readouterr()
    assert output.out.endswith("5070\n")
    assert "count-only" in output.out
    assert "bad command name foo" in output.err
    assert past.get_strings() == ["/ip fire serv", "set sip ports=5070", "print ", "foo", "get sip ports", "exit"]


def test_at_a_terminal_there_is_a_prompt(
    typed: PipeInput,
    places: Places,
    alg: FakeAlg,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for end in (sys.stdin, sys.stdout):
        monkeypatch.setattr(end, "isatty", lambda: True)
    typed.send_text("/ip firewall service-port get sip ports\r\x04")
    assert console.main(places.parse(console)) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["5060,5061"]
    assert "+/ip firewall service-port get" in (tmp_path / "sipalg/console_history").read_text()
    assert alg.asked


def test_end_of_input_leaves_and_a_question_in_quotes_is_one(
    typed: PipeInput, router: Router, capsys: pytest.CaptureFixture[str]
) -> None:
    past = InMemoryHistory()
    typed.send_text('"a?\r\x04')
    talk(Console(router), session_of(past, coloured=False))
    assert past.get_strings() == ['"a?']
    assert "expected closing quote" in capsys.readouterr().err


def test_tab_finishes_words_and_names(router: Router) -> None:
    completer = console._Completer(Console(router))

    def completed(text: str) -> list[tuple[str, int]]:
        found = completer.get_completions(Document(text), CompleteEvent())
        return [(one.text, one.start_position) for one in found]

    assert completed("/ip f") == [("firewall ", -1)]
    assert completed("/ip firewall service-port set sip sip-t") == [("sip-timeout=", -5)]
    assert completed("/ip firewall service-port set sip ports=") == []


def test_the_line_is_coloured_as_it_is_typed(router: Router) -> None:
    coloured = console._Colours(Console(router)).lex_document(Document("/ip foo"))(0)
    assert coloured == [("", "/"), ("class:typed-menu", "ip"), ("", " "), ("class:typed-wrong", "foo"), ("", "")]
    assert console._Colours(Console(router)).lex_document(Document("quit"))(0) == [("class:typed-command", "quit")]


def test_history_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    past = history()
    assert isinstance(past, FileHistory)
    assert stat.S_IMODE((tmp_path / "state/sipalg/console_history").stat().st_mode) == 0o600
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nonexistent")
    assert isinstance(history(), InMemoryHistory)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    history()
    assert (tmp_path / ".local/state/sipalg/console_history").is_file()
