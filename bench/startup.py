"""Start-up: how long `sipalg run` takes until it is ready, where an earlier process has left many phones behind.

What is there then: the maps' elements, the flows of the phones that speak UDP, and the journal, all made by the code
that the live process makes them with, from an engine with its phones registered. Measured is from the process's start
to its `ready`, and what it has then is counted by its control socket. Beside a packet's way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.growth import SERVER, Router, WrongOutputError, register_all
from bench.network import Network, NetworkError
from bench.phones import make_phone
from sipalg.control.service.journal import Journal
from sipalg.control.socket.client import ask
from sipalg.datapath.conntrack import Conntrack
from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.nft_steps import MapCommand
from sipalg.datapath.nft_table import NftTable
from sipalg.engine.verdict import UDP, AdmitPeer, Command, Flow, OpenMapping

_ROOT: Final = Path(__file__).resolve().parent.parent
_MEDIA_PORTS: Final = "1024-65535"
_PATIENCE_S: Final = 600.0
#: How many elements are written at once, and flows made.
_AT_ONCE: Final = 250


class Startup(NamedTuple):
    """A start: seconds until it was ready, the process's CPU seconds, and how much it had then."""

    phones: int
    ready_s: float
    cpu_s: float
    mappings: int
    contacts: int


def measure(phones: int) -> Startup:
    """Fill a router of its own, and start. Raises NetworkError and WrongOutputError."""
    with tempfile.TemporaryDirectory(prefix="sipalg-bench-") as directory, Network([make_phone(0, 1)]) as network:
        words = [sys.executable, "-m", "sipalg", "run", "--inside", "lan0", "--outside", "wan0"]
        words += ["--config", f"{directory}/settings", "--socket", f"{directory}/sipalg.sock"]
        words = network.command(network.router, *words, "--media-ports", _MEDIA_PORTS)
        _run(words, directory)
        fill = [sys.executable, "-m", "bench.startup", "--fill", str(phones), f"{directory}/sipalg.journal"]
        done = subprocess.run(
            network.command(network.router, *fill), capture_output=True, text=True, check=False, env=_environment()
        )
        if done.returncode != 0:
            raise WrongOutputError(done.stderr.strip()[-2000:])
        ready_s, cpu_s, counters = _run(words, directory)
    found = Startup(phones, ready_s, cpu_s, int(counters["mappings"]), int(counters["contacts"]))
    if (found.mappings, found.contacts) != (phones, phones):
        raise WrongOutputError(f"of {phones} phones {found.mappings} mappings and {found.contacts} contacts went on")
    return found


def _run(words: Sequence[str], directory: str) -> tuple[float, float, dict[str, Any]]:
    """Start, and end it once it is ready: seconds until then, CPU seconds, and its counters."""
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                log.seek(0)
                raise WrongOutputError(log.read()[-2000:])
            ready_s = time.monotonic() - begin
            ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            cpu_s = sum(map(float, ticks)) / os.sysconf("SC_CLK_TCK")
            counters = ask(Path(directory) / "sipalg.sock", "metrics", _PATIENCE_S)["status"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_PATIENCE_S)
            if process.stdout is not None:
                process.stdout.close()
    return ready_s, cpu_s, counters


def fill(phones: int, journal: Path) -> None:
    """Leave behind what an earlier process would have: elements, flows and journal."""
    router = Router(phones, time.monotonic())
    commands: list[Command] = []
    router.commands = commands
    register_all(router)
    table = NftTable(TableSettings("wan0", ("lan0",)))
    wanted = [one for one in commands if isinstance(one, OpenMapping | AdmitPeer)]
    for first in range(0, len(wanted), _AT_ONCE):
        some: list[MapCommand] = list(wanted[first : first + _AT_ONCE])
        table.apply(some)
    table.close()
    mappings = [one.mapping for one in wanted if isinstance(one, OpenMapping)]
    flows = [Flow(UDP, one.private, one.public, SERVER) for one in mappings if one.protocol == UDP]
    with Conntrack() as conntrack:
        for first in range(0, len(flows), _AT_ONCE):
            conntrack.establish_all(flows[first : first + _AT_ONCE], 3600.0, fixed=True)
    written = Journal(journal, router.alg.records)
    written.begin()
    written.close()


def main(words: Sequence[str]) -> int:
    """`python -m bench.startup [PHONES …]`."""
    if words[:1] == ["--fill"]:
        fill(int(words[1]), Path(words[2]))
        return 0
    for word in words:
        if not word.isdecimal():
            sys.stderr.write(f"phones: {word!r} is no number; give a whole one, such as 100000\n")
            return 2
    try:
        for phones in words or ("100000",):
            found = measure(int(phones))
            print(f"{found.phones:,} phones: ready in {found.ready_s:.2f} s, CPU {found.cpu_s:.2f} s")
    except (NetworkError, WrongOutputError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}", "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
