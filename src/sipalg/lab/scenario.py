"""What a scenario is: a name, what it shows, the play, and in which control modes it has to fail.

A test that can't fail shows nothing, so each scenario declares where it must fail: without an ALG, with Linux's own
helper, or with both. One that works where it should fail is an error of the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sipalg.lab.stage import MODES, Mode, Needs, ScenarioError, Stage
from sipalg.lab.topology import LabError

#: Shorthands for `fails_in`.
WITHOUT_ALG: Final[frozenset[Mode]] = frozenset({"none"})
WITHOUT_SIPALG: Final[frozenset[Mode]] = frozenset({"none", "kernel"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario: `play` returns if all is well and raises ScenarioError if not.

    `fails_in` are the control modes in which failure is expected; `modes` those that it makes sense in; `alone` says
    that no other lab may run beside it; `light` is the same play with a load that any machine carries, None if the
    play itself is such.
    """

    name: str
    shows: str
    play: Callable[[Stage], None]
    needs: Needs = field(default_factory=Needs)
    fails_in: frozenset[Mode] = frozenset()
    modes: tuple[Mode, ...] = MODES
    alone: bool = False
    light: Callable[[Stage], None] | None = None

    def lightly(self) -> Scenario:
        """The scenario as tests run it: beside others, on machines with little to spare."""
        return self if self.light is None else replace(self, play=self.light, alone=False, light=None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scenario in one mode.

    `why` says why it failed, or what was measured last where all went well; `broken` is the lab's own trouble, when
    nothing can be said.
    """

    scenario: str
    mode: Mode
    ok: bool
    why: str
    expected: bool
    broken: bool
    seconds: float
    ladder: str = ""


def run_scenario(
    scenario: Scenario, mode: Mode, keep: Path | None = None, draw: Callable[[Stage], str] | None = None
) -> Outcome:
    """Build a lab, play the scenario in it and take the lab down; never raises for what a scenario finds.

    `keep` is a directory for captures and logs; `draw` makes the ladder from the stage after a play that went well.
    """
    begun = time.monotonic()
    ok, why, broken, ladder = True, "", False, ""
    try:
        with Stage(mode, scenario.needs, keep) as stage:
            scenario.play(stage)
            why = ", ".join(stage.measured[-2:])
            if draw is not None:
                ladder = draw(stage)
    except ScenarioError as found:
        ok, why = False, str(found)
    except LabError as error:
        # In sipalg mode the ALG is one of the programs: that it doesn't run is its failure, not the lab's.
        ok, why, broken = False, str(error), mode != "sipalg"
    expected = ok is (mode not in scenario.fails_in) and not broken
    return Outcome(scenario.name, mode, ok, why, expected, broken, time.monotonic() - begun, ladder)
