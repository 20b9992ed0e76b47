"""The tables say what the figures say, and say so when outputs were wrong; goals are judged by the medians."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.figures import EngineResult, LoopResult, Share
from bench.growth import Growth
from bench.report import engine_claims, engine_table, growth_claims, loop_claims, loop_table, stamp
from bench.scale import Scale
from bench.startup import Startup


def _result(mode: str, rate: float, window: int = 64, wrong: int = 0) -> LoopResult:
    cpu = Share(20.0, 5.0, 4.0, 60.0) if mode == "sipalg" else Share(0.0, 0.0, 4.0, 60.0)
    return LoopResult(mode, window, rate, 1.0, 2.0, 3.0, 0, rate, 1000, wrong, cpu)


def test_the_median_and_its_share_of_the_helpers() -> None:
    results = [_result("helper", 50_000), _result("sipalg", 24_000), _result("sipalg", 26_000)]
    results.append(_result("sipalg", 25_000))
    row = next(line for line in loop_table(results) if "| sipalg |" in line)
    assert "| 25,000 | 24,000–26,000 | 0.50 |" in row
    # A round trip is two messages.
    assert "| 10.0 + 2.5 | 2.0 | 30.0 |" in row
    (claim,) = loop_claims(results)
    assert (claim.measured, claim.met) == ("0.50 ×", False)


def test_goals_are_judged_at_the_widest_window() -> None:
    results = [_result("helper", 10.0), _result("noop", 20.0), _result("sipalg", 12.0), _result("sipalg", 1.0, 1)]
    assert [(claim.measured, claim.met) for claim in loop_claims(results)] == [("1.20 ×", True), ("0.60 ×", True)]


def test_wrong_messages_are_told() -> None:
    table = loop_table([_result("helper", 50_000, wrong=120), _result("plain", 100_000)])
    assert "1,000, **12.0% wrong** |" in table[2]
    assert "1,000, all right |" in table[3]


def test_without_the_helper_there_is_no_share() -> None:
    assert loop_claims([_result("sipalg", 1.0)]) == []
    assert loop_table([_result("sipalg", 1.0)])[2].startswith("| 64 | sipalg | 1 | 1–1 |  |")


def test_windows_are_apart() -> None:
    table = loop_table([_result("plain", 10.0, 1), _result("plain", 20.0, 64)])
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 64", "| 1"]


def test_both_builds_stand_side_by_side() -> None:
    fast, slow = EngineResult("REGISTER", 3.0, 2.0, 4.0, 10), EngineResult("REGISTER", 9.0, 8.5, 9.5, 10)
    row = engine_table([fast], [slow], {"REGISTER": (20.0, 60.0)}, {"REGISTER": Scale(50.0, 0.75)})[2]
    assert row == "| REGISTER | 3.00 | 2.00–4.00 | 9.00 | 8.50–9.50 | 20 | 60 | 50 (75%) | 20, all right |"
    assert [(claim.wanted, claim.met) for claim in engine_claims([fast], [slow])] == [("≤ 8 µs", False)]


def test_growth_is_judged_against_the_fewest_phones() -> None:
    few, many = (Growth(phones, 0, 8.0, us, 1400.0, 0.0, 6.0, 1.0, 5) for phones, us in ((100, 10.0), (100_000, 11.0)))
    assert [claim.met for claim in growth_claims([few, many], Startup(100_000, 6.0, 5.0, 100_000, 100_000))] == [
        True,
        True,
        False,
    ]


def test_the_machine_is_named() -> None:
    began = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
    quiet, busy = stamp(began, 0.04), stamp(began, 0.4)
    assert quiet.startswith("*2026-11-23 18:05 UTC")
    assert "Linux" in quiet
    assert "others used 0.04 of a core before or after.*" in quiet
    assert "others used 0.40 of a core before or after: **busy with other work" in busy
