"""The command's refusals and its summary, without any lab."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipalg.lab import command
from sipalg.lab.scenario import Outcome
from sipalg.lab.topology import LabError


def call(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.main(parser.parse_args(argv))


@pytest.fixture
def no_lab(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """Everything that the lab needs is there, and the runs give what the list that is returned holds."""
    outcomes: list[Outcome] = []

    def run_all(*_: Any, **__: Any) -> Iterator[Outcome]:
        yield from outcomes

    monkeypatch.setattr(command, "missing_packages", list)
    monkeypatch.setattr(command, "namespaces_refused", str)
    monkeypatch.setattr(command, "_kernel_helper_refused", str)
    monkeypatch.setattr(command, "run_all", run_all)
    monkeypatch.setattr(command, "may_administer", lambda: True)
    return outcomes


def test_an_unknown_scenario_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--only", "nothing") == 2
    error = capsys.readouterr().err
    assert error.startswith("sipalg lab: no scenario is called nothing; there are: register-silence-called")
    assert error.count("\n") == 1


def test_missing_programs_are_one_line_with_the_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "missing_packages", lambda: ["kamailio", "tcpdump"])
    assert call() == 2
    said = capsys.readouterr()
    assert said.err == "sipalg lab: programs are missing; install them with: apt-get install kamailio tcpdump\n"
    assert said.out == ""


@pytest.mark.usefixtures("no_lab")
def test_namespaces_that_can_t_be_made_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "namespaces_refused", lambda: "no luck")
    assert call() == 2
    assert capsys.readouterr().err == "sipalg lab: no luck\n"


@pytest.mark.usefixtures("no_lab")
def test_a_place_where_nothing_can_be_kept_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, why in (("/proc/x", "No such file or directory"), (str(tmp_path / "file"), "File exists")):
        assert call("--keep", place, "call-out") == 2
        said = capsys.readouterr()
        assert said.err == (
            f"sipalg lab: --keep {place}: {why}; name a directory that can be written to, such as /var/tmp/lab\n"
        )
        assert said.out == ""
    assert call("--keep", str(tmp_path / "new" / "folder"), "call-out") == 0
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_at_once_has_to_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--at-once", "0") == 2
    assert "--at-once" in capsys.readouterr().err


def test_the_list_says_where_each_has_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--list", "--only", "media-server") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("media-server ")
    assert shown.endswith("(has to fail: none, kernel)\n")


def test_a_scenario_is_named_by_itself_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("hold", "--list", "--only", "unnamed-media-port") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["hold-and-resume", "unnamed-media-port"]


def test_all_as_declared_is_zero(no_lab: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    no_lab += [
        Outcome("call-out", "none", False, "101 hears nothing", True, False, 1.0),
        Outcome("call-out", "sipalg", True, "", True, False, 1.0, ladder="a ladder"),
    ]
    assert call("--only", "call-out") == 0
    shown = capsys.readouterr().out
    assert "a ladder" in shown
    assert "fails: 101 hears nothing" in shown
    assert shown.endswith("All 2 runs came out as declared; 1 of them had to fail and did.\n")


@pytest.mark.parametrize(("ok", "said"), [(True, "."), (False, ": it had to fail and did.")])
def test_one_run_is_one(no_lab: list[Outcome], capsys: pytest.CaptureFixture[str], ok: bool, said: str) -> None:
    no_lab.append(Outcome("call-out", "sipalg", ok, "", True, False, 1.0))
    assert call("--only", "call-out", "--mode", "sipalg") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1 run\n")
    assert shown.endswith(f"The run came out as declared{said}\n")


def test_anything_else_is_one(no_lab: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    no_lab.append(Outcome("call-out", "sipalg", False, "no answer", False, False, 1.0))
    assert call("--only", "call-out") == 1
    assert "1 of 1 run did not come out as declared: call-out (sipalg)" in capsys.readouterr().out


def test_json_is_alone_on_standard_output(no_lab: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    no_lab.append(Outcome("call-out", "sipalg", True, "", True, False, 1.0))
    assert call("--only", "call-out", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["as_expected"] is True
    assert "call-out" in said.err


@pytest.mark.usefixtures("no_lab")
def test_without_the_kernel_s_helper_its_column_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_kernel_helper_refused", lambda: "nft says no")
    assert call("--only", "call-out") == 0
    said = capsys.readouterr()
    assert "nft says no" in said.err
    assert "2 runs" in said.out


@pytest.mark.usefixtures("no_lab")
def test_as_an_ordinary_user_it_starts_itself_in_a_namespace(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    class Done:
        returncode = 0

    def run(argv: list[str], **_: Any) -> Done:
        commands.append(argv)
        return Done()

    monkeypatch.setattr(command, "may_administer", lambda: False)
    monkeypatch.setattr("subprocess.run", run)
    assert call("--only", "call-out") == 0
    assert [argv[0] for argv in commands] == ["unshare", "unshare"]
    assert commands[0][-1] == "true"
    assert "sipalg" in commands[1]


@pytest.mark.usefixtures("no_lab")
@pytest.mark.usefixtures("no_lab")
def test_in_that_namespace_it_has_a_run_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise LabError("no mount")

    monkeypatch.setenv("SIPALG_LAB_USER_NAMESPACE", "1")
    monkeypatch.setattr(command, "mount_own_run", refuse)
    assert call() == 2
    assert capsys.readouterr().err == "sipalg lab: no mount\n"


def test_where_that_is_refused_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused:
        returncode = 1

    monkeypatch.setattr(command, "may_administer", lambda: False)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: Refused())
    assert call() == 2
    assert capsys.readouterr().err.count("\n") == 1
