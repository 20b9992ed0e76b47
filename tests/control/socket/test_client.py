"""Asking the ALG: an answer, or one line that says why there is none."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipalg.control.socket.client import (
    DEFAULT_SOCKET,
    ControlError,
    NotRunningError,
    SilentError,
    ask,
    follow,
    socket_path,
)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "sock"))
        listening.listen(1)
        yield listening


def answering(listener: socket.socket, answer: Callable[[socket.socket], None]) -> threading.Thread:
    """A thread that lets `answer` treat one connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def refused(path: Path, patience_s: float = 20.0) -> str:
    with pytest.raises(ControlError) as caught:
        ask(path, "status", patience_s)
    text = str(caught.value)
    assert "\n" not in text
    # Only a server that says so has certainly not done it, or one that never got the question.
    certain = ("refuses", "version", "no sipalg", "too long", "sipalg holds")
    assert caught.value.asked is not any(one in text for one in certain)
    return text


def test_a_question_is_a_line_and_so_is_the_answer(listener: socket.socket) -> None:
    questions = []

    def answer(connection: socket.socket) -> None:
        questions.append(connection.recv(999))
        connection.sendall(b'{"version": 1, "ok": true, ')
        connection.sendall(b'"calls": []}\n')

    thread = answering(listener, answer)
    assert ask(Path(listener.getsockname()), "calls") == {"version": 1, "ok": True, "calls": []}
    thread.join()
    assert questions[0].endswith(b"\n")
    assert json.loads(questions[0]) == {"version": 1, "command": "calls"}


def test_arguments_go_with_the_question(listener: socket.socket) -> None:
    questions = []

    def answer(connection: socket.socket) -> None:
        questions.append(connection.recv(999))
        connection.sendall(b'{"version": 1, "ok": true}\n')

    thread = answering(listener, answer)
    ask(Path(listener.getsockname()), "set", arguments={"values": {"ports": "5060"}})
    thread.join()
    assert json.loads(questions[0])["arguments"] == {"values": {"ports": "5060"}}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "no whole answer"),
        (b'{"version": 1, "ok"', "no whole answer"),
        (b"[1]\n", "no whole answer"),
        (b'{"version": 2, "ok": true}\n', "another version of the protocol: 2"),
        (b'{"version": 1, "ok": false, "error": "too many clients"}\n', "refuses: too many clients"),
        (b'{"version": 1}\n', "no reason given"),
    ],
)
def test_what_is_no_answer_is_said(listener: socket.socket, reply: bytes, said: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(999)
        connection.sendall(reply)

    thread = answering(listener, answer)
    text = refused(Path(listener.getsockname()))
    thread.join()
    assert said in text
    assert f"pid {os.getpid()}" in text


def test_one_that_is_refused_before_it_asked_still_hears_why(listener: socket.socket) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b'{"version": 1, "ok": false, "error": "too many clients"}\n')
        connection.shutdown(socket.SHUT_RD)
        connection.recv(999)

    thread = answering(listener, answer)
    assert "too many clients" in refused(Path(listener.getsockname()))
    thread.join()


def test_a_process_that_hangs_is_told_with_its_pid(listener: socket.socket) -> None:
    # It listens and never accepts, like one that is stopped.
    text = refused(Path(listener.getsockname()), 0.05)
    assert text == f"sipalg (pid {os.getpid()}) holds the socket {listener.getsockname()} but doesn't answer"


def test_an_answer_that_never_ends_has_its_deadline_too(listener: socket.socket) -> None:
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"{")
        over.wait()

    thread = answering(listener, answer)
    assert "doesn't answer" in refused(Path(listener.getsockname()), 0.05)
    over.set()
    thread.join()


def test_a_full_backlog_is_a_process_that_hangs(listener: socket.socket) -> None:
    path = listener.getsockname()
    waiting = []
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        waiting.append(connection)
        if connection.connect_ex(path):
            break
    assert refused(Path(path), 0.05) == f"sipalg holds the socket {path} but doesn't answer"
    for connection in waiting:
        connection.close()


def test_nobody_there(tmp_path: Path, listener: socket.socket) -> None:
    assert "no sipalg is running" in refused(tmp_path / "nothing")
    listener.close()
    assert "no sipalg is running" in refused(tmp_path / "sock")
    with pytest.raises(NotRunningError):
        ask(tmp_path / "sock", "status")


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    assert "too long" in refused(tmp_path / ("x" * 200))
    (tmp_path / "file").write_text("")
    assert "no sipalg is running" in refused(tmp_path / "file")


def test_a_connection_that_is_reset(listener: socket.socket) -> None:
    def answer(connection: socket.socket) -> None:
        # Closing with unread bytes resets a Unix connection.
        connection.recv(1)

    thread = answering(listener, answer)
    text = refused(Path(listener.getsockname()))
    thread.join()
    assert "broke the connection" in text


def test_where_the_socket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIPALG_SOCKET", raising=False)
    assert socket_path(None) == Path(DEFAULT_SOCKET)
    monkeypatch.setenv("SIPALG_SOCKET", "/run/other.sock")
    assert socket_path(None) == Path("/run/other.sock")
    assert socket_path("/srv/mine") == Path("/srv/mine")


def test_a_stream_is_its_answer_and_what_comes_after_it(listener: socket.socket) -> None:
    def answer(connection: socket.socket) -> None:
        assert json.loads(connection.recv(999)) == {"version": 1, "command": "trace"}
        connection.sendall(b'{"version": 1, "ok": true, "stream": "trace"}\n{"message": 1}\n{"mess')
        connection.sendall(b'age": 2}\n{"cut')

    thread = answering(listener, answer)
    lines = list(follow(Path(listener.getsockname()), "trace"))
    thread.join()
    assert lines[0]["stream"] == "trace"
    assert lines[1:] == [{"message": 1}, {"message": 2}]


def test_a_stream_that_is_refused_or_not_answered(listener: socket.socket, tmp_path: Path) -> None:
    thread = answering(listener, lambda end: end.sendall(b'{"version": 1, "ok": false, "error": "no"}\n'))
    with pytest.raises(ControlError, match="refuses: no"):
        next(follow(Path(listener.getsockname()), "trace"))
    thread.join()
    with pytest.raises(SilentError, match=r"holds the socket .* but doesn't answer"):
        next(follow(Path(listener.getsockname()), "trace", 0.05))
    with pytest.raises(NotRunningError):
        next(follow(tmp_path / "none", "trace"))
