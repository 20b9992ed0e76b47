"""Media beyond what the machine can deliver: plain NAT and sipalg in pairs, one right after the other.

At its limit plain NAT itself delivers a tenth more or less from one run to the next, since generator, router and
receiver share two cores. So the calls of both ways are up at once, each in its own namespaces, and they play for a
moment in turns, now the one and now the other first. Each pair is compared by itself: what counts is the median of the
ratios, of so many pairs that a hundredth can be told. Driven by `sections`; `media` plays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import median
from typing import Final, NamedTuple

from bench.corpus import Corpus
from bench.loop import MODES, compile_programs, print_results
from bench.media import CALLS, WANTED, MediaResult, calls_up
from bench.page import Claim

#: More than is ever delivered, packets a second.
OFFERED: Final = 400_000
#: What comes before, while whoever had to do with the calls' messages gets done with them.
_BEFORE: Final = 20_000
#: Pairs in each round, whose calls are made anew; and how long one way plays, seconds.
PAIRS: Final = 40
SECONDS: Final = 0.3
#: A median's standard error, of normally spread values, against the width that half of them have, by √number.
_ERROR_PER_WIDTH: Final = 0.93


class Pair(NamedTuple):
    """Plain NAT and sipalg, measured one right after the other."""

    plain: MediaResult
    sipalg: MediaResult

    @property
    def share(self) -> float:
        """What sipalg delivered in time, against plain NAT."""
        return self.sipalg.in_time / self.plain.in_time


def run_pairs(rounds: int, seconds: float = SECONDS) -> Iterator[Pair]:
    """Run rounds of `PAIRS`, in turns beginning with the one way and the other. Raises LoopError or NetworkError."""
    compile_programs()
    corpus = Corpus(1, CALLS)
    for _ in range(rounds):
        with (
            calls_up(MODES["plain"], seconds, corpus) as plain,
            calls_up(MODES["sipalg"], seconds, corpus, "b") as sipalg,
        ):
            for play in (plain, sipalg):
                play(_BEFORE)
            for number in range(PAIRS):
                if number % 2 == 0:
                    first = plain(OFFERED)
                    yield Pair(first, sipalg(OFFERED))
                else:
                    second = sipalg(OFFERED)
                    yield Pair(plain(OFFERED), second)


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
    low, high = shares[len(shares) // 4], shares[-1 - len(shares) // 4]
    error = _ERROR_PER_WIDTH * (high - low) / sqrt(len(pairs))
    told = (
        f"sipalg against plain NAT in {len(pairs)} pairs: median {median(shares):.3f} (standard error {error:.3f}), "
        f"half of them {low:.2f}–{high:.2f}, all {shares[0]:.2f}–{shares[-1]:.2f}."
    )
    return [*lines, "", told]


def claim(pairs: Sequence[Pair]) -> Claim:
    """Judge the median of the ratios."""
    share = median(pair.share for pair in pairs)
    what = f"The same where both are at their limit, median of {len(pairs)} pairs"
    return Claim(what, f"≥ {WANTED} ×", f"{share:.3f} ×", share >= WANTED)


def main(words: Sequence[str]) -> int:
    """Print the table: `python -m bench.saturation [ROUNDS [SECONDS]]`."""
    rounds, seconds = int(words[0]) if words else 5, float(words[1]) if len(words) > 1 else SECONDS
    return print_results(run_pairs(rounds, seconds), table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
