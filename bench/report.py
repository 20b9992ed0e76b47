"""The page of results: what was measured, on what, with which command, and whether the outputs were right.

Pure text from the figures of `engine` and `loop`; the end of the benchmarks' way.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from bench.figures import FIXED_WORK, EngineResult, LoopResult
from bench.loop import MODES
from sipalg import builds

#: µs a message that the engine may take, by kind.
TARGETS_US: Final = {"REGISTER": 8.0, "REGISTER auth": 8.0, "INVITE": 20.0, "INVITE, new ports": 20.0}
#: Round trips a second, as a share of those of Linux's helper in the same run.
TARGET_SHARE: Final = 0.4
#: A load average from which on the page says that the machine wasn't idle.
_BUSY_LOAD: Final = 0.5


def machine() -> list[str]:
    """Return lines on the processor, the kernel, the Python and the date."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    load = os.getloadavg()[0]
    busy = "" if load < _BUSY_LOAD else " — **busy with other work, so take these figures as ratios at best**"
    return [
        f"- {model}, {os.cpu_count()} cores; Linux {platform.release()}",
        f"- {platform.python_implementation()} {platform.python_version()}, {builds.running()} build of sipalg",
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average at the start {load:.2f}{busy}",
    ]


def engine_table(results: Sequence[EngineResult], speed_us: float) -> list[str]:
    """Return the engine's table; `speed_us` is what the fixed piece of work took."""
    lines = [
        "| message | µs, median | least–most | target | outputs checked |",
        "|---|---:|---:|---:|---:|",
    ]
    for result in results:
        if result.kind == FIXED_WORK:
            continue
        target = TARGETS_US.get(result.kind)
        wanted = "" if target is None else f"≤ {target:g} {'✓' if result.median_us <= target else '✗'}"
        checked = f"{result.checked:,}, all right" if result.checked else "none to check"
        spread = f"{result.least_us:.2f}–{result.most_us:.2f}"
        lines.append(f"| {result.kind} | {result.median_us:.2f} | {spread} | {wanted} | {checked} |")
    meanwhile = [f" and {result.median_us:.2f} (median) meanwhile" for result in results if result.kind == FIXED_WORK]
    return [*lines, "", f"A fixed piece of interpreted work took {speed_us:.2f} µs at best{''.join(meanwhile)}."]


def loop_table(results: Sequence[LoopResult]) -> list[str]:
    """Return the closed loop's table, by window and mode."""
    lines = [
        "| window | way | round trips a second, median | least–most | × helper | p50 µs | p99 µs | p99.9 µs "
        "| its CPU, µs a round trip | resent | messages checked |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for window in sorted({result.window for result in results}, reverse=True):
        here = [result for result in results if result.window == window]
        helper = [result.rate for result in here if result.mode == "helper"]
        names = dict.fromkeys(result.mode for result in here)
        lines += [_loop_row([result for result in here if result.mode == name], helper) for name in names]
    return lines


def shares(results: Sequence[LoopResult]) -> dict[int, float]:
    """Return sipalg's median rate as a share of the helper's, by window."""
    found = {}
    for window in {result.window for result in results}:
        rates = {name: [result.rate for result in results if (result.mode, result.window) == (name, window)]
                 for name in ("sipalg", "helper")}  # fmt: skip
        if rates["sipalg"] and rates["helper"]:
            found[window] = median(rates["sipalg"]) / median(rates["helper"])
    return found


def _loop_row(runs: Sequence[LoopResult], helper: Sequence[float]) -> str:
    rates = [run.rate for run in runs]
    share = f"{median(rates) / median(helper):.2f}" if helper else ""
    cpu = [run.cpu_us for run in runs if run.cpu_us is not None]
    checked, wrong = sum(run.checked for run in runs), sum(run.wrong for run in runs)
    verdict = f"{checked:,}, " + ("all right" if wrong == 0 else f"**{wrong / checked:.1%} wrong**")
    latencies = zip(*((run.p50_us, run.p99_us, run.p999_us) for run in runs), strict=True)
    cells = [
        str(runs[0].window), MODES[runs[0].mode].title, f"{median(rates):,.0f}",
        f"{min(rates):,.0f}–{max(rates):,.0f}", share, *(f"{median(values):,.0f}" for values in latencies),
        f"{median(cpu):.1f}" if cpu else "", str(sum(run.resent for run in runs)), verdict,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"
