"""What the lab prints: progress, the table, JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from sipalg.lab.scenario import WITHOUT_ALG, Outcome, Scenario
from sipalg.lab.stage import Stage
from sipalg.lab.table import NARROWEST, columns, list_entry, print_table, progress_line, to_json, verdict


def play(_: Stage) -> None:
    raise AssertionError("never played here")


SCENARIOS = [Scenario("one", "shows one", play, fails_in=WITHOUT_ALG), Scenario("two", "shows two", play)]
GOOD = Outcome("one", "sipalg", True, "", True, False, 1.25)
DECLARED = Outcome("one", "none", False, "101 hears nothing", True, False, 2.0)
USELESS = Outcome("one", "none", True, "", False, False, 2.0)
WRONG = Outcome("one", "sipalg", False, "no answer", False, False, 3.0)
BROKEN = Outcome("one", "none", False, "no bridge", False, True, 0.1)


def test_a_verdict_says_whether_it_was_declared() -> None:
    assert verdict(GOOD) == "ok"
    assert verdict(replace(GOOD, why="101 hears 1000 Hz")) == "ok: 101 hears 1000 Hz"
    assert verdict(DECLARED) == "fails: 101 hears nothing"
    assert verdict(USELESS) == "OK, but has to fail: the scenario shows nothing"
    assert verdict(WRONG) == "FAILS: no answer"
    assert verdict(BROKEN) == "lab broken: no bridge"


def test_a_progress_line_marks_what_is_wrong() -> None:
    assert progress_line(3, 20, GOOD).split() == ["3/20", "1.2", "s", "one", "·", "sipalg", "ok"]
    assert progress_line(3, 20, WRONG).startswith("!")


def test_a_progress_line_is_cut_to_a_terminal_s_width() -> None:
    whole = progress_line(3, 20, WRONG)
    assert progress_line(3, 20, WRONG, len(whole)) == whole
    assert progress_line(3, 20, WRONG, 60) == f"{whole[:59]}…"


def test_the_list_has_a_line_a_scenario_or_more_on_a_terminal() -> None:
    whole = list_entry(SCENARIOS[0], "none, kernel")
    assert whole == f"{'one':24} shows one (has to fail: none, kernel)"
    assert list_entry(SCENARIOS[1], "") == f"{'two':24} shows two"
    assert list_entry(SCENARIOS[0], "none, kernel", 80) == whole
    narrow = list_entry(SCENARIOS[0], "none, kernel", 44).splitlines()
    assert max(map(len, narrow)) <= 44
    assert [line.startswith(" " * 25) for line in narrow] == [False] + [True] * (len(narrow) - 1)
    assert len(narrow) > 1
    assert " ".join(" ".join(narrow).split()) == " ".join(whole.split())


def test_only_a_terminal_has_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert columns(io.StringIO()) == 0
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert columns(terminal) == 80


@pytest.mark.parametrize("width", [40, 80, NARROWEST - 1, NARROWEST, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_left_out(width: int) -> None:
    out = io.StringIO()
    why = "101 hears nothing: 0 RTP packets reached the router outside, 0 passed"
    outcomes = [GOOD, replace(DECLARED, why=why), replace(DECLARED, mode="kernel", why=why)]
    print_table(SCENARIOS, outcomes, out, width)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = out.getvalue().split()
    for word in ("one", "shows", "helper", "sipalg", "fails:", "reached", "passed", "ok"):
        assert word in words
    # Side by side, or below each other.
    first = next(line for line in lines if "ALG" in line)
    assert ("sipalg" in first) == (width >= NARROWEST)


def test_the_table_has_a_row_a_scenario_and_a_column_a_mode() -> None:
    out = io.StringIO()
    print_table(SCENARIOS, [GOOD, DECLARED], out)
    text = out.getvalue()
    assert "no ALG" in text
    assert "sipalg" in text
    assert "kernel's helper" not in text
    assert "shows one" in text
    assert "fails: 101 hears nothing" in text
    assert "two" not in text


def test_a_mode_that_was_not_run_is_a_dash() -> None:
    out = io.StringIO()
    print_table(SCENARIOS, [GOOD, Outcome("two", "none", True, "", True, False, 1.0)], out)
    assert "–" in out.getvalue()


def test_json_has_everything() -> None:
    data = json.loads(to_json(SCENARIOS, [DECLARED, GOOD], "the ladder", True))
    assert data["as_expected"] is True
    assert data["ladder"] == "the ladder"
    assert data["runs"][0] == {
        "scenario": "one",
        "shows": "shows one",
        "mode": "none",
        "ok": False,
        "why": "101 hears nothing",
        "as_expected": True,
        "lab_broken": False,
        "seconds": 2.0,
    }
