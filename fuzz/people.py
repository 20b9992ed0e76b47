"""What people and their programs hand in, under any bytes: the control socket, RouterOS's lines, the settings file.

Whatever comes, there is an answer of one line, or one line that says what is wrong; nothing else is raised.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from sipalg.control.service.journal_lines import JournalError, header
from sipalg.control.service.journal_lines import read as read_journal
from sipalg.control.settings import file
from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import PROPERTIES, texts, with_texts
from sipalg.control.socket.server import ControlServer, Reply
from sipalg.datapath.loop import Loop
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings as EngineSettings
from sipalg.routeros.grammar import read as read_commands
from sipalg.routeros.lexer import GrammarError

_MOST_TURNS = 8


def check_control(data: bytes) -> None:
    """Hand the bytes in as a request, a command line, settings' values, a settings file or a journal.

    Their number says as which, so that each input costs one of these only.
    """
    kind = len(data) % 5
    if kind == 0:
        _check_request(data)
    elif kind == 1:
        _check_command(data.decode("utf-8", "replace"))
    elif kind == 2:
        _check_values(data.decode("utf-8", "replace"))
    elif kind == 3:
        with _file_of(data) as path, suppress(file.SettingsError):
            file.load(path)
    else:
        _check_journal(data)


class _Served:
    """A server whose `set` reads values as the real one does, and changes nothing."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.path = Path(self._directory.name) / "socket"
        self.loop = Loop()
        self._server = ControlServer(self.path, self.loop, {"status": dict}, {"set": _set})


def _set(arguments: Mapping[str, Any], reply: Reply) -> None:
    values = arguments.get("values")
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        reply.refuse("values are texts by name")
        return
    try:
        reply.give({"settings": texts(with_texts(Settings(), values))})
    except ValueError as error:
        reply.refuse(str(error))


_served = cache(_Served)


def _check_request(data: bytes) -> None:
    served = _served()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        client.connect(str(served.path))
        client.sendall(data[:60000].replace(b"\n", b" ") + b"\n")
        answer = b""
        for _ in range(_MOST_TURNS):
            served.loop.step(0.0)
            try:
                piece = client.recv(1 << 17)
            except BlockingIOError:
                continue
            if not piece:
                break
            answer += piece
    assert answer.endswith(b"\n"), "no answer"
    assert answer.count(b"\n") == 1, "more than a line"
    said = json.loads(answer)
    assert isinstance(said.get("error"), str) != (said.get("ok") is True)
    served.loop.step(0.0)


def _check_command(text: str) -> None:
    refusal = ""
    try:
        read_commands(text)
    except GrammarError as error:
        refusal = str(error)
    assert "\n" not in refusal


def _check_values(text: str) -> None:
    for key in PROPERTIES:
        try:
            changed = with_texts(Settings(), {key: text})
        except ValueError:
            continue
        again = with_texts(Settings(), {key: texts(changed)[key]})
        assert again == changed, "what is shown isn't what was set"


def _check_journal(data: bytes) -> None:
    """Read the input's lines as records whose checksums are right: a journal is only as good as who wrote it."""
    lines = b"".join(b"%08x %b\n" % (zlib.crc32(line), line) for line in data.split(b"\n"))
    path = _served().path.with_name("journal")
    path.write_bytes(header("boot") + lines)
    path.chmod(0o600)
    try:
        kept = read_journal(path, "boot")
    except JournalError:
        return
    alg = Alg(EngineSettings(frozenset(("lan0",)), "203.0.113.1", "203.0.113.1"), lambda _protocol, _port: False)
    alg.resume(kept, (), 1000.0)


@contextmanager
def _file_of(content: bytes) -> Iterator[Path]:
    descriptor = os.memfd_create("content")
    try:
        os.write(descriptor, content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
