"""One relayed connection: two sockets, a framer for each direction, and the engine asked about each whole message.

The middle of a message's way over TCP. Whoever opened the connection has it with the relay, which has another with
whom it wanted, from the public address on the way out and from the server's own on the way in. A connection that
doesn't begin as SIP, or that stops being framed, is only handed through. Nothing here raises or waits.
"""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from sipalg.codec.stream import GIVEN_UP, NOT_SIP, Framer, Piece
from sipalg.datapath.loop import READ, WRITE, FaultLog
from sipalg.datapath.relay_leg import FULL_BYTES, Leg, Watcher
from sipalg.engine.streams import home_of
from sipalg.engine.verdict import TCP, Datagram, Endpoint

#: How long the phone may take for its first message before the connection goes on without: some protocols let the
#: server speak first, and no phone waits.
FIRST_WORD_S: Final = 1.0
#: How long a phone's kernel may take to say that it knows a connection.
ANSWER_S: Final = 1.0
#: How long a connection may stand without a message: who opens one for SIP has something to say, and has given up
#: waiting for an answer to it by then (RFC 3261 §17, 64 × T1). Keep-alives aren't messages.
FIRST_MESSAGE_S: Final = 32.0
#: How long the beginning of a message waits for its rest: of the first, which may be no message at all, and of others,
#: as long as a transaction (RFC 3261 §17, 64 × T1). Then it goes on as it is, and what follows too.
FIRST_REST_S: Final = 5.0
REST_S: Final = 32.0
#: How long a connection that one end has closed may be silent: the kernel's own time for it (tcp_timeout_fin_wait).
HALF_CLOSED_S: Final = 120.0
#: How long one that isn't SIP may be silent: RFC 5382 REQ-5, 2 hours 4 minutes.
UNTOUCHED_IDLE_S: Final = 7440.0

_IP_TRANSPARENT: Final = 19
_TAKEN: Final = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


class Ends(NamedTuple):
    """Who opened the connection and to where, and the interfaces that they are at; `from_inside` is who opened it."""

    opener: Endpoint
    target: Endpoint
    opener_interface: str
    target_interface: str
    from_inside: bool


class Hub(Protocol):
    """What a connection asks of the relay."""

    log: FaultLog
    mark: int
    nat_address: str
    sip_timeout_s: float

    @property
    def loop(self) -> Watcher:
        """Where sockets are watched."""

    def clock(self) -> float:
        """Return the time."""

    def decide(self, datagram: Datagram) -> tuple[bytes, bytes]:
        """Return what goes on in a message's place, and what its sender is answered, b"" for nothing."""

    def soon(self, connection: Connection, leg: Leg) -> None:
        """Have `connection.work(leg)` called when it is its turn; asked twice is asked once."""

    def public_of(self, private: Endpoint) -> Endpoint | None:
        """Return the public address that a phone's TCP address is mapped to."""

    def named(self, connection: Connection) -> None:
        """Take note of the phone's address that a connection stands for."""

    def displace(self, connection: Connection) -> bool:
        """Ask whether an older connection of the same phone to the same place is there; tell whether there is one."""

    def broken(self, connection: Connection, reason: str) -> None:
        """Take note that one direction isn't framed any more."""

    def ended(self, connection: Connection, why: str) -> None:
        """Take note that it is over."""


