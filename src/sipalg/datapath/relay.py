"""The relay for SIP over TCP: takes connections that the kernel hands to it, and sees that each is looked after.

In the packets' loop, since the engine is one and has no locks: a turn of the loop decides few messages, of one
connection after the other, and packets get their turn in between. On a message's way this stands between the kernel's
sockets and the driver. Which connections come here is decided by rules (nft_relay) and the administrator's filter.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final, Protocol

from sipalg.datapath.loop import FaultLog
from sipalg.datapath.relay_connection import Connection, Ends
from sipalg.datapath.relay_leg import Leg, Watcher
from sipalg.datapath.relay_room import OF_PHONE, Room, phone_of
from sipalg.engine.verdict import TCP, Datagram, Endpoint, Event

_LOG = logging.getLogger(__name__)

#: Connections taken at once, before others get their turn.
_ACCEPT_AT_ONCE: Final = 16
_BACKLOG: Final = 1024
#: Messages decided, and reads, before the packets' queue gets its turn: some milliseconds at most.
WORK_AT_ONCE: Final = 16
#: How long a phone doesn't speak on a connection that it has left behind: it takes longer to start again.
LEFT_BEHIND_S: Final = 10.0
_LISTENS_AT: Final = "127.0.0.1"
_IP_TRANSPARENT: Final = 19


class Deciding(Protocol):
    """What the relay asks of `driver.Driver`."""

    def decide_message(self, datagram: Datagram) -> tuple[bytes, bytes]:
        """Decide on one message of a stream; what goes on, and what its sender is answered."""

    def report_events(self) -> None:
        """Tell what happened."""


class Turns(Watcher, Protocol):
    """What the relay asks of `loop.Loop`."""

    def soon(self, call: Callable[[], None]) -> None:
        """Call it once, behind what is ready."""


class Relay:
    """The listening socket and its connections; `interface_of` names the inside interface that a host is behind.

    `aliases` are the engine's (`Mappings.aliases`). Its sockets bear `mark`, by which the rules know them.
    """

    def __init__(
        self,
        loop: Turns,
        driver: Deciding,
        public_of: Callable[[int, Endpoint], Endpoint | None],
        interface_of: Callable[[str], str],
        outside: str,
        on_event: Callable[[Event], None],
        aliases: dict[tuple[int, Endpoint], Endpoint],
        clock: Callable[[], float] = time.monotonic,
        mark: int = 0,
    ) -> None:
        """Listen, on a port that the kernel chooses. Raises OSError, EPERM without CAP_NET_ADMIN."""
        self.loop = loop
        self.clock = clock
        self.mark = mark
        self.nat_address = ""
        self.sip_timeout_s = 3600.0
        self.connections: dict[Connection, None] = {}
        self.log = FaultLog(clock)
        #: What became of connections: `accepted`, `refused`, and of streams, by reason.
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.unframed: defaultdict[str, int] = defaultdict(int)
        #: Which connections have something to do, in their order, and from which of their ends.
        self._work: dict[tuple[Connection, Leg], None] = {}
        self._working = False
        self._room = Room()
        self._driver = driver
        self._public_of = public_of
        self._interface_of = interface_of
        self._outside = outside
        self._on_event = on_event
        self._aliases = aliases
        #: Whether no connection could be taken last time.
        self._resting = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
            # What it accepts bears it too.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            self._socket.bind((_LISTENS_AT, 0))
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    def start(self) -> None:
        """Begin to take connections."""
        self.loop.watch(self._socket, self.accept)

    def close(self) -> None:
        """End all connections, and listen no more."""
        self.end_all("stopped")
        self.loop.unwatch(self._socket)
        self._socket.close()

    def end_all(self, why: str) -> None:
        """End all connections with a reset, so that both ends know at once."""
        for connection in list(self.connections):
            connection.close(why)

    def look(self) -> None:
        """Do what time asks for, each second."""
        if self._resting:
            self._resting = False
            self.start()
        now = self.clock()
        for connection in list(self.connections):
            connection.look(now)
        self._driver.report_events()

    def accept(self, _events: int = 0) -> None:
        """Take the connections that wait."""
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                accepted, opener = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Too many descriptors: it would be ready all the time.
                _LOG.warning("connection-not-taken why=%r", str(error))
                self.loop.unwatch(self._socket)
                self._resting = True
                return
            self._take(accepted, Endpoint(*opener))

    def _take(self, accepted: socket.socket, opener: Endpoint) -> None:
        target = Endpoint(*accepted.getsockname())
        if target.host == _LISTENS_AT:
            # A local program that connects to the relay itself.
            accepted.close()
            return
        inside = self._interface_of(opener.host)
        ends = Ends(
            opener,
            target,
            inside or self._outside,
            self._interface_of(target.host) or self._outside,
            bool(inside),
        )
        why = self._room.has_no(ends)
        if why and self._gave_way(ends, why):
            why = self._room.has_no(ends)
        if why:
            self.counts["refused"] += 1
            self._tell("tcp-refused", ends, why=why)
            accepted.close()
            return
        try:
            connection = Connection(self, accepted, ends)
        except OSError:
            accepted.close()
            return
        self.counts["accepted"] += 1
        if not connection.over:
            self.connections[connection] = None
            self._room.take(ends)
            self._tell("tcp-opened", ends)

    def _work_some(self) -> None:
        """Do so much of the work that waits; who isn't done comes behind the others."""
        for _ in range(WORK_AT_ONCE):
            if not self._work:
                break
            connection, leg = next(iter(self._work))
            del self._work[connection, leg]
            connection.work(leg)
        self._working = bool(self._work)
        if self._working:
            self.loop.soon(self._work_some)

    def _gave_way(self, ends: Ends, why: str) -> bool:
        """End the oldest connection that never carried SIP and whose room is the one that is missing; tell of one."""
        for other in self.connections:
            same = other.ends.from_inside == ends.from_inside
            if same and not other.is_sip and (why != OF_PHONE or phone_of(other.ends) == phone_of(ends)):
                other.close("another one needs its room")
                return True
        return False

    # What a connection asks.

    def decide(self, datagram: Datagram) -> tuple[bytes, bytes]:
        """Return what goes on in a message's place, and what its sender is answered."""
        decided = self._driver.decide_message(datagram)
        self._driver.report_events()
        return decided

    def soon(self, connection: Connection, leg: Leg) -> None:
        """Have the connection work on what comes from one end when it is its turn."""
        self._work[connection, leg] = None
        if not self._working:
            self._working = True
            self.loop.soon(self._work_some)

    def public_of(self, private: Endpoint) -> Endpoint | None:
        """Return the public address that a phone's TCP address is mapped to."""
        return self._public_of(TCP, private)

    def named(self, connection: Connection) -> None:
        """Have the engine know which address a connection from another port of the phone stands for."""
        opener = connection.ends.opener
        if connection.home != opener:
            self._aliases[TCP, opener] = connection.home

    def displace(self, connection: Connection) -> bool:
        """Ask whether an older connection of the same phone to the same place is there; tell whether there is one.

        A phone that was switched off has left one behind, from whose public port it is called; it ends. One that was
        spoken on a moment ago, or whose phone's kernel answers, belongs to a phone that has two.
        """
        now = self.clock()
        for other in self.connections:
            same = other.home == connection.home and other.ends.target == connection.ends.target
            if same and other is not connection and now - other.opener_spoke >= LEFT_BEHIND_S:
                other.ask()
                return True
        return False

    def broken(self, connection: Connection, reason: str) -> None:
        """Count a stream that isn't framed any more, and tell of one that was SIP."""
        self.unframed[reason] += 1
        if connection.forth.messages or connection.back.messages:
            self._tell("tcp-untranslated", connection.ends, why=reason)

    def ended(self, connection: Connection, why: str) -> None:
        """Forget a connection."""
        if connection in self.connections:
            del self.connections[connection]
            self._room.give_back(connection.ends)
            opener = connection.ends.opener
            if all(other.ends.opener != opener for other in self.connections):
                self._aliases.pop((TCP, opener), None)
            self._tell("tcp-closed", connection.ends, why=why)

    def _tell(self, name: str, ends: Ends, **facts: str) -> None:
        pairs = {"opener": str(ends.opener), "target": str(ends.target), **facts}
        self._on_event(Event(name, tuple(pairs.items())))
