"""`sipalg metrics`: the running ALG's counters for Prometheus, printed once or served over HTTP.

Each scrape asks the control socket, from a process of its own, so that no scraper is ever on a packet's way: there,
an answer is made between two packets from numbers that are kept anyway. Names and units are as Prometheus's
conventions want them.
"""

from __future__ import annotations

import argparse
import signal
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from sipalg.capture import arguments
from sipalg.control.socket.client import SOCKET_HELP, ControlError, ask, socket_path

_LOOPBACK: Final = "127.0.0.1"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class _Counted(NamedTuple):
    """A table of the answer's counters: the metric's name, its help, and the label that its keys are."""

    name: str
    help: str
    label: str
    table: str


class _Number(NamedTuple):
    """One number of the answer: the metric's name and help, and the way to it; `total` where it only grows."""

    name: str
    help: str
    way: tuple[str, ...]
    total: bool = False


_TABLES: Final = (
    _Counted("sipalg_packets", "Packets that the kernel held, by what became of them.", "result", "packets"),
    _Counted("sipalg_tcp_messages", "Messages over TCP, by what became of them.", "result", "tcp_messages"),
    _Counted("sipalg_tcp_connections", "TCP connections that came to the relay.", "result", "tcp_connections"),
    _Counted("sipalg_edits", "Addresses replaced in messages, by the rule.", "rule", "edits"),
    _Counted("sipalg_passes", "Messages that passed as they came, by the reason.", "reason", "passes"),
    _Counted("sipalg_refusals", "Messages refused since a setting asks for it, by the reason.", "reason", "refusals"),
    _Counted("sipalg_events", "What happened, by the name that it has in the log.", "event", "events"),
    _Counted(
        "sipalg_packets_without_datagram",
        "Packets that hold no whole UDP datagram, by the reason.",
        "reason",
        "packets_that_hold_no_datagram",
    ),
    _Counted(
        "sipalg_commands_refused",
        "Mappings and flows that the kernel refused to make, by the reason.",
        "reason",
        "commands_that_the_kernel_refused",
    ),
)
_NUMBERS: Final = (
    _Number("sipalg_uptime_seconds", "Time since the start.", ("status", "uptime_s")),
    _Number("sipalg_mappings", "Mappings, private to public.", ("status", "mappings")),
    _Number("sipalg_contacts", "Registered contacts.", ("status", "contacts")),
    _Number("sipalg_calls", "Calls.", ("status", "calls")),
    _Number("sipalg_flows", "Media flows of calls.", ("status", "flows")),
    _Number("sipalg_queue_waiting_packets", "Packets that wait in the queue.", ("counters", "queue", "waiting")),
    _Number(
        "sipalg_queue_dropped_packets",
        "Packets that the kernel dropped because the queue was full.",
        ("counters", "queue", "dropped"),
        total=True,
    ),
    _Number(
        "sipalg_queue_unseen_packets",
        "Packets that passed as plain NAT: the queue was full, or nobody took them.",
        ("counters", "queue", "passed_unseen"),
        total=True,
    ),
    _Number(
        "sipalg_queue_refused_verdicts",
        "Verdicts that came too late: their packets were gone.",
        ("counters", "queue", "verdicts_refused"),
        total=True,
    ),
    _Number(
        "sipalg_packets_not_let_in",
        "Packets of unknown peers to phones' public SIP ports.",
        ("counters", "packets_not_let_in", "from_unknown_peers"),
        total=True,
    ),
    _Number(
        "sipalg_packet_handling_seconds",
        "Time spent on packets: in the engine, and in the kernel's maps and flows.",
        ("status", "packets_s"),
        total=True,
    ),
    _Number(
        "sipalg_commands_seconds",
        "The part of it that the kernel's maps and flows took; the rest is the engine's.",
        ("status", "commands_s"),
        total=True,
    ),
    _Number("sipalg_cpu_seconds", "Processor time of the process.", ("status", "processor_s"), total=True),
    _Number(
        "sipalg_longest_turn_seconds",
        "The longest time that packets waited for the process to end what it did, in the last minute or two.",
        ("status", "longest_turn_s"),
    ),
    _Number("sipalg_faults", "Faults of sipalg itself; their packets passed.", ("status", "faults"), total=True),
)
_INFORMATION: Final = ("version", "mode", "outside", "nat_address", "advertised_address")


