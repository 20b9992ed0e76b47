"""The commands that change something, over a service that only has settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipalg.control.service.background import Background
from sipalg.control.service.changes import ChangeRefusedError, Ended
from sipalg.control.service.commands import Commands
from sipalg.control.service.running import Service
from sipalg.control.settings.file import load
from sipalg.control.settings.model import Settings
from sipalg.control.settings.options import Options
from sipalg.control.settings.properties import PROPERTIES, text_of, texts
from sipalg.control.socket.server import Reply
from sipalg.datapath.loop import Loop

FILE = '# Ours.\ninside = ["lan0"]\noutside = "wan0"\n'


class OnlySettings(SimpleNamespace):
    """As much of a service as the commands ask for."""

    options: Options

    @property
    def settings(self) -> Settings:
        return self.options.settings


class World:
    """A service's settings, what changes them, and the commands."""

    def __init__(self, file: Path, given: dict[str, str] | None = None) -> None:
        self.file = file
        settings = Settings(inside=("lan0",), outside="wan0")
        self.service = OnlySettings(options=Options(settings, Path("/run/sock"), file, given or {}))
        self.service.changes = SimpleNamespace(apply=self.apply, end_all=lambda: Ended(3, 1))
        self.refuses = ""
        self.loop = Loop()
        self.background = Background(self.loop)
        service = cast("Service", self.service)
        self.commands = Commands(service, self.background)

    def apply(self, settings: Settings) -> list[str]:
        if self.refuses:
            raise ChangeRefusedError(self.refuses)
        before = self.service.options.settings
        self.service.options = replace(self.service.options, settings=settings)
        return [key for key in PROPERTIES if text_of(before, key) != text_of(settings, key)]

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer, or `{"error": …}`."""
        answers: list[bytes] = []
        reply = Reply(lambda pieces: answers.append(b"".join(pieces)))
        self.commands.table()[command](arguments, reply)
        while not answers:
            self.loop.step(5.0)
        (answer,) = answers
        found: dict[str, Any] = json.loads(answer)
        assert found.pop("version") == 1
        ok = found.pop("ok")
        assert ok != ("error" in found)
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    file = tmp_path / "sipalg.toml"
    file.write_text(FILE)
    world = World(file)
    yield world
    world.background.close()
    world.loop.close()


def test_the_settings_and_where_they_come_from(world: World) -> None:
    answer = world.ask("settings")
    assert answer["settings"] == texts(world.service.options.settings)
    assert answer["file"] == str(world.file)
    assert set(answer["from"].values()) == {"default"}


def test_a_change_is_answered_when_it_is_written(world: World) -> None:
    answer = world.ask("set", values={"ports": "5070", "disabled": "no"})
    assert answer == {"changed": ["ports"], "saved": str(world.file)}
    assert load(world.file).ports == (5070,)
    assert world.file.read_text().startswith("# Ours.\n")
    assert world.ask("settings")["from"]["ports"] == "file"


def test_a_change_for_this_process_only(world: World) -> None:
    assert world.ask("set", values={"ports": "5070"}, save=False) == {"changed": ["ports"], "saved": None}
    assert world.file.read_text() == FILE
    assert world.ask("settings")["from"]["ports"] == "unsaved command"
    assert world.ask("reload") == {"changed": []}
    assert world.service.options.settings.ports == (5070,)
    answer = world.ask("set", values={"ports": "5080"})
    assert "notes" not in answer, "nothing of it will win at the next start"
    assert world.ask("settings")["from"]["ports"] == "file"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, 'values has to be an object of texts, such as {"ports": "5060,5061"}'),
        ({"values": {}}, "values has to be an object of texts"),
        ({"values": []}, "values has to be an object"),
        ({"values": {"ports": 5060}}, "values has to be an object of texts"),
        ({"values": {"ports": "5060"}, "save": 1}, "save has to be true or false"),
        ({"values": {"ports": "5060"}, "x": 1}, "there is no argument 'x'; there are: values, save"),
        ({"values": {"ports": "5060,0"}}, "ports: '0' is no port"),
        ({"values": {"ports": "5070", "sip-timeout": "abc"}}, "sip-timeout: 'abc' is no time"),
        ({"values": {"porst": "5060"}}, "there is no setting 'porst'; did you mean ports?"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changed(world: World, arguments: dict[str, Any], said: str) -> None:
    before = world.service.options
    assert said in world.ask("set", **arguments)["error"]
    assert world.service.options == before
    assert world.file.read_text() == FILE


def test_what_the_running_process_refuses_is_not_written(world: World) -> None:
    world.refuses = "queue: can't be changed while sipalg runs"
    assert world.ask("set", values={"queue": "7"})["error"] == world.refuses
    assert world.ask("reload")["error"] == world.refuses
    assert world.file.read_text() == FILE


def test_a_broken_file_is_said_before_anything_is_changed(world: World) -> None:
    world.file.write_text("ports = [")
    before = world.service.options
    for command, arguments in (("set", {"values": {"ports": "5070"}}), ("disable", {}), ("reload", {})):
        assert "isn't TOML" in world.ask(command, **arguments)["error"]
    assert world.service.options == before


def test_a_change_that_can_not_be_written_is_in_force_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("sipalg.control.settings.file.replace_file", refuse)
    answer = world.ask("set", values={"ports": "5070"})
    assert (answer["changed"], answer["saved"]) == (["ports"], None)
    assert answer["not_saved"] == f"{world.file}: can't be written: Read-only file system"
    assert "settings-not-saved" in caplog.text
    # Until the next start, whatever the file says.
    assert world.ask("reload") == {"changed": []}
    assert world.service.settings.ports == (5070,)


def test_a_lost_file_is_made_anew_with_all_that_is_in_force(tmp_path: Path) -> None:
    world = World(tmp_path / "no.toml", {"inside": "lan0", "outside": "wan0"})
    world.ask("set", values={"except": "10.8.0.0/24"}, save=False)
    world.ask("set", values={"ports": "5070"}, save=False)
    world.ask("set", values={"ports": "5071"})
    world.file.unlink()
    answer = world.ask("set", values={"sip-timeout": "3h", "mode": "enforce"})
    assert answer["notes"] == [
        f"there was no {world.file}: it is made, with all that is in force and isn't a default",
    ]
    assert load(world.file) == Settings(inside=("lan0",), outside="wan0", ports=(5071,), sip_timeout_s=10800.0)
    assert 'mode = "enforce"' in world.file.read_text()
    assert "notes" not in world.ask("set", values={"sip-timeout": "2h"})
    world.background.close()
    world.loop.close()


def test_a_command_comes_after_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(FILE)
    world = World(tmp_path / "f", {"ports": "5080"})
    assert world.ask("settings")["from"]["ports"] == "command line"
    answer = world.ask("set", values={"ports": "5070", "mode": "observe"})
    assert answer["notes"] == ["ports is given on the command line too, which wins at the next start"]
    assert world.ask("settings")["from"]["ports"] == "file"
    assert world.ask("reload") == {"changed": []}
    world.background.close()
    world.loop.close()


def test_disable_and_disable_now(world: World) -> None:
    assert world.ask("disable") == {"changed": ["disabled"], "saved": str(world.file)}
    assert world.ask("disable", now=True) == {
        "changed": [],
        "saved": str(world.file),
        "ended": {"mappings": 3, "calls": 1},
    }
    assert load(world.file).disabled
    assert "now has to be true or false" in world.ask("disable", now="yes")["error"]


def test_the_file_is_read_again_after_what_is_being_written(world: World) -> None:
    world.file.write_text(FILE + "ports = [5070]\n")
    assert world.ask("reload") == {"changed": ["ports"]}
    assert world.ask("settings")["from"]["ports"] == "file"
    answers: list[bytes] = []
    reply = Reply(lambda pieces: answers.append(b"".join(pieces)))
    world.commands.table()["set"]({"values": {"ports": "5071"}}, reply)
    assert world.ask("reload") == {"changed": []}
    assert world.service.options.settings.ports == (5071,)
    # What is read before a change and used after it is read again.
    world.commands.table()["reload"]({}, reply)
    world.commands.table()["set"]({"values": {"ports": "5072"}}, reply)
    while len(answers) < 3:
        world.loop.step(5.0)
    assert world.service.options.settings.ports == (5072,)


def test_arguments_that_there_are_not(world: World) -> None:
    assert "there is no argument 'x'; there are: none" in world.ask("reload", x=1)["error"]
    assert "there is no argument" in world.ask("settings", x=1)["error"]
    assert "there is no argument" in world.ask("disable", x=1)["error"]
