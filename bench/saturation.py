"""Media beyond what the machine can deliver: plain NAT and sipalg in pairs, one right after the other.

At its limit plain NAT itself delivers a tenth more or less from one second to the next, since generator, router and
receiver share two cores. So both ways are run side by side, in turns the one or the other first, and each pair is
compared by itself: what counts is the median of the ratios. Driven by `sections` and `media`, which measures a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

from bench.corpus import Corpus
from bench.loop import MODES, compile_programs, print_results
from bench.media import CALLS, WANTED, MediaResult, run_once
from bench.page import Claim

#: More than is ever delivered, packets a second.
OFFERED: Final = 400_000
#: What comes before, while whoever had to do with the calls' messages gets done with them.
_BEFORE: Final = 20_000
#: Pairs at least, however few rounds are asked for: an odd number has one in the middle.
PAIRS: Final = 9


class Pair(NamedTuple):
    """Plain NAT and sipalg, measured one right after the other."""

    plain: MediaResult
    sipalg: MediaResult

    @property
    def share(self) -> float:
        """What sipalg delivered in time, against plain NAT."""
        return self.sipalg.in_time / self.plain.in_time


def run_pairs(pairs: int, seconds: float) -> Iterator[Pair]:
    """Run pairs, in turns beginning with the one way and the other. Raises LoopError or NetworkError."""
    compile_programs()
    corpus = Corpus(1, CALLS)
    for number in range(pairs):
        order = ("plain", "sipalg") if number % 2 == 0 else ("sipalg", "plain")
        found = {name: run_once(MODES[name], (_BEFORE, OFFERED), seconds, corpus)[-1] for name in order}
        yield Pair(found["plain"], found["sipalg"])


def table(pairs: Sequence[Pair]) -> list[str]:
    """Return the page's table: a row for each way, and a line with the ratios."""
    lines = [
        "| way | sent | delivered within 50 ms, median | least–most | late | p99 µs | softirq, µs a packet delivered "
        "| packets checked |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for runs in ([pair.plain for pair in pairs], [pair.sipalg for pair in pairs]):
        in_time = [run.in_time for run in runs]
        softirq_us = median(run.softirq_cores / run.in_time * 1e6 for run in runs)
        cells = [
            MODES[runs[0].mode].title, f"{median(run.sent for run in runs):,.0f}", f"{median(in_time):,.0f}",
            f"{min(in_time):,.0f}–{max(in_time):,.0f}", f"{median(run.late for run in runs):,.0f}",
            f"{median(run.p99_us for run in runs):,.0f}", f"{softirq_us:.2f}",
            f"{sum(run.checked for run in runs):,}, all right",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    shares = sorted(pair.share for pair in pairs)
    return [*lines, "", f"sipalg against plain NAT, pair by pair: {', '.join(f'{share:.2f}' for share in shares)}; "
                        f"median {median(shares):.3f}."]  # fmt: skip


def claim(pairs: Sequence[Pair]) -> Claim:
    """Judge the median of the ratios."""
    share = median(pair.share for pair in pairs)
    what = f"The same where both are at their limit, median of {len(pairs)} pairs"
    return Claim(what, f"≥ {WANTED} ×", f"{share:.3f} ×", share >= WANTED)


def main(words: Sequence[str]) -> int:
    """Print the table: `python -m bench.saturation [PAIRS [SECONDS]]`."""
    pairs, seconds = int(words[0]) if words else PAIRS, float(words[1]) if len(words) > 1 else 1.0
    return print_results(run_pairs(pairs, seconds), table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
