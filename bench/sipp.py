"""Calls by SIPp at rising rates: an independent generator beside `calls.c`, slow enough to hide what is fast.

Two hundred phones call the server through the ways of `calls`; SIPp compares what its scenarios name: the SDP's
address at either end, and its calls' own course. A call in which one of them isn't right is counted as failed. The
whole of a packet's way, measured from outside.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.corpus import Corpus
from bench.kamailio import missing
from bench.loop import MODES, LoopError, Mode, print_results, way
from bench.network import GATEWAY, Network
from bench.phones import MEDIA_SERVER, PUBLIC, SERVER

WAYS: Final = ("plain", "helper", "sipalg", "pure", "kamailio")
RATES: Final = (500, 1000, 2000)
_PHONES: Final = 200
#: A phone's ports begin again after so many calls.
_TURNS: Final = 20
_PATIENCE_S: Final = 4
_CHECK: Final = '<action><ereg regexp="c=IN IP4 {}" search_in="body" check_it="true" assign_to="1"/></action>'
_BODY: Final = (
    "v=0\no=- 1 1 IN IP4 {0}\ns=-\nc=IN IP4 {0}\nt=0 0\nm=audio {1} RTP/AVP 0 8\na=rtpmap:0 PCMU/8000\n"
    "a=rtpmap:8 PCMA/8000\na=sendrecv\n"
)
_NAMES: Final = "From: <sip:[field1]@example.com>;tag=[call_number]\nTo: <sip:bob@example.com>{}\nCall-ID: [call_id]\n"
_VIA: Final = "Via: SIP/2.0/UDP [field0]:5060;branch=[branch]\n"
_CALLER: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="caller">\n<send retrans="500"><![CDATA[\n'
    f"INVITE sip:bob@{SERVER} SIP/2.0\n{_VIA}{_NAMES.format('')}CSeq: 1 INVITE\n"
    "Contact: <sip:[field1]@[field0]:5060>\n"
    f"Max-Forwards: 70\nContent-Type: application/sdp\nContent-Length: [len]\n\n{_BODY.format('[field0]', '[field2]')}"
    ']]></send>\n<recv response="100" optional="true"/>\n<recv response="180" optional="true"/>\n'
    '<recv response="200">{check}</recv>\n<Reference variables="1"/>\n<send><![CDATA[\n'
    f"ACK sip:bob@{SERVER} SIP/2.0\n{_VIA}{_NAMES.format('[peer_tag_param]')}CSeq: 1 ACK\nMax-Forwards: 70\n"
    'Content-Length: 0\n\n]]></send>\n<send retrans="500"><![CDATA[\n'
    f"BYE sip:bob@{SERVER} SIP/2.0\n{_VIA}{_NAMES.format('[peer_tag_param]')}CSeq: 2 BYE\nMax-Forwards: 70\n"
    'Content-Length: 0\n\n]]></send>\n<recv response="200"/>\n</scenario>\n'
)
_ANSWER: Final = "[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]{}\n[last_Call-ID:]\n[last_CSeq:]\n"
_CALLED: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="called">\n<recv request="INVITE">{check}</recv>\n'
    '<Reference variables="1"/>\n'
    f"<send><![CDATA[\nSIP/2.0 180 Ringing\n{_ANSWER.format(';tag=s[call_number]')}Contact: <sip:bob@{SERVER}:5060>\n"
    "Content-Length: 0\n\n]]></send>\n"
    f'<send retrans="500"><![CDATA[\nSIP/2.0 200 OK\n{_ANSWER.format(";tag=s[call_number]")}'
    f"Contact: <sip:bob@{SERVER}:5060>\nContent-Type: application/sdp\nContent-Length: [len]\n\n"
    f"{_BODY.format(MEDIA_SERVER, '[auto_media_port]')}]]></send>\n"
    '<recv request="INVITE" optional="true"/>\n<recv request="ACK"/>\n<recv request="BYE"/>\n'
    f"<send><![CDATA[\nSIP/2.0 200 OK\n{_ANSWER.format('')}Content-Length: 0\n\n]]></send>\n</scenario>\n"
)


class SippResult(NamedTuple):
    """One rate of one run: calls a second that succeeded, calls that failed, repetitions."""

    mode: str
    offered: int
    rate: float
    calls: int
    failed: int
    repeated: int


def run_once(mode: Mode, rates: Sequence[int], seconds: float, corpus: Corpus) -> list[SippResult]:
    """Run all rates through one way in fresh namespaces. Raises LoopError or NetworkError."""
    results = []
    with Network(corpus.phones) as network, way(mode, network), tempfile.TemporaryDirectory("-sipp") as name:
        directory = Path(name)
        write_files(directory, mode, corpus)
        with _called(network, directory):
            results = [_run(network, mode, rate, seconds, directory) for rate in rates]
    return results


def write_files(directory: Path, mode: Mode, corpus: Corpus) -> None:
    """Write both scenarios and the phones' table, with what the SDP has to name where it arrives."""
    translated = mode.expected != "plain" and mode.name != "helper"
    inside = GATEWAY if mode.name == "kamailio" else MEDIA_SERVER
    outside = PUBLIC if translated else "(192.168|203.0.113.1)" if mode.name == "helper" else "192.168"
    (directory / "caller.xml").write_text(_CALLER.replace("{check}", _CHECK.format(inside)))
    (directory / "called.xml").write_text(_CALLED.replace("{check}", _CHECK.format(outside)))
    rows = [f"{phone.private.host};u{phone.index};{20_000 + 2 * ((turn * _PHONES + phone.index) % 4001)}"
            for turn in range(_TURNS) for phone in corpus.phones]  # fmt: skip
    (directory / "phones.csv").write_text("\n".join(("SEQUENTIAL", *rows, "")))


