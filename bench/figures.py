"""What the benchmarks measure, as values: a kind of message in the engine, a run of the closed loop."""

from __future__ import annotations

from typing import NamedTuple


class EngineResult(NamedTuple):
    """One kind: µs a message (of each batch the mean; of the batches median, least and most), and what was checked."""

    kind: str
    median_us: float
    least_us: float
    most_us: float
    checked: int


class LoopResult(NamedTuple):
    """One run of one mode. Rates are round trips (two messages) a second, latencies µs, CPU µs a round trip."""

    mode: str
    window: int
    rate: float
    p50_us: float
    p99_us: float
    p999_us: float
    resent: int
    first_rate: float
    checked: int
    wrong: int
    cpu_us: float | None