class Connection:
    """One connection; `home` is the phone's address by which the engine knows it, where the phone opened it."""

    def __init__(self, hub: Hub, accepted: socket.socket, ends: Ends) -> None:
        """Go on with an accepted connection. Raises OSError where it is gone already."""
        self.ends = ends
        self.home = ends.opener
        self.began = self.last_word = self.opener_spoke = hub.clock()
        self.forth = Framer()
        self.back = Framer()
        self.over = False
        #: When its phone was asked whether it knows it, and until when it waits for another one's answer.
        self._asked_at = self._waits_until = -math.inf
        self._hub = hub
        self._opener = Leg(hub.loop, accepted, self._opener_ready)
        self._onward: Leg | None = None
        #: What the framers have cut and nobody has looked at yet: one read makes many messages, a turn takes one.
        self._forth_pieces: deque[Piece] = deque()
        self._back_pieces: deque[Piece] = deque()
        #: What goes onwards before there is a connection to there.
        self._early = bytearray()
        self._held_since = self.began
        #: Whether `home` is settled: by the phone's first message, and where it didn't open the connection at once.
        self._named = not ends.from_inside
        if ends.from_inside:
            self._opener.watch(reading=True)
        else:
            self._guarded(self._connect)

    def look(self, now: float) -> None:
        """Do what time asks for: connect without a first word, wait for the rest no longer, end in silence."""
        if not self.over:
            self._guarded(lambda: self._look(now))

    def work(self, leg: Leg) -> None:
        """Do one piece of work for what comes from one end: at most one read, and one message decided.

        Whoever calls it sees to it that packets and other connections get their turn in between.
        """
        if not self.over:
            self._guarded(lambda: self._work(leg))

    def ask(self) -> None:
        """End this within two seconds if the phone's kernel doesn't know it any more."""
        self._asked_at = self._hub.clock()
        self._guarded(self._opener.ask)

    def close(self, why: str, *, reset: bool = True) -> None:
        """End it at both ends; who still has it may go on asking it, and is told nothing more.

        The legs forget their callbacks, which are this object's: it is freed by that, without the collector.
        """
        if self.over:
            return
        self.over = True
        for leg in (self._opener, self._onward):
            if leg is not None:
                with contextlib.suppress(OSError):
                    leg.close(reset=reset)
        self._hub.ended(self, why)

    @property
    def untouched(self) -> str:
        """Why neither direction is looked at, "" where one is."""
        return self.forth.broken if self.forth.broken and self.back.broken else ""

    @property
    def is_sip(self) -> bool:
        """Whether a whole message came yet, from either end."""
        return bool(self.forth.messages or self.back.messages)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            self.close(error.strerror or "gone")
        except Exception:
            self._hub.log.exception("relay", "connection-closed")
            self.close("fault")

    def _opener_ready(self, events: int) -> None:
        self._guarded(lambda: self._ready(self._opener, events))

    def _onward_ready(self, events: int) -> None:
        leg = self._onward
        if leg is not None:
            self._guarded(lambda: self._ready(leg, events))

    def _ready(self, leg: Leg, events: int) -> None:
        if events & WRITE:
            leg.check_connected()
            leg.flush()
        if events & READ and leg.connected and not leg.ended and not self._full():
            self._hub.soon(self, leg)
        self._settle()

    def _work(self, leg: Leg) -> None:
        pieces = self._forth_pieces if leg is self._opener else self._back_pieces
        if self._full():
            return
        if not pieces and not leg.ended:
            self._read(leg, pieces)
        if pieces:
            self._hand_on(pieces.popleft(), leg)
        # Not for a keep-alive alone: the first message says where from.
        if self._onward is None and (self._named or (self.forth.broken and self._early)):
            self._connect()
        self._settle()

    def _read(self, leg: Leg, pieces: deque[Piece]) -> None:
        """Read what one end has sent, and cut it."""
        framer = self.forth if leg is self._opener else self.back
        data = leg.read()
        if not data and not leg.ended:
            return
        self.last_word = self._hub.clock()
        if leg is self._opener:
            self.opener_spoke = self.last_word
        was_broken, held = framer.broken, framer.held_bytes
        cut = framer.feed(data)
        pieces += cut
        if framer.held_bytes and (cut or not held):
            self._held_since = self.last_word
        if leg.ended:
            self._give_up(framer, pieces)
        elif framer.broken and not was_broken:
            self._note_broken(framer)

    def _hand_on(self, piece: Piece, leg: Leg) -> None:
        """Hand on a piece of what one end has sent: whole messages through the engine, all else as it is."""
        forth = leg is self._opener
        framer = self.forth if forth else self.back
        going_on, answer = piece.data, b""
        if piece.is_message or not framer.broken:
            if forth and piece.is_message and not self._named:
                self._named = True
                self.home = home_of(piece.data, self.home)
                self._hub.named(self)
            going_on, answer = self._hub.decide(self._datagram(going_on, forth=forth))
        self._send(going_on, forth=forth)
        if answer:
            leg.send(answer)

    @staticmethod
    def _give_up(framer: Framer, pieces: deque[Piece], reason: str = GIVEN_UP) -> None:
        """Frame one direction no more; what is held of it goes on behind what waits."""
        held = framer.give_up(reason)
        if held:
            pieces.append(Piece(held, False))

    def _datagram(self, payload: bytes, *, forth: bool) -> Datagram:
        ends = self.ends
        if forth:
            return Datagram(payload, self.home, ends.target, TCP, ends.opener_interface)
        return Datagram(payload, ends.target, self.home, TCP, ends.target_interface)

    def _note_broken(self, framer: Framer) -> None:
        self._hub.broken(self, framer.broken)
        if framer is self.forth and framer.broken == NOT_SIP and not framer.messages:
            # What isn't SIP one way isn't SIP the other way.
            self._give_up(self.back, self._back_pieces, NOT_SIP)

    def _send(self, data: bytes, *, forth: bool) -> None:
        if not data:
            return
        if not forth:
            self._opener.send(data)
        elif self._onward is None:
            self._early += data
        else:
            self._onward.send(data)

    def _full(self) -> bool:
        """Whether nothing is to be read, since much waits at an end: what comes from one makes something at both."""
        onward_full = len(self._early) >= FULL_BYTES if self._onward is None else self._onward.full
        return onward_full or self._opener.full

    def _settle(self) -> None:
        """Hand on the ends of the streams, wait for what comes next, or end."""
        onward = self._onward
        if self.over:
            return
        full = self._full()
        if self._forth_pieces and not full:
            self._hub.soon(self, self._opener)
        if onward is None:
            if self._opener.ended and not self._forth_pieces:
                self.close("closed without a word", reset=False)
            else:
                self._opener.watch(reading=not full and not self._forth_pieces)
            return
        if self._back_pieces and not full:
            self._hub.soon(self, onward)
        if self._opener.ended and not self._forth_pieces:
            onward.finish()
        if onward.ended and not self._back_pieces:
            self._opener.finish()
        if self._opener.done and onward.done:
            self.close("closed", reset=False)
            return
        self._opener.watch(reading=not full and not self._forth_pieces)
        onward.watch(reading=not full and not self._back_pieces)

    def _look(self, now: float) -> None:
        asked_s = now - self._asked_at
        if ANSWER_S <= asked_s < math.inf:
            self._asked_at = -math.inf
            if not self._opener.has_answered(asked_s + ANSWER_S):
                self.close("another one came in its place")
                return
        if self._onward is None and now - self.began >= FIRST_WORD_S:
            self._connect()
        for framer, pieces in ((self.forth, self._forth_pieces), (self.back, self._back_pieces)):
            patience_s = REST_S if framer.messages else FIRST_REST_S
            if framer.held_bytes and now - self._held_since >= patience_s:
                self._give_up(framer, pieces)
                self._note_broken(framer)
        self._settle()
        if now - self.last_word > self._allowed_silence_s():
            self.close("silent")
        elif now - self.began > FIRST_MESSAGE_S and not (self.is_sip or self.forth.broken or self.back.broken):
            self.close("no message")

    def _allowed_silence_s(self) -> float:
        """How long nobody need say anything: for good, where a mapping lives for a contact or a call."""
        if self._opener.ended or (self._onward is not None and self._onward.ended):
            return HALF_CLOSED_S
        if self.untouched:
            return max(UNTOUCHED_IDLE_S, self._hub.sip_timeout_s)
        phone = self.home if self.ends.from_inside else self.ends.target
        needed = self.is_sip and self._hub.public_of(phone) is not None
        return math.inf if needed else self._hub.sip_timeout_s

    def _connect(self) -> None:
        """Connect onwards: outwards from the public address, inwards from the server's own."""
        if self.ends.from_inside:
            outward = self._connected_outward()
            if outward is None:
                return
            sock = outward
        else:
            sock = self._connected_from(Endpoint(self.ends.opener.host, 0))
        self._onward = Leg(self._hub.loop, sock, self._onward_ready, connected=False)
        self._onward.send(bytes(self._early))
        self._early.clear()
        self._settle()

    def _connected_outward(self) -> socket.socket | None:
        """Return a socket that connects from the phone's public port, or where that can't be from any.

        None while another connection's phone is asked whether that one still has the port; `look` goes on.
        """
        now = self._hub.clock()
        if now < self._waits_until:
            return None
        wanted = self._hub.public_of(self.home) or Endpoint(self._hub.nat_address, 0)
        try:
            return self._connected_from(wanted)
        except OSError as error:
            if error.errno not in _TAKEN or not wanted.port:
                raise
        # Another connection to there has the port, or had it a moment ago (TIME_WAIT).
        if self._waits_until == -math.inf and self._hub.displace(self):
            self._waits_until = now + ANSWER_S
            return None
        return self._connected_from(wanted._replace(port=0))

    def _connected_from(self, local: Endpoint) -> socket.socket:
        """Return a socket that connects to the target; `local` may be an address that isn't the router's."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if local.host:
                with contextlib.suppress(PermissionError):
                    # Without the right to, an address of the router's own is all that can be had.
                    sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._hub.mark)
                sock.bind(local)
            with contextlib.suppress(BlockingIOError):
                sock.connect(self.ends.target)
        except BaseException:
            sock.close()
            raise
        return sock
