"""sipalg in the lab, with a fake in its place: how it is started and ended, and what it is asked over its socket."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.lab.world import FakeNet, FakeProgram, World

from sipalg.lab import alg as module
from sipalg.lab.alg import RouterAlg
from sipalg.lab.topology import LabError, Topology


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "lab")

    def start(_net: Topology, host: str, name: str, *argv: str | Path) -> FakeProgram:
        return FakeProgram(made, name, host, *map(str, argv))

    monkeypatch.setattr(module, "Program", start)
    return made


@pytest.fixture
def alg(world: World) -> Iterator[RouterAlg]:
    with FakeNet(world, ("phone1",)) as net:
        yield RouterAlg(net, ("lan0", "lan1"), ("--mode", "observe"))


@contextmanager
def answering(alg: RouterAlg, *answers: str) -> Iterator[list[dict[str, Any]]]:
    """Something at the control socket that gives these answers, and notes what it was asked."""
    asked: list[dict[str, Any]] = []

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection, connection.makefile() as lines:
                asked.append(json.loads(lines.readline()))
                connection.sendall(answer.encode())

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(alg.socket))
        listener.listen()
        thread = Thread(target=serve)
        thread.start()
        yield asked
        thread.join()


def test_it_is_started_as_its_users_do(world: World, alg: RouterAlg) -> None:
    alg.start()
    (program,) = world.programs
    host, *argv = program.argv
    assert (host, program.name) == ("router", "sipalg-1")
    assert argv[:4] == [sys.executable, "-m", "sipalg", "run"]
    assert argv[4:10] == ["--inside", "lan0", "--inside", "lan1", "--outside", "wan0"]
    assert argv[10:14] == ["--socket", str(alg.socket), "--config", str(alg.settings)]
    assert argv[14:] == ["--mode", "observe"]
    assert {alg.socket.parent, alg.settings.parent, alg.journal.parent} == {world.directory}


def test_another_start_has_a_log_of_its_own(world: World, alg: RouterAlg) -> None:
    # In the first one's log `ready` would be found at once.
    alg.start()
    alg.start()
    assert [program.name for program in world.programs] == ["sipalg-1", "sipalg-2"]
    assert alg.log() == "what sipalg-2 said"
    alg.stop()
    assert world.happened[-1] == "no sipalg-2"


def test_signals_reach_it_and_only_sigkill_is_waited_for(world: World, alg: RouterAlg) -> None:
    alg.start()
    (program,) = world.programs
    alg.send_signal(signal.SIGSTOP)
    assert (program.signals, program.waited) == ([signal.SIGSTOP], [])
    alg.send_signal(signal.SIGKILL)
    assert (program.signals[1:], len(program.waited)) == ([signal.SIGKILL], 1)


def test_an_end_is_waited_for_and_has_to_come(world: World, alg: RouterAlg) -> None:
    alg.start()
    (program,) = world.programs
    alg.end(signal.SIGTERM)
    assert (program.signals, len(program.waited)) == ([signal.SIGTERM], 1)
    program.code = None
    with pytest.raises(LabError, match=r"^sipalg doesn't end on SIGTERM$"):
        alg.end(signal.SIGTERM)


@pytest.mark.parametrize(
    "use",
    [
        lambda alg: alg.send_signal(signal.SIGKILL),
        lambda alg: alg.end(signal.SIGTERM),
    ],
)
def test_where_it_was_not_started_it_is_no_target(use: Callable[[RouterAlg], None], alg: RouterAlg) -> None:
    with pytest.raises(LabError, match="about sipalg and was started without it"):
        use(alg)


def test_where_it_was_not_started_it_said_nothing_and_nothing_is_to_be_stopped(world: World, alg: RouterAlg) -> None:
    alg.stop(keep=True)
    assert alg.log() == ""
    assert world.happened == ["net"]


def test_it_is_asked_and_told_over_its_socket(alg: RouterAlg) -> None:
    answers = ('{"ok": true, "status": 3}\n', '{"ok": true, "calls": [{"a": 1}]}\n', '{"ok": true, "changed": []}\n')
    with answering(alg, *answers) as asked:
        assert alg.status()["status"] == 3
        assert alg.rows("calls") == [{"a": 1}]
        assert alg.set({"ports": "5060"})["changed"] == []
    assert [(request["version"], request["command"]) for request in asked] == [
        (1, "status"), (1, "calls"), (1, "set")
    ]  # fmt: skip
    assert asked[2]["arguments"] == {"values": {"ports": "5060"}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"ok": false, "error": "ports: 0 is no port"}\n', "sipalg refuses set: ports: 0 is no port"),
        ("", "sipalg doesn't answer: "),
        ("half an ans", "sipalg doesn't answer: "),
    ],
)
def test_what_is_refused_or_not_answered_is_an_error(answer: str, said: str, alg: RouterAlg) -> None:
    with answering(alg, answer), pytest.raises(LabError, match=f"^{said}"):
        alg.set({"ports": "0"})


def test_nobody_at_the_socket_is_an_error(alg: RouterAlg) -> None:
    with pytest.raises(LabError, match=r"^sipalg doesn't answer: .*No such file"):
        alg.status()


def test_it_is_told_by_routeros_s_commands(world: World, alg: RouterAlg) -> None:
    world.answers = {"/ip firewall service-port print": "0 sip"}
    assert alg.tell("/ip firewall service-port print") == "0 sip"
    assert world.asked[-1][3:7] == ["--socket", str(alg.socket), "--config", str(alg.settings)]
    assert world.checked == [True]


def test_what_it_knew_at_the_end_is_kept_as_far_as_it_answers(world: World, alg: RouterAlg) -> None:
    alg.start()
    with answering(alg, '{"ok": true, "status": 3}\n', '{"ok": false, "error": "ended"}\n'):
        alg.stop(keep=True)
    assert sorted(path.name for path in world.directory.glob("*.json")) == ["status.json"]
    assert json.loads((world.directory / "status.json").read_text())["status"] == 3
    assert world.happened[-1] == "no sipalg-1"
