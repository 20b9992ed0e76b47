"""`sipalg install-service`: into a tree, again, over edited files, away again; and what the system is told."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sipalg.control.settings.file import default_file
from sipalg.control.setup import install, service_files

UNIT = "usr/lib/systemd/system/sipalg.service"
SETTINGS = "etc/sipalg/sipalg.toml"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    install.configure(parser)
    return install.main(parser.parse_args(arguments))


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def into(root: Path, *arguments: str) -> int:
    return run("--root", str(root), "--prefix", "/usr", *arguments)


def test_a_package_s_tree(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert into(root) == 0
    found = tree(root)
    assert {UNIT, SETTINGS, "usr/share/man/man8/sipalg.8", "usr/share/sipalg/installed.sha256"} <= found.keys()
    assert b"ExecStart=/usr/bin/sipalg run\n" in found[UNIT]
    assert found[SETTINGS] == default_file().encode()
    said = capsys.readouterr().out
    assert f"/{UNIT}: made\n" in said
    assert "systemctl" not in said
    assert (root / UNIT).stat().st_mode & 0o777 == 0o644


def test_again_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into(root)
    before = tree(root)
    capsys.readouterr()
    assert into(root) == 0
    assert tree(root) == before
    assert {line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()} == {"unchanged"}


def test_a_newer_version_replaces_its_own_files_only(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into(root)
    edited = root / "usr/lib/systemd/system/sipalg-metrics.service"
    edited.write_text("edited")
    (root / SETTINGS).write_text("edited")
    capsys.readouterr()
    assert into(root, "--executable", "/opt/bin/sipalg") == 1
    assert b"ExecStart=/opt/bin/sipalg run\n" in (root / UNIT).read_bytes()
    assert edited.read_text() == (root / SETTINGS).read_text() == "edited"
    said = capsys.readouterr().out
    assert f"/{UNIT}: updated\n" in said
    assert "/usr/lib/systemd/system/sipalg-metrics.service: is kept: it isn't what was installed" in said
    # What is kept is still known as edited the next time.
    assert into(root, "--executable", "/opt/bin/sipalg") == 1


def test_uninstalling_leaves_settings_and_edited_files(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into(root)
    (root / UNIT).write_text("edited")
    (root / "usr/share/man/man8/sipalg.8").unlink()
    capsys.readouterr()
    assert into(root, "--uninstall") == 1
    assert tree(root) == {UNIT: b"edited", SETTINGS: default_file().encode()}
    assert f"/{UNIT}: is kept: it was edited since it was installed\n" in capsys.readouterr().out
    assert into(root, "--uninstall") == 0


@pytest.mark.parametrize("arguments", [(), ("--uninstall",)])
def test_a_dry_run_only_says(root: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    if arguments:
        into(root)
    before = tree(root)
    capsys.readouterr()
    assert into(root, "--dry-run", *arguments) == 0
    assert tree(root) == before
    assert f"/{UNIT}: would be {'removed' if arguments else 'made'}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--executable", "bin/sipalg"), "--executable bin/sipalg: isn't an absolute path"),
        (("--prefix", "usr"), "--prefix usr: isn't an absolute path"),
    ],
)
def test_wrong_arguments_are_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert into(root, *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"sipalg install-service: {complaint}")
    assert (said.out, said.err.count("\n"), tree(root)) == ("", 1, {})


def test_a_root_that_is_no_directory_is_one_line(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "file").touch()
    assert into(root / "file") == into(root / "file" / "below") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"sipalg install-service: --root {root / 'file'}: isn't a directory"
    assert second.startswith(f"sipalg install-service: {root / 'file' / 'below'}/")
    assert second.endswith(": Not a directory")
    (root / "usr").touch()
    assert into(root) == 2
    assert capsys.readouterr().err.startswith(f"sipalg install-service: {root}/usr/")


def test_a_relative_root_is_below_the_present_directory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert into(Path("tree")) == 0
    assert (root / "tree" / UNIT).is_file()


def test_without_the_right_nothing_is_done(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.access", lambda place, _mode: place != root / "usr")
    (root / "usr").mkdir()
    assert into(root) == 2
    assert tree(root) == {}
    assert capsys.readouterr().err == (
        f"sipalg install-service: {root / 'usr'}: no right to write there; be root, or choose --root\n"
    )


# On the system itself, which is a directory here.


class System:
    """A system whose root is a directory, with or without a running systemd; programs are noted and not run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path, *, booted: bool) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.fails = ""
        monkeypatch.setattr(install, "_under", lambda _root, path: root / path.relative_to("/"))
        monkeypatch.setattr(install, "_BOOTED", root if booted else root / "none")
        monkeypatch.setattr("subprocess.run", self._run)

    def _run(self, command: tuple[str, ...], **_: Any) -> subprocess.CompletedProcess[bytes]:
        self.ran.append(command)
        if self.fails == "missing":
            raise FileNotFoundError
        return subprocess.CompletedProcess(command, 1 if command[0] == self.fails else 0)


