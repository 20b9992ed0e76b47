"""What the service manager wants to hear: ready, still alive, stopping; one datagram each to its socket.

The protocol is sd_notify(3)'s, which other managers and container runtimes know too. Without NOTIFY_SOCKET in the
environment nothing is sent. `WATCHDOG=1` comes from the packet loop and from nowhere else, so a loop that hangs is
restarted even though the process lives.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends states to the manager; never blocks and never raises, because packets are more important."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        self._socket: socket.socket | None = None
        #: How often `alive` has to be called, in seconds; None where nobody watches.
        self.watchdog_interval_s: float | None = None
        path = environment.get("NOTIFY_SOCKET", "")
        if path[:1] not in ("/", "@"):
            return
        self._address = "\0" + path[1:] if path[0] == "@" else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        microseconds = environment.get("WATCHDOG_USEC", "")
        watched = environment.get("WATCHDOG_PID", str(os.getpid()))
        if microseconds.isdecimal() and int(microseconds) and watched == str(os.getpid()):
            # Half of what is allowed, as sd_watchdog_enabled(3) recommends.
            self.watchdog_interval_s = int(microseconds) / 2_000_000

    def ready(self, status: str) -> None:
        """Say that packets are handled from now on; `status` is one line for people."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Say that the settings are being read again; `ready` says that they have been."""
        microseconds = time.monotonic_ns() // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def alive(self) -> None:
        """Say that the loop goes round."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket; nothing is sent any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, state: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(state.encode(), self._address)
