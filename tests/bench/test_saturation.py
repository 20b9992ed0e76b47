"""Pairs at the limit: each is compared by itself, and the median of the ratios is what counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from bench.corpus import Corpus
from bench.loop import Mode
from bench.media import MediaResult
from bench.saturation import Pair, claim, run_pairs, table
from tests.bench.test_loop import WHY_NOT

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
    told = "median 0.980 (standard error 0.258), half of them 0.50–0.98, all 0.50–0.98."
    assert lines[-1] == f"sipalg against plain NAT in 3 pairs: {told}"


def test_less_than_wanted_is_told() -> None:
    assert not claim([_pair(100.0, 96.0)]).met


def test_each_way_begins_every_other_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, int]] = []

    @contextmanager
    def calls_up(mode: Mode, _: float, __: Corpus, label: str = "") -> Iterator[Callable[[int], MediaResult]]:
        def play(rate: int) -> MediaResult:
            asked.append((mode.name, label, rate))
            return _run(mode.name, float(rate))

        yield play

    monkeypatch.setattr(saturation, "calls_up", calls_up)
    monkeypatch.setattr(saturation, "compile_programs", lambda: None)
    pairs = list(run_pairs(2))
    assert len(pairs) == 2 * saturation.PAIRS
    assert {(pair.plain.mode, pair.sipalg.mode) for pair in pairs} == {("plain", "sipalg")}
    assert {run.in_time for pair in pairs for run in pair} == {float(saturation.OFFERED)}
    names = [name for name, *_ in asked[: 2 * saturation.PAIRS + 2]]
    assert names[2:8] == ["plain", "sipalg", "sipalg", "plain", "plain", "sipalg"]
    assert len({label for _, label, _ in asked}) == 2, "namespaces of their own"


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_both_ways_are_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "OFFERED", 1000)
    monkeypatch.setattr(saturation, "PAIRS", 1)
    monkeypatch.setattr(saturation, "CALLS", 16)
    (pair,) = run_pairs(1, 0.1)
    assert pair.plain.checked > 50
    assert pair.sipalg.checked > 50
