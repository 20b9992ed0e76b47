"""What people see of the ALG's answers."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sipalg.control import tables
from sipalg.control.client import ControlError
from sipalg.control.tables import configure, duration, main, show

MAPPINGS = {
    "version": 1,
    "ok": True,
    "mappings": [
        {"private": "192.168.33.10:5060", "public": "203.0.113.1:5060", "purpose": "sip", "expires_s": 3599.6},
        {"private": "192.168.33.10:10000", "public": "203.0.113.1:10000", "purpose": "media", "adopted": True},
    ],
}
STATUS = {
    "version": 1,
    "ok": True,
    "status": {"mode": "enforce", "inside": ["lan0", "lan1"], "uptime_s": 3725, "load": 0.5, "note": ""},
    "counters": {"messages": {"REGISTER": 3, "INVITE": 12}, "passes": {}, "edits": None},
    "phones": [{"host": "192.168.33.10", "nat_aware": False}],
    "contacts": [],
    "warnings": ["no dnat accept"],
}


def shown(command: str, answer: dict[str, Any]) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=160, highlight=False), command, answer)
    return stream.getvalue()


def arguments(command: str, *given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return argparse.Namespace(command=command, **vars(parser.parse_args(given)))


def test_mappings_are_rows() -> None:
    lines = [line for line in shown("mappings", MAPPINGS).splitlines() if line.strip()]
    assert lines[0].strip() == "Mappings"
    assert lines[1].split() == ["private", "public", "purpose", "expires", "adopted"]
    assert lines[3].split() == ["192.168.33.10:5060", "203.0.113.1:5060", "sip", "1h", "-"]
    assert lines[4].split() == ["192.168.33.10:10000", "203.0.113.1:10000", "media", "-", "yes"]


@pytest.mark.parametrize("rows", [[], None, "nonsense"])
def test_nothing_is_said_in_words(rows: object) -> None:
    assert shown("calls", {"calls": rows}) == "No calls.\n"
    assert "No mappings" in shown("mappings", {})


def test_status_shows_facts_counters_phones_and_warnings() -> None:
    text = shown("status", STATUS)
    assert [line.strip().split(None, 1) for line in text.splitlines()[:4]] == [
        ["mode", "enforce"],
        ["inside", "lan0, lan1"],
        ["uptime", "1h2m5s"],
        ["load", "0.5"],
    ]
    assert text.index("INVITE") < text.index("REGISTER")
    assert "passes" not in text
    assert "nat aware" in text
    assert "Contacts" not in text
    assert text.splitlines()[-1] == "warning: no dnat accept"


def test_a_status_of_another_make_is_shown_as_far_as_it_goes() -> None:
    assert shown("status", {"status": 5}).strip() == ""


@given(st.text(min_size=1))
def test_no_fact_controls_the_terminal(value: str) -> None:
    text = shown("calls", {"calls": [{"call_id": value}]})
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (-5, "0s"), (59.6, "1m"), (3600, "1h"), (93784, "1d2h3m4s"), (86400 * 400, "400d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_json_is_the_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[Path, str]] = []

    def ask(path: Path, command: str) -> dict[str, Any]:
        asked.append((path, command))
        return MAPPINGS

    monkeypatch.setattr(tables, "ask", ask)
    assert main(arguments("mappings", "--json", "--socket", "/run/x.sock")) == 0
    assert asked == [(Path("/run/x.sock"), "mappings")]
    assert json.loads(capsys.readouterr().out) == MAPPINGS


def test_a_pipe_gets_no_colours_and_whole_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "ask", lambda path, command: STATUS if path and command else {})
    monkeypatch.setenv("COLUMNS", "40")
    assert main(arguments("status")) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "warning: no dnat accept" in out


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tables, "ask", lambda path, command: STATUS if path and command else {})
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(arguments("status")) == 0
    assert "\x1b[" in capsys.readouterr().out


def test_no_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(path: Path, command: str) -> dict[str, Any]:
        raise ControlError(f"nobody at {path} for {command}")

    monkeypatch.setattr(tables, "ask", ask)
    assert main(arguments("calls", "--socket", "/x")) == 2
    captured = capsys.readouterr()
    assert captured.err == "sipalg: nobody at /x for calls\n"
    assert captured.out == ""
