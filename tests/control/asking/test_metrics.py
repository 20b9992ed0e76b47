"""`sipalg metrics`: what an answer becomes, read back with Prometheus's own parser; the scraper's end of it."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import urllib.request
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sipalg.control.asking import metrics
from sipalg.control.socket.client import NotRunningError

ANSWER: dict[str, Any] = {
    "version": 1,
    "ok": True,
    "status": {
        "version": "0.1.0",
        "mode": "enforce",
        "outside": "wan0",
        "nat_address": "203.0.113.1",
        "advertised_address": "203.0.113.1",
        "uptime_s": 12.5,
        "packets_s": 0.25,
        "commands_s": 0.125,
        "processor_s": 0.75,
        "longest_turn_s": 0.0125,
        "mappings": 4,
        "contacts": 3,
        "calls": 2,
        "flows": 5,
        "faults": 1,
    },
    "counters": {
        "messages": {"200": 7, "INVITE": 2, "other": 1},
        "packets": {"replaced": 8, "accepted": 3},
        "tcp_messages": {"received": 21},
        "tcp_connections": {"accepted": 22},
        "edits": {"via": 6, "sdp-connection": 2},
        "passes": {"not-sip": 4},
        "refusals": {"direct-media": 16},
        "events": {"registered": 3},
        "packets_not_let_in": {"from_unknown_peers": 9},
        "packets_that_hold_no_datagram": {"fragment": 10},
        "commands_that_the_kernel_refused": {"port-taken": 11},
        "queue": {"waiting": 12, "passed_unseen": 13, "dropped": 14, "verdicts_refused": 15},
    },
}
SAMPLES = {
    ("sipalg_up", ""): 1,
    ("sipalg_info", "enforce"): 1,
    ("sipalg_requests_total", "INVITE"): 2,
    ("sipalg_requests_total", "other"): 1,
    ("sipalg_responses_total", "200"): 7,
    ("sipalg_packets_total", "replaced"): 8,
    ("sipalg_packets_total", "accepted"): 3,
    ("sipalg_tcp_messages_total", "received"): 21,
    ("sipalg_tcp_connections_total", "accepted"): 22,
    ("sipalg_edits_total", "via"): 6,
    ("sipalg_edits_total", "sdp-connection"): 2,
    ("sipalg_passes_total", "not-sip"): 4,
    ("sipalg_refusals_total", "direct-media"): 16,
    ("sipalg_events_total", "registered"): 3,
    ("sipalg_packets_without_datagram_total", "fragment"): 10,
    ("sipalg_commands_refused_total", "port-taken"): 11,
    ("sipalg_uptime_seconds", ""): 12.5,
    ("sipalg_mappings", ""): 4,
    ("sipalg_contacts", ""): 3,
    ("sipalg_calls", ""): 2,
    ("sipalg_flows", ""): 5,
    ("sipalg_queue_waiting_packets", ""): 12,
    ("sipalg_queue_dropped_packets_total", ""): 14,
    ("sipalg_queue_unseen_packets_total", ""): 13,
    ("sipalg_queue_refused_verdicts_total", ""): 15,
    ("sipalg_packets_not_let_in_total", ""): 9,
    ("sipalg_packet_handling_seconds_total", ""): 0.25,
    ("sipalg_commands_seconds_total", ""): 0.125,
    ("sipalg_cpu_seconds_total", ""): 0.75,
    ("sipalg_longest_turn_seconds", ""): 0.0125,
    ("sipalg_faults_total", ""): 1,
}


def text_of(answer: dict[str, Any] | None) -> str:
    def ask() -> dict[str, Any]:
        if answer is None:
            raise NotRunningError("nobody")
        return answer

    registry = CollectorRegistry()
    registry.register(metrics.AlgCollector(ask))
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, str], float]:
    """Each sample by its name and its label's value; of information, the mode's."""
    return {
        (sample.name, sample.labels.get("mode") or "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_every_number_is_a_sample() -> None:
    assert samples(text_of(ANSWER)) == SAMPLES


def test_every_metric_has_a_help_and_a_name_as_the_conventions_want() -> None:
    for family in text_string_to_metric_families(text_of(ANSWER)):
        assert family.documentation.endswith((".", "?"))
        assert family.name.startswith("sipalg")
        assert family.type in ("counter", "gauge")
        assert all(sample.name.endswith("_total") == (family.type == "counter") for sample in family.samples)


def test_labels_are_escaped() -> None:
    counters = {**ANSWER["counters"], "passes": {'a "b"\\\n': 3}}
    assert samples(text_of({**ANSWER, "counters": counters}))["sipalg_passes_total", 'a "b"\\\n'] == 3


def test_one_that_is_gone_is_down() -> None:
    assert samples(text_of(None)) == {("sipalg_up", ""): 0}


def test_what_another_version_doesnt_tell_is_left_out() -> None:
    found = samples(text_of({"status": {"mappings": 1, "mode": "observe", "calls": "many"}, "counters": {"edits": 7}}))
    assert found == {("sipalg_up", ""): 1, ("sipalg_info", "observe"): 1, ("sipalg_mappings", ""): 1}


@pytest.mark.parametrize(
    ("text", "address"), [("9061", ("127.0.0.1", 9061)), ("192.0.2.1:80", ("192.0.2.1", 80))]
)
def test_where_to_listen(text: str, address: tuple[str, int]) -> None:
    assert metrics.listening(text) == address


@pytest.mark.parametrize("text", ["0", "x", ":1", "localhost:9061", "1.2.3.4:", "1.2.3.4:70000"])
def test_where_nobody_can_listen(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        metrics.listening(text)


def test_printed_once_without_an_alg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    metrics.configure(parser)
    assert metrics.main(parser.parse_args(["--socket", str(tmp_path / "none")])) == 1
    said = capsys.readouterr()
    assert samples(said.out) == {("sipalg_up", ""): 0}
    assert said.err.startswith("sipalg: no sipalg is running behind ")
    assert said.err.count("\n") == 1


def test_printed_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(metrics, "ask", lambda *asked: ANSWER if asked == (Path("x"), "metrics") else {})
    assert metrics.main(argparse.Namespace(socket="x", listen=None)) == 0
    assert samples(capsys.readouterr().out) == SAMPLES


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_served_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "sipalg", "metrics", "--listen", str(port), "--socket", str(tmp_path / "none")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"ready http://127.0.0.1:{port}/metrics\n"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                assert samples(answer.read().decode()) == {("sipalg_up", ""): 0}
        finally:
            process.send_signal(number)
        assert process.wait(10) == 0


def test_a_port_that_somebody_has_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert metrics.main(argparse.Namespace(socket="x", listen=("127.0.0.1", port))) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"sipalg metrics: --listen 127.0.0.1:{port}: Address already in use\n"
