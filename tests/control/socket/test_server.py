"""The control socket's server in its loop, against clients that behave and clients that don't."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sipalg.control.socket.server import ControlServer, Reply, SocketInUseError, in_pieces
from sipalg.datapath.loop import Loop
from sipalg.engine.verdict import Event


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def many() -> Mapping[str, Any]:
    return {"mappings": [{"private": f"192.168.33.10:{port}", "for": "x" * 200} for port in range(5000)]}


def broken() -> Mapping[str, Any]:
    raise KeyError("bug")


def search() -> Mapping[str, Any]:
    """Rows that take long to find."""
    return {"rows": iter([[]] * 200 + [[1]])}


ANSWERS = {"status": lambda: {"status": {"mode": "enforce"}}, "many": many, "broken": broken, "search": search}


#: Replies that wait for whoever gives them.
WAITING: list[Reply] = []


def later(_arguments: Mapping[str, Any], reply: Reply) -> None:
    WAITING.append(reply)


def echo(arguments: Mapping[str, Any], reply: Reply) -> None:
    if "wrong" in arguments:
        reply.refuse("that is wrong")
    else:
        reply.give({"arguments": dict(arguments)})


COMMANDS = {"echo": echo, "later": later}


class Serving:
    """A server, its loop and its clients' ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.server = ControlServer(path, self.loop, ANSWERS, COMMANDS, self.clock)
        self.ends: list[socket.socket] = []

    def connect(self) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.setblocking(False)
        end.connect(str(self.path))
        self.ends.append(end)
        self.turn()
        return end

    def turn(self, count: int = 4) -> None:
        for _ in range(count):
            self.loop.step(0)

    def read(self, end: socket.socket) -> bytes:
        """All that comes until the server closes; turns the loop meanwhile."""
        received = b""
        for _ in range(100_000):
            self.turn(1)
            try:
                piece = end.recv(1 << 16)
            except BlockingIOError:
                continue
            if not piece:
                return received
            received += piece
        pytest.fail("the server never closes the connection")

    def ask(self, line: bytes) -> dict[str, Any]:
        end = self.connect()
        end.send(line)
        received = self.read(end)
        assert received.endswith(b"\n")
        assert received.count(b"\n") == 1
        answer: dict[str, Any] = json.loads(received)
        return answer

    def close(self) -> None:
        for end in self.ends:
            end.close()
        self.server.close()
        self.loop.close()


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    monkeypatch.setattr("sipalg.control.socket.server._DEFAULT_DIRECTORY", tmp_path / "run")
    serving = Serving(tmp_path / "run" / "sock")
    yield serving
    serving.close()


STATUS = b'{"version": 1, "command": "status"}\n'


def test_a_question_and_its_answer(serving: Serving) -> None:
    assert serving.ask(STATUS) == {"version": 1, "ok": True, "status": {"mode": "enforce"}}


@pytest.mark.parametrize(("gone", "heard"), [(True, 0), (False, 1)])
def test_nothing_is_done_for_a_client_that_gave_up_before_it_was_heard(
    serving: Serving, gone: bool, heard: int
) -> None:
    # A process that is stopped: the request waits in its socket.
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.connect(str(serving.path))
    end.send(b'{"version": 1, "command": "later"}\n')
    if gone:
        end.close()
    else:
        # It says no more, and listens.
        end.shutdown(socket.SHUT_WR)
    WAITING.clear()
    serving.turn(10)
    assert len(WAITING) == heard
    end.close()


def test_a_question_in_pieces(serving: Serving) -> None:
    end = serving.connect()
    for start in range(0, len(STATUS), 5):
        end.send(STATUS[start : start + 5])
        serving.turn()
    assert json.loads(serving.read(end))["ok"] is True


def test_a_long_answer_comes_whole_to_a_slow_reader(serving: Serving) -> None:
    answer = serving.ask(b'{"version": 1, "command": "many"}\n')
    assert answer == {"version": 1, "ok": True, **many()}


@pytest.mark.parametrize(
    "answer",
    [{"a": 1}, {"a": []}, {"a": [1], "b": {"c": "d"}}, {"a": list(range(100))}, {"a": list(range(201)), "b": None}],
)
def test_pieces_make_the_same_json(answer: dict[str, Any]) -> None:
    assert json.loads(b"".join(in_pieces(answer))) == answer
    assert all(in_pieces(answer))


