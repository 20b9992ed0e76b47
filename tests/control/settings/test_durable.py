"""A file's replacement: its order of system calls, and what a kill at any of them leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sipalg.control.settings import durable
from sipalg.control.settings.durable import replace_file

OLD = b"old\n" * 100
NEW = b"new " * 3000
#: What changes something, or makes it last.
_CALLS = ("open", "ftruncate", "fchmod", "fchown", "write", "fsync", "rename", "unlink", "close")


class Recorder:
    """Stands for `os` in the module, notes the calls that matter, and does them; `before` may step in."""

    def __init__(
        self, before: Callable[[int, str], None] = lambda _number, _name: None, piece_bytes: int = 1 << 30
    ) -> None:
        self.made: list[tuple[str, str]] = []
        self._before = before
        self._piece_bytes = piece_bytes
        self._names: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _CALLS:
            return real

        def call(first: Any, *rest: Any, **places: Any) -> Any:
            about = self._names.get(first, "?") if isinstance(first, int) else Path(first).name
            self._before(len(self.made), name)
            self.made.append((name, about))
            if name == "write":
                return real(first, rest[0][: self._piece_bytes])
            result = real(first, *rest, **places)
            if name == "open":
                self._names[result] = about
            return result

        return call


def always(content: bytes) -> Callable[[bytes | None], bytes]:
    return lambda _: content


def test_the_system_calls_of_a_replacement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(OLD)
    recorder = Recorder(piece_bytes=5000)
    monkeypatch.setattr(durable, "os", recorder)
    assert replace_file(path, lambda _: NEW) == path
    assert recorder.made == [
        ("open", tmp_path.name),
        ("open", ".a.toml.new"),
        ("ftruncate", ".a.toml.new"),
        ("fchmod", ".a.toml.new"),
        *[("write", ".a.toml.new")] * 3,
        ("fsync", ".a.toml.new"),
        ("rename", ".a.toml.new"),
        ("close", ".a.toml.new"),
        ("fsync", tmp_path.name),
        ("close", tmp_path.name),
    ]
    assert path.read_bytes() == NEW
    assert [one.name for one in tmp_path.iterdir()] == ["a.toml"]


def test_what_is_made_of_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    seen: list[bytes | None] = []

    def make(content: bytes | None) -> bytes:
        seen.append(content)
        return b"%d" % len(seen)

    replace_file(path, make)
    replace_file(path, make)
    assert seen == [None, b"1"]
    assert path.read_bytes() == b"2"


def test_mode_and_owner_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    replace_file(path, lambda _: OLD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o640)
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _fd, user, group: given.append((user, group)))
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    replace_file(path, lambda _: NEW)
    assert given == [(path.stat().st_uid, path.stat().st_gid)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_who_mayn_t_give_a_file_away_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "a"
    replace_file(path, lambda _: OLD)
    path.chmod(0o640)
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    replace_file(path, lambda _: NEW)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "b"
    target.write_bytes(OLD)
    (tmp_path / "a").symlink_to("elsewhere/b")
    assert replace_file(tmp_path / "a", lambda _: NEW) == target
    assert (tmp_path / "a").is_symlink()
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("failing", ["ftruncate", "fchmod", "write", "fsync", "rename"])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)

    def refuse(_number: int, name: str) -> None:
        if name == failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "os", Recorder(refuse))
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, lambda _: NEW)
    assert path.read_bytes() == OLD
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_two_at_once_are_one_and_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)

    def meanwhile(_: bytes | None) -> bytes:
        with pytest.raises(OSError, match="another process is changing it"):
            replace_file(path, lambda _: b"other")
        return NEW

    replace_file(path, meanwhile)
    assert path.read_bytes() == NEW


def test_a_lock_on_what_has_become_the_file_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    beside = tmp_path / ".a.new"
    real = fcntl.flock
    locked: list[int] = []

    def flock(descriptor: int, how: int) -> None:
        real(descriptor, how)
        locked.append(descriptor)
        if len(locked) == 1:
            beside.rename(path)
        elif len(locked) == 2:
            # And now another one stands there.
            beside.rename(tmp_path / "b")
            beside.touch()

    monkeypatch.setattr(fcntl, "flock", flock)
    replace_file(path, lambda _: NEW)
    assert len(locked) == 3
    assert path.read_bytes() == NEW


def test_a_lock_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks"):
        replace_file(tmp_path / "a", lambda _: NEW)


def test_a_kill_at_any_system_call_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 processes, each killed at a system call that chance picks; what the one left the next has to take."""
    path = tmp_path / "a"
    contents = (OLD, NEW)
    path.write_bytes(OLD)
    chance = random.Random(3)
    left = {OLD: 0, NEW: 0}
    half = 0
    for number in range(1000):
        before = path.read_bytes()
        wanted = contents[before == OLD]
        at = chance.randrange(11)
        if os.fork() == 0:

            def kill(count: int, _name: str, at: int = at) -> None:
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

            monkeypatch.setattr(durable, "os", Recorder(kill, piece_bytes=chance.randrange(200, 9000)))
            replace_file(path, always(wanted))
            os._exit(0)
        os.wait()
        found = path.read_bytes()
        assert found in (before, wanted), number
        left[found] += 1
        beside = tmp_path / ".a.new"
        half += beside.exists() and beside.read_bytes() not in (b"", OLD, NEW)
    assert min(left.values()) > 100
    assert half > 50
    replace_file(path, lambda _: NEW)
    assert path.read_bytes() == NEW
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
