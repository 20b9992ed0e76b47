"""A relay's surroundings for tests: a loop, a hub that decides in a simple way, and both ends of a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from sipalg.datapath.loop import FaultLog, Loop
from sipalg.datapath.relay_connection import Connection, Ends
from sipalg.datapath.relay_leg import Leg
from sipalg.engine.verdict import Datagram, Endpoint

PRIVATE, PUBLIC = b"192.168.33.10", b"203.0.113.1"


def message(body: bytes = b"", method: bytes = b"OPTIONS", via: bytes = PRIVATE) -> bytes:
    """A message with the private address in it."""
    head = b"%b sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP %b:5060;branch=z9hG4bK1\r\nContent-Length: %d\r\n\r\n"
    return head % (method, via, len(body)) + body


class Clock:
    """Time as a number."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Hub:
    """What a connection asks; the private address becomes the public one, and the reverse on the way back."""

    def __init__(self) -> None:
        self.time = Clock()
        self.clock = self.time
        self.loop = Loop(self.time)
        self.log = FaultLog(self.time)
        self.mark = 0
        self.nat_address = ""
        self.sip_timeout_s = 3600.0
        self.asked: list[Datagram] = []
        self.mapped: dict[Endpoint, Endpoint] = {}
        self.reasons: list[str] = []
        self.ends: list[str] = []
        self.homes: list[Endpoint] = []
        self.answer = b""
        self.working: list[tuple[Connection, Leg]] = []
        self.displacing: Callable[[], bool] = lambda: False
        self.decision: Callable[[bytes], bytes] | None = None

    def decide(self, datagram: Datagram) -> tuple[bytes, bytes]:
        self.asked.append(datagram)
        payload = datagram.payload
        if self.decision is not None:
            return self.decision(payload), b""
        if self.answer:
            return b"", self.answer
        if datagram.in_interface == "lan0":
            return payload.replace(PRIVATE, PUBLIC), b""
        return payload.replace(PUBLIC, PRIVATE), b""

    def soon(self, connection: Connection, leg: Leg) -> None:
        if (connection, leg) not in self.working:
            self.working.append((connection, leg))
            self.loop.soon(self.work)

    def work(self) -> None:
        connection, leg = self.working.pop(0)
        connection.work(leg)

    def public_of(self, private: Endpoint) -> Endpoint | None:
        return self.mapped.get(private)

    def named(self, connection: Connection) -> None:
        self.homes.append(connection.home)

    def displace(self, _connection: Connection) -> bool:
        return self.displacing()

    def broken(self, _connection: Connection, reason: str) -> None:
        self.reasons.append(reason)

    def ended(self, _connection: Connection, why: str) -> None:
        self.ends.append(why)


class World:
    """A connection with the relay between `opener` and `target`, over loopback; `far` is what the target accepted."""

    def __init__(self, *, from_inside: bool = True, listening: bool = True) -> None:
        self.hub = Hub()
        self.listener = socket.create_server(("127.0.0.1", 0))
        target = Endpoint(*self.listener.getsockname())
        if not listening:
            self.listener.close()
        with socket.create_server(("127.0.0.1", 0)) as relay:
            self.opener = socket.create_connection(relay.getsockname())
            accepted, address = relay.accept()
        self.opener.setblocking(False)
        sides = ("lan0", "wan0") if from_inside else ("wan0", "lan0")
        self.connection = Connection(self.hub, accepted, Ends(Endpoint(*address), target, *sides, from_inside))
        self.far: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A test may have let go of it.
        if hasattr(self, "connection"):
            self.connection.close("test over")
        for one in (self.opener, self.listener, self.far):
            if one is not None:
                one.close()
        self.hub.loop.close()

    def steps(self, count: int = 20) -> None:
        """Let the loop go on for some turns; on loopback what is sent is there at once."""
        for _ in range(count):
            self.hub.loop.step(0.002)

    def until(self, holds: Callable[[], bool]) -> None:
        """Let the loop go on until it holds."""
        for _ in range(2000):
            if holds():
                return
            self.hub.loop.step(0.005)
        raise AssertionError("it never holds")

    def accept(self) -> socket.socket:
        """Take what the relay connects onwards."""
        self.steps()
        self.listener.settimeout(30)
        self.far, _ = self.listener.accept()
        self.far.setblocking(False)
        self.steps()
        return self.far

    def received(self, end: socket.socket, size: int) -> bytes:
        """What has come at one end: as much as expected, or until nothing more comes."""
        data = bytearray()

        def enough() -> bool:
            with suppress(BlockingIOError):
                data.extend(end.recv(1 << 20))
            return len(data) >= size

        self.until(enough)
        return bytes(data)

    def at_end(self, end: socket.socket) -> bool:
        """Whether the stream has ended at one end."""
        self.steps()
        try:
            return end.recv(1) == b""
        except BlockingIOError:
            return False