def test_rows_that_are_still_looked_for_come_as_they_are_found() -> None:
    def rows() -> Iterator[list[int]]:
        yield from ([], [1, 2], [], [3])

    pieces = list(in_pieces({"a": rows(), "b": iter(())}))
    assert all(pieces)
    assert json.loads(b"".join(pieces)) == {"a": [1, 2, 3], "b": []}
    assert len(pieces) > 6


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\n", "no JSON object"),
        (b"[]\n", "no JSON object"),
        (b"\xff\xfe\n", "no JSON object"),
        (b"[" * 4000 + b"\n", "no JSON object"),
        (b'{"command": "status"}\n', "version 1"),
        (b'{"version": 1}\n', "the commands are: status, many, broken, search, echo, later, events"),
        (b'{"version": 1, "command": ["status"]}\n', "the commands are"),
        (b'{"version": 1, "command": "reboot"}\n', "the commands are"),
        (b"x" * 65536, "too long"),
        (b'{"version": 1, "command": "echo", "arguments": [1]}\n', "the arguments are no JSON object"),
        (b'{"version": 1, "command": "echo", "arguments": {"wrong": 1}}\n', "that is wrong"),
    ],
)
def test_what_is_no_question_is_refused(serving: Serving, line: bytes, said: str) -> None:
    answer = serving.ask(line)
    assert answer["ok"] is False
    assert said in answer["error"]
    assert serving.ask(STATUS)["ok"] is True


def test_no_bytes_do_anything_to_anybody_else(serving: Serving) -> None:
    chance = random.Random(5)
    parts = [b"{", b"}", b"[", b'"', b":", b",", b'"version": 1', b'"command"', b'"echo"', b"null", b"1e999"]
    for _ in range(500):
        end = serving.connect()
        line = b"".join(chance.choice([*parts, chance.randbytes(3)]) for _ in range(chance.randrange(30)))
        end.send(line.replace(b"\n", b"") + b"\n")
        end.shutdown(socket.SHUT_WR)
        assert b'"ok": ' in serving.read(end) or not line
    assert serving.ask(STATUS)["ok"] is True
    assert serving.loop.log.total == 0


def test_one_who_writes_a_byte_at_a_time_has_no_more_time_than_others(serving: Serving) -> None:
    end = serving.connect()
    for number in range(10):
        if number < 5:
            end.send(STATUS[number : number + 1])
        serving.clock.now += 1.1
        serving.turn()
    assert serving.read(end) == b""
    assert serving.ask(STATUS)["ok"] is True


def test_a_client_that_leaves_before_it_asked(serving: Serving) -> None:
    end = serving.connect()
    end.send(b'{"version"')
    end.close()
    serving.turn()
    assert serving.ask(STATUS)["ok"] is True


def test_a_client_that_leaves_before_the_answer(serving: Serving) -> None:
    end = serving.connect()
    end.send(b'{"version": 1, "command": "many"}\n')
    end.close()
    serving.turn()
    assert serving.ask(STATUS)["ok"] is True
    assert serving.loop.log.total == 0


def test_an_answer_that_fails_costs_its_client_and_nobody_else(serving: Serving) -> None:
    end = serving.connect()
    end.send(b'{"version": 1, "command": "broken"}\n')
    assert serving.read(end) == b""
    assert serving.loop.log.total == 1
    assert serving.ask(STATUS)["ok"] is True


@pytest.mark.parametrize(("pause_s", "found"), [(0.25, True), (0.75, False)])
def test_a_client_is_not_to_blame_for_a_long_search_but_for_no_endless_one(
    serving: Serving, pause_s: float, found: bool
) -> None:
    end = serving.connect()
    end.send(b'{"version": 1, "command": "search"}\n')
    answer = b""
    for _ in range(250):
        serving.clock.now += pause_s
        serving.turn(1)
        with contextlib.suppress(BlockingIOError):
            answer += end.recv(1 << 16)
    assert answer.endswith(b"1]}\n") is found
    assert serving.clock.now > 60


def test_a_long_answer_of_a_busy_router_comes_whole(serving: Serving) -> None:
    end = serving.connect()
    end.send(b'{"version": 1, "command": "many"}\n')
    answer = b""
    for _ in range(100):
        serving.clock.now += 0.5
        serving.turn(1)
        with contextlib.suppress(BlockingIOError):
            answer += end.recv(1 << 15)
    assert json.loads(answer) == {"version": 1, "ok": True, **many()}


