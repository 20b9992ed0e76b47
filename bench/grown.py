"""What a message costs in the live process, with the state of 100 to 60,000 phones: the closed loop of REGISTERs.

Every phone registers through the router first. When the process has come to rest (its journal has them all), they
refresh in turn, so that each message asks for state that was last asked for tens of thousands of messages ago: in the
process, in the maps and in connection tracking. One public address has 64,512 ports of UDP, so that is as far as one
protocol goes. `loop.c` compares every message at both ends. The whole of a packet's way, measured from outside.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.corpus import EXCHANGES, Corpus
from bench.figures import Share
from bench.loop import BUILD, MODES, LoopError, compile_programs, play, way
from bench.network import Network, NetworkError
from bench.phones import PUBLIC, SERVER

#: Phones, as the page shows them.
SIZES: Final = (100, 1000, 10_000, 60_000)
_WINDOW: Final = 64
#: The router's own programs need few ports, and sipalg leaves out what they may have.
_OWN_PORTS: Final = "net.ipv4.ip_local_port_range=65000 65535"
_MODE: Final = MODES["sipalg"]


class Grown(NamedTuple):
    """One run: round trips a second, µs of CPU a round trip (two messages), and how many messages were compared."""

    phones: int
    rate: float
    share: Share
    checked: int

    @property
    def own_us(self) -> float:
        """User and system time of sipalg's process a message."""
        return self.share.own_us / 2


def measure(phones: int, seconds: float, seed: int = 1) -> Grown:
    """Measure one size in fresh namespaces. Raises LoopError and NetworkError."""
    compile_programs()
    corpus = Corpus(seed, phones)
    with tempfile.TemporaryDirectory(prefix="sipalg-bench-") as directory:
        load = Path(directory) / "load"
        corpus.write_loop(load, EXCHANGES["register"])
        with Network(corpus.phones) as network:
            network.in_router("sysctl", "-q", "-w", _OWN_PORTS)
            words: list[str | Path] = [BUILD / "loop", load, network.phones_namespace, network.server, SERVER, PUBLIC]
            words += [_MODE.expected, str(_WINDOW), str(seconds), "1"]
            with way(_MODE, network, "--media-ports", "1024-65535"):
                result, used = play(words, network.router, f"{phones} phones", at_rest=True)
    return Grown(phones, result["rate"], Share.of(used, result["round_trips"]), result["checked"])


def run_rounds(sizes: Sequence[int], rounds: int, seconds: float) -> Iterator[Grown]:
    """Run all sizes, `rounds` times interleaved; yield as they end."""
    for _ in range(rounds):
        for size in sizes:
            yield measure(size, seconds)


def table(results: Sequence[Grown]) -> list[str]:
    """Return the page's table: of each size the run in the middle by its process's time, against the fewest phones."""
    sizes = sorted({one.phones for one in results})
    middle = {}
    for size in sizes:
        runs = sorted((one for one in results if one.phones == size), key=lambda one: one.own_us)
        middle[size] = runs[len(runs) // 2]
    first = middle[sizes[0]].own_us
    lines = [
        "| phones | round trips a second | its process, µs a message | user | system | × the first "
        "| machine, µs a message | messages checked |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.phones:,} | {one.rate:,.0f} | {one.own_us:.1f} | {one.share.user_us / 2:.1f} "
        f"| {one.share.system_us / 2:.1f} | {one.own_us / first:.2f} | {one.share.machine_us / 2:.1f} "
        f"| {one.checked:,}, all right |"
        for one in middle.values()
    ]
    return lines


def main(words: Sequence[str]) -> int:
    """Print the table: `python -m bench.grown [ROUNDS [SECONDS [PHONES …]]]`."""
    rounds, seconds, *sizes = (*words, *("1", "2")[len(words) :])
    try:
        results = list(run_rounds([int(size) for size in sizes] or SIZES, int(rounds), float(seconds)))
    except (LoopError, NetworkError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(table(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