class AlgCollector(Collector):
    """Asks the running ALG at each scrape; one that is gone is `sipalg_up 0` and nothing else."""

    def __init__(self, ask_alg: Callable[[], Mapping[str, Any]]) -> None:
        self._ask = ask_alg
        #: Why there was no answer last time; "" where there was one.
        self.refused = ""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        try:
            answer = self._ask()
        except ControlError as error:
            self.refused = str(error)
            answer = None
        else:
            self.refused = ""
        up = 0 if answer is None else 1
        yield GaugeMetricFamily("sipalg_up", "Does sipalg answer on its control socket?", value=up)
        if answer is not None:
            yield from metrics_of(answer)


def metrics_of(answer: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield what an answer to `metrics` says; what an older or newer ALG doesn't tell is left out."""
    state = answer.get("status", {})
    facts = {name: str(state[name]) for name in _INFORMATION if name in state}
    yield InfoMetricFamily("sipalg", "What runs.", value=facts)
    yield from _messages(_find(answer, ("counters", "messages")))
    for one in _TABLES:
        counts = _find(answer, ("counters", one.table))
        if isinstance(counts, dict):
            family = CounterMetricFamily(one.name, one.help, labels=[one.label])
            for key, count in counts.items():
                family.add_metric([key], count)
            yield family
    for number in _NUMBERS:
        value = _find(answer, number.way)
        if isinstance(value, (int, float)):
            kind = CounterMetricFamily if number.total else GaugeMetricFamily
            yield kind(number.name, number.help, value=value)


def _messages(counts: object) -> Iterator[Metric]:
    """Yield requests by method and responses by status code: the ALG counts both in one table."""
    requests = CounterMetricFamily("sipalg_requests", "SIP requests, by method.", labels=["method"])
    responses = CounterMetricFamily("sipalg_responses", "SIP responses, by status code.", labels=["code"])
    for name, count in counts.items() if isinstance(counts, dict) else ():
        (responses if name.isdigit() else requests).add_metric([name], count)
    yield requests
    yield responses


def _find(answer: object, way: tuple[str, ...]) -> object:
    for name in way:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--listen", type=listening, metavar="[ADDRESS:]PORT", help="serve them over HTTP there (default: 127.0.0.1)")
    add("--socket", metavar="PATH", help=SOCKET_HELP)


def main(args: argparse.Namespace) -> int:
    """Print the metrics, or serve them until a signal comes, and return 0; 1 where the ALG doesn't answer."""
    collector = collector_at(socket_path(args.socket))
    registry = CollectorRegistry()
    registry.register(collector)
    if args.listen is not None:
        return _serve(registry, *args.listen)
    sys.stdout.write(generate_latest(registry).decode())
    if collector.refused:
        sys.stderr.write(f"sipalg: {collector.refused}\n")
    return 1 if collector.refused else 0


def collector_at(path: Path) -> AlgCollector:
    """Return the collector that asks the ALG behind a socket."""
    return AlgCollector(lambda: ask(path, "metrics"))


def listening(text: str) -> tuple[str, int]:
    """Read `ADDRESS:PORT`, or a port alone, which is loopback's."""
    if ":" not in text:
        return _LOOPBACK, arguments.port(text)
    try:
        return arguments.endpoint(text)
    except ArgumentTypeError:
        right = "is no port, nor an address with one; examples: 9061, 127.0.0.1:9061"
        raise ArgumentTypeError(f"{text!r} {right}") from None


def _serve(registry: CollectorRegistry, address: str, port: int) -> int:
    """Answer scrapers, each in a thread of its own, until SIGTERM or SIGINT."""
    # Threads inherit this, so that the signals wait for `sigwait` alone.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            sys.stderr.write(f"sipalg metrics: --listen {address}:{port}: {error.strerror or error}\n")
            return 2
        sys.stdout.write(f"ready http://{address}:{port}/metrics\n")
        sys.stdout.flush()
        signal.sigwait(_SIGNALS)
        server.shutdown()
        server.server_close()
        thread.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0
