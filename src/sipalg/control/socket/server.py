"""The control socket: people's questions to the running ALG, answered between packets.

A Unix stream socket; one line of JSON comes, one line of JSON goes, and the connection ends; or, for `events`, a line
for each event until the client goes. Everything is done in small pieces in the packet loop: no client can make it wait
or hold much memory, and none but the few that follow the events can stay for long. docs/control-protocol.md has all of
it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sipalg.control.socket.client import DEFAULT_SOCKET, PROTOCOL_VERSION, peer_pid
from sipalg.control.socket.events import BUFFER_BYTES, Follower, line_of
from sipalg.datapath.loop import READ, WRITE, Loop
from sipalg.engine.verdict import Event

#: The one directory that is made where it is missing; another is more likely to be a slip of the fingers.
_DEFAULT_DIRECTORY: Final = Path(DEFAULT_SOCKET).parent
_MOST_CLIENTS: Final = 16
#: How many of them may follow the events.
_MOST_FOLLOWERS: Final = 4
_LONGEST_REQUEST_BYTES: Final = 1 << 16
_PATIENCE_S: Final = 5.0
#: The most while an answer goes on: rows are searched for, or the packets leave little time for it.
_LONGEST_ANSWER_S: Final = 60.0
#: What is sent of a list while the next rows are searched for: JSON takes a space, and an empty piece were the end.
_SEARCHING: Final = b" "
_PIECE_BYTES: Final = 1 << 16
#: What is sent together, if it is made in a moment.
_SMALL_BYTES: Final = 4096
_MOMENT_S: Final = 0.001
_ROWS_IN_A_PIECE: Final = 100
_SWEEP_INTERVAL_S: Final = 1.0

EVENTS: Final = "events"
TRACE: Final = "trace"
#: What goes on until the client goes, and what of it one client may leave unread.
_STREAMS: Final = {EVENTS: BUFFER_BYTES, TRACE: 16 * BUFFER_BYTES}

#: What answers a question at once.
Answer = Callable[[], Mapping[str, Any]]


class Reply:
    """Where a command's answer goes, now or later; the client may be gone by then."""

    def __init__(self, finish: Callable[[Iterator[bytes]], None]) -> None:
        self._finish = finish

    def give(self, answer: Mapping[str, Any]) -> None:
        """Answer that it was done."""
        self._finish(in_pieces({"version": PROTOCOL_VERSION, "ok": True, **answer}))

    def refuse(self, reason: str) -> None:
        """Answer that it wasn't, and why, in one line."""
        self._finish(iter((_refusal(reason),)))


#: What takes a command's arguments, and replies once.
Command = Callable[[Mapping[str, Any], Reply], None]


class SocketInUseError(Exception):
    """The socket can't be had: one line for people."""


