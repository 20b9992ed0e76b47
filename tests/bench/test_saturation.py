"""Pairs at the limit: each is compared by itself, and the median of the ratios is what counts."""

from __future__ import annotations

import pytest
from bench.corpus import Corpus
from bench.loop import Mode
from bench.media import MediaResult
from bench.saturation import Pair, claim, run_pairs, table

from bench import saturation


def _run(mode: str, in_time: float) -> MediaResult:
    return MediaResult(mode, 400_000, 300.0, in_time, 0.0, 20.0, 90.0, 1.5, 0.5, 0.0, 100)


def _pair(plain: float, own: float) -> Pair:
    return Pair(_run("plain", plain), _run("sipalg", own))


def test_a_slow_second_of_both_changes_nothing() -> None:
    pairs = [_pair(200.0, 196.0), _pair(100.0, 98.0), _pair(200.0, 100.0)]
    judged = claim(pairs)
    assert (judged.measured, judged.met) == ("0.980 ×", True)
    assert "3 pairs" in judged.what
    lines = table(pairs)
    assert lines[3] == "| sipalg | 300 | 100 | 98–196 | 0 | 90 | 5000.00 | 300, all right |"
    assert lines[-1] == "sipalg against plain NAT, pair by pair: 0.50, 0.98, 0.98; median 0.980."


def test_less_than_wanted_is_told() -> None:
    assert not claim([_pair(100.0, 96.0)]).met


def test_each_way_begins_every_other_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run_once(mode: Mode, rates: tuple[int, ...], _: float, __: Corpus) -> list[MediaResult]:
        asked.append(mode.name)
        return [_run(mode.name, float(rate)) for rate in rates]

    monkeypatch.setattr(saturation, "run_once", run_once)
    monkeypatch.setattr(saturation, "compile_programs", lambda: None)
    pairs = list(run_pairs(3, 1.0))
    assert asked == ["plain", "sipalg", "sipalg", "plain", "plain", "sipalg"]
    assert [(pair.plain.mode, pair.sipalg.mode) for pair in pairs] == [("plain", "sipalg")] * 3
    assert {run.in_time for pair in pairs for run in pair} == {float(saturation.OFFERED)}
