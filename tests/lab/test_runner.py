"""Planning and running the table, without any lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sipalg.lab.programs import interrupted, pause, wait_until
from sipalg.lab.runner import Run, all_as_expected, named, plan, run_all
from sipalg.lab.scenario import WITHOUT_ALG, Outcome, Scenario
from sipalg.lab.scenarios import SCENARIOS
from sipalg.lab.stage import MODES, Mode, Stage
from sipalg.lab.topology import LabError


def play(_: Stage) -> None:
    raise AssertionError("never played here")


ONE = Scenario("one", "shows one", play, fails_in=WITHOUT_ALG)
TWO = Scenario("two", "shows two", play, modes=("sipalg",))


def outcome(run: Run, ok: bool = True) -> Outcome:
    return Outcome(run.scenario.name, run.mode, ok, "" if ok else "why", ok, False, 1.0)


def test_a_plan_is_scenarios_by_modes_that_make_sense() -> None:
    assert plan([ONE, TWO], MODES) == [Run(ONE, "none"), Run(ONE, "kernel"), Run(ONE, "sipalg"), Run(TWO, "sipalg")]
    assert plan([ONE, TWO], ["none"]) == [Run(ONE, "none")]
    assert plan([ONE, TWO], MODES, ["two"]) == [Run(TWO, "sipalg")]


def test_a_word_stands_for_the_scenario_of_that_name_or_for_all_that_begin_so() -> None:
    names = ("hairpin", "hairpin-far", "two-insides", "two-calls")
    assert named("hairpin", names) == ["hairpin"]
    assert named("two", names) == ["two-insides", "two-calls"]
    assert named("hair*", names) == ["hairpin", "hairpin-far"]
    assert named("*-calls", names) == ["two-calls"]
    assert plan([ONE, TWO], ["sipalg"], ["tw"]) == [Run(TWO, "sipalg")]
    assert plan([ONE, TWO], ["sipalg"], ["two", "o*"]) == [Run(ONE, "sipalg"), Run(TWO, "sipalg")]


def test_an_unknown_name_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^no scenario is called three; there are: one, two$"):
        plan([ONE, TWO], MODES, ["three"])


def test_everything_is_run_and_told_where_to_keep_its_files(tmp_path: Path) -> None:
    calls: list[tuple[str, Mode, Path | None, bool]] = []

    def record(scenario: Scenario, mode: Mode, keep: Path | None, draw: Any) -> Outcome:
        calls.append((scenario.name, mode, keep, draw is not None))
        return outcome(Run(scenario, mode))

    ladder = Scenario("call-out", "", play)
    runs = plan([ladder], ["none", "sipalg"])
    got = list(run_all(runs, tmp_path, 2, record))
    assert sorted(o.mode for o in got) == ["none", "sipalg"]
    assert sorted(calls) == [
        ("call-out", "none", tmp_path / "call-out-none", False),
        ("call-out", "sipalg", tmp_path / "call-out-sipalg", True),
    ]


def test_the_ladder_is_the_usual_scenario_s_or_that_of_the_only_one() -> None:
    drawn: list[str] = []

    def record(scenario: Scenario, mode: Mode, _: Path | None, draw: Any) -> Outcome:
        if draw is not None:
            drawn.append(f"{scenario.name} {mode}")
        return outcome(Run(scenario, mode))

    usual = Scenario("call-out", "", play)
    list(run_all(plan([usual, ONE], MODES), None, 1, record))
    list(run_all(plan([ONE], MODES), None, 1, record))
    list(run_all(plan([ONE, TWO], MODES), None, 1, record))
    assert drawn == ["call-out sipalg", "one sipalg"]


def test_who_has_to_be_alone_comes_last_and_waits_in_nobodys_way() -> None:
    order: list[str] = []

    def record(scenario: Scenario, mode: Mode, *_: object) -> Outcome:
        order.append(scenario.name)
        return outcome(Run(scenario, mode))

    alone = Scenario("alone", "", play, modes=("sipalg",), alone=True)
    list(run_all(plan([alone, ONE, TWO], MODES), None, 1, record))
    assert order == ["one", "one", "one", "two", "alone"]


def test_leaving_early_interrupts_what_runs() -> None:
    def first_or_wait(scenario: Scenario, mode: Mode, *_: object) -> Outcome:
        if mode != "none":
            with pytest.raises(LabError, match="interrupted"):
                wait_until(lambda: False, 60.0)
        return outcome(Run(scenario, mode))

    try:
        results = run_all(plan([ONE], MODES), None, 2, first_or_wait)
        assert next(results).mode == "none"
        results.close()
        with pytest.raises(LabError, match="interrupted"):
            pause(60.0)
    finally:
        interrupted.clear()


def test_who_asks_it_to_end_gets_a_keyboard_interrupt_and_nothing_goes_on() -> None:
    asked: list[bool] = []

    def ask_and_wait(*_: object) -> Outcome:
        asked.append(True)
        with pytest.raises(LabError, match="interrupted"):
            wait_until(lambda: False, 60.0)
        return outcome(Run(ONE, "none"))

    try:
        with pytest.raises(KeyboardInterrupt):
            list(run_all(plan([ONE], MODES), None, 2, ask_and_wait, lambda: bool(asked)))
        assert interrupted.is_set()
    finally:
        interrupted.clear()


def test_one_run_that_is_not_as_declared_spoils_it() -> None:
    good, bad = outcome(Run(ONE, "sipalg")), outcome(Run(ONE, "sipalg"), ok=False)
    assert all_as_expected([good, good])
    assert not all_as_expected([good, bad])


def test_the_table_of_scenarios_is_consistent() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    for scenario in SCENARIOS:
        assert "sipalg" in scenario.modes
        assert "sipalg" not in scenario.fails_in
        assert scenario.fails_in <= set(scenario.modes)
        assert scenario.shows
    assert any(scenario.name == "call-out" for scenario in SCENARIOS)
