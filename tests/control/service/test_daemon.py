"""What `sipalg run` says when it can't start; what it does when it can is tests/live/test_daemon.py's."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
from collections.abc import Callable

import pytest

from sipalg.control.service import daemon
from sipalg.control.settings.options import Options
from sipalg.control.socket.server import SocketInUseError
from sipalg.datapath.admin_rules import AdminRulesError
from sipalg.datapath.loop import Loop
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.preflight import Finding, Plan
from sipalg.engine.verdict import Event

PREFLIGHT = "sipalg.control.service.daemon.preflight.check"


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    daemon.configure(parser)
    return parser.parse_args(["--inside", "lan0", "--outside", "wan0", "--config", "/nowhere/sipalg.toml", *given])


def finding(*found: Finding) -> Callable[[Plan], list[Finding]]:
    return lambda plan: list(found) if plan.outside == "wan0" else []


def test_each_thing_in_the_way_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = finding(
        Finding("error", "no-nft", "nft: program not found"),
        Finding("error", "no-queue", "no queue"),
        Finding("warning", "exemption", "not in the way"),
    )
    monkeypatch.setattr("sipalg.control.service.daemon.preflight.check", found)
    assert daemon.main(arguments()) == 2
    assert capsys.readouterr().err == "sipalg: nft: program not found\nsipalg: no queue\n"


def test_in_the_journal_it_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(daemon, "is_journal", lambda _environment, descriptor: descriptor == 2)
    monkeypatch.setattr(PREFLIGHT, finding(Finding("error", "no-queue", "no queue")))
    assert daemon.main(arguments()) == 2
    assert capsys.readouterr().err == "<3>sipalg: no queue\n"


def test_interfaces_that_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.main(arguments("--inside", "wan0")) == 2
    assert capsys.readouterr().err.startswith("sipalg: outside: wan0 is also in inside")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SocketInUseError("another sipalg (pid 7) is running"), "another sipalg (pid 7) is running"),
        (AdminRulesError("nft: no answer in 20 s"), "nft: no answer in 20 s"),
        (NetlinkError(errno.EPERM), "the kernel refuses: Operation not permitted"),
        (PermissionError(errno.EPERM, "Operation not permitted"), "can't bind queue 5060: Operation not permitted"),
    ],
)
def test_what_is_refused_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    def refuse(
        options: Options, warnings: list[str], on_event: Callable[[Event], None], has_room: Callable[[], bool]
    ) -> None:
        assert has_room()
        on_event(Event("x", ()))
        assert options.settings.outside == "wan0"
        assert warnings == ["look at this"]
        raise error

    monkeypatch.setattr(PREFLIGHT, finding(Finding("warning", "x", "look at this")))
    monkeypatch.setattr("sipalg.control.service.daemon.Service", refuse)
    assert daemon.main(arguments()) == 2
    event, refusal = capsys.readouterr().err.splitlines()
    assert event.endswith(" x")
    assert refusal == f"sipalg: {said}"


def test_large_blocks_lie_apart_before_there_is_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    def refuse(*_given: object) -> None:
        happened.append("service")
        raise NetlinkError(errno.EPERM)

    monkeypatch.setattr(PREFLIGHT, finding())
    monkeypatch.setattr(daemon, "keep_large_apart", lambda: happened.append("apart"))
    monkeypatch.setattr("sipalg.control.service.daemon.Service", refuse)
    assert daemon.main(arguments()) == 2
    assert happened == ["apart", "service"]


def test_what_should_never_happen_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Half:
        """A service that can't be started."""

        def __init__(self, *_: object) -> None:
            self.loop = Loop()

        def start(self) -> None:
            raise ValueError("of\ntwo lines")

        def stop(self) -> None:
            self.loop.close()

    class NotEvenHalf:
        def __init__(self, *_: object) -> None:
            raise ValueError("of\ntwo lines")

    monkeypatch.setattr(PREFLIGHT, finding())
    for kind in (Half, NotEvenHalf):
        monkeypatch.setattr("sipalg.control.service.daemon.Service", kind)
        assert daemon.main(arguments()) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d fault where=start consequence=not-started", line)
        assert "ValueError" in line


def test_only_the_journal_notes_the_times_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for journal in (False, True):
        monkeypatch.setattr(daemon, "is_journal", lambda *_, found=journal: found)
        daemon._set_up_log().event(Event("registered", ()))
    plain, noted = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d registered", plain)
    assert noted == "<6>registered"


def test_a_hangup_reloads_and_goes_on() -> None:
    loop = Loop()
    reloads: list[bool] = []
    with daemon.heeding_signals(loop, lambda: reloads.append(True)):
        os.kill(os.getpid(), signal.SIGHUP)
        loop.step(1.0)
        assert reloads == [True]
        os.kill(os.getpid(), signal.SIGTERM)
        loop.run()
    loop.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_loop_and_its_handler_is_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    loop = Loop()
    with daemon.heeding_signals(loop, lambda: None):
        assert signal.getsignal(number) is not before
        os.kill(os.getpid(), number)
        loop.run()
    assert signal.getsignal(number) is before
    loop.close()
