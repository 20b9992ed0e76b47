"""One end of a relayed connection: a socket that never blocks, and what waits to be sent by it.

The relay's outermost part on a message's way, in both directions. What waits is bounded by whoever reads: neither end
is read as long as one of them is full, so that a slow reader slows its sender down, and who doesn't read the answers
to what it sends slows itself down.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from sipalg.datapath.loop import READ, WRITE, HasFileno

#: Read at once: some messages; finding where they end costs by the square of it.
READ_BYTES: Final = 16384
#: What may wait at one end before nothing is read any more that might add to it.
FULL_BYTES: Final = 65536
#: Seconds of silence before the kernel asks whether the other host is there, between its questions, and how many.
_ASK_AFTER_S, _ASK_EVERY_S, _ASK_TIMES = 600, 60, 5
#: In tcp_info (linux/tcp.h): milliseconds since the other host last confirmed anything.
_LAST_ACK: Final = struct.Struct("=56xI")
_RESET: Final = struct.pack("ii", 1, 0)


class Watcher(Protocol):
    """What a leg asks of `loop.Loop`."""

    def watch(self, source: HasFileno, on_ready: Callable[[int], None], events: int = READ) -> None:
        """Call back when the descriptor is ready."""

    def change(self, source: HasFileno, events: int) -> None:
        """Watch it for other events."""

    def unwatch(self, source: HasFileno) -> None:
        """Watch it no more."""


def _call_nobody(_events: int) -> None:
    """Stand for the callback of a leg that is closed."""


class Leg:
    """One end. `read`, `send` and `flush` may raise OSError: the connection is gone then."""

    def __init__(
        self, loop: Watcher, sock: socket.socket, on_ready: Callable[[int], None], *, connected: bool = True
    ) -> None:
        """Take the socket over; `on_ready(events)` is called from the loop."""
        self.connected = connected
        #: The other host sends nothing more.
        self.ended = False
        self._loop = loop
        self._socket = sock
        self._on_ready = on_ready
        self._waiting = bytearray()
        self._finishing = False
        self._finished = False
        self._watched = 0
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASK_AFTER_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_EVERY_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _ASK_TIMES)

    @property
    def full(self) -> bool:
        """Whether so much waits that nothing more should come."""
        return len(self._waiting) >= FULL_BYTES

    @property
    def done(self) -> bool:
        """Whether nothing comes from here any more, and nothing goes."""
        return self.ended and self._finished

    def read(self) -> bytes:
        """Return what has come, b"" for nothing; `ended` is set at the stream's end."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        self.ended = self.ended or not data
        return data

    def send(self, data: bytes) -> None:
        """Send it, or as much as goes, the rest later."""
        self._waiting += data
        self.flush()

    def flush(self) -> None:
        """Send what waits, or as much as goes; then the end, where it is time for that."""
        if not self.connected:
            return
        if self._waiting:
            try:
                sent = self._socket.send(self._waiting)
            except BlockingIOError:
                return
            del self._waiting[:sent]
        if self._finishing and not self._waiting and not self._finished:
            self._finished = True
            self._socket.shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        """Send the stream's end behind what waits."""
        self._finishing = True
        self.flush()

    def check_connected(self) -> None:
        """Take note of how connecting ended. Raises OSError where it failed."""
        if not self.connected:
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            self.connected = True

    def watch(self, *, reading: bool) -> None:
        """Wait for what is needed: room to send where something waits, and with `reading` what comes."""
        wanted = READ if reading and self.connected and not self.ended else 0
        if not self.connected or self._waiting:
            wanted |= WRITE
        if wanted == self._watched:
            return
        # Not even for nothing: a connection that is gone would be ready all the time.
        if not wanted:
            self._loop.unwatch(self._socket)
        elif self._watched:
            self._loop.change(self._socket, wanted)
        else:
            self._loop.watch(self._socket, self._on_ready, wanted)
        self._watched = wanted

    def ask(self) -> None:
        """Have the kernel ask whether the other host is there, after a second of silence."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)

    def has_answered(self, within_s: float) -> bool:
        """Tell whether the other host's kernel was heard within some seconds, and ask as seldom as before."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASK_AFTER_S)
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK.size)
        (ago_ms,) = _LAST_ACK.unpack(info)
        return bool(ago_ms <= within_s * 1000)

    def close(self, *, reset: bool = False) -> None:
        """Close it, with a reset where the other end was; `on_ready` is forgotten, so that its owner can be freed.

        The owner has the leg, and the leg its owner's method: nothing else ends that cycle.
        """
        self._on_ready = _call_nobody
        if self._watched:
            self._loop.unwatch(self._socket)
            self._watched = 0
        if reset and self._socket.family == socket.AF_INET and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()
