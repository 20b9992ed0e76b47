"""Registrations at a given rate: latency at half of what sipalg can do, and what becomes of more than it can.

`paced.c` sends when it is time, whether or not answers come, through the ways of `loop`. The highest rate is sipalg's
own in the closed loop, measured first. In an overload, messages may pass untranslated (fail-open), but each is either
whole or untouched; that is compared as ever. The whole of a packet's way, measured from outside.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, median_low
from typing import Final, NamedTuple

from bench.corpus import EXCHANGES, Corpus
from bench.figures import Share
from bench.loop import BUILD, MODES, LoopError, Mode, compile_programs, play, run_once, way
from bench.network import Network, NetworkError
from bench.page import Claim
from bench.phones import PUBLIC, SERVER

LATENCY_WAYS: Final = ("plain", "helper", "noop", "sipalg")
#: Offered load in shares of sipalg's highest rate.
LOADS: Final = (0.5, 1.0, 2.0, 3.0)
#: µs that sipalg may add to plain NAT's p99 at half of its highest rate.
ADDED_US: Final = 300.0
_WINDOW: Final = 64


class PacedResult(NamedTuple):
    """One run: requests a second offered, sent and answered, shares (0–1) and µs.

    `late_us` is how late the generator itself was with a request, at the ninety-ninth of a hundred.
    `plain_share` is of the round trips of which the request or the answer passed untranslated; `low` and `high` are
    the shares of its requests that were served, of the phones at the fifth and the ninety-fifth of a hundred.
    """

    mode: str
    offered: float
    sent: float
    answered: float
    plain_share: float
    p50_us: float
    p99_us: float
    p999_us: float
    low: float
    middle: float
    high: float
    checked: int
    wrong: int
    cpu: Share
    late_us: float = 0.0


@contextmanager
def load_of(corpus: Corpus) -> Iterator[Path]:
    """Write the registrations' file for the generators; it goes with the block."""
    with tempfile.TemporaryDirectory(prefix="sipalg-bench-") as directory:
        path = Path(directory) / "load"
        corpus.write_loop(path, EXCHANGES["register"])
        yield path


def run_paced(mode: Mode, rate: float, seconds: float, corpus: Corpus, load: Path) -> PacedResult:
    """Run one mode once at this rate in fresh namespaces. Raises LoopError or NetworkError."""
    with Network(corpus.phones) as network, way(mode, network):
        words: list[str | Path] = [BUILD / "paced", load, network.phones_namespace, network.server, SERVER, PUBLIC]
        words += [mode.expected, f"{rate:.0f}", str(seconds)]
        found, used = play(words, network.router, f"{mode.title} at {rate:,.0f} a second")
    took, sent = found["seconds"], max(1, found["sent"])
    plain = found["plain_replies"] / max(1, found["answered"])
    return PacedResult(mode.name, rate, sent / took, found["answered"] / took, plain, found["p50_us"], found["p99_us"],
                       found["p999_us"], found["low"], found["middle"], found["high"], found["checked"],
                       found["wrong"], Share.of(used, sent), found["late_us"])  # fmt: skip


def highest_rate(corpus: Corpus, load: Path, rounds: int, seconds: float) -> float:
    """Return sipalg's rate in the closed loop, round trips a second: the most of the rounds."""
    return max(run_once(MODES["sipalg"], _WINDOW, seconds, corpus, load).rate for _ in range(rounds))


def run_latency(rate: float, rounds: int, seconds: float, corpus: Corpus, load: Path) -> Iterator[PacedResult]:
    """Run all ways at one rate, `rounds` times interleaved; yield as they end."""
    for _ in range(rounds):
        for name in LATENCY_WAYS:
            yield run_paced(MODES[name], rate, seconds, corpus, load)


def run_overload(highest: float, rounds: int, seconds: float, corpus: Corpus, load: Path) -> Iterator[PacedResult]:
    """Offer all loads to sipalg, `rounds` times interleaved; yield as they end."""
    mode = MODES["sipalg"]._replace(expected="either")
    for _ in range(rounds):
        for share in LOADS:
            yield run_paced(mode, highest * share, seconds, corpus, load)