def test_a_running_systemd_takes_note(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    system = System(monkeypatch, root, booted=True)
    assert run("--executable", "/usr/bin/sipalg") == 0
    assert system.ran == [
        ("systemd-sysusers", "/usr/local/lib/sysusers.d/sipalg.conf"),
        ("systemd-tmpfiles", "--create", "/usr/local/lib/tmpfiles.d/sipalg.conf"),
        ("systemctl", "daemon-reload"),
    ]
    system.ran.clear()
    assert run("--uninstall") == 0
    assert system.ran == [
        ("systemctl", "disable", "--now", "sipalg.service", "sipalg-metrics.service"),
        ("systemctl", "daemon-reload"),
    ]
    assert tree(root).keys() == {SETTINGS}
    system.ran.clear()
    assert run("--uninstall") == 0
    assert system.ran == [("systemctl", "daemon-reload")]


@pytest.mark.parametrize("fails", ["systemd-sysusers", "missing"])
def test_a_program_that_fails_makes_1(monkeypatch: pytest.MonkeyPatch, root: Path, fails: str) -> None:
    system = System(monkeypatch, root, booted=True)
    system.fails = fails
    assert run("--executable", "/usr/bin/sipalg") == 1
    assert len(system.ran) == 3


@pytest.mark.parametrize("dry", [False, True])
def test_without_a_running_systemd_it_is_said(
    monkeypatch: pytest.MonkeyPatch, root: Path, capsys: pytest.CaptureFixture[str], dry: bool
) -> None:
    system = System(monkeypatch, root, booted=False)
    assert run("--executable", "/usr/bin/sipalg", *(("--dry-run",) if dry else ())) == 0
    assert system.ran == []
    said = capsys.readouterr().out
    assert "left out, since systemd isn't running: systemctl daemon-reload\n" in said
    assert said.splitlines()[-1].startswith("next: set inside and outside in /etc/sipalg/sipalg.toml")


def test_a_dry_run_runs_no_program(monkeypatch: pytest.MonkeyPatch, root: Path, capsys: Any) -> None:
    system = System(monkeypatch, root, booted=True)
    assert run("--executable", "/usr/bin/sipalg", "--dry-run") == 0
    assert (system.ran, tree(root)) == ([], {})
    assert "would run: systemctl daemon-reload\n" in capsys.readouterr().out


# Which program the units run.


def test_it_is_the_one_beside_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(service_files, "unreachable", lambda _path: None)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(ValueError, match="name it with --executable"):
        install._executable(None, here=True)
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/sipalg")
    assert install._executable(None, here=True) == "/usr/bin/sipalg"
    (tmp_path / "sipalg").touch()
    assert install._executable(None, here=True) == str(tmp_path / "sipalg")


def test_one_that_the_service_s_user_can_t_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/sipalg")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setattr(service_files, "unreachable", lambda _path: Path("/root"))
    with pytest.raises(ValueError, match="can't get through /root; install it elsewhere"):
        install._executable(None, here=True)
    monkeypatch.setattr("shutil.which", lambda _name: "/my programs/sipalg")
    with pytest.raises(ValueError, match="has a character that units don't take as it is; install it elsewhere"):
        install._executable(None, here=True)


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("place", ["tmp/sipalg", "home/me/sipalg/bin/sipalg", "root/.local/bin/sipalg"])
def test_one_named_in_a_place_that_the_unit_hides_is_refused(
    monkeypatch: pytest.MonkeyPatch, root: Path, capsys: pytest.CaptureFixture[str], place: str, dry: bool
) -> None:
    System(monkeypatch, root, booted=False)
    assert run("--executable", f"/{place}", *(("--dry-run",) if dry else ())) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"sipalg install-service: /{place}: the service's own user can't get through /")
    assert (tree(root), error.count("\n")) == ({}, 1)


def test_one_named_that_isnt_there_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    System(monkeypatch, root, booted=False)
    for dry in ((), ("--dry-run",)):
        assert run("--executable", "/opt/none/sipalg", *dry) == 0
        said = capsys.readouterr().err
        assert said.startswith("sipalg install-service: warning: --executable /opt/none/sipalg: there is no such")
    assert run("--executable", "/bin/sh") == 0
    assert capsys.readouterr().err == ""
    assert into(root, "--executable", "/opt/none/sipalg") == 0
    assert capsys.readouterr().err == ""
