"""Tables and goals of the engine's, the loop's and the growth's figures, and the line that says where they come from.

Pure text from the figures of `engine`, `loop` and `growth`; the end of the benchmarks' way, before `page`.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final

from bench.figures import FIXED_WORK, EngineResult, LoopResult
from bench.growth import Growth
from bench.loop import MODES
from bench.page import Claim
from bench.scale import Scale
from bench.startup import Startup
from sipalg import builds

#: µs a message that the interpreted engine may take, by kind.
TARGETS_US: Final = {"REGISTER": 8.0, "INVITE": 20.0}
#: Cores that others use, from which on the page says that the machine wasn't idle.
_BUSY_CORES: Final = 0.1
#: What isn't a message, or not counted as allocations.
_NO_MESSAGES: Final = (FIXED_WORK, "timers, per call")


def stamp(began: datetime, others_cores: float) -> str:
    """Return a line on the processor, the kernel, the Python, the build and the time: where a section comes from.

    `others_cores` is what other programs used before or after it, whichever was more.
    """
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    busy = "" if others_cores < _BUSY_CORES else ": **busy with other work, so ratios at best**"
    words = ["git", "-C", str(Path(__file__).parent), "log", "-1", "--format=%h"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    commit = f", commit {done.stdout.strip()}" if done.returncode == 0 else ""
    return (f"*{began:%Y-%m-%d %H:%M} UTC{commit}; {model}, {os.cpu_count()} cores; Linux "
            f"{platform.release()}; {platform.python_implementation()} {platform.python_version()}, "
            f"{builds.running()} build of sipalg; others used {others_cores:.2f} of a core before or after"
            f"{busy}.*")  # fmt: skip


def engine_table(
    compiled: Sequence[EngineResult],
    pure: Sequence[EngineResult],
    allocations: Mapping[str, tuple[float, float]],
    scale: Mapping[str, Scale],
) -> list[str]:
    """Return the engine's table: both builds, allocations a message (compiled, interpreted), and sipmessage's time."""
    lines = [
        "| message | compiled, µs, median | least–most | interpreted, µs, median | least–most "
        "| allocations, compiled | interpreted | sipmessage, µs (share that it reads) | outputs checked |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    others = {result.kind: result for result in pure}
    for one in compiled:
        if one.kind == FIXED_WORK:
            continue
        other = others[one.kind]
        made = allocations.get(one.kind)
        theirs = scale.get(one.kind)
        counted = made is not None and one.kind not in _NO_MESSAGES
        checked = one.checked + other.checked
        cells = [
            one.kind, *_timing(one), *_timing(other),
            *((f"{value:.0f}" for value in made) if made is not None and counted else ("", "")),
            f"{theirs.median_us:.0f} ({theirs.readable:.0%})" if theirs else "",
            f"{checked:,}, all right" if checked else "none to check",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def engine_claims(compiled: Sequence[EngineResult], pure: Sequence[EngineResult]) -> list[Claim]:
    """Judge the interpreted engine, and show the compiled one beside it."""
    found = []
    fast = {result.kind: result.median_us for result in compiled}
    for result in pure:
        target = TARGETS_US.get(result.kind)
        if target is not None:
            found.append(Claim(f"{result.kind} through the interpreted engine", f"≤ {target:g} µs",
                               f"{result.median_us:.1f} µs (compiled {fast[result.kind]:.1f})",
                               result.median_us <= target))  # fmt: skip
    return found


def loop_table(results: Sequence[LoopResult]) -> list[str]:
    """Return the closed loop's table, by window and mode. Latencies are of round trips, CPU is a message's."""
    lines = [
        "| window | way | round trips a second, median | least–most | × helper | p50 µs | p99 µs | p99.9 µs "
        "| its process, µs a message (user + system) | softirq, µs a message | the machine, µs a message | resent "
        "| messages checked |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for window in sorted({result.window for result in results}, reverse=True):
        here = [result for result in results if result.window == window]
        helper = [result.rate for result in here if result.mode == "helper"]
        names = dict.fromkeys(result.mode for result in here)
        lines += [_loop_row([result for result in here if result.mode == name], helper) for name in names]
    return lines


def loop_claims(results: Sequence[LoopResult]) -> list[Claim]:
    """Judge the widest window's rates against those of Linux's helper and of the C program that only accepts."""
    window = max(result.window for result in results)
    rates = {name: median(result.rate for result in results if (result.mode, result.window) == (name, window))
             for name in {result.mode for result in results if result.window == window}}  # fmt: skip
    found = []
    for name, other, wanted, text in (
        ("sipalg", "helper", 1.2, "REGISTER closed loop, compiled, against Linux's helper"),
        ("sipalg", "noop", 0.5, "REGISTER closed loop, compiled, against the C no-op queue"),
        ("pure", "helper", 0.5, "REGISTER closed loop, interpreted, against Linux's helper (an aim; issue 2: 0.4)"),
    ):
        if {name, other} <= rates.keys():
            share = rates[name] / rates[other]
            found.append(Claim(text, f"≥ {wanted} ×", f"{share:.2f} ×", share >= wanted))
    return found


def growth_claims(results: Sequence[Growth], began: Startup) -> list[Claim]:
    """Judge 100,000 phones, or as many as there are at most, against the fewest."""
    first, last = results[0], max(results, key=lambda one: one.phones)
    share = last.median_us / first.median_us
    size = f"{last.phones:,} phones"
    return [
        Claim(f"{size}: a message, against {first.phones:,}", "≤ 1.2 ×", f"{share:.2f} ×", share <= 1.2),
        Claim(f"{size}: memory a mapping", "≤ 1,500 bytes", f"{last.mapping_bytes:,.0f} bytes",
              last.mapping_bytes <= 1500),
        Claim(f"{began.phones:,} phones: start from the kernel's state", "< 5 s", f"{began.ready_s:.1f} s",
              began.ready_s < 5),
    ]  # fmt: skip


def _timing(result: EngineResult) -> tuple[str, str]:
    return f"{result.median_us:.2f}", f"{result.least_us:.2f}–{result.most_us:.2f}"


def _loop_row(runs: Sequence[LoopResult], helper: Sequence[float]) -> str:
    rates = [run.rate for run in runs]
    share = f"{median(rates) / median(helper):.2f}" if helper else ""
    user, system, softirq, machine = (median(values) / 2 for values in zip(*(run.cpu for run in runs), strict=True))
    checked, wrong = sum(run.checked for run in runs), sum(run.wrong for run in runs)
    verdict = f"{checked:,}, " + ("all right" if wrong == 0 else f"**{wrong / checked:.1%} wrong**")
    latencies = zip(*((run.p50_us, run.p99_us, run.p999_us) for run in runs), strict=True)
    cells = [
        str(runs[0].window), MODES[runs[0].mode].title, f"{median(rates):,.0f}",
        f"{min(rates):,.0f}–{max(rates):,.0f}", share, *(f"{median(values):,.0f}" for values in latencies),
        f"{user:.1f} + {system:.1f}" if user + system else "", f"{softirq:.1f}", f"{machine:.1f}",
        str(sum(run.resent for run in runs)), verdict,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"
