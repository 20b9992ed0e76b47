"""`sipalg config`: check, show, default."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sipalg.control.settings import config
from sipalg.control.settings.file import load
from sipalg.control.settings.model import Settings


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sipalg.toml"
    monkeypatch.setenv("SIPALG_CONFIG", str(path))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def go(*given: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        config.configure(parser)
        code = config.main(parser.parse_args(given))
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


def test_the_default_file_can_be_begun_with(run: Any, file: Path) -> None:
    code, out, err = run("default")
    file.write_text(out)
    assert (code, err, load(file)) == (0, "", Settings())
    assert set(json.loads(run("show", "--json")[1])["from"].values()) == {"default"}
    assert json.loads(run("default", "--json")[1])["text"] == out


def test_a_file_that_is_well(run: Any, file: Path) -> None:
    file.write_text('inside = ["lan0"]\noutside = "wan0"\n')
    assert run("check") == (0, f"{file}: all is well\n", "")
    assert json.loads(run("check", "--json")[1]) == {"file": str(file), "ok": True, "errors": [], "notes": []}


@pytest.mark.parametrize("action", ["check", "show"])
def test_a_pipe_isnt_waited_for(run: Any, file: Path, action: str) -> None:
    os.mkfifo(file)
    assert run(action) == (2, "", f"sipalg: {file}: is no regular file, and so no settings file\n")


def test_nothing_is_a_file_too(run: Any) -> None:
    assert run("show", "--config", os.devnull)[0] == 0


def test_a_file_with_mistakes_has_a_line_for_each(run: Any, file: Path) -> None:
    file.write_text("ports = [0]\nporst = 1\ndisabled = 1\nmedia-ports = '9000-8000'\n")
    code, out, err = run("check")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert [line.split(": ")[2:4] for line in lines] == [
        ["line 1", "ports"],
        ["line 2", "there is no setting 'porst'; did you mean ports?"],
        ["line 3", "disabled"],
        ["line 4", "media-ports"],
    ]
    assert all(line.startswith(f"sipalg: {file}: ") for line in lines)
    assert lines[2].endswith("allowed: true or false")
    assert len(json.loads(run("check", "--json")[1])["errors"]) == 4
    assert run("show") == (2, "", err)


def test_a_file_that_is_not_enough(run: Any, file: Path) -> None:
    file.write_text('inside = ["lan0"]\ntcp = "relay"\n')
    code, out, err = run("check")
    assert (code, out) == (1, "")
    assert "outside: is missing; name the interface towards the SIP servers" in err


def test_an_empty_file_lacks_both_interfaces(run: Any, file: Path) -> None:
    file.write_text("")
    code, _, err = run("check")
    assert code == 1
    assert [line.split(": ")[2] for line in err.splitlines()] == ["inside", "outside"]


def test_no_file(run: Any, file: Path) -> None:
    code, out, err = run("check")
    assert (code, out) == (2, "")
    assert err == f"sipalg: {file}: there is no such file; `sipalg config default` prints one to begin with\n"
    code, out, err = run("show")
    assert code == 0
    assert "these are the defaults" in err
    assert "file" not in {line.split()[-1] for line in out.splitlines()}


def test_what_the_file_and_the_defaults_give(run: Any, file: Path) -> None:
    file.write_text('inside = ["lan0", "lan1"]\noutside = "wan0"\nsip-timeout = 5400\n')
    rows = [line.split() for line in run("show")[1].splitlines()]
    assert rows[0] == ["setting", "value", "from"]
    assert ["inside", "lan0,lan1", "file"] in rows
    assert ["sip-timeout", "1h30m", "file"] in rows
    assert ["sip-direct-media", "yes", "default"] in rows
    answer = json.loads(run("show", "--json", "--config", str(file))[1])
    assert answer["settings"]["sip-timeout"] == "1h30m"
    assert answer["from"]["ports"] == "default"
