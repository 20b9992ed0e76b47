"""`make bench`: the engine alone, closed loops and growth, one after the other, and the page with the results.

`python -m bench.run [--rounds N] [--seconds S] [--only engine|loop|calls|growth] [--modes …] [--windows …]
[--phones N]`. Exit code 1 with the message in question if one output is wrong. It drives everything else here.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import calls, growth
from bench.diagnose import HEADING, old_section, with_section
from bench.engine import WrongOutputError, measure
from bench.figures import EngineResult, LoopResult, machine_us
from bench.loop import MODES, LoopError, run_rounds
from bench.network import NetworkError
from bench.report import TARGET_SHARE, engine_table, loop_table, machine, shares

RESULTS: Final = Path(__file__).resolve().parent / "RESULTS.md"
_ENGINE_NOTE: Final = (
    "A thousand phones, each with its own header order, names, lengths and User-Agent. A batch is one message of "
    "every phone; the figure is `receive_datagram` and, where there are commands, `commands_done`. Each output is "
    "compared, byte for byte, with a text made without sipalg's code. REGISTERs are refreshes of known phones, "
    "INVITEs new calls, whose RTP ports are mapped still from a call before or (new ports) aren't."
)
_LOOP_NOTE: Final = (
    "Registrations (REGISTER and its 200) of a thousand phones through a router namespace, own generator in C, one "
    "process at each end; every message is compared at both ends, byte for byte, and the first wrong one ends the "
    "run. Linux's helper gets part of them wrong, so its mistakes are counted instead. Rounds are interleaved. With "
    "plain NAT and in the ways that only accept, the texts must arrive unchanged."
)
_CALLS_NOTE: Final = (
    "INVITE with SDP, 180, 200 with SDP, ACK, BYE, 200, window 64, own generator in C; each call's media ports are "
    "others than those of its phone's call before. Every message is compared at both ends, byte for byte, and the "
    "first wrong one ends the run, but for Linux's helper, whose mistakes are counted."
)
_GROWTH_NOTE: Final = (
    "Phones with an address each, registered, through the engine alone: a round trip is a refresh and its 200, in "
    "random order, compared with what has to come out. Each size in a process of its own; bytes are of its resident "
    "memory, contact, peer and remembered texts included. Start: all mappings and the journal's lines taken over by a "
    "new engine. Expiry: all timers until nothing is left. 100,000 phones are two engines, for want of ports."
)


def main(words: Sequence[str]) -> int:
    """Run it; write bench/RESULTS.md if both parts ran (or where `--output` says)."""
    options = _parse(words)
    lines = ["# Results", "", f"`python -m bench.run {shlex.join(words)}`".replace(" `", "`"), "", *machine()]
    try:
        if options.only in {None, "engine"}:
            lines += _engine(options)
        if options.only in {None, "loop"}:
            lines += _loop(options)
        if options.only in {None, "calls"}:
            lines += _calls(options)
        if options.only in {None, "growth"}:
            lines += _growth()
    except (WrongOutputError, growth.WrongOutputError, LoopError, NetworkError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    page = "\n".join(lines) + "\n"
    output = options.output or (None if options.only else RESULTS)
    if output is not None:
        if output.exists():
            # What `bench.diagnose` wrote is another run's.
            page = with_section(page, old_section(output.read_text())) if HEADING in output.read_text() else page
        output.write_text(page)
        print(f"written to {output}")
    else:
        print(page)
    return 0


def _engine(options: argparse.Namespace) -> list[str]:
    speed_us = machine_us()
    results: list[EngineResult] = measure(options.rounds, options.phones)
    for result in results:
        print(f"engine  {result.kind:24} {result.median_us:7.2f} µs", flush=True)
    command = f"`python -m bench.engine {options.rounds} {options.phones}`"
    return ["", "## The engine alone", "", f"{command}. {_ENGINE_NOTE}", "",
            *engine_table(results, min(speed_us, machine_us()))]  # fmt: skip


def _loop(options: argparse.Namespace) -> list[str]:
    modes = [MODES[name] for name in options.modes.split(",")]
    windows = [int(window) for window in options.windows.split(",")]
    results: list[LoopResult] = []
    for result in run_rounds(modes, windows, options.rounds, options.seconds, options.phones, options.load):
        print(f"loop    {result.mode:8} window {result.window:3} {result.rate:10,.0f} a second", flush=True)
        results.append(result)
    verdicts = [f"sipalg at window {window}: {share:.2f} × Linux's helper"
                + (f" (at least {TARGET_SHARE:g} wanted)" if window == max(windows) else "") + "."
                for window, share in sorted(shares(results).items(), reverse=True)]  # fmt: skip
    command = (f"`python -m bench.loop {options.modes} {options.windows} {options.rounds} {options.seconds:g} "
               f"{options.load}`")  # fmt: skip
    return ["", "## The closed loop", "", f"{command}. {_LOOP_NOTE}", "", *loop_table(results), "", *verdicts]


def _calls(options: argparse.Namespace) -> list[str]:
    results = []
    for result in calls.run_rounds(calls.WAYS, 64, options.rounds, options.seconds, options.phones):
        print(f"calls   {result.mode:8} {result.rate:10,.0f} a second", flush=True)
        results.append(result)
    command = f"`python -m bench.calls {','.join(calls.WAYS)} 64 {options.rounds} {options.seconds:g}`"
    return ["", "## Calls", "", f"{command}. {_CALLS_NOTE}", "", *calls.table(results)]


def _growth() -> list[str]:
    command = f"`python -m bench.growth {' '.join(growth.SIZES)}`"
    return ["", "## Growth", "", f"{command}. {_GROWTH_NOTE}", "",
            *growth.table([growth.measure_apart(size) for size in growth.SIZES])]  # fmt: skip


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Measure what sipalg costs.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of everything (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a closed loop's run (default 2)")
    parser.add_argument("--only", choices=("engine", "loop", "calls", "growth"), help="one part; writes no file")
    parser.add_argument("--modes", default="plain,helper,noop,accept,sipalg,pure", help=f"of {', '.join(MODES)}")
    parser.add_argument("--windows", default="64,1", help="messages under way at once (default 64,1)")
    parser.add_argument("--phones", type=int, default=1000, help="phones, at most 1,000 in the loop (default 1000)")
    parser.add_argument("--load", choices=("register", "mixed"), default="register", help="what the loop sends")
    parser.add_argument("--output", type=Path, help="the page's file (default bench/RESULTS.md)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
