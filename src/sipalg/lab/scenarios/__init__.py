"""The lab's scenarios, in the order of the table."""

from __future__ import annotations

from typing import Final

from sipalg.lab.scenario import Scenario
from sipalg.lab.scenarios import (
    calls,
    changes,
    devices,
    direct,
    ipv6,
    media,
    placements,
    process,
    restarts,
    router,
    slipstream,
    tcp,
    timeouts,
)

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *calls.SCENARIOS,
    *timeouts.SCENARIOS,
    *media.SCENARIOS,
    *devices.SCENARIOS,
    *direct.SCENARIOS,
    *ipv6.SCENARIOS,
    *placements.SCENARIOS,
    *router.SCENARIOS,
    *tcp.SCENARIOS,
    *slipstream.SCENARIOS,
    *process.SCENARIOS,
    *changes.SCENARIOS,
    *restarts.SCENARIOS,
)
