"""The closed loop through a router: plain NAT, Linux's own SIP helper, a queue that looks at nothing, and sipalg.

Each mode gets fresh namespaces and the same load; `loop.c` sends it and checks every message at both ends. Modes
are interleaved, round by round, so that what else the machine does falls on all of them. The whole of a packet's way,
measured from outside.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from bench.corpus import EXCHANGES, Corpus
from bench.figures import LoopResult, Share
from bench.kamailio import proxy
from bench.network import GATEWAY, Network, NetworkError
from bench.phones import PUBLIC, SERVER
from bench.usage import Usage, rest, usage

Result = TypeVar("Result")

_HERE: Final = Path(__file__).resolve().parent
BUILD: Final = _HERE / "build"
_READY_S: Final = 15.0
_QUEUE: Final = "7"
_HELPER_RULES: Final = """
table ip helper {
    ct helper sip { type "sip" protocol udp; l3proto ip; }
    chain pre { type filter hook prerouting priority 0; udp dport 5060 ct helper set "sip"; }
}
"""


class Mode(NamedTuple):
    """A way through the router, and what `loop` is told to expect: translated or not, mistakes counted or fatal."""

    name: str
    title: str
    expected: str


MODES: Final = {
    mode.name: mode
    for mode in (
        Mode("plain", "plain NAT", "plain"),
        Mode("helper", "Linux's SIP helper", "alg-counted"),
        Mode("noop", "C program that only accepts from the queue", "plain"),
        Mode("accept", "sipalg's packet loop, engine that accepts all", "plain"),
        Mode("replace", "sipalg's packet loop, engine that replaces all by itself", "plain"),
        Mode("sipalg", "sipalg", "alg"),
        Mode("pure", "sipalg, interpreted", "alg"),
        Mode("kamailio", "Kamailio with rtpengine", f"proxied:{GATEWAY}"),
    )
}


class LoopError(Exception):
    """A wrong message, or a run that didn't end as it should; the text says which."""


def compile_programs() -> None:
    """Compile the C programs into bench/build/ where they are older than their sources; LoopError without gcc."""
    if shutil.which("gcc") is None:
        raise LoopError("the closed loop's generator is C: gcc is missing (Debian: apt-get install gcc libc6-dev)")
    BUILD.mkdir(exist_ok=True)
    newest = max(path.stat().st_mtime for path in [*_HERE.glob("*.c"), *_HERE.glob("*.h")])
    for name in ("loop", "paced", "noop", "calls", "media"):
        program = BUILD / name
        if not program.exists() or program.stat().st_mtime < newest:
            subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, _HERE / f"{name}.c"], check=True)