def test_a_client_that_says_nothing_or_reads_nothing_has_its_time(serving: Serving) -> None:
    silent = serving.connect()
    deaf = serving.connect()
    deaf.send(b'{"version": 1, "command": "many"}\n')
    serving.turn()
    serving.clock.now = 4.0
    serving.turn()
    with pytest.raises(BlockingIOError):
        silent.recv(1)
    serving.clock.now = 6.0
    serving.turn()
    assert silent.recv(1) == b""
    cut = serving.read(deaf)
    assert not cut.endswith(b"\n")


def test_too_many_clients(serving: Serving) -> None:
    first = [serving.connect() for _ in range(16)]
    one_more = serving.connect()
    assert json.loads(serving.read(one_more))["error"] == "too many clients"
    first[0].send(STATUS)
    assert json.loads(serving.read(first[0]))["ok"] is True
    assert serving.ask(STATUS)["ok"] is True


def test_a_client_that_was_gone_before_it_was_accepted(serving: Serving) -> None:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.connect(str(serving.path))
    end.close()
    assert serving.ask(STATUS)["ok"] is True


# The socket in the file system


def test_only_root_and_the_group_may_ask(serving: Serving) -> None:
    assert stat.S_IMODE(serving.path.stat().st_mode) == 0o660
    assert stat.S_IMODE(serving.path.parent.stat().st_mode) == 0o750


def test_the_socket_goes_with_the_server(serving: Serving) -> None:
    serving.connect()
    serving.server.close()
    assert not serving.path.exists()


def test_another_ones_socket_stays(serving: Serving) -> None:
    serving.path.unlink()
    serving.path.write_text("not ours")
    serving.server.close()
    assert serving.path.exists()


def test_a_second_server_is_told_about_the_first(serving: Serving) -> None:
    with pytest.raises(SocketInUseError, match=f"another sipalg \\(pid {os.getpid()}\\) is running"):
        ControlServer(serving.path, serving.loop, ANSWERS)
    assert serving.ask(STATUS)["ok"] is True


def test_a_first_server_that_hangs_is_still_there(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung, socket.socket(socket.AF_UNIX) as waiting:
        hung.bind(str(tmp_path / "sock"))
        hung.listen(0)
        waiting.connect(str(tmp_path / "sock"))
        with pytest.raises(SocketInUseError, match="another sipalg holds"):
            ControlServer(tmp_path / "sock", Loop(), ANSWERS)


def test_what_a_killed_server_left_is_cleared(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / "sock"))
    left.close()
    serving = Serving(tmp_path / "sock")
    assert serving.ask(STATUS)["ok"] is True
    serving.close()


def test_what_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "sock").write_text("precious")
    with pytest.raises(SocketInUseError, match="isn't a socket"):
        ControlServer(tmp_path / "sock", Loop(), ANSWERS)
    assert (tmp_path / "sock").read_text() == "precious"


def test_where_no_socket_can_be(tmp_path: Path) -> None:
    with pytest.raises(SocketInUseError, match="can't make the control socket"):
        ControlServer(tmp_path / ("x" * 120), Loop(), ANSWERS)


def test_only_the_default_directory_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "none"):
        with pytest.raises(SocketInUseError, match=f"there is no directory .*/{name}; make it"):
            ControlServer(tmp_path / name / "sock", Loop(), ANSWERS)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Commands with arguments, and answers that come later


def test_arguments_reach_a_command(serving: Serving) -> None:
    line = json.dumps({"version": 1, "command": "echo", "arguments": {"a": ["b" * 60000]}}).encode() + b"\n"
    assert serving.ask(line)["arguments"] == {"a": ["b" * 60000]}
    assert serving.ask(b'{"version": 1, "command": "echo"}\n')["arguments"] == {}


LATER = b'{"version": 1, "command": "later"}\n'


def test_an_answer_may_come_later_and_others_are_served_meanwhile(serving: Serving) -> None:
    end = serving.connect()
    end.send(LATER)
    serving.turn()
    assert serving.ask(STATUS)["ok"] is True
    WAITING.pop().give({"done": True})
    assert json.loads(serving.read(end)) == {"version": 1, "ok": True, "done": True}


def test_a_client_that_leaves_before_a_later_answer(serving: Serving) -> None:
    end = serving.connect()
    end.send(LATER)
    serving.turn()
    end.close()
    serving.turn()
    other = serving.connect()
    WAITING.pop().give({"done": True})
    other.send(STATUS)
    assert json.loads(serving.read(other))["status"] == {"mode": "enforce"}
    assert serving.loop.log.total == 0


