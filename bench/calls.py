"""Calls with SDP in a closed loop: INVITE, 180, 200, ACK, BYE, 200, through the same ways as the registrations.

`calls.c` makes the messages and compares every one at both ends; each call's media ports are others than those of its
phone's call before. A call opens its media's mappings and flows and ends them, so this measures sipalg's commands to
the kernel, which a registration's refresh has none of. The whole of a packet's way, measured from outside.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.corpus import Corpus
from bench.figures import Share
from bench.loop import BUILD, MODES, LoopError, Mode, compile_programs, play, print_results, way
from bench.network import Network
from bench.page import Claim
from bench.phones import MEDIA_SERVER, PUBLIC, SERVER
from sipalg.control.socket.client import ControlError, ask

WAYS: Final = ("plain", "helper", "sipalg", "pure", "kamailio")

#: What each call opens for its media, RTP and RTCP: flows in the tracker, expectations, or a relay's pairs of sockets.
FLOWS_A_CALL: Final = {"helper": 2, "sipalg": 2, "pure": 2, "kamailio": 4}


#: How long what ends last may take to be gone.
_PATIENCE_S: Final = 2.0


class CallsResult(NamedTuple):
    """One run: calls a second, latency of a whole call in µs, CPU time a call, and what is left of ended calls."""

    mode: str
    rate: float
    p50_us: float
    p99_us: float
    resent: int
    checked: int
    wrong: int
    cpu: Share
    left: int


def run_once(mode: Mode, window: int, seconds: float, corpus: Corpus) -> CallsResult:
    """Run one mode once in fresh namespaces. Raises LoopError or NetworkError."""
    with Network(corpus.phones) as network, way(mode, network) as pid:
        first = corpus.phones[0].private.host
        words: list[str | Path] = [BUILD / "calls", network.phones_namespace, network.server, SERVER, MEDIA_SERVER]
        words += [PUBLIC, first, str(len(corpus.phones)), mode.expected, str(window), str(seconds)]
        found, used = play(words, network.router, f"calls by {mode.title}")
        left = left_over(network, pid if mode.name in {"sipalg", "pure"} else 0)
    return CallsResult(mode.name, found["rate"], found["p50_us"], found["p99_us"], found["resent"], found["checked"],
                       found["wrong"], Share.of(used, found["calls"]), left)  # fmt: skip


def left_over(network: Network, pid: int) -> int:
    """Count what ended calls have left: media flows in the tracker, and calls in the tables of sipalg's process `pid`.

    What ends last may still be on its way. Raises LoopError where sipalg doesn't answer, NetworkError.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        listed = network.in_router("conntrack", "-L", "-p", "udp", "-d", MEDIA_SERVER)
        left = len(listed.splitlines()) + (_standing(pid) if pid else 0)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _standing(pid: int) -> int:
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    try:
        return len(ask(Path(words[words.index("--socket") + 1]), "calls")["calls"])
    except ControlError as error:
        raise LoopError(str(error)) from None


def run_rounds(ways: Sequence[str], window: int, rounds: int, seconds: float, phones: int) -> Iterator[CallsResult]:
    """Run all ways, `rounds` times interleaved; yield as they end."""
    compile_programs()
    corpus = Corpus(1, phones)
    for _ in range(rounds):
        for name in ways:
            yield run_once(MODES[name], window, seconds, corpus)


def table(results: Sequence[CallsResult]) -> list[str]:
    """Return the page's table, a row for each way."""
    helper = [result.rate for result in results if result.mode == "helper"]
    lines = [
        "| way | calls a second, median | least–most | × helper | flows opened a second | p50 µs | p99 µs "
        "| its programs' CPU, µs a call (user + system) | softirq, µs a call | resent | left over "
        "| messages checked |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(result.mode for result in results):
        runs = [result for result in results if result.mode == name]
        rates = [run.rate for run in runs]
        share = f"{median(rates) / median(helper):.2f}" if helper else ""
        user, system, softirq = (median(values) for values in list(zip(*(run.cpu for run in runs), strict=True))[:3])
        cells = [
            MODES[name].title, f"{median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}", share,
            f"{median(rates) * FLOWS_A_CALL.get(name, 0):,.0f}",
            f"{median(run.p50_us for run in runs):,.0f}", f"{median(run.p99_us for run in runs):,.0f}",
            f"{user:.0f} + {system:.0f}" if user + system else "", f"{softirq:.0f}",
            str(sum(run.resent for run in runs)), str(sum(run.left for run in runs)), verdict(runs),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def claims(results: Sequence[CallsResult]) -> list[Claim]:
    """Judge sipalg's rate against Linux's helper's and Kamailio's with rtpengine."""
    rates = {name: median(result.rate for result in results if result.mode == name)
             for name in {result.mode for result in results}}  # fmt: skip
    found = []
    for other, wanted, text in (
        ("helper", 0.6, "Linux's helper (aim: 1.0)"),
        ("kamailio", 3.0, MODES["kamailio"].title),
    ):
        if {"sipalg", other} <= rates.keys():
            share = rates["sipalg"] / rates[other]
            found.append(Claim(f"Calls with SDP, closed loop, against {text}", f"≥ {wanted:g} ×", f"{share:.2f} ×",
                               share >= wanted))  # fmt: skip
    ours = [result for result in results if result.mode in {"sipalg", "pure"}]
    if ours:
        wrong = sum(result.wrong for result in ours)
        found.append(Claim("Failed calls and wrong messages with sipalg", "0", str(wrong), wrong == 0))
        left = sum(result.left for result in ours)
        found.append(Claim("Media flows and calls left over after the calls with sipalg", "0", str(left), left == 0))
    return found


def verdict(runs: Sequence[CallsResult]) -> str:
    """Say how many messages were checked, and how many of them were wrong."""
    checked, wrong = sum(run.checked for run in runs), sum(run.wrong for run in runs)
    return f"{checked:,}, " + ("all right" if wrong == 0 else f"**{wrong / checked:.1%} wrong**")


def main(words: Sequence[str]) -> int:
    """Print the table: `python -m bench.calls [WAY,WAY [WINDOW [ROUNDS [SECONDS]]]]`."""
    ways = words[0].split(",") if words else list(WAYS)
    window, rounds = (int(words[i]) if len(words) > i else default for i, default in ((1, 64), (2, 5)))
    return print_results(run_rounds(ways, window, rounds, float(words[3]) if len(words) > 3 else 2.0, 1000), table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