class ControlServer:
    """Listens at `path`, mode 0660; `answers` and `commands` say what comes of a command, by its name."""

    def __init__(
        self,
        path: Path,
        loop: Loop,
        answers: Mapping[str, Answer],
        commands: Mapping[str, Command] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the socket, and the default's directory (0750) if there is none. Raises SocketInUseError."""
        self._path = path
        self._loop = loop
        self._answers = answers
        self._commands = commands or {}
        self._clock = clock
        self._clients: dict[int, _Client] = {}
        self._followers: list[_Client] = []
        #: Who wants to know whether there is anybody who follows the messages.
        self.on_tracing: Callable[[bool], None] = _ignore
        self._listener = _listen(path)
        self._identity = _identity(path)
        loop.watch(self._listener, self._accept)
        loop.every(_SWEEP_INTERVAL_S, self._sweep)

    def close(self) -> None:
        """Drop all clients and take the socket away, if it is still ours."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._loop.unwatch(self._listener)
        self._listener.close()
        if _identity(self._path) == self._identity:
            self._path.unlink(missing_ok=True)

    @property
    def is_followed(self) -> bool:
        """Whether anybody follows anything."""
        return bool(self._followers)

    def publish(self, event: Event) -> None:
        """Send an event to whoever follows them."""
        if self._followers:
            at = time.time()
            self._send(EVENTS, line_of(event, at), at)

    def trace(self, line: bytes) -> None:
        """Send a line to whoever follows the messages."""
        self._send(TRACE, line, time.time())

    def _send(self, stream: str, line: bytes, at: float) -> None:
        for client in self._followers:
            if client.stream == stream:
                client.follower.add(line, at)
                self._loop.change(client.connection, READ | WRITE)

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # The client went away again, or we are out of descriptors; its own deadline tells it.
            return
        connection.setblocking(False)
        if len(self._clients) >= _MOST_CLIENTS:
            with contextlib.suppress(OSError):
                connection.send(_refusal("too many clients"))
            connection.close()
            return
        client = _Client(connection, self._clock() + _PATIENCE_S)
        self._clients[client.number] = client
        self._loop.watch(connection, lambda events: self._serve(client, events))

    def _serve(self, client: _Client, events: int) -> None:
        try:
            finished = self._follow(client, events) if client in self._followers else self._advance(client, events)
        except BlockingIOError:
            return
        except OSError:
            finished = True
        except Exception:
            finished = True
            self._loop.log.exception("control", "client-dropped")
        if finished:
            self._drop(client)

    def _advance(self, client: _Client, events: int) -> bool:
        """Read a piece of the request or write one of the answer; True where it is done or the client is gone."""
        if client.answering:
            finished = client.write()
            # Something was sent, or looked for: on a busy router a long answer takes its time without anybody's fault.
            client.deadline = min(client.latest, self._clock() + _PATIENCE_S)
            return finished
        # While the answer is made, only a client that is gone is heard of.
        return True if client.asked else bool(events & READ) and self._read(client)

    def _read(self, client: _Client) -> bool:
        """Take a piece of the request; True where the client went away before it was whole, or heard.

        One that has waited in vain has told its user so: nothing may change after that, as it would when a process
        that was stopped goes on.
        """
        piece = client.connection.recv(_LONGEST_REQUEST_BYTES)
        client.request += piece
        line, newline, _ = client.request.partition(b"\n")
        if newline:
            if _is_gone(client.connection):
                return True
            client.asked = True
            self._loop.change(client.connection, 0)
            self._answer(bytes(line), client)
        elif len(client.request) >= _LONGEST_REQUEST_BYTES:
            self._finish(client, iter((_refusal("the request is too long"),)))
        elif not piece:
            return True
        return False

    def _answer(self, line: bytes, client: _Client) -> None:
        reply = Reply(lambda pieces: self._finish(client, pieces))
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            reply.refuse("the request is no JSON object")
            return
        if request.get("version") != PROTOCOL_VERSION:
            reply.refuse(f"this is version {PROTOCOL_VERSION} of the protocol")
            return
        name, arguments = request.get("command"), request.get("arguments", {})
        if not isinstance(arguments, dict):
            reply.refuse("the arguments are no JSON object")
        elif isinstance(name, str) and name in _STREAMS:
            self._begin_to_follow(client, name, reply)
        elif isinstance(name, str) and name in self._commands:
            self._commands[name](arguments, reply)
        elif isinstance(name, str) and name in self._answers:
            reply.give(self._answers[name]())
        else:
            reply.refuse(f"the commands are: {', '.join((*self._answers, *self._commands, *_STREAMS))}")

    def _finish(self, client: _Client, pieces: Iterator[bytes]) -> None:
        """Begin with the answer, unless the client went away meanwhile."""
        if self._clients.get(client.number) is client:
            client.pieces, client.answering = pieces, True
            self._loop.change(client.connection, WRITE)

    def _begin_to_follow(self, client: _Client, stream: str, reply: Reply) -> None:
        if len(self._followers) >= _MOST_FOLLOWERS:
            reply.refuse(f"{_MOST_FOLLOWERS} clients follow the events already")
            return
        beginning = in_pieces({"version": PROTOCOL_VERSION, "ok": True, "stream": stream})
        client.stream, client.follower = stream, Follower(_STREAMS[stream])
        client.follower.add(b"".join(beginning), time.time())
        self._followers.append(client)
        if stream == TRACE:
            self.on_tracing(True)
        self._loop.change(client.connection, READ | WRITE)

    def _follow(self, client: _Client, events: int) -> bool:
        """Send what there is; True where the client is gone. What it says is of no interest any more."""
        if events & READ and not client.connection.recv(_PIECE_BYTES):
            return True
        piece = client.follower.next_piece(_PIECE_BYTES)
        if piece:
            client.follower.sent(client.connection.send(piece), time.time())
        else:
            self._loop.change(client.connection, READ)
        return False

    def _sweep(self) -> None:
        """Drop the clients that had their time."""
        now = self._clock()
        for client in [client for client in self._clients.values() if client.deadline <= now]:
            if client not in self._followers:
                self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._loop.unwatch(client.connection)
        del self._clients[client.number]
        if client in self._followers:
            self._followers.remove(client)
            if all(one.stream != TRACE for one in self._followers):
                self.on_tracing(False)
        client.connection.close()


class _Client:
    """One connection: what came of the request, and what is left of the answer."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.number = connection.fileno()
        self.deadline = deadline
        #: Until when it may be put off.
        self.latest = deadline - _PATIENCE_S + _LONGEST_ANSWER_S
        self.request = bytearray()
        #: Whether the request is whole.
        self.asked = False
        self.answering = False
        #: What is left of the answer.
        self.pieces: Iterator[bytes] | None = None
        #: What it follows, and what it has yet to read of that; "" for nothing.
        self.stream = ""
        self.follower = Follower()
        self._unsent = b""

    def write(self) -> bool:
        """Send some of the answer, small pieces that take no time together; True when all is sent."""
        until = time.monotonic() + _MOMENT_S
        while self.pieces is not None and len(self._unsent) < _SMALL_BYTES:
            piece = next(self.pieces, b"")
            self._unsent += piece
            if not piece:
                self.pieces = None
            elif piece == _SEARCHING or time.monotonic() >= until:
                break
        sent = self.connection.send(self._unsent[:_PIECE_BYTES])
        self._unsent = self._unsent[sent:]
        return self.pieces is None and not self._unsent


def in_pieces(answer: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the answer's one line of JSON; its lists come some rows at a time, so that none takes long to write.

    An iterator of lists of rows makes a list too, and is asked for its next rows only when they can be sent; rows that
    it hasn't found yet are an empty list.
    """
    opening = "{"
    for key, value in answer.items():
        head = f"{opening}{json.dumps(key)}:"
        opening = ","
        if not isinstance(value, (list, Iterator)):
            yield (head + json.dumps(value)).encode()
            continue
        yield (head + "[").encode()
        separator = ""
        for rows in _in_parts(value) if isinstance(value, list) else value:
            yield (separator + json.dumps(rows)[1:-1]).encode() if rows else _SEARCHING
            separator = "," if rows else separator
        yield b"]"
    yield b"}\n"


def _in_parts(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), _ROWS_IN_A_PIECE):
        yield rows[start : start + _ROWS_IN_A_PIECE]


def _is_gone(connection: socket.socket) -> bool:
    """Tell whether the other end is closed; one that only has nothing more to say still listens (POLLRDHUP)."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _ignore(_tracing: bool) -> None:
    """Nobody wants to know."""


def _refusal(reason: str) -> bytes:
    return json.dumps({"version": PROTOCOL_VERSION, "ok": False, "error": reason}).encode() + b"\n"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _listen(path: Path) -> socket.socket:
    try:
        if path.parent == _DEFAULT_DIRECTORY:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        elif not path.parent.is_dir():
            raise SocketInUseError(f"{path}: there is no directory {path.parent}; make it, or choose another place")
        _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        before = os.umask(0o117)
        try:
            listener.bind(str(path))
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        listener.listen(_MOST_CLIENTS)
    except OSError as error:
        raise SocketInUseError(f"{path}: can't make the control socket: {error.strerror or error}") from None
    return listener


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens at any more; SocketInUseError for anything else in its place."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketInUseError(f"{path}: isn't a socket; remove it, or choose another with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as probe:
        result = probe.connect_ex(str(path))
        if result == errno.ECONNREFUSED:
            path.unlink(missing_ok=True)
        elif result == 0:
            raise SocketInUseError(f"{path}: another sipalg (pid {peer_pid(probe)}) is running; stop it first")
        elif result != errno.ENOENT:
            raise SocketInUseError(f"{path}: another sipalg holds the control socket; stop it first")