def run_rounds(ways: Sequence[str], rates: Sequence[int], rounds: int, seconds: float) -> Iterator[SippResult]:
    """Run all ways, `rounds` times interleaved; yield as they end. What isn't installed is left out."""
    corpus = Corpus(1, _PHONES)
    for _ in range(rounds):
        for name in ways:
            if name != "kamailio" or not missing():
                yield from run_once(MODES[name], rates, seconds, corpus)


def table(results: Sequence[SippResult]) -> list[str]:
    """Return the page's table, a row for each rate and way."""
    lines = [
        "| calls a second offered | way | done a second, median | least–most | failed | messages repeated | output |",
        "|---:|---|---:|---:|---:|---:|---|",
    ]
    for offered in dict.fromkeys(result.offered for result in results):
        for name in dict.fromkeys(result.mode for result in results if result.offered == offered):
            runs = [result for result in results if (result.mode, result.offered) == (name, offered)]
            rates, failed, calls = [run.rate for run in runs], sum(run.failed for run in runs), sum(
                run.calls for run in runs)  # fmt: skip
            cells = [
                f"{offered:,}", MODES[name].title, f"{median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}",
                f"{failed:,} of {calls:,}", f"{sum(run.repeated for run in runs):,}",
                "all right" if failed == 0 else "**calls failed**",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return lines


@contextmanager
def _called(network: Network, directory: Path) -> Iterator[None]:
    """Run the server's SIPp until the block ends."""
    words = ["sipp", "-sf", str(directory / "called.xml"), "-i", SERVER, "-p", "5060", "-nostdin"]
    words += ["-max_socket", "1000", "-buff_size", "4000000", "-mp", "20000", "-trace_err"]
    with (directory / "called.log").open("wb") as log:
        process = subprocess.Popen(network.command(network.server, *words), stdout=log, stderr=log, cwd=directory)
        try:
            deadline = time.monotonic() + _PATIENCE_S
            while ":5060 " not in _listening(network):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise LoopError(f"SIPp isn't ready: {(directory / 'called.log').read_text()[-500:]}")
                time.sleep(0.02)
            yield
        finally:
            process.kill()
            process.wait()


def _listening(network: Network) -> str:
    words = network.command(network.server, "ss", "-Hlun")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _run(network: Network, mode: Mode, rate: int, seconds: float, directory: Path) -> SippResult:
    """Run the callers' SIPp at one rate to its end."""
    statistics = directory / f"{rate}.csv"
    count = int(rate * seconds)
    words = ["sipp", f"{SERVER}:5060", "-sf", "caller.xml", "-inf", "phones.csv", "-t", "ui", "-i", "192.168.32.10"]
    words += ["-p", "5060", "-r", str(rate), "-m", str(count), "-l", str(max(rate, 500)), "-nostdin"]
    words += ["-max_socket", "1000", "-buff_size", "4000000", "-trace_stat", "-stf", str(statistics), "-fd", "1"]
    words += ["-timeout", f"{int(seconds) + _PATIENCE_S}s"]
    began = time.monotonic()
    command = network.command(network.phones_namespace, *words)
    wrong = _wrong_bodies(directory)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    took_s = time.monotonic() - began
    if not statistics.exists():
        raise LoopError(f"SIPp by {mode.title}: {(done.stderr or done.stdout).strip()[-500:]}")
    with statistics.open(newline="") as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    # The server's SIPp answers a call with a wrong offer as any other, and writes it down.
    succeeded = max(0, int(last["SuccessfulCall(C)"]) - (_wrong_bodies(directory) - wrong))
    return SippResult(mode.name, rate, succeeded / took_s, count, count - succeeded,
                      int(last["Retransmissions(C)"]))  # fmt: skip


def _wrong_bodies(directory: Path) -> int:
    return sum(path.read_text(errors="replace").count("Failed regexp match")
               for path in directory.glob("called_*_errors.log"))  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Print the table: `python -m bench.sipp [WAY,WAY [RATE,RATE [ROUNDS [SECONDS]]]]`."""
    ways = words[0].split(",") if words else WAYS
    rates = [int(rate) for rate in words[1].split(",")] if len(words) > 1 else RATES
    rounds, seconds = int(words[2]) if len(words) > 2 else 3, float(words[3]) if len(words) > 3 else 1.0
    return print_results(run_rounds(ways, rates, rounds, seconds), table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
