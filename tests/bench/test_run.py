"""`make bench` puts sections into the page one by one, and one wrong output ends it without losing the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.growth import Growth
from bench.loop import LoopError
from bench.page import Claim, Section, sections_of

from bench import run, sections


def _measure(name: str) -> Section:
    return Section(name, name.title(), ["one line"], [Claim(name, "", "1", None)])


@pytest.fixture(autouse=True)
def _quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "others_cores", lambda: 0.0)


def test_others_work_before_or_after_a_section_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter((0.0, 1.2))
    monkeypatch.setitem(sections.SECTIONS, "loop", lambda *_: _measure("loop"))
    monkeypatch.setattr(sections, "others_cores", lambda: next(moments))
    assert run.main(["--only", "loop"]) == 0
    assert "others used 1.20 of a core before or after: **busy" in capsys.readouterr().out


def test_of_several_rounds_the_middle_ones_count() -> None:
    runs = [Growth(100, 0, least, median, 900.0 + median, 0.0, 0.1, 5.0, 40) for least, median in
            ((1.0, 9.0), (2.0, 3.0), (3.0, 4.0))]  # fmt: skip
    assert sections.middle(runs) == Growth(100, 0, 1.0, 4.0, 904.0, 0.0, 0.1, 5.0, 120)


def test_a_section_is_written_when_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Section:
        raise LoopError("calls by sipalg: wrong message at the server")

    monkeypatch.setitem(sections.SECTIONS, "loop", lambda *_: _measure("loop"))
    monkeypatch.setitem(sections.SECTIONS, "calls", fail)
    page = tmp_path / "page.md"
    assert run.main(["--write", "--only", "loop,calls", "--output", str(page)]) == 1
    assert list(sections_of(page.read_text())) == ["loop"]
    monkeypatch.setitem(sections.SECTIONS, "calls", lambda *_: _measure("calls"))
    assert run.main(["--write", "--only", "calls", "--output", str(page)]) == 0
    assert list(sections_of(page.read_text())) == ["loop", "calls"]


def test_without_write_it_is_only_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sections.SECTIONS, "growth", lambda *_: _measure("growth"))
    assert run.main(["--only", "growth", "--output", str(tmp_path / "page.md")]) == 0
    assert "## Growth" in capsys.readouterr().out
    assert not (tmp_path / "page.md").exists()


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--only", "speed"])
    assert "'speed': sections are engine, " in capsys.readouterr().err
