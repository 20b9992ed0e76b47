"""What a hand-over rests on, taken away: the lab's scenarios that show it have to fail then, under the same load."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sipalg.lab.programs import interrupted
from sipalg.lab.runner import Run, submit
from sipalg.lab.scenario import Outcome, Scenario
from sipalg.lab.scenarios import SCENARIOS
from sipalg.lab.scenarios.changes import FEW_CHANGES, changed
from sipalg.lab.scenarios.load import LIGHT
from sipalg.lab.scenarios.process import killed
from sipalg.lab.scenarios.restarts import killed_on_hold, killed_under_load, restarted
from sipalg.lab.stage import Stage

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces", "programs")]

#: Longer than any of them.
LONGEST_S = 300.0
LEAKED = r"\d+ messages left with the phone's private address"


def let_pass(stage: Stage) -> None:
    """Have SIP pass as plain NAT at once, as it did before it waited for the next process (docs/adr/0023)."""
    stage.net.run("router", "nft", "flush", "set", "ip", "sipalg", "served")


def forget(stage: Stage) -> None:
    """Lose what one process leaves the next (docs/adr/0015)."""
    stage.alg.journal.unlink()


def disable(stage: Stage) -> None:
    """Make the one change that ends calls."""
    stage.alg.ask("disable", {"now": True})


NEEDS = {scenario.name: scenario.needs for scenario in SCENARIOS}
#: How each is played, and why it has to fail.
WAYS: dict[str, tuple[Callable[[Stage], None], str]] = {
    "restarted": (lambda stage: restarted(stage, LIGHT, let_pass), LEAKED),
    "killed-under-load": (lambda stage: killed_under_load(stage, LIGHT, let_pass), LEAKED),
    "killed": (lambda stage: killed(stage, let_pass), r"\d+ messages left untranslated while SIP had to wait"),
    "killed-on-hold": (
        lambda stage: killed_on_hold(stage, forget),
        r"sipalg doesn't know the call|resumed at .*|.*, after the resume, hears nothing.*",
    ),
    "changed": (lambda stage: changed(stage, LIGHT, FEW_CHANGES, disable), LEAKED),
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Outcome]]]:
    """All of them side by side."""
    collected = {item.name for item in request.session.items}
    interrupted.clear()
    with ThreadPoolExecutor(len(WAYS)) as pool:
        yield {
            name: submit(pool, Run(Scenario(name, "", play, NEEDS[name]), "sipalg"))
            for name, (play, _) in WAYS.items()
            if f"test_without_what_it_rests_on_it_fails[{name}]" in collected
        }
        interrupted.set()
        pool.shutdown(cancel_futures=True)
    interrupted.clear()


@pytest.mark.parametrize("name", WAYS)
def test_without_what_it_rests_on_it_fails(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    outcome = outcomes[name].result(LONGEST_S)
    assert not outcome.ok, "it shows nothing: it works without what it is about"
    assert re.fullmatch(WAYS[name][1], outcome.why), outcome.why
