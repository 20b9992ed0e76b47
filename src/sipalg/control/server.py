"""The control socket: people's questions to the running ALG, answered between packets.

A Unix stream socket; one line of JSON comes, one line of JSON goes, and the connection ends. Everything is done in
small pieces in the packet loop: no client can make it wait, hold much memory, or stay for long.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sipalg.control.client import DEFAULT_SOCKET, PROTOCOL_VERSION, peer_pid
from sipalg.datapath.loop import READ, WRITE, Loop

#: The one directory that is made where it is missing; another is more likely to be a slip of the fingers.
_DEFAULT_DIRECTORY: Final = Path(DEFAULT_SOCKET).parent
_MOST_CLIENTS: Final = 16
_LONGEST_REQUEST_BYTES: Final = 4096
_PATIENCE_S: Final = 5.0
_PIECE_BYTES: Final = 1 << 16
_ROWS_IN_A_PIECE: Final = 100
_SWEEP_INTERVAL_S: Final = 1.0

Answer = Callable[[], Mapping[str, Any]]


class SocketInUseError(Exception):
    """The socket can't be had: one line for people."""


class ControlServer:
    """Listens at `path`, mode 0660, and answers with what `answers` returns for a command."""

    def __init__(
        self, path: Path, loop: Loop, answers: Mapping[str, Answer], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make the socket, and the default's directory (0750) if there is none. Raises SocketInUseError."""
        self._path = path
        self._loop = loop
        self._answers = answers
        self._clock = clock
        self._clients: dict[int, _Client] = {}
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
        self._clients[connection.fileno()] = client
        self._loop.watch(connection, lambda events: self._serve(client, events))

    def _serve(self, client: _Client, events: int) -> None:
        try:
            finished = self._read(client) if events & READ and client.pieces is None else client.write()
        except BlockingIOError:
            return
        except OSError:
            finished = True
        except Exception:
            finished = True
            self._loop.log.exception("control", "client-dropped")
        if finished:
            self._drop(client)

    def _read(self, client: _Client) -> bool:
        """Take a piece of the request; True where the client went away before it was whole."""
        piece = client.connection.recv(_LONGEST_REQUEST_BYTES)
        client.request += piece
        line, newline, _ = client.request.partition(b"\n")
        if newline:
            client.pieces = self._answer(bytes(line))
        elif len(client.request) >= _LONGEST_REQUEST_BYTES:
            client.pieces = iter((_refusal("the request is too long"),))
        elif not piece:
            return True
        if client.pieces is not None:
            self._loop.change(client.connection, WRITE)
        return False

    def _answer(self, line: bytes) -> Iterator[bytes]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return iter((_refusal("the request is no JSON object"),))
        if request.get("version") != PROTOCOL_VERSION:
            return iter((_refusal(f"this is version {PROTOCOL_VERSION} of the protocol"),))
        command = request.get("command")
        answer = self._answers.get(command) if isinstance(command, str) else None
        if answer is None:
            return iter((_refusal(f"the commands are: {', '.join(self._answers)}"),))
        return in_pieces({"version": PROTOCOL_VERSION, "ok": True, **answer()})

    def _sweep(self) -> None:
        """Drop the clients that had their time."""
        now = self._clock()
        for client in [client for client in self._clients.values() if client.deadline <= now]:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._loop.unwatch(client.connection)
        del self._clients[client.connection.fileno()]
        client.connection.close()


class _Client:
    """One connection: what came of the request, and what is left of the answer."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.request = b""
        self.pieces: Iterator[bytes] | None = None
        self._unsent = b""

    def write(self) -> bool:
        """Send one piece of the answer; True when all is sent."""
        if not self._unsent and self.pieces is not None:
            self._unsent = next(self.pieces, b"")
        if not self._unsent:
            return True
        sent = self.connection.send(self._unsent[:_PIECE_BYTES])
        self._unsent = self._unsent[sent:]
        return False


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
            # A piece is never empty, which would be the answer's end; JSON takes a space.
            yield (separator + json.dumps(rows)[1:-1]).encode() if rows else b" "
            separator = "," if rows else separator
        yield b"]"
    yield b"}\n"


def _in_parts(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), _ROWS_IN_A_PIECE):
        yield rows[start : start + _ROWS_IN_A_PIECE]


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
