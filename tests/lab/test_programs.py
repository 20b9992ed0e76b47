"""Programs by their pid: their words, their end, and what is missing."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from sipalg.lab import programs
from sipalg.lab.programs import Capture, Program, interrupted, missing_packages, pause, wait_until
from sipalg.lab.topology import LabError, Topology


class Here(Topology):
    """A topology without namespaces: its hosts are this machine."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def command(self, _host: str, *argv: str | Path) -> list[str]:
        return [str(word) for word in argv]


def start(directory: Path, code: str) -> Program:
    return Program(Here(directory), "here", "program", sys.executable, "-u", "-c", code)


def test_its_words_are_waited_for(tmp_path: Path) -> None:
    with start(tmp_path, "print('ready'); import time; time.sleep(60)") as program:
        program.wait_for("^ready$")
        assert program.wait(0.01) is None
        with pytest.raises(LabError, match=r"^program doesn't say never: ready$"):
            program.wait_for("never", 0.1)
    assert program.exit_code == -signal.SIGTERM
    program.signal(signal.SIGTERM)


def test_an_early_end_is_told_with_its_last_line(tmp_path: Path) -> None:
    with (
        start(tmp_path, "import sys; print('one'); sys.exit('no such interface')") as program,
        pytest.raises(LabError, match=r"^program ended with 1: no such interface$"),
    ):
        program.wait_for("ready")
    with start(tmp_path, "") as silent, pytest.raises(LabError, match="ended with 0: it printed nothing"):
        silent.wait_for("ready")


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "GRACE_S", 0.1)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(60)"
    with start(tmp_path, code) as program:
        program.wait_for("ready")
    assert program.exit_code == -signal.SIGKILL


def test_a_stopped_one_ends_too(tmp_path: Path) -> None:
    with start(tmp_path, "print('ready'); import time; time.sleep(60)") as program:
        program.wait_for("ready")
        program.signal(signal.SIGSTOP)
    assert program.exit_code == -signal.SIGTERM


def test_its_children_end_with_it(tmp_path: Path) -> None:
    child = "import time; print('child', flush=True); time.sleep(60)"
    # The parent ends when its child is up, and not before.
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode())"
    )
    with start(tmp_path, code) as program:
        program.wait_for("child")
        assert program.wait(30.0) == 0
        group = program.pid
        assert _alive(group)
    assert wait_until(lambda: not _alive(group), 30.0)


def _alive(group: int) -> bool:
    """Is any process of the group alive? A dead child of nobody may stand as a zombie for a while."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def test_waiting_ends_with_the_condition_the_time_or_an_interruption() -> None:
    assert wait_until(lambda: True, 0.0)
    assert not wait_until(lambda: False, 0.0)
    interrupted.set()
    try:
        with pytest.raises(LabError, match="interrupted"):
            wait_until(lambda: False, 60.0)
        with pytest.raises(LabError, match="interrupted"):
            pause(60.0)
    finally:
        interrupted.clear()
    pause(0.0)


def test_a_capture_that_doesnt_come_up_leaves_nothing(tmp_path: Path) -> None:
    class Silent(Here):
        def command(self, _host: str, *_argv: str | Path) -> list[str]:
            return ["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"]

    interrupted.set()
    try:
        with pytest.raises(LabError, match="interrupted"):
            Capture(Silent(tmp_path), "router", "lan0")
    finally:
        interrupted.clear()
    pid = tmp_path / "pid"
    assert not (pid.exists() and pid.read_text() and Path(f"/proc/{pid.read_text().strip()}").exists())


def test_what_moves_is_waited_for_and_what_stands_still_isnt(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    late = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds + late[0]

    monkeypatch.setattr(programs, "pause", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def waited_s(until_s: float, moves_until_s: float = 0.0, timeout_s: float = 2.5) -> tuple[bool, object]:
        begun = clock[0]
        held = wait_until(
            lambda: clock[0] - begun >= until_s, timeout_s, lambda: min(clock[0] - begun, moves_until_s)
        )
        return held, pytest.approx(clock[0] - begun, abs=0.1)

    assert waited_s(2.0) == (True, 2.0)
    assert waited_s(3.0) == (False, 2.5)
    assert waited_s(7.0, moves_until_s=5.0) == (True, 7.0)
    assert waited_s(9.0, moves_until_s=5.0) == (False, 7.5)
    # What never comes to its end, and what was to be waited for longer anyway.
    assert waited_s(99.0, moves_until_s=99.0) == (False, programs.LONGEST_S)
    assert waited_s(99.0, moves_until_s=99.0, timeout_s=40.0) == (False, 40.0)
    # A machine that wakes us late has been late with the others, too: the same number of looks.
    late[0] = programs.POLL_S
    assert waited_s(4.5) == (True, 4.5)
    assert waited_s(99.0) == (False, 5.0)


def test_missing_programs_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None if program in ("sipp", "nft") else "/usr/bin/it")
    assert missing_packages() == ["nftables", "sip-tester"]
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/it")
    assert missing_packages() == []
