"""`sipalg rewrite` on a large capture, beside tshark reading the same: seconds, and whether each packet is right.

What comes out is judged packet by packet, by a reader of its own: as many as went in, in order, with their timestamps;
what came from inside leaves from the public address with its payload as it was, but for the phones' address in SIP,
which is nowhere any more; what came from outside is untouched. Beside a packet's way.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.capture_corpus import PUBLIC, write
from bench.diagnose import Use, run

_INSIDE: Final = "10.0.0.0/8"
#: Of all servers in the capture.
PORTS: Final = "5060,5080"
_BYTES_PER_DIALOG: Final = 2**30 // 5000
_RECORD: Final = struct.Struct("<IIII")
_UDP: Final = 17


class RewriteError(Exception):
    """A packet isn't what it has to be; the text says which."""


class Rewritten(NamedTuple):
    """What was in the capture, and what each run took."""

    size_bytes: int
    packets: int
    sipalg: list[Use]
    tshark: list[Use]


def measure(dialogs: int, rounds: int, seed: int = 1) -> Rewritten:
    """Make a capture, rewrite it and have tshark read it, in turn. Raises RewriteError."""
    with tempfile.TemporaryDirectory(prefix="sipalg-bench-") as name:
        before, after = Path(name) / "before.pcap", Path(name) / "after.pcap"
        truth = write(before, seed, dialogs, dialogs * _BYTES_PER_DIALOG)
        sipalg, tshark = [], []
        words = [sys.executable, "-m", "sipalg", "rewrite", str(before), str(after), "--inside", _INSIDE]
        for _ in range(rounds):
            sipalg.append(run([*words, "--public", PUBLIC, "--ports", PORTS])[0])
            tshark.append(run(["tshark", "-r", str(before), "-Y", "sip", "-T", "fields", "-e", "frame.number"])[0])
        packets = check(before, after)
        if packets != truth.packets:
            raise RewriteError(f"{packets:,} packets instead of {truth.packets:,}")
        return Rewritten(before.stat().st_size, packets, sipalg, tshark)


def check(before: Path, after: Path) -> int:
    """Judge each packet of the second capture by the one of the first; how many there are. Raises RewriteError."""
    number = 0
    for number, (old, new) in enumerate(zip(_frames(before), _frames(after), strict=False), 1):
        problem = "its time is another" if old[0] != new[0] else _problem(old[1], new[1])
        if problem:
            raise RewriteError(f"packet {number}: {problem}")
    return number if sum(1 for _ in _frames(after)) == sum(1 for _ in _frames(before)) else -1


def table(found: Rewritten, command: str) -> list[str]:
    """Return the section's lines."""
    rows = [
        f"| {name} | {median(use.wall_s for use in uses):.1f} | {median(use.cpu_s for use in uses):.1f} "
        f"| {max(use.peak_bytes for use in uses) / 2**20:.0f} |"
        for name, uses in (("`sipalg rewrite`", found.sipalg), ("`tshark -Y sip -T fields`", found.tshark))
    ]
    return [
        f"`{command}`. {found.size_bytes / 2**20:.0f} MiB, {found.packets:,} packets. All packets are compared with "
        "those that went in: their number, order and times, addresses, payloads, and no phone's address is left in "
        "SIP that goes out. tshark only reads. Runs are interleaved; medians.",
        "",
        "| | seconds | seconds of CPU | peak MiB |",
        "|---|---:|---:|---:|",
        *rows,
    ]


def _frames(path: Path) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield the times and the IP packets of a capture of Ethernet in little-endian pcap."""
    with path.open("rb") as file:
        file.seek(24)
        while head := file.read(_RECORD.size):
            seconds, fraction, length, _ = _RECORD.unpack(head)
            yield (seconds, fraction), file.read(length)[14:]


def _problem(old: bytes, new: bytes) -> str:
    """Say what is wrong with a packet, "" if nothing is."""
    if old[12] != IPv4Address(_INSIDE.partition("/")[0]).packed[0]:
        return "" if old == new else "it came from outside and has changed"
    if new[12:16] != IPv4Address(PUBLIC).packed or new[16:20] != old[16:20]:
        return f"it goes from {IPv4Address(new[12:16])} to {IPv4Address(new[16:20])}"
    head = 28 if old[9] == _UDP else 40
    if old[head:] == new[head:] and (b"SIP/2.0" not in old[head : head + 100] or PUBLIC.encode() in old):
        return ""  # a phone that names the public address itself may be left alone
    if b"SIP/2.0" not in old[head : head + 100]:
        return "its payload has changed"
    private = str(IPv4Address(old[12:16]))
    return f"{private} is left in it" if re.search(rb"\b%b\b" % re.escape(private.encode()), new[head:]) else ""


def main(words: Sequence[str]) -> int:
    """Print the lines: `python -m bench.rewriting [DIALOGS [ROUNDS]]`."""
    dialogs, rounds = (int(words[at]) if len(words) > at else default for at, default in ((0, 500), (1, 1)))
    try:
        found = measure(dialogs, rounds)
    except RewriteError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(table(found, f"python -m bench.rewriting {dialogs} {rounds}")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
