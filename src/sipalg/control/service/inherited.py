"""Media of calls that an earlier process set up: their flows are kept open, though nobody here knows the calls.

Beside a packet's way. After a restart the engine has no dialogs, so that it looks after none of their flows, and the
next silence (hold, a muted line) would let the kernel forget them: one-way audio for the rest of the call. So the
flows that stood at the start are looked at here, until their mapping ends, they have been silent for long, or the
engine learns of the call from a message and looks after them itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from sipalg.datapath.conntrack import FlowState, FlowTakenError
from sipalg.engine.alg import Alg
from sipalg.engine.verdict import Flow

#: How long a flow may be silent: nobody hears of the call's end, and few calls are on hold for longer.
LONGEST_SILENCE_S: Final = 600.0


class Flows(Protocol):
    """What this asks of `conntrack.Conntrack`."""

    def check(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> FlowState:
        """Renew the entry or make it again."""


class InheritedMedia:
    """The flows, and when each was last heard; `look` is to be called every `flow_check_s` of the settings."""

    def __init__(self, alg: Alg, conntrack: Flows, clock: Callable[[], float] = time.monotonic) -> None:
        self._alg = alg
        self._conntrack = conntrack
        self._clock = clock
        self._heard: dict[Flow, float] = {}

    def __len__(self) -> int:
        """Return how many flows there still are."""
        return len(self._heard)

    def take(self, flows: Iterable[Flow]) -> None:
        """Look after these flows from now on, those whose mappings the engine has restored."""
        now = self._clock()
        self._heard = {flow: now for flow in flows if self._is_mapped(flow)}
        self.look()

    def look(self) -> None:
        """Give each flow more time, or let go of it; one that is gone is made again."""
        now = self._clock()
        timeout_s = 3.0 * self._alg.settings.flow_check_s
        kept = {}
        for flow, heard in self._heard.items():
            if flow in self._alg.calls.holders or not self._is_mapped(flow) or now - heard > LONGEST_SILENCE_S:
                continue
            # What can't be kept now is another's by now.
            with contextlib.suppress(FlowTakenError, OSError):
                kept[flow] = now if self._conntrack.check(flow, timeout_s).traffic else heard
        self._heard = kept

    def _is_mapped(self, flow: Flow) -> bool:
        return self._alg.public_of(flow.protocol, flow.private) == flow.public
