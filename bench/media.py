"""Media at rising packet rates: plain NAT, sipalg's flows and rtpengine's relay in user space.

`media.c` has every phone call through the way in question, so that sipalg's own engine opens the flows, and then sends
RTP both ways at once; every packet is compared at its other end. What counts is what arrives within 50 ms: a relay
that is behind loses nothing for a while. CPU is the whole machine's, the generator's part in it too, which is the same
for all. The whole of a packet's way, measured from outside.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.corpus import Corpus
from bench.kamailio import missing
from bench.loop import BUILD, MODES, LoopError, Mode, compile_programs, print_results, way
from bench.network import Network
from bench.page import Claim
from bench.phones import MEDIA_SERVER, PUBLIC, SERVER
from bench.usage import Usage, usage

WAYS: Final = ("plain", "sipalg", "kamailio")
RATES: Final = (20_000, 50_000, 100_000, 150_000, 200_000, 250_000)
#: Calls that are up meanwhile.
CALLS: Final = 200
#: Of what plain NAT delivers in time.
WANTED: Final = 0.97
#: What of a rate plain NAT has to deliver in time for its whole.
_WHOLE: Final = 0.99
_TITLES: Final = {"kamailio": "rtpengine's relay in user space"}


class MediaResult(NamedTuple):
    """One rate of one run: packets a second (both ways), latency in µs, cores used by the machine and by the way."""

    mode: str
    rate: int
    sent: float
    in_time: float
    late: float
    p50_us: float
    p99_us: float
    busy_cores: float
    softirq_cores: float
    own_cores: float
    checked: int


@contextmanager
def calls_up(mode: Mode, seconds: float, corpus: Corpus, label: str = "") -> Iterator[Callable[[int], MediaResult]]:
    """Have every phone call through one way in fresh namespaces; what is yielded plays a rate for so many seconds.

    Raises LoopError or NetworkError.
    """
    with Network(corpus.phones, label) as network, way(mode, network):
        words: list[str | Path] = [BUILD / "media", network.phones_namespace, network.server, SERVER, MEDIA_SERVER]
        words += [PUBLIC, corpus.phones[0].private.host, str(len(corpus.phones)), mode.expected, str(seconds)]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            answers, rates = process.stdout, process.stdin
            assert answers is not None
            assert rates is not None

            def play(rate: int) -> MediaResult:
                before = usage(network.router)
                with suppress(BrokenPipeError):
                    rates.write(f"{rate}\n")
                    rates.flush()
                line = answers.readline()
                if not line:
                    raise _failed(mode, process)
                return _result(mode.name, json.loads(line), usage(network.router).since(before))

            answers.readline()  # the calls are up
            yield play
            rates.close()
            if process.wait() != 0:
                raise _failed(mode, process)


def _failed(mode: Mode, process: subprocess.Popen[str]) -> LoopError:
    """Say why the generator ended."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
    code = process.wait()
    errors = "" if process.stderr is None else process.stderr.read().strip()
    return LoopError(f"media by {mode.title}: {errors or f'exit code {code}'}")


def run_once(mode: Mode, rates: Sequence[int], seconds: float, corpus: Corpus) -> list[MediaResult]:
    """Run all rates through one way in fresh namespaces. Raises LoopError or NetworkError."""
    with calls_up(mode, seconds, corpus) as play:
        return [play(rate) for rate in rates]


def run_rounds(ways: Sequence[str], rates: Sequence[int], rounds: int, seconds: float) -> Iterator[MediaResult]:
    """Run all ways, `rounds` times interleaved; yield as they end. Without rtpengine its way is left out."""
    compile_programs()
    corpus = Corpus(1, CALLS)
    for _ in range(rounds):
        for name in ways:
            if name != "kamailio" or not missing():
                yield from run_once(MODES[name], rates, seconds, corpus)


