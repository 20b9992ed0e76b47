"""A run of the sniffer: `python -m sipalg.sniffer.process DIRECTORY`, a process of its own that goes on by itself.

The program checks and prepares everything, says `ready` or what is wrong, and leaves its child running in a session of
its own. The child holds the lock of the directory as long as it lives. SIGTERM ends it, SIGUSR1 has it write down what
it counted; it ends by itself where nothing would be kept of any further packet. On a packet's way copies of it are
taken in here.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from sipalg.capture.records import NS_PER_S, Captured, format_for
from sipalg.sniffer.directory import Captures, CapturesError
from sipalg.sniffer.frames import look
from sipalg.sniffer.program import ProgramError
from sipalg.sniffer.settings import Settings, settings_of
from sipalg.sniffer.storage import File, Memory
from sipalg.sniffer.stream import Stream
from sipalg.sniffer.tables import Tables
from sipalg.sniffer.tap import Tap, TapError

READY: Final = "ready"
#: The sniffer's own files.
SETTINGS_FILE: Final = "settings.json"
STATE_FILE: Final = "state.json"
MEMORY_FILE: Final = "memory.pcapng"
#: Packets before signals are looked at and what waits is written.
_AT_ONCE: Final = 64
#: How often a dead sniffer's state is at most behind, in seconds.
_STATE_EACH_S: Final = 1.0
#: A client that looks whether somebody holds the lock holds it for a moment.
_LOCK_TRIES: Final = 50
_LOCK_WAIT_S: Final = 0.02


class Run:
    """What becomes of each packet, and what is known of all of them."""

    def __init__(self, settings: Settings, file: File | None, stream: Stream | None) -> None:
        self._settings = settings
        self._file = file
        self._stream = stream
        self.tables = Tables()
        self.memory = Memory(settings.memory_limit_bytes, scroll=settings.memory_scroll)

    @property
    def over(self) -> bool:
        """Would nothing be kept of another packet? Then a run is over."""
        return self.memory.full and self._stream is None and (self._file is None or self._file.full)

    def take(self, packet: Captured) -> None:
        """Count, keep, write and stream one packet."""
        seen = look(packet.frame)
        self.tables.add(seen, packet.wire_bytes, packet.time_ns / NS_PER_S)
        if self._settings.only_headers:
            packet = packet._replace(frame=packet.frame[: seen.header_bytes])
        self.memory.add(packet)
        if self._file is not None:
            self._file.add(packet)
        own = self._settings.server == (seen.destination, seen.destination_port) and seen.ip_protocol == "udp"
        # What is streamed is never streamed again, or one packet would be without end.
        if self._stream is not None and not own:
            self._stream.send(packet.frame)

    def flush(self) -> None:
        """Bring what waits to the file."""
        if self._file is not None:
            self._file.flush()

    def state(self, dropped: int, now: float, **more: object) -> dict[str, Any]:
        """Return what is known of the run, as JSON has it; `now` in seconds since 1970."""
        file, stream = self._file, self._stream
        return {
            "packets": self.tables.packets,
            "bytes": self.tables.bytes,
            "dropped": dropped,
            "memory_packets": len(self.memory),
            "memory_bytes": self.memory.size_bytes,
            "file": self._settings.file_name,
            "file_packets": file.packets if file else 0,
            "file_bytes": file.size_bytes if file else 0,
            "file_full": file.full if file else False,
            "problem": file.problem if file else "",
            "streamed": stream.packets if stream else 0,
            "stream_failed": stream.failed if stream else 0,
            "left_out": self.tables.left_out,
            "protocols": self.tables.protocol_rows(),
            "hosts": self.tables.host_rows(now),
            "connections": self.tables.connection_rows(),
            **more,
        }

    def close(self) -> None:
        """Write what waits, and end."""
        if self._file is not None:
            self._file.close()
        if self._stream is not None:
            self._stream.close()


class Source(Protocol):
    """What a process takes its packets from: `tap.Tap`."""

    def fileno(self) -> int:
        """Return what to wait on."""

    def receive(self) -> Captured | None:
        """Return the next packet, or None while there is none."""

    def count_dropped(self) -> int:
        """Return how many packets there was no room for."""


class Process:
    """The child: a tap, a run, and the signals."""

    def __init__(self, captures: Captures, tap: Source, run: Run, clock: Callable[[], float] = time.time) -> None:
        self._captures = captures
        self._tap = tap
        self._run = run
        self._clock = clock
        self._signals, self._wakeup = socket.socketpair()
        self._asked = False
        self._ending = ""
        self._written = 0
        #: How many packets the state knows.
        self._told = 0
        self._state_at = clock()

    def begin(self) -> None:
        """Be ready for signals, and write down that it runs."""
        for one in (self._signals, self._wakeup):
            one.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        self._write(running=True)

    def go(self) -> None:
        """Take packets until the end."""
        poller = select.poll()
        for descriptor in (self._tap.fileno(), self._signals.fileno()):
            poller.register(descriptor, select.POLLIN)
        while not self._ending:
            poller.poll(_STATE_EACH_S * 1000)
            self._drain()
            self._look_at_signals()
            old = self._told != self._run.tables.packets and not 0 <= self._clock() - self._state_at < _STATE_EACH_S
            if self._asked or old:
                self._write(running=True, memory=self._asked)
                self._asked = False
        self._tap.count_dropped()
        self._run.close()
        self._write(running=False, memory=True)

    def close(self) -> None:
        """Listen to no signals any more."""
        self._signals.close()
        self._wakeup.close()

    def _drain(self) -> None:
        for _ in range(_AT_ONCE):
            packet = self._tap.receive()
            if packet is None:
                break
            self._run.take(packet)
            if self._run.over:
                self._ending = "nothing is left to keep packets in"
                break
        self._run.flush()

    def _look_at_signals(self) -> None:
        try:
            numbers = self._signals.recv(64)
        except BlockingIOError:
            return
        if signal.SIGUSR1 in numbers:
            self._asked = True
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            # What the kernel has already is a part of the run.
            end_ns = time.time_ns()
            while (packet := self._tap.receive()) is not None and packet.time_ns <= end_ns and not self._run.over:
                self._run.take(packet)
            self._ending = "stopped"

    def _write(self, *, running: bool, memory: bool = False) -> None:
        """Write down what is known; `written` counts up with each answer to SIGUSR1, and at the end."""
        self._state_at = self._clock()
        self._told = self._run.tables.packets
        try:
            if memory:
                self._captures.put_hidden(MEMORY_FILE, self._run.memory.content())
                self._written += 1
            state = self._run.state(
                self._tap.count_dropped(),
                self._state_at,
                pid=os.getpid(),
                running=running,
                ending=self._ending,
                written=self._written,
            )
            self._captures.put_hidden(STATE_FILE, json.dumps(state).encode())
        except CapturesError:
            # A full disk ends no capture that goes elsewhere.
            return


def read_settings(captures: Captures) -> dict[str, str]:
    """Return the settings that were kept, as texts; those that can't be read are defaults. Raises CapturesError."""
    content = captures.hidden(SETTINGS_FILE)
    try:
        kept = json.loads(content) if content else {}
    except ValueError:
        kept = {}
    return {str(key): str(value) for key, value in kept.items()} if isinstance(kept, Mapping) else {}