def latency_table(results: Sequence[PacedResult]) -> list[str]:
    """Return the table of latencies, a row for each way."""
    lines = [
        "| way | requests a second | p50 µs | p99 µs | p99.9 µs | p99, least–most | its process, µs a message "
        "(user + system) | softirq, µs a message | sent late by, p99 µs | unanswered | messages checked |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(result.mode for result in results):
        runs = [result for result in results if result.mode == name]
        user, system, softirq, _ = (median(values) / 2 for values in zip(*(run.cpu for run in runs), strict=True))
        p99 = [run.p99_us for run in runs]
        cells = [
            MODES[name].title, f"{median(run.sent for run in runs):,.0f}",
            f"{median(run.p50_us for run in runs):,.0f}", f"{median(p99):,.0f}",
            f"{median(run.p999_us for run in runs):,.0f}", f"{min(p99):,.0f}–{max(p99):,.0f}",
            f"{user:.1f} + {system:.1f}" if user + system else "", f"{softirq:.1f}",
            f"{median(run.late_us for run in runs):,.0f}", _unanswered(runs), _verdict(runs),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def latency_claims(results: Sequence[PacedResult]) -> list[Claim]:
    """Judge what sipalg adds to plain NAT's p99: the difference of the medians.

    Beside it, not judged: what it added in each round to that round's plain NAT, and the same of the C program that
    only accepts, which shows what a queue's wake-ups cost on this machine.
    """
    p99 = {name: median(result.p99_us for result in results if result.mode == name)
           for name in {result.mode for result in results}}  # fmt: skip
    if not {"plain", "sipalg"} <= p99.keys():
        return []
    added = p99["sipalg"] - p99["plain"]
    judged = Claim("p99 added to plain NAT's at half of sipalg's highest rate", f"< {ADDED_US:g} µs",
                   f"{added:.0f} µs ({p99['sipalg']:.0f} against {p99['plain']:.0f})", added < ADDED_US)  # fmt: skip
    pairs = [f"{name} {_added_by_round(results, name)}" for name in ("sipalg", "noop") if name in p99]
    return [judged, Claim("The same round by round: median, least to most", "", "; ".join(pairs), None)]


def _added_by_round(results: Sequence[PacedResult], name: str) -> str:
    """Return what one way added to plain NAT's p99 in the same rounds."""
    of = {way: [result.p99_us for result in results if result.mode == way] for way in ("plain", name)}
    added = [with_it - plain for plain, with_it in zip(of["plain"], of[name], strict=False)]
    return f"{median_low(added):.0f} µs ({min(added):.0f} to {max(added):.0f})"


def overload_table(results: Sequence[PacedResult], highest: float) -> list[str]:
    """Return the table of loads."""
    lines = [
        "| load, × highest | requests a second, offered | sent | answered | passed as plain NAT | p50 µs | p99 µs "
        "| p99, least–most | of a phone's requests served, 5 % – median – 95 % of phones | messages checked |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for offered in sorted({result.offered for result in results}):
        runs = [result for result in results if result.offered == offered]
        p99 = [run.p99_us for run in runs]
        shares = zip(*((run.low, run.middle, run.high) for run in runs), strict=True)
        spread = " – ".join(f"{median(values):.0%}" for values in shares)
        cells = [
            f"{offered / highest:.1f}", f"{offered:,.0f}", f"{median(run.sent for run in runs):,.0f}",
            f"{median(run.answered for run in runs):,.0f}", f"{median(run.plain_share for run in runs):.1%}",
            f"{median(run.p50_us for run in runs):,.0f}", f"{median(p99):,.0f}", f"{min(p99):,.0f}–{max(p99):,.0f}",
            spread, _verdict(runs),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def overload_claims(results: Sequence[PacedResult]) -> list[Claim]:
    """Show what the greatest load does to latency and to the phones' shares, and that nothing was half-edited."""
    most = max(result.offered for result in results)
    runs = [result for result in results if result.offered == most]
    p99, spread = median(run.p99_us for run in runs), median(run.high - run.low for run in runs)
    wrong = sum(result.wrong for result in results)
    return [
        Claim("Overload: p99 at three times the highest rate", "bounded", f"{p99 / 1000:.1f} ms", None),
        Claim("Overload: share of requests served, 95 % of phones less 5 %", "even", f"{spread:.0%} of 100 %", None),
        Claim("Overload: half-edited messages", "0", str(wrong), wrong == 0),
    ]


def _verdict(runs: Sequence[PacedResult]) -> str:
    checked, wrong = sum(run.checked for run in runs), sum(run.wrong for run in runs)
    return f"{checked:,}, " + ("all right" if wrong == 0 else f"**{wrong / checked:.1%} wrong**")


def _unanswered(runs: Sequence[PacedResult]) -> str:
    sent, answered = sum(run.sent for run in runs), sum(run.answered for run in runs)
    return f"{max(0.0, 1 - answered / sent):.2%}"


def main(words: Sequence[str]) -> int:
    """Print both tables: `python -m bench.paced [latency|overload [ROUNDS [SECONDS]]]`."""
    what = words[0] if words else ""
    rounds, seconds = int(words[1]) if len(words) > 1 else 5, float(words[2]) if len(words) > 2 else 2.0
    compile_programs()
    corpus = Corpus(1, 1000)
    try:
        with load_of(corpus) as load:
            highest = highest_rate(corpus, load, 3, seconds)
            if what != "overload":
                found = list(run_latency(highest / 2, rounds, seconds, corpus, load))
                print("\n".join(latency_table(found)))
                for claim in latency_claims(found):
                    print(f"{claim.what}: {claim.measured}")
            if what != "latency":
                results = list(run_overload(highest, rounds, seconds, corpus, load))
                print("\n".join(overload_table(results, highest)))
    except (LoopError, NetworkError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
