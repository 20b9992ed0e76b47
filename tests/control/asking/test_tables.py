"""What people see of the ALG's answers."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.asking import tables
from sipalg.control.asking.tables import configure, main
from sipalg.control.socket.client import ControlError

MAPPINGS = {
    "version": 1,
    "ok": True,
    "mappings": [
        {"private": "192.168.33.10:5060", "public": "203.0.113.1:5060", "purpose": "sip", "expires_s": 3599.6},
        {"private": "192.168.33.10:10000", "public": "203.0.113.1:10000", "purpose": "media", "adopted": True},
    ],
}
CALLS: dict[str, Any] = {
    "calls": [
        {
            "phone": "192.168.33.10:5060",
            "state": "confirmed",
            "ends_in_s": 14390.0,
            "call_id": "9c8a315e-419d32d1-and-much-more-of-it@192.168.33.10",
            "inside_tag": "f95367fa52060ce5o0",
            "outside_tag": "as5b2f4a1c",
            "media": [
                {
                    "private": f"192.168.33.10:1000{n}",
                    "public": f"203.0.113.1:1000{n}",
                    "remote": f"203.0.113.60:3000{n}",
                }
                for n in (0, 1)
            ],
        },
        {"phone": "192.168.33.11:5060", "state": "early", "ends_in_s": 590.0, "call_id": "c2", "media": []},
    ],
}
STATUS = {
    "version": 1,
    "ok": True,
    "status": {"mode": "enforce", "inside": ["lan0", "lan1"], "uptime_s": 3725, "load": 0.5, "note": ""},
    "counters": {
        "messages": {"REGISTER": 3, "INVITE": 12},
        "passes": {},
        "edits": None,
        "queue": {"passed_unseen": 0},
    },
    "phones": [{"host": "192.168.33.10", "nat_aware": False}],
    "contacts": [],
    "warnings": ["no dnat accept"],
}


def shown(command: str, answer: dict[str, Any], width: int | None = None) -> str:
    return "".join(line.text + "\n" for line in tables.shown(command, answer, width))


def arguments(command: str, *given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return argparse.Namespace(command=command, **vars(parser.parse_args(given)))


def test_mappings_are_rows() -> None:
    lines = shown("mappings", MAPPINGS).splitlines()
    assert lines[0].split() == ["private", "public", "purpose", "expires", "adopted"]
    assert lines[1].split() == ["192.168.33.10:5060", "203.0.113.1:5060", "sip", "1h", "-"]
    assert lines[2].split() == ["192.168.33.10:10000", "203.0.113.1:10000", "media", "-", "yes"]
    assert len(lines) == 3


@pytest.mark.parametrize("width", [None, 60, 80, 120])
def test_calls_have_a_line_for_each_stream_below_them(width: int | None) -> None:
    lines = shown("calls", CALLS, width).splitlines()
    assert lines[0].split()[:2] == ["phone", "state"]
    assert lines[1].split()[:3] == ["192.168.33.10:5060", "confirmed", "3h59m50s"] or width == 60
    assert lines[2:4] == [
        "  192.168.33.10:10000 ↔ 203.0.113.1:10000 ↔ 203.0.113.60:30000",
        "  192.168.33.10:10001 ↔ 203.0.113.1:10001 ↔ 203.0.113.60:30001",
    ]
    assert len(lines) == 5


@pytest.mark.parametrize("command", ["mappings", "calls"])
def test_what_an_observer_shows_is_headed_by_what_it_is(command: str) -> None:
    answer = {"mode": "observe", **MAPPINGS, **CALLS}
    assert shown(command, answer).splitlines()[0] == "observe: what would have been done; nothing is changed"
    assert "observe" not in shown(command, answer | {"mode": "enforce"})


@pytest.mark.parametrize("rows", [[], None, "nonsense"])
def test_nothing_is_said_in_words(rows: object) -> None:
    assert shown("calls", {"calls": rows}) == "No calls.\n"
    assert "No mappings" in shown("mappings", {})


def test_status_shows_facts_counters_phones_and_warnings_with_an_empty_line_between() -> None:
    assert shown("status", STATUS).splitlines() == [
        "mode    enforce",
        "inside  lan0, lan1",
        "uptime  1h2m5s",
        "load    0.5",
        "note    -",
        "",
        "messages",
        "  INVITE    12",
        "  REGISTER   3",
        "",
        "packet queue",
        "  passed unseen  0",
        "",
        "phones",
        "host           nat aware",
        "192.168.33.10  no",
        "",
        "warning: no dnat accept",
    ]


def test_a_reason_has_its_sentence_and_an_unknown_one_none() -> None:
    answer = {"counters": {"passes": {"nat-aware": 3, "of-tomorrow": 2}, "edits": {"nat-aware": 1}}}
    lines = shown("status", answer).splitlines()
    assert lines[1].startswith("  nat-aware    3  its phone knows about the NAT")
    assert lines[2] == "  of-tomorrow  2"
    assert lines[-1] == "  nat-aware  1"


def test_a_status_of_an_observer_says_so() -> None:
    lines = shown("status", {"status": {"mode": "observe"}, "counters": {"edits": {"via": 1}}}).splitlines()
    assert lines[2] == "observe: what would have been done; nothing is changed"


def test_a_status_of_another_make_is_shown_as_far_as_it_goes() -> None:
    assert shown("status", {"status": 5}).strip() == ""


@given(st.text(min_size=1))
def test_no_fact_controls_the_terminal(value: str) -> None:
    text = shown("calls", {"calls": [{"call_id": value}]})
    assert all(character.isprintable() or character == "\n" for character in text)


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
    monkeypatch.setattr(tables, "ask", lambda path, command: CALLS if path and command else {})
    monkeypatch.setenv("COLUMNS", "40")
    assert main(arguments("calls")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "\x1b" not in "".join(lines)
    assert len(lines) == 5
    assert CALLS["calls"][0]["call_id"] in lines[1]
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_terminal_gets_colours_if_it_wants_them_and_what_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "ask", lambda path, command: CALLS if path and command else {})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(arguments("calls")) == 0
    assert capsys.readouterr().out.startswith("\x1b[1mphone")
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(arguments("calls")) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_no_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(path: Path, command: str) -> dict[str, Any]:
        raise ControlError(f"nobody at {path} for {command}")

    monkeypatch.setattr(tables, "ask", ask)
    assert main(arguments("calls", "--socket", "/x")) == 2
    captured = capsys.readouterr()
    assert captured.err == "sipalg: nobody at /x for calls\n"
    assert captured.out == ""