def test_an_answer_that_never_comes_costs_its_client_its_time(serving: Serving) -> None:
    end = serving.connect()
    end.send(LATER)
    serving.turn()
    serving.clock.now += 6
    assert serving.read(end) == b""
    WAITING.pop().refuse("too late")


# The events


FOLLOW = b'{"version": 1, "command": "events"}\n'
OPENED = Event("mapping-opened", (("private", "192.168.33.10:5060"),))


def follow(serving: Serving) -> socket.socket:
    end = serving.connect()
    end.send(FOLLOW)
    serving.turn()
    assert json.loads(end.recv(1 << 16)) == {"version": 1, "ok": True, "stream": "events"}
    return end


def test_events_come_as_they_happen_and_for_as_long_as_one_stays(serving: Serving) -> None:
    serving.server.publish(OPENED)
    ends = [follow(serving), follow(serving)]
    for _ in range(3):
        serving.clock.now += 60
        serving.server.publish(OPENED)
        serving.turn()
        for end in ends:
            event = json.loads(end.recv(1 << 16))
            assert (event["event"], event["facts"]) == ("mapping-opened", {"private": "192.168.33.10:5060"})
    ends[0].close()
    serving.turn()
    serving.server.publish(OPENED)
    serving.turn()
    assert json.loads(ends[1].recv(1 << 16))["event"] == "mapping-opened"
    # What a follower says is of no interest.
    ends[1].send(b"x" * 1000)
    serving.turn()
    serving.server.publish(OPENED)
    serving.turn()
    assert json.loads(ends[1].recv(1 << 16))["event"] == "mapping-opened"


def test_one_who_does_not_read_holds_so_much_and_hears_how_much_was_left_out(serving: Serving) -> None:
    end = follow(serving)
    for _ in range(20_000):
        serving.server.publish(OPENED)
    serving.turn(20)
    assert serving.ask(STATUS)["ok"] is True
    heard, left_out = 0, 0
    received = b""
    while heard + left_out < 20_000:
        serving.turn(1)
        received += end.recv(1 << 16)
        *lines, received = received.split(b"\n")
        for event in map(json.loads, lines):
            # More than once, since lines aren't all of one length and a shorter one may still have room.
            if event["event"] == "events-left-out":
                left_out += int(event["facts"]["count"])
            else:
                heard += 1
    assert left_out > 10_000
    assert heard + left_out == 20_000


def test_messages_are_told_to_who_traces_and_events_are_not(serving: Serving) -> None:
    tracing: list[bool] = []
    serving.server.on_tracing = tracing.append
    serving.server.trace(b'{"nobody": "hears"}\n')
    events = follow(serving)
    ends = []
    for _ in range(2):
        end = serving.connect()
        end.send(b'{"version": 1, "command": "trace"}\n')
        serving.turn()
        assert json.loads(end.recv(1 << 16))["stream"] == "trace"
        ends.append(end)
    serving.server.trace(b'{"message": 1}\n')
    serving.server.publish(OPENED)
    serving.turn()
    assert [json.loads(end.recv(1 << 16)) for end in ends] == [{"message": 1}] * 2
    assert json.loads(events.recv(1 << 16))["event"] == "mapping-opened"
    ends[0].close()
    serving.turn()
    assert tracing == [True, True]
    ends[1].close()
    serving.turn()
    assert tracing == [True, True, False]
    assert serving.ask(STATUS)["ok"] is True


def test_who_traces_may_leave_more_unread(serving: Serving) -> None:
    end = serving.connect()
    end.send(b'{"version": 1, "command": "trace"}\n')
    serving.turn()
    line = json.dumps({"message": "x" * 1000}).encode() + b"\n"
    for _ in range(3000):
        serving.server.trace(line)
    received = b""
    while received.count(b"\n") < 3001:
        serving.turn(1)
        received += end.recv(1 << 20)
    assert b"events-left-out" not in received


def test_a_few_may_follow_and_the_others_still_ask(serving: Serving) -> None:
    followed = [serving.server.is_followed]
    ends = [follow(serving) for _ in range(4)]
    assert [*followed, serving.server.is_followed] == [False, True]
    assert "4 clients follow the events already" in serving.ask(FOLLOW)["error"]
    assert serving.ask(STATUS)["ok"] is True
    ends[2].close()
    serving.turn()
    follow(serving)