def table(results: Sequence[MediaResult]) -> list[str]:
    """Return the page's table: a row for each rate and way."""
    lines = [
        "| packets a second offered | way | delivered within 50 ms, median | least–most | × plain | late | p50 µs "
        "| p99 µs | cores busy, all | of them softirq | the way's own programs | packets checked |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for rate in dict.fromkeys(result.rate for result in results):
        plain = [result.in_time for result in results if (result.mode, result.rate) == ("plain", rate)]
        for name in dict.fromkeys(result.mode for result in results if result.rate == rate):
            runs = [result for result in results if (result.mode, result.rate) == (name, rate)]
            in_time = [run.in_time for run in runs]
            cells = [
                f"{rate:,}", _title(name), f"{median(in_time):,.0f}", f"{min(in_time):,.0f}–{max(in_time):,.0f}",
                f"{median(in_time) / median(plain):.2f}" if plain else "", f"{median(run.late for run in runs):,.0f}",
                f"{median(run.p50_us for run in runs):,.0f}", f"{median(run.p99_us for run in runs):,.0f}",
                f"{median(run.busy_cores for run in runs):.2f}", f"{median(run.softirq_cores for run in runs):.2f}",
                f"{median(run.own_cores for run in runs):.2f}",
                f"{sum(run.checked for run in runs):,}, all right",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def claims(results: Sequence[MediaResult]) -> list[Claim]:
    """Judge sipalg at the highest rate that plain NAT delivers whole, and that it has no part in it."""
    rate = highest_whole(results)
    plain, own = delivered(results, "plain").get(rate, 0.0), delivered(results, "sipalg").get(rate, 0.0)
    found = []
    if plain and own:
        what = f"Media delivered within 50 ms, against plain NAT, at the most that it has whole, {rate:,} a second"
        found.append(Claim(what, f"≥ {WANTED} ×", f"{own / plain:.3f} ×", own >= WANTED * plain))
        cores = median(result.own_cores for result in results if result.mode == "sipalg")
        found.append(Claim("CPU of sipalg's process while media flow", "≈ 0", f"{cores:.3f} of a core", cores < 0.02))
    most = [max(delivered(results, name).values(), default=0.0) for name in ("plain", "kamailio")]
    if all(most):
        found.append(Claim("The most by rtpengine's relay, for comparison", "", f"{most[1] / most[0]:.2f} ×", None))
    return found


def delivered(results: Sequence[MediaResult], name: str) -> dict[int, float]:
    """Return the packets a second that a way delivered in time, by the rates that were offered: the medians."""
    rates: dict[int, list[float]] = {}
    for result in results:
        if result.mode == name:
            rates.setdefault(result.rate, []).append(result.in_time)
    return {rate: median(values) for rate, values in rates.items()}


def highest_whole(results: Sequence[MediaResult]) -> int:
    """Return the highest rate that plain NAT delivers whole, else the one at which it delivers most; 0 for none."""
    plain = delivered(results, "plain")
    whole = [rate for rate, in_time in plain.items() if in_time >= _WHOLE * rate]
    return max(whole) if whole else max(plain, key=lambda rate: plain[rate], default=0)


def _result(name: str, found: dict[str, float], used: Usage) -> MediaResult:
    seconds = found["seconds"]
    arrived = found["in_time"] + found["late"]
    if arrived > found["sent"]:
        raise LoopError(f"media by {name}: {arrived:,.0f} packets arrived of {found['sent']:,.0f}")
    return MediaResult(name, int(found["rate"]), found["sent"] / seconds, found["in_time"] / seconds,
                       found["late"] / seconds, found["p50_us"], found["p99_us"], used.busy_s / used.wall_s,
                       used.softirq_s / used.wall_s, used.own_s / used.wall_s, int(arrived))  # fmt: skip


def _title(name: str) -> str:
    return _TITLES.get(name, MODES[name].title)


def main(words: Sequence[str]) -> int:
    """Print the table: `python -m bench.media [WAY,WAY [RATE,RATE [ROUNDS [SECONDS]]]]`."""
    ways = words[0].split(",") if words else WAYS
    rates = [int(rate) for rate in words[1].split(",")] if len(words) > 1 else RATES
    rounds, seconds = int(words[2]) if len(words) > 2 else 5, float(words[3]) if len(words) > 3 else 1.0
    return print_results(run_rounds(ways, rates, rounds, seconds), table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
