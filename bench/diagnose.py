"""`python -m bench.diagnose`: how fast `sipalg diagnose` reads a large capture, and whether it finds the truth.

A capture is made by `capture_corpus`, diagnosed as a user would, and read by `tshark -Y sip -T fields` in turn; then
a tenth of it is diagnosed, to see what memory does. Exit code 1 if a verdict isn't the truth, or if it is less than
five times as fast as tshark. The captures are in a temporary directory and go with it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench.capture_corpus import SERVER, Truth, write
from bench.page import Claim

_TARGET: Final = 5.0
_BYTES_PER_DIALOG: Final = 2**30 // 5000
_PHONE: Final = re.compile(r"^phone ([0-9.]+):[0-9]+ with ")
_UNTOLD: Final = "can't be told"
_USUAL: Final = f"{SERVER}:5060"
#: Kind of dialog → how bad it is, and the check that finds it: once a call, or once for all of them with their number.
_IN_CALLS: Final = {
    "one-way": ("broken", "one-way-audio"),
    "lost-ack": ("broken", "lost-ack"),
    "stops": ("broken", "audio-stops"),
    "moved": ("note", "direct-media"),
}
_IN_ALL: Final = {
    "big": ("note", "big-messages"),
    "no-answer": ("warning", "no-answer"),
    "rtcp-one-way": ("warning", "rtcp-one-way"),
}
#: Of these the number of packets is the number of dialogs, or of what they sent again.
_COUNTED: Final = frozenset(("big-messages", "no-answer", "rtcp-one-way", "retransmissions"))


class _Found(NamedTuple):
    """A finding: how bad, by which check, the call or the phone ("" for what is found once), and its number."""

    severity: str
    check: str
    whose: str
    number: int


class Use(NamedTuple):
    """What a program took: seconds by the clock and of CPU, and the most memory."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


class DiagnoseError(Exception):
    """A diagnosis isn't the truth; the text says in what."""


class Measured(NamedTuple):
    """What was in the capture, its size, and what each run took; `tenth` is sipalg's with a tenth of the dialogs."""

    truth: Truth
    size_bytes: int
    sipalg: list[Use]
    tshark: list[Use]
    tenth: Use


def main(words: Sequence[str]) -> int:
    """Measure and compare, and print the section's lines."""
    options = _parse(words)
    try:
        found = measure(options.dialogs, options.rounds, options.seed, options.directory)
    except DiagnoseError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(section(f"python -m bench.diagnose {shlex.join(words)}".rstrip(), found)))
    ratio = times_as_fast(found.sipalg, found.tshark)
    if ratio < _TARGET:
        print(f"bench: {ratio:.1f} times as fast as tshark, and {_TARGET:.0f} is the least", file=sys.stderr)
        return 1
    return 0