def play(
    words: Sequence[str | Path], router: str, what: str, *, at_rest: bool = False
) -> tuple[dict[str, Any], Usage]:
    """Run a generator to its end: what it found, and the CPU time used after the first round, in `router` too.

    `at_rest`: the closed loop's generator waits until the router's programs have hardly anything to do from it.
    Raises LoopError naming `what` where it fails.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # every phone was there once
        if at_rest:
            rest(router)
        before = usage(router)
        output, errors = process.communicate("\n")
        used = usage(router).since(before)
    if process.returncode != 0:
        raise LoopError(f"{what}: {errors.strip() or f'exit code {process.returncode}'}")
    return json.loads(output), used


def run_once(mode: Mode, window: int, seconds: float, corpus: Corpus, load: Path) -> LoopResult:
    """Run one mode once in fresh namespaces. Raises LoopError or NetworkError."""
    with Network(corpus.phones) as network, way(mode, network):
        words: list[str | Path] = [BUILD / "loop", load, network.phones_namespace, network.server, SERVER, PUBLIC]
        words += [mode.expected, str(window), str(seconds), "1"]
        result, used = play(words, network.router, f"{mode.title}, window {window}")
    return LoopResult(mode.name, window, result["rate"], result["p50_us"], result["p99_us"], result["p999_us"],
                      result["resent"], result["first_rate"], result["checked"], result["wrong"],
                      Share.of(used, result["round_trips"]))  # fmt: skip


def run_rounds(
    modes: Sequence[Mode], windows: Sequence[int], rounds: int, seconds: float, phones: int, load: str, seed: int = 1
) -> Iterator[LoopResult]:
    """Run all modes and windows, `rounds` times interleaved, with the load of this name; yield as they end."""
    compile_programs()
    corpus = Corpus(seed, phones)
    with tempfile.TemporaryDirectory(prefix="sipalg-bench-") as directory:
        path = Path(directory) / "load"
        corpus.write_loop(path, EXCHANGES[load])
        for _ in range(rounds):
            for window in windows:
                for mode in modes:
                    yield run_once(mode, window, seconds, corpus, path)


@contextmanager
def way(mode: Mode, network: Network, *options: str) -> Iterator[int]:
    """Set the mode up in the router, sipalg with more options; its process's pid, 0 where the kernel does it alone."""
    if mode.name == "plain":
        yield 0
    elif mode.name == "helper":
        network.rules(_HELPER_RULES)
        yield 0
    elif mode.name == "kamailio":
        with proxy(network) as pid:
            yield pid
    elif mode.name in {"sipalg", "pure"}:
        with tempfile.TemporaryDirectory(prefix="sipalg-bench-") as directory:
            # A socket of its own: an ALG may be running on this machine already.
            words = [sys.executable, "-m", "sipalg", "run", "--inside", "lan0", "--outside", "wan0"]
            words += ["--config", f"{directory}/settings", "--socket", f"{directory}/socket", *options]
            with _process(network.command(network.router, *words), pure=mode.name == "pure") as pid:
                yield pid
    else:
        # The xt target, which kernels without nft's own `queue` have too.
        network.in_router("iptables", "-A", "FORWARD", "-p", "udp", "-j", "NFQUEUE", "--queue-num", _QUEUE,
                          "--queue-bypass")  # fmt: skip
        words = [str(BUILD / "noop"), _QUEUE]
        if mode.name != "noop":
            words = [sys.executable, "-m", "bench.python_queue", _QUEUE, mode.name]
        with _process(network.command(network.router, *words)) as pid:
            yield pid


@contextmanager
def _process(words: list[str], *, pure: bool = False) -> Iterator[int]:
    """Run a program until the block ends, `pure` in the interpreted build; it has to say `ready` first."""
    with tempfile.TemporaryFile("w+") as log:
        environment = os.environ | {"PYTHONPATH": f"{_HERE.parent / 'src'}:{_HERE.parent}", "PYTHONUNBUFFERED": "1"}
        if pure:
            environment["SIPALG_BUILD"] = "pure"
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            deadline = time.monotonic() + _READY_S
            while "ready" not in _text(log):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise LoopError(f"{' '.join(words)} isn't ready: {_text(log).strip()}")
                time.sleep(0.02)
            yield process.pid
            if process.poll() is not None:
                raise LoopError(f"{' '.join(words)} ended: {_text(log).strip()[-2000:]}")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _text(log: object) -> str:
    assert hasattr(log, "fileno")
    return os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")


def print_results(runs: Iterable[Result], table: Callable[[Sequence[Result]], list[str]]) -> int:
    """Run to the end and print the table; the exit code, 1 with one line where a run failed."""
    try:
        results = list(runs)
    except (LoopError, NetworkError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(table(results)))
    return 0


def main(words: Sequence[str]) -> int:
    """Run some modes and print each run: `python -m bench.loop MODE,MODE WINDOW,WINDOW ROUNDS SECONDS [LOAD]`."""
    modes = [MODES[name] for name in words[0].split(",")]
    windows = [int(window) for window in words[1].split(",")]
    load = words[4] if len(words) > 4 else "register"
    try:
        for result in run_rounds(modes, windows, int(words[2]), float(words[3]), 1000, load):
            print(result, flush=True)
    except (LoopError, NetworkError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
