"""What becomes of each packet, and of a run's begin; runs of real processes are in tests/live/test_runs.py."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import time
from collections import deque
from pathlib import Path

import pytest
from tests.sniffer.packets import ethernet, udp

from sipalg.capture.records import Captured, Pcap, read_blocks
from sipalg.sniffer import process as module
from sipalg.sniffer.directory import Captures, CapturesError
from sipalg.sniffer.process import MEMORY_FILE, SETTINGS_FILE, STATE_FILE, Process, Run, prepare, read_settings
from sipalg.sniffer.settings import settings_of
from sipalg.sniffer.storage import File
from sipalg.sniffer.stream import Stream

FRAME = ethernet(udp("192.168.20.100", 5060, "207.252.1.148", 5060, bytes(100)))
PACKET = Captured(5_000_000_000, FRAME, len(FRAME), "vlan20", False)


def test_a_packet_is_counted_kept_and_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    run = Run(settings_of({"file-name": "a.pcap"}), File(path.open("wb", buffering=0), Pcap(), 10_000), None)
    run.take(PACKET)
    run.flush()
    assert path.stat().st_size == 24 + 16 + len(FRAME)
    state = run.state(3, 6.0, running=True)
    assert (state["packets"], state["bytes"], state["dropped"], state["running"]) == (1, len(FRAME), 3, True)
    assert (state["memory_packets"], state["file"], state["file_packets"]) == (1, "a.pcap", 1)
    assert state["protocols"][-1]["port"] == "5060 (sip)"
    assert json.loads(json.dumps(state)) == state
    run.close()


def test_only_headers_are_kept_of_what_is_counted_whole() -> None:
    run = Run(settings_of({"only-headers": "yes"}), None, None)
    run.take(PACKET)
    (kept,) = read_blocks(io.BytesIO(run.memory.content()))
    assert (kept.frame, kept.wire_bytes, run.tables.bytes) == (FRAME[:42], len(FRAME), len(FRAME))


def test_a_run_is_over_where_nothing_is_kept(tmp_path: Path) -> None:
    settings = settings_of({"memory-limit": "1", "memory-scroll": "no"})
    file = File((tmp_path / "a").open("wb", buffering=0), Pcap(), 1500)
    alone, with_file, with_stream = (
        Run(settings, None, None), Run(settings, file, None), Run(settings, None, Stream(("127.0.0.1", 9))),
    )  # fmt: skip
    runs = (alone, with_file, with_stream)
    for _ in range(7):
        for run in runs:
            run.take(PACKET)
    assert [run.over for run in runs] == [True, False, False]
    for _ in range(7):
        with_file.take(PACKET)
    assert with_file.over
    for run in runs:
        run.close()


def test_the_own_stream_is_kept_but_not_streamed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        settings = settings_of({
            "streaming-enabled": "yes", "streaming-server": f"127.0.0.1:{port}", "filter-stream": "no",
        })  # fmt: skip
        run = Run(settings, None, Stream(("127.0.0.1", port)))
        own = ethernet(udp("127.0.0.1", 40000, "127.0.0.1", port))
        run.take(Captured(0, own, len(own)))
        run.take(PACKET)
        state = run.state(0, 0.0)
        run.close()
    assert (state["packets"], state["streamed"]) == (2, 1)


class FakeTap:
    """A tap with packets in it; `fileno` is always ready to be read."""

    def __init__(self, packets: list[Captured]) -> None:
        self.packets = deque(packets)
        self._reading, writing = os.pipe()
        os.close(writing)

    def fileno(self) -> int:
        return self._reading

    def receive(self) -> Captured | None:
        return self.packets.popleft() if self.packets else None

    def count_dropped(self) -> int:
        return 7

    def close(self) -> None:
        os.close(self._reading)


def test_a_process_writes_down_what_it_knows_when_asked_and_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures = Captures(tmp_path)
    tap = FakeTap([PACKET] * 3)
    states: list[dict[str, object]] = []
    put = Captures.put_hidden

    def noted(self: Captures, name: str, content: bytes) -> None:
        put(self, name, content)
        if name == STATE_FILE:
            states.append(json.loads(content))
            if len(states) < 4:
                os.kill(os.getpid(), signal.SIGUSR1 if len(states) < 3 else signal.SIGTERM)

    monkeypatch.setattr(Captures, "put_hidden", noted)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    process = Process(captures, tap, Run(settings_of({}), None, None), time.time)
    try:
        process.begin()
        process.go()
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        tap.close()
        process.close()
    assert [state["running"] for state in states] == [True, True, True, False]
    assert [state["written"] for state in states] == [0, 1, 2, 3]
    assert [state["packets"] for state in states] == [0, 3, 3, 3]
    assert (states[-1]["ending"], states[-1]["dropped"], states[-1]["pid"]) == ("stopped", 7, os.getpid())
    memory = captures.hidden(MEMORY_FILE)
    assert memory is not None
    assert len(read_blocks(io.BytesIO(memory))) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_settings_that_cannot_be_read_are_defaults(tmp_path: Path, content: bytes) -> None:
    captures = Captures(tmp_path)
    assert read_settings(captures) == {}
    captures.put_hidden(SETTINGS_FILE, content)
    assert read_settings(captures) == {}


def test_a_second_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_WAIT_S", 0.0)
    captures = Captures(tmp_path)
    lock = captures.lock()
    assert lock is not None
    with pytest.raises(CapturesError, match="running already; stop it first"):
        prepare(captures)
    os.close(lock)
