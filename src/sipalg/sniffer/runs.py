"""The sniffer from outside: its settings, its start and end, and what it found; for commands.

A run that was killed is noticed by its lock, which nobody holds any more: its file is cut behind the last whole
packet, and what it had counted a second before its end is what there is. A process is only ever signalled by a
descriptor of it (pidfd_open(2)), after a look at what it runs. Off a packet's way.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sipalg.capture.records import Captured, Pcapng, format_for, read_blocks, whole_bytes
from sipalg.sniffer.directory import Captures, CapturesError
from sipalg.sniffer.process import MEMORY_FILE, SETTINGS_FILE, STATE_FILE, read_settings
from sipalg.sniffer.settings import DEFAULTS, checked, settings_of

_PROGRAM: Final = "sipalg.sniffer.process"
#: How long a process may take to start, to end, and to write down what it knows.
_PATIENCE_S: Final = 10.0
_LOOK_EACH_S: Final = 0.01


class Runs:
    """The sniffer of a captures' directory. All methods raise CapturesError, one line for people."""

    def __init__(self, path: Path) -> None:
        self.captures = Captures(path)

    def settings(self) -> dict[str, str]:
        """Return the settings as texts, all of them."""
        kept = read_settings(self.captures)
        return checked({key: text for key, text in kept.items() if key in DEFAULTS})

    def set(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Change settings, all of these or none; the keys that are other than before. A run goes on as it began."""
        before = self.settings()
        try:
            after = checked({**before, **values})
        except ValueError as error:
            raise CapturesError(str(error)) from None
        self.captures.put_hidden(SETTINGS_FILE, json.dumps(after, indent=2).encode())
        return tuple(key for key in after if after[key] != before[key])

    def reset(self) -> tuple[str, ...]:
        """Give all settings their defaults."""
        return self.set(DEFAULTS)

    def start(self) -> None:
        """Begin a run."""
        if self.pid():
            raise CapturesError("the sniffer is running already; stop it first")
        try:
            settings_of(self.settings())
        except ValueError as error:
            raise CapturesError(str(error)) from None
        self._repair()
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", _PROGRAM, str(self.captures.path)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CapturesError(f"the sniffer didn't start within {_PATIENCE_S:.0f} seconds; try again") from None
        if done.returncode:
            lines = (done.stdout or done.stderr).strip().splitlines()
            raise CapturesError(lines[-1] if lines else "the sniffer didn't start")

    def stop(self) -> dict[str, Any]:
        """End the run, and return what it found; the same where it has ended by itself."""
        pid = self.pid()
        if pid:
            self._signal(pid, signal.SIGTERM)
            self._await(lambda: not self.pid(), "end", pid)
        return self.state()

    def state(self) -> dict[str, Any]:
        """Return what the run knows just now, or the last one knew; {} where there was none."""
        pid = self.pid()
        if pid:
            written = self._state().get("written")
            self._signal(pid, signal.SIGUSR1)
            self._await(lambda: self._state().get("written") != written or not self.pid(), "answer", pid)
        else:
            self._repair()
        return self._state()

    def packets(self) -> list[Captured]:
        """Return the packets in memory."""
        self.state()
        return read_blocks(io.BytesIO(self.captures.hidden(MEMORY_FILE) or b""))

    def save(self, name: str) -> int:
        """Write the packets in memory to a file, pcapng or pcap by its name, and return how many they are."""
        if self.writes(name):
            raise CapturesError(f"{name} is being written by the sniffer; give another name")
        self.state()
        content = self.captures.hidden(MEMORY_FILE) or b""
        packets = read_blocks(io.BytesIO(content))
        if not packets:
            raise CapturesError("there are no packets in memory; run the sniffer first")
        kind = format_for(name)
        if not isinstance(kind, Pcapng):
            content = b"".join([kind.header(), *map(kind.packet, packets)])
        self.captures.replace(name, content)
        return len(packets)

    def writes(self, name: str) -> bool:
        """Tell whether a run is writing the file."""
        return bool(self.pid()) and self._state().get("file") == name

    def pid(self) -> int:
        """Return the process that captures, 0 for none."""
        return int(self._state().get("pid", 0)) if self.captures.locked() else 0

    def _state(self) -> dict[str, Any]:
        try:
            found = json.loads(self.captures.hidden(STATE_FILE) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _repair(self) -> None:
        """Bring what a run left that was killed into order."""
        state = self._state()
        if not state.get("running"):
            return
        name = str(state.get("file") or "")
        if name:
            with contextlib.suppress(CapturesError):
                with self.captures.open(name) as file:
                    whole, size_bytes = whole_bytes(file), file.seek(0, os.SEEK_END)
                if whole < size_bytes:
                    self.captures.cut(name, whole)
        self.captures.put_hidden(MEMORY_FILE, b"")
        state.update(running=False, ending="killed", memory_packets=0, memory_bytes=0)
        self.captures.put_hidden(STATE_FILE, json.dumps(state).encode())

    def _signal(self, pid: int, number: signal.Signals) -> None:
        """Signal the process, if it is a sniffer of ours of this directory."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError as error:
            raise CapturesError(f"the sniffer (pid {pid}): {error.strerror}") from None
        try:
            with contextlib.suppress(FileNotFoundError):
                given = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if _PROGRAM.encode() not in given or os.fsencode(self.captures.path) not in given:
                    raise CapturesError(f"process {pid} isn't this directory's sniffer; it is left alone")
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise CapturesError(f"the sniffer (pid {pid}) is another user's; ask as root") from None
        finally:
            os.close(descriptor)

    def _await(self, done: Callable[[], bool], what: str, pid: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not done():
            if time.monotonic() > deadline:
                raise CapturesError(f"the sniffer (pid {pid}) doesn't {what}")
            time.sleep(_LOOK_EACH_S)
