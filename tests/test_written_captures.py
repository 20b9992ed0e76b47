"""Every capture that some command writes is one that tshark opens without an error, with nothing malformed in it."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.analysis.exchange import NAT, PHONE, SERVER, conversation, write

from sipalg import cli
from sipalg.capture.reading import Frame, open_capture
from sipalg.capture.records import Captured, format_for
from sipalg.control.asking.trace import Files
from sipalg.sniffer.storage import File, Memory

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")

SUFFIXES = ("pcap", "pcapng")
Written = list[Path]


def told(directory: Path) -> Iterator[Captured]:
    """The packets of a call, in nanoseconds, with a name and a direction each."""
    with open_capture(write(directory, conversation())[0]) as source:
        for frame in source:
            outgoing = frame.number % 2 == 0
            yield Captured(frame.time_ns + 7, frame.data, frame.wire_bytes, ("lan0", "wan0")[outgoing], outgoing)


def of_trace(directory: Path, suffix: str) -> Written:
    near, far = ([PHONE, 5060], [NAT, 1024])
    both = directory / f"both.{suffix}"
    paths = [directory / f"near.{suffix}", directory / f"far.{suffix}"]
    for files in (Files([both]), Files(paths)):
        for packet in conversation():
            if packet.near is None or packet.far is None or not packet.outward:
                continue
            sides = {
                name: {"source": source, "destination": [SERVER, 5060], "payload": b64encode(payload).decode()}
                for name, source, payload in (("before", near, packet.near), ("after", far, packet.far))
            }
            edits = [{"rule": "via", "old": PHONE, "new": NAT}]
            files.take(
                {"time_ns": 1_700_000_000_123_456_789, "interface": "lan0", "action": "replace", "reason": "",
                 "made": True, "edits": edits, **sides}
            )
        files.close()
    return [both, *paths]


def of_the_sniffer(directory: Path, suffix: str) -> Written:
    path = directory / f"sniffed.{suffix}"
    file = File(path.open("wb", buffering=0), format_for(path.name), 1_000_000)
    for packet in told(directory):
        file.add(packet)
    file.close()
    return [path]


def of_a_full_sniffer(directory: Path, suffix: str) -> Written:
    """A file at its limit, and what memory held, which scrolled."""
    path, held = directory / f"full.{suffix}", directory / "memory.pcapng"
    file, memory = File(path.open("wb", buffering=0), format_for(path.name), 1500), Memory(1500, scroll=True)
    for packet in told(directory):
        file.add(packet)
        memory.add(packet)
    assert file.full
    file.close()
    held.write_bytes(memory.content())
    return [path, held]


def of_rewrite(directory: Path, suffix: str) -> Written:
    near, _ = write(directory, conversation())
    path = directory / f"rewritten.{suffix}"
    assert cli.main(["rewrite", str(near), str(path), "--inside", f"{PHONE}/32", "--public", NAT]) == 0
    return [path]


def of_calls(directory: Path, suffix: str) -> Written:
    near, far = write(directory, conversation())
    path = directory / f"exported.{suffix}"
    assert cli.main(["calls", str(near), str(far), "--call", "2", "--export", str(path)]) == 0
    return [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("writer", [of_trace, of_the_sniffer, of_a_full_sniffer, of_rewrite, of_calls])
def test_tshark_opens_it(writer: Callable[[Path, str], Written], suffix: str, tmp_path: Path) -> None:
    for path in writer(tmp_path, suffix):
        frames = [frame.number for frame in read(path)]
        assert frames
        argv = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.number", "-e", "_ws.malformed"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        complaints = [line for line in done.stderr.splitlines() if "Running as user" not in line]
        assert (done.returncode, complaints) == (0, []), path.name
        assert [line.split() for line in done.stdout.splitlines()] == [[str(number)] for number in frames], path.name


def read(path: Path) -> list[Frame]:
    with open_capture(path) as source:
        frames = list(source)
        assert source.damage is None
    return frames


def test_tshark_complains_of_what_is_cut(tmp_path: Path) -> None:
    """The test above could fail."""
    near, _ = write(tmp_path, conversation())
    near.write_bytes(near.read_bytes()[:-3])
    done = subprocess.run(["tshark", "-r", str(near)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "cut short" in done.stderr
