"""`sipalg doctor`: which settings it judges, what it prints, and its exit code."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from sipalg.control.settings.model import Settings
from sipalg.datapath.preflight import Finding
from sipalg.doctor import command
from sipalg.doctor.facts import Facts, Unseen

SETTINGS = Settings(inside=("lan0",), outside="wan0")
RUNNING = Facts(SETTINGS, source="the running sipalg (pid 7)", daemon="running")
ERROR = Finding("error", "e", "an error")
WARNING = Finding("warning", "w", "a warning")
ADVICE = Finding("advice", "a", "a remark")


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args(arguments)


def run(
    monkeypatch: pytest.MonkeyPatch,
    known: Facts,
    findings: list[Finding],
    *arguments: str,
    gathered: Facts | None = None,
) -> int:
    monkeypatch.setattr(command, "ask_daemon", lambda _path: known)
    monkeypatch.setattr(command, "look_at_file", lambda facts, _path: facts)
    monkeypatch.setattr(command, "gather", lambda facts: gathered or facts)
    monkeypatch.setattr(command, "CHECKS", (lambda _facts: iter(findings),))
    return command.main(parse(*arguments))


@pytest.mark.parametrize(
    ("findings", "code", "lines"),
    [
        ([], 0, ["all well: nothing stands in the way"]),
        ([ADVICE], 0, ["note: a remark", "all well: nothing stands in the way"]),
        ([ADVICE, WARNING, WARNING], 1, ["warning: a warning", "note: a remark"]),
        ([WARNING, ERROR], 2, ["error: an error", "warning: a warning"]),
    ],
)
def test_a_line_each_worst_first(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    findings: list[Finding],
    code: int,
    lines: list[str],
) -> None:
    assert run(monkeypatch, RUNNING, findings) == code
    assert capsys.readouterr().out.splitlines() == ["settings are those of the running sipalg (pid 7)", *lines]


def test_a_terminal_gets_lines_that_fit_and_no_cut_words() -> None:
    long = Finding("warning", "w", "a chain that keeps out: " + "nft insert rule ip filter forward accept; " * 8)
    told = list(command.lines(RUNNING, [long], 60))
    assert max(map(len, told)) <= 60
    assert all(line.startswith("    ") for line in told[2:])
    (_, whole) = command.lines(RUNNING, [long])
    assert " ".join(line.strip() for line in told[1:]) == whole.rstrip()
    # However narrow it is.
    assert list(command.lines(RUNNING, [long], 1)) == list(command.lines(RUNNING, [long], 40))


def test_what_couldn_t_be_looked_at_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gathered = replace(RUNNING, unseen=(Unseen("routes", "no right"),))
    assert run(monkeypatch, RUNNING, [], gathered=gathered) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "not looked at: routes: no right",
        "nothing that was looked at stands in the way",
    ]


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    gathered = replace(RUNNING, unseen=(Unseen("routes", "no right"),))
    assert run(monkeypatch, RUNNING, [WARNING], "--json", gathered=gathered) == 1
    assert json.loads(capsys.readouterr().out) == {
        "verdict": 1,
        "settings_of": "the running sipalg (pid 7)",
        "findings": [{"severity": "warning", "code": "w", "text": "a warning"}],
        "not_looked_at": [{"what": "routes", "why": "no right"}],
    }


def test_the_command_line_comes_before_the_running_alg() -> None:
    args = parse("--inside", "lan1", "--inside", "lan1", "--ports", "5070", "--except", "10.0.0.0/8")
    facts = command.with_arguments(RUNNING, args)
    exempt = (IPv4Network("10.0.0.0/8"),)
    assert facts.settings == Settings(inside=("lan1",), outside="wan0", ports=(5070,), exempt=exempt)
    assert facts.source == "the running sipalg (pid 7) and the command line"
    assert command.with_arguments(RUNNING, parse()) is RUNNING
    alone = command.with_arguments(Facts(Settings()), parse("--inside", "lan0", "--outside", "wan0"))
    assert (alone.settings, alone.source) == (SETTINGS, "the command line")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "sipalg doctor: --inside is missing; name the interface with the phones, such as lan0 (nobody there)\n"),
        (
            ("--inside", "x", "--outside", "x"),
            "sipalg doctor: --outside x is also in inside; it can only be one of them (nobody there)\n",
        ),
    ],
)
def test_without_interfaces_there_is_one_line_and_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert run(monkeypatch, Facts(Settings(), daemon_says="nobody there"), [], *arguments) == 2
    assert capsys.readouterr() == ("", complaint)


def test_a_broken_file_says_why_there_are_no_interfaces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Facts(Settings(), file_problem="x: line 3", daemon_says="nobody there"), []) == 2
    assert capsys.readouterr().err.endswith("such as lan0 (x: line 3; nobody there)\n")


def test_all_checks_are_asked() -> None:
    names = [check.__name__ for check in command.CHECKS]
    assert len(set(names)) == len(names) == 20
