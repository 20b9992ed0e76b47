"""The other end of the control socket: asks the running ALG one question and waits for the answer, but not for long.

A process that is stopped or hangs still holds its socket, and the kernel still takes connections for it; so the
question has a deadline, and who it is that doesn't answer is known from the socket itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

PROTOCOL_VERSION: Final = 1
DEFAULT_SOCKET: Final = "/run/sipalg/sipalg.sock"
SOCKET_VARIABLE: Final = "SIPALG_SOCKET"
#: What `--socket` is, in each command's help.
SOCKET_HELP: Final = f"the control socket (default: ${SOCKET_VARIABLE} or {DEFAULT_SOCKET})"

#: How long an answer may take, in seconds.
PATIENCE_S: Final = 2.5
_PIECE_BYTES: Final = 1 << 16
_LARGEST_ANSWER_BYTES: Final = 1 << 28


class ControlError(Exception):
    """No answer: one line for people. `asked`: the question was put, so that what it asks for may be done even so."""

    def __init__(self, line: str, *, asked: bool = False) -> None:
        super().__init__(line)
        self.asked = asked


class NotRunningError(ControlError):
    """Nobody listens there."""


class SilentError(ControlError):
    """Somebody listens there, and doesn't answer."""


def socket_path(chosen: str | None) -> Path:
    """Return the socket's path: `chosen`, or $SIPALG_SOCKET, or the default."""
    return Path(chosen or os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET)


def ask(
    path: Path, command: str, patience_s: float = PATIENCE_S, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Ask the ALG behind `path` and return its answer; ControlError where there is none within `patience_s`."""
    deadline = time.monotonic() + patience_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(patience_s)
        _connect(connection, path)
        owner = peer_pid(connection)
        try:
            question = {"command": command, **({"arguments": arguments} if arguments else {})}
            line = _exchange(connection, question, deadline)
        except TimeoutError:
            silent = f"sipalg (pid {owner}) holds the socket {path} but doesn't answer"
            raise SilentError(silent, asked=True) from None
        except OSError as error:
            broken = f"sipalg (pid {owner}) broke the connection: {error.strerror or error}"
            raise ControlError(broken, asked=True) from None
    return _read(line, owner)


def follow(path: Path, command: str, patience_s: float = PATIENCE_S) -> Generator[dict[str, Any], None, None]:
    """Ask for a stream; yield the answer, and then what comes until the ALG ends. Raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(patience_s)
        _connect(connection, path)
        owner = peer_pid(connection)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(json.dumps({"version": PROTOCOL_VERSION, "command": command}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                yield _read(lines.readline(), owner)
                connection.settimeout(None)
                for line in lines:
                    # What the end of the ALG has cut off is nothing any more.
                    if line.endswith(b"\n"):
                        yield json.loads(line)
        except TimeoutError:
            raise SilentError(f"sipalg (pid {owner}) holds the socket {path} but doesn't answer") from None
        except OSError as error:
            raise ControlError(f"sipalg (pid {owner}) broke the connection: {error.strerror or error}") from None


def _connect(connection: socket.socket, path: Path) -> None:
    """Connect to the ALG. Raises ControlError."""
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunningError(
            f"no sipalg is running behind {path}; start it with `sipalg run`, or name its socket with --socket"
        ) from None
    except PermissionError:
        raise ControlError(f"{path}: permission denied; ask as root or as one of its group") from None
    except (BlockingIOError, TimeoutError):
        raise SilentError(f"sipalg holds the socket {path} but doesn't answer") from None
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from None


def peer_pid(connection: socket.socket) -> int:
    """Return the pid of the process that listens at the other end; 0 where it isn't in our pid namespace."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("iII", credentials)[0]
    return pid


def _exchange(connection: socket.socket, question: Mapping[str, Any], deadline: float) -> bytes:
    """Send the question and return the line that comes back; TimeoutError past the deadline."""
    # One that was dropped unheard still has something to say about it.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(json.dumps({"version": PROTOCOL_VERSION, **question}).encode() + b"\n")
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < _LARGEST_ANSWER_BYTES:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        piece = connection.recv(_PIECE_BYTES)
        if not piece:
            break
        line += piece
    return bytes(line)


def _read(line: bytes, owner: int) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ControlError(f"sipalg (pid {owner}) gave no whole answer", asked=True)
    if answer.get("version") != PROTOCOL_VERSION:
        raise ControlError(f"sipalg (pid {owner}) speaks another version of the protocol: {answer.get('version')!r}")
    if answer.get("ok") is not True:
        raise ControlError(f"sipalg (pid {owner}) refuses: {answer.get('error', 'no reason given')}")
    return answer
