"""Every scenario of the lab with sipalg, and in each control mode where it has to fail, with real programs.

The runs go side by side, as in `sipalg lab`, and each test waits for its own; only what pytest collected is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sipalg.lab.programs import interrupted
from sipalg.lab.runner import LABS_AT_ONCE, Run, submit
from sipalg.lab.scenario import Outcome
from sipalg.lab.scenarios import SCENARIOS
from sipalg.lab.table import verdict

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces", "programs")]

#: Where Linux's own helper has to work: it would be no control if it did nothing at all.
HELPED = "be-called"
RUNS = [
    Run(scenario.lightly(), mode)
    for scenario in SCENARIOS
    for mode in scenario.modes
    if mode == "sipalg" or mode in scenario.fails_in or (scenario.name, mode) == (HELPED, "kernel")
]
#: Longer than any scenario with all of the others before it.
LONGEST_S = 600.0


def _name(run: Run) -> str:
    return f"{run.scenario.name}-{run.mode}"


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Future[Outcome]]]:
    """Start every run that was collected; they are over, or told to end, when the tests are."""
    collected = {item.name for item in request.session.items}
    wanted = [run for run in RUNS if f"test_scenario[{_name(run)}]" in collected]
    interrupted.clear()
    with ThreadPoolExecutor(LABS_AT_ONCE) as pool:
        yield {(run.scenario.name, run.mode): submit(pool, run) for run in wanted}
        interrupted.set()
        pool.shutdown(cancel_futures=True)
    interrupted.clear()


@pytest.mark.parametrize("run", RUNS, ids=_name)
def test_scenario(run: Run, outcomes: dict[tuple[str, str], Future[Outcome]]) -> None:
    outcome = outcomes[run.scenario.name, run.mode].result(LONGEST_S)
    assert outcome.expected, verdict(outcome)


def test_most_scenarios_can_fail() -> None:
    compared = [scenario for scenario in SCENARIOS if "none" in scenario.modes]
    assert sum("none" in scenario.fails_in for scenario in compared) > len(compared) * 3 / 4
    assert sum("kernel" in scenario.fails_in for scenario in compared) >= 5
