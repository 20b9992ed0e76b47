"""What the benchmarks measure, as values: a kind of message in the engine, a run of the closed loop, the machine."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from bench.usage import Usage

#: The kind under which the engine's figures tell how fast the machine was meanwhile.
FIXED_WORK: Final = "fixed work"


class EngineResult(NamedTuple):
    """One kind: µs of CPU a message (a batch's mean; median, least, most of the batches), and what was checked."""

    kind: str
    median_us: float
    least_us: float
    most_us: float
    checked: int


class Share(NamedTuple):
    """µs of CPU a round trip or call: the way's programs (user, system), softirqs, and all that the machine did."""

    user_us: float
    system_us: float
    softirq_us: float
    machine_us: float

    @classmethod
    def of(cls, used: Usage, count: int) -> Share:
        """Return what each of `count` round trips or calls used."""
        return cls(*(seconds / max(1, count) * 1e6
                     for seconds in (used.user_s, used.system_s, used.softirq_s, used.busy_s)))  # fmt: skip

    @property
    def own_us(self) -> float:
        """User and system time of the way's own programs."""
        return self.user_us + self.system_us


class LoopResult(NamedTuple):
    """One run of one mode. Rates are round trips (two messages) a second, latencies µs."""

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
    cpu: Share


def machine_us(tries: int = 20) -> float:
    """µs for a fixed piece of interpreted work, least of some tries: tells how fast the machine was at the time."""
    text = b"Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK1\r\n" * 15
    best = float("inf")
    for _ in range(tries):
        begin = time.thread_time_ns()
        for _ in range(1000):
            at = text.find(b"\r\n\r\n")
            (text[: at % 100], text.replace(b"33.10", b"33.11"), {at: text}, [at] * 3)
        best = min(best, (time.thread_time_ns() - begin) / 1e6)
    return best
