"""What comes of a scenario: found wrong, the lab broken, and what is declared about each mode."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Self, cast

import pytest

from sipalg.lab import scenario as module
from sipalg.lab.scenario import WITHOUT_ALG, Outcome, Scenario, run_scenario
from sipalg.lab.scenarios import SCENARIOS
from sipalg.lab.stage import Mode, ScenarioError, Stage
from sipalg.lab.topology import LabError


class FakeStage:
    """Stands where a lab would stand."""

    def __init__(self, *_: object) -> None:
        self.measured = ["1", "2", "3"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def run(mode: Mode, error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    def play(_: Stage) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(module, "Stage", FakeStage)
    return run_scenario(Scenario("s", "shows", play, fails_in=WITHOUT_ALG), mode, None, lambda _: "drawn")


def test_ok_where_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run("sipalg", None, monkeypatch)
    assert (outcome.ok, outcome.expected, outcome.broken, outcome.ladder) == (True, True, False, "drawn")
    assert outcome.why == "2, 3"


def test_a_failure_where_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run("none", ScenarioError("101 hears nothing"), monkeypatch)
    assert (outcome.ok, outcome.expected, outcome.why, outcome.ladder) == (False, True, "101 hears nothing", "")


def test_ok_where_it_has_to_fail_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run("none", None, monkeypatch)
    assert (outcome.ok, outcome.expected) == (True, False)


def test_a_failure_with_sipalg_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not run("sipalg", ScenarioError("why"), monkeypatch).expected


def test_a_broken_lab_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run("none", LabError("no bridge"), monkeypatch)
    assert (outcome.ok, outcome.expected, outcome.broken, outcome.why) == (False, False, True, "no bridge")


def test_sipalg_not_starting_is_sipalg_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run("sipalg", LabError("sipalg: ended with 2"), monkeypatch)
    assert (outcome.ok, outcome.expected, outcome.broken) == (False, False, False)


def test_tests_play_the_light_variant_beside_others() -> None:
    played: list[str] = []
    heavy = Scenario("s", "shows", lambda _: played.append("heavy"), fails_in=WITHOUT_ALG, alone=True)
    assert heavy.lightly() is heavy
    light = replace(heavy, light=lambda _: played.append("light")).lightly()
    light.play(cast(Stage, None))
    assert (played, light.alone, light.fails_in) == (["light"], False, WITHOUT_ALG)


def test_no_test_needs_the_machine_for_itself() -> None:
    assert any(scenario.alone for scenario in SCENARIOS)
    assert not any(scenario.lightly().alone for scenario in SCENARIOS)


def test_each_scenario_has_a_control_in_which_it_fails_or_shows_that_nothing_is_broken() -> None:
    # These three show that sipalg leaves alone what works without it.
    left_alone = {"placement-nat-yes", "nat-aware-phone", "not-natted"}
    assert {scenario.name for scenario in SCENARIOS if not scenario.fails_in} == left_alone