def measure(dialogs: int, rounds: int, seed: int = 1, directory: Path | None = None) -> Measured:
    """Make the captures, diagnose them and have tshark read the large one, in turn. Raises DiagnoseError."""
    with tempfile.TemporaryDirectory(prefix="sipalg-bench-", dir=directory) as name:
        path, small = Path(name) / "large.pcap", Path(name) / "small.pcap"
        truth = write(path, seed, dialogs, dialogs * _BYTES_PER_DIALOG)
        write(small, seed, max(dialogs // 10, 20), max(dialogs // 10, 20) * _BYTES_PER_DIALOG)
        sipalg, tshark = [], []
        for _ in range(rounds):
            use, output = run([sys.executable, "-m", "sipalg", "diagnose", "--json", str(path)], Path(name) / "json")
            sipalg.append(use)
            found = json.loads(output)
            tshark.append(run(["tshark", "-r", str(path), "-Y", "sip", "-T", "fields", "-e", "frame.number"])[0])
        tenth = run([sys.executable, "-m", "sipalg", "diagnose", "--json", str(small)])[0]
        size_bytes = path.stat().st_size
    wrong = differences(truth, found)
    if wrong:
        raise DiagnoseError("\n".join(f"bench: {line}" for line in wrong))
    return Measured(truth, size_bytes, sipalg, tshark, tenth)


def times_as_fast(sipalg: list[Use], tshark: list[Use]) -> float:
    """Return how many times as fast as tshark it was by the clock, median against median."""
    return median(use.wall_s for use in tshark) / median(use.wall_s for use in sipalg)


def differences(truth: Truth, found: dict[str, Any]) -> list[str]:
    """Return a line for each thing in which a diagnosis isn't the truth."""
    servers = {server["server"]: server for server in found["servers"]}
    unanswered = len(truth.calls("no-answer"))
    everybody = {phone["phone"]: (phone["aware"], phone["server_answers"], phone["alg"]) for phone in found["phones"]}
    aware = truth.hosts("aware")
    wanted = dict.fromkeys(aware, ("NAT aware", _UNTOLD, "not needed"))
    wanted |= dict.fromkeys(truth.hosts(*truth.kinds) - aware, ("not NAT aware", _UNTOLD, "needed"))
    usual = servers.get(_USUAL, {"unanswered": None, "retransmissions": None})
    pairs = {
        "packets": (found["packets"], truth.packets),
        "SIP messages": (found["messages"], truth.messages),
        "RTP packets": (found["rtp_packets"], truth.rtp_packets),
        "RTCP packets": (found["rtcp_packets"], truth.rtcp_packets),
        "calls": (found["calls"], len(truth.kinds)),
        "phones": (everybody, wanted),
        "ALG": (found["alg"], "needed" if len(aware) < len(truth.kinds) else "not needed"),
        "servers": ({end: server["answers"] for end, server in servers.items()}, _servers(truth)),
        "unanswered": (usual["unanswered"], unanswered),
        "retransmissions": (usual["retransmissions"], 3 * unanswered),
    }
    is_found, due_ones = Counter(map(_known_by, found["findings"])), Counter(_due(truth))
    for check in sorted({one.check for one in (*is_found, *due_ones)}):
        pairs[check] = (_of(check, is_found - due_ones), _of(check, due_ones - is_found))
    return [f"{what}: {_brief(is_)} instead of {_brief(due)}" for what, (is_, due) in pairs.items() if is_ != due]


def _due(truth: Truth) -> Iterator[_Found]:
    """Yield all that has to be found, and nothing else may be."""
    for kind, (severity, check) in _IN_CALLS.items():
        yield from (_Found(severity, check, call, 0) for call in truth.calls(kind))
    long = truth.hosts("long")
    yield from (_Found("warning", "sip-timeout", host, 0) for host in long)
    yield from (_Found("note", "plain-nat-timeout", host, 0) for host in truth.hosts(*truth.kinds) - long)
    for kind, (severity, check) in _IN_ALL.items():
        count = len(truth.calls(kind))
        if count:
            yield _Found(severity, check, "", count)
    # REGISTER, INVITE and BYE; who gets no answer doesn't hang up.
    unanswered, others = len(truth.calls("no-answer")), len(truth.calls(*set(truth.kinds) - {"other-port"}))
    if unanswered and 10 * 3 * unanswered >= 3 * others - unanswered:
        yield _Found("warning", "retransmissions", "", 3 * unanswered)
    if truth.calls("other-port"):
        yield _Found("warning", "ports", "", 0)


def section(command: str, found: Measured) -> list[str]:
    """Return the section's lines."""
    truth, size_bytes, sipalg, tshark, tenth = found
    ratio = times_as_fast(sipalg, tshark)
    cpu_ratio = median(use.cpu_s for use in tshark) / median(use.cpu_s for use in sipalg)
    rows = [
        f"| {name} | {median(use.wall_s for use in uses):.1f} | {median(use.cpu_s for use in uses):.1f} "
        f"| {max(use.peak_bytes for use in uses) / 2**20:.0f} |"
        for name, uses in (("`sipalg diagnose`", sipalg), ("`tshark -Y sip -T fields`", tshark))
    ]
    return [
        f"`{command}`. {size_bytes / 2**30:.2f} GiB, {truth.packets:,} packets, {truth.rtp_packets:,} of them RTP in "
        f"214-byte frames, {len(truth.kinds):,} dialogs, {truth.messages:,} SIP messages. The verdict "
        "on every phone and server, and every finding, is the generator's truth. Runs are interleaved; medians.",
        "",
        "| | seconds | seconds of CPU | peak MiB |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        f"{ratio:.1f} times as fast as tshark by the clock, {cpu_ratio:.1f} by CPU. A tenth of the dialogs takes "
        f"{tenth.wall_s:.1f} s and {tenth.peak_bytes / 2**20:.0f} MiB: memory goes with dialogs, not with packets.",
    ]


def claims(found: Measured) -> list[Claim]:
    """Judge the time against tshark's."""
    ratio = times_as_fast(found.sipalg, found.tshark)
    return [Claim("`diagnose` on a large capture, against tshark", f"≥ {_TARGET:g} times as fast", f"{ratio:.1f}",
                  ratio >= _TARGET)]  # fmt: skip


def run(argv: list[str], output: Path | None = None) -> tuple[Use, str]:
    """Run a program to its end; returns what it took, and its output where a file for that is given."""
    with (output or Path(os.devnull)).open("wb") as file:
        began = time.monotonic()
        process = subprocess.Popen(argv, stdout=file, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
    use = Use(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
    return use, output.read_text() if output else ""


def _known_by(found: dict[str, Any]) -> _Found:
    phone = _PHONE.match(found["text"])
    whose = found["call"] or (phone[1] if phone else "")
    count = found["packet_count"] if found["check"] in _COUNTED else 0
    return _Found(found["severity"], found["check"], whose, count)


def _servers(truth: Truth) -> dict[str, str]:
    """Where each server sends: what reaches a phone inside could be an ALG's doing, so it is never told."""
    usual, other = (truth.hosts(*set(truth.kinds) - {"other-port"}), truth.hosts("other-port"))
    return {end: _UNTOLD for end, phones in ((_USUAL, usual), (f"{SERVER}:5080", other)) if phones}


def _of(check: str, found: Counter[_Found]) -> list[_Found]:
    return sorted(one for one in found.elements() if one.check == check)


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) < 200 else f"{text[:200]}…"


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.diagnose")
    parser.add_argument("--dialogs", type=int, default=5000, help="5000 make 1 GiB")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the captures may lie for a while")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