def prepare(captures: Captures) -> Process:
    """Take the lock, open everything and return what only has to go. Raises what `main` tells."""
    lock = captures.lock()
    for _ in range(_LOCK_TRIES):
        if lock is not None:
            break
        time.sleep(_LOCK_WAIT_S)
        lock = captures.lock()
    if lock is None:
        raise CapturesError("the sniffer is running already; stop it first")
    # Never closed: the lock is this process's life.
    settings = settings_of(read_settings(captures))
    tap = Tap(settings)
    file = None
    if settings.file_name:
        name = settings.file_name
        file = File(captures.create(name), format_for(name), settings.file_limit_bytes)
        if file.problem:
            raise CapturesError(f"{captures.path / name}: {file.problem}")
    stream = Stream(settings.server) if settings.server else None
    return Process(captures, tap, Run(settings, file, stream))


def main(arguments: list[str]) -> int:
    """Leave a child that captures; 0 once it does, or one line on stdout and 2."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading) as answer:
            line = answer.read().strip()
        if line == READY:
            return 0
        sys.stdout.write(f"{line or 'the sniffer ended before it began'}\n")
        return 2
    os.close(reading)
    os.setsid()
    try:
        process = prepare(Captures(Path(arguments[0])))
    except (CapturesError, ProgramError, TapError, ValueError) as error:
        os.write(writing, str(error).encode())
        return 2
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    process.begin()
    os.write(writing, READY.encode())
    os.close(writing)
    process.go()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
