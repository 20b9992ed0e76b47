"""The page of results says what the figures say, and says so when outputs were wrong."""

from __future__ import annotations

import pytest
from bench.figures import LoopResult
from bench.report import loop_table, machine, shares


def _result(mode: str, rate: float, window: int = 64, wrong: int = 0) -> LoopResult:
    return LoopResult(mode, window, rate, 1.0, 2.0, 3.0, 0, rate, 1000, wrong, 12.5 if mode == "sipalg" else None)


def test_the_median_and_its_share_of_the_helpers() -> None:
    results = [_result("helper", 50_000), _result("sipalg", 24_000), _result("sipalg", 26_000)]
    results.append(_result("sipalg", 25_000))
    row = next(line for line in loop_table(results) if "| sipalg |" in line)
    assert "| 25,000 | 24,000–26,000 | 0.50 |" in row
    assert "| 12.5 |" in row
    assert shares(results) == {64: pytest.approx(0.5)}


def test_wrong_messages_are_told() -> None:
    table = loop_table([_result("helper", 50_000, wrong=120), _result("plain", 100_000)])
    assert "1,000, **12.0% wrong** |" in table[2]
    assert "1,000, all right |" in table[3]


def test_without_the_helper_there_is_no_share() -> None:
    assert shares([_result("sipalg", 1.0)]) == {}
    assert loop_table([_result("sipalg", 1.0)])[2].startswith("| 64 | sipalg | 1 | 1–1 |  |")


def test_windows_are_apart() -> None:
    table = loop_table([_result("plain", 10.0, 1), _result("plain", 20.0, 64)])
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 64", "| 1"]


def test_the_machine_is_named() -> None:
    assert any("Linux" in line for line in machine())
