"""Which files the service has, what is done with those that are there, and who can get at the program."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from sipalg.control.setup import service_files
from sipalg.control.setup.service_files import decide, digest_of, files, manifest, read_manifest, unfit, unreachable

PREFIX = Path("/usr")
NAMES = {
    "/usr/lib/systemd/system/sipalg.service",
    "/usr/lib/systemd/system/sipalg-metrics.service",
    "/usr/lib/sysusers.d/sipalg.conf",
    "/usr/lib/tmpfiles.d/sipalg.conf",
}
SHARED = {
    "/usr/share/man/man8/sipalg.8",
    "/usr/share/bash-completion/completions/sipalg",
    "/usr/share/zsh/site-functions/_sipalg",
    "/usr/share/fish/vendor_completions.d/sipalg.fish",
}


class Unit(configparser.RawConfigParser):
    """A unit's sections; of keys that are there several times, the last."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit(name: str) -> Unit:
    parser = Unit(strict=False)
    (content,) = [file.content for file in files(PREFIX, "/opt/sipalg/bin/sipalg") if file.path.name == name]
    parser.read_string(content.decode())
    return parser


def test_a_checkout_has_everything(tmp_path: Path) -> None:
    found = files(PREFIX, "/opt/sipalg/bin/sipalg", shared=tmp_path)
    assert {str(file.path) for file in found} == NAMES | SHARED
    assert not any(b"@EXECUTABLE@" in file.content for file in found)


def test_an_installed_package_has_its_own_shared_files(tmp_path: Path) -> None:
    page = tmp_path / "share/man/man8/sipalg.8"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"its own")
    found = {str(file.path): file.content for file in files(PREFIX, "x", shared=tmp_path, checkout=tmp_path)}
    assert found.keys() == NAMES | {"/usr/share/man/man8/sipalg.8"}
    assert found["/usr/share/man/man8/sipalg.8"] == b"its own"
    assert page not in {file.path for file in files(tmp_path, "x", shared=tmp_path, checkout=tmp_path)}


@pytest.mark.parametrize("name", ["sipalg.service", "sipalg-metrics.service"])
def test_the_units_run_the_program(name: str) -> None:
    assert unit(name)["Service"]["ExecStart"].startswith("/opt/sipalg/bin/sipalg ")
    assert unit(name)["Service"]["NoNewPrivileges"] == "yes"


def test_the_unit_is_watched_and_keeps_what_a_restart_needs() -> None:
    service = unit("sipalg.service")["Service"]
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "20s"
    assert service["Restart"] == "on-failure"
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_ADMIN CAP_NET_RAW"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze isn't installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    paths = []
    for file in files(PREFIX, "/bin/true"):
        if file.path.suffix == ".service":
            paths.append(tmp_path / file.path.name)
            paths[-1].write_bytes(file.content)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "sipalg" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize(
    ("wanted", "present", "installed", "action"),
    [
        (b"new", None, None, "make"),
        (b"new", None, b"old", "make"),
        (b"new", b"new", None, "same"),
        (b"new", b"old", b"old", "update"),
        (b"new", b"edited", b"old", "keep"),
        (b"new", b"a stranger's", None, "keep"),
        (None, None, b"old", "gone"),
        (None, b"old", b"old", "remove"),
        (None, b"edited", b"old", "keep"),
    ],
)
def test_a_file_that_somebody_edited_stays(
    wanted: bytes | None, present: bytes | None, installed: bytes | None, action: str
) -> None:
    assert decide(wanted, present, None if installed is None else digest_of(installed)) == action


def test_the_list_of_what_was_installed() -> None:
    hashes = {"/usr/a b": digest_of(b"x"), "/usr/c": digest_of(b"")}
    assert read_manifest(manifest(hashes).decode()) == hashes
    assert read_manifest("nonsense\n") == {}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum isn't installed")
def test_the_list_can_be_checked_with_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    listed = manifest({str(path): digest_of(b"content")})
    subprocess.run(["sha256sum", "--check", "--strict", "--status"], input=listed, check=True)


@pytest.mark.parametrize("executable", ["/usr/bin/sipalg", "/opt/sipalg-1.0/bin/sipalg"])
def test_programs_that_a_unit_can_run(executable: str) -> None:
    assert unfit(executable) == ""


@pytest.mark.parametrize("executable", ["bin/sipalg", "/opt/my programs/sipalg", "/opt/100%/sipalg", "/opt/$x/sipalg"])
def test_programs_that_a_unit_can_t_run(executable: str) -> None:
    assert unfit(executable) != ""


def test_who_can_get_at_the_program(tmp_path: Path) -> None:
    assert unreachable(Path("/bin/sh")) is None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "program").touch(mode=0o755)
    assert unreachable(closed / "program") in (closed, *closed.parents)
    assert unreachable(closed / "program") != Path("/")


def test_where_a_link_leads_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch(mode=0o700)
    link.symlink_to(target)
    way = list(service_files._way_to(link))
    assert way[0] == Path("/")
    assert link in way
    assert way[-1] == target.resolve()
    monkeypatch.setattr(service_files, "_way_to", lambda path: iter((path,)))
    assert unreachable(target) == target
    assert unreachable(Path("/home")) == Path("/home")
