"""Scenarios in which settings change amid calls: a hundred times under load, and no call fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from sipalg.lab.programs import pause
from sipalg.lab.scenario import WITHOUT_ALG, Scenario
from sipalg.lab.scenarios.load import FULL, LIGHT, Load, Size, expect_flows, expect_translated
from sipalg.lab.stage import Needs, Stage

CHANGES: Final = 100
#: For tests: each step twice.
FEW_CHANGES: Final = 20
_BETWEEN_S: Final = 0.1

#: What is changed, again and again. The calls' port is 5080.
_STEPS: Final[tuple[dict[str, str], ...]] = (
    {"ports": "5070"},
    {"sip-timeout": "20m"},
    {"ports": "5060,5080"},
    {"sip-direct-media": "no"},
    {"except": "198.18.0.0/15", "trusted-peers": "198.51.100.0/24"},
    {"ports": "5090", "media-ports": "20000-21000", "reserved-ports": "20500"},
    {"sip-direct-media": "yes", "log-edits": "yes"},
    {"sip-timeout": "1h", "call-timeout": "1h"},
    {"ports": "5080", "sip-direct-signalling": "yes"},
    {"except": "", "trusted-peers": "", "sip-direct-signalling": "no", "log-edits": "no"},
)


def changed(
    stage: Stage, size: Size = FULL, changes: int = CHANGES, meanwhile: Callable[[Stage], object] | None = None
) -> None:
    """Change settings under load, the port in use removed and added again: no call fails, none is without its flows.

    And none of their messages leaves as it came, whatever the ports are just then. `meanwhile` happens after half of
    the changes; without sipalg there are only the calls.
    """
    load = Load(stage, size)
    pause(size.between_s)
    slowest_s = 0.0
    for number in range(changes if stage.mode == "sipalg" else 0):
        load.expect_running()
        if meanwhile is not None and number == changes // 2:
            meanwhile(stage)
        values = _STEPS[number % len(_STEPS)]
        begun = time.monotonic()
        answer = stage.alg.set(values)
        slowest_s = max(slowest_s, time.monotonic() - begun)
        stage.expect(answer.get("saved") == str(stage.alg.settings), f"{values} wasn't written: {answer}")
        pause(_BETWEEN_S)
        if number % len(_STEPS) == 0:
            expect_flows(stage)
    load.end()
    calls = expect_translated(stage)
    stage.measured.append(
        f"{calls} calls, {size.rate} a second, {changes} changes, the slowest answered after {slowest_s * 1000:.0f} ms"
    )


SCENARIOS: Final = (
    Scenario(
        "changed",
        "100 changes of settings under 200 calls a second, the port in use among them: no call fails",
        changed,
        Needs(hosts=("phone1", "server"), options=("--ports", "5060,5080")),
        modes=("none", "sipalg"),
        fails_in=WITHOUT_ALG,
        alone=True,
        light=partial(changed, size=LIGHT, changes=FEW_CHANGES),
    ),
)
