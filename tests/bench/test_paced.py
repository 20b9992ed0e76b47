"""Registrations at a given rate: through a real router, and what passes untranslated is told from what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.corpus import Corpus
from bench.figures import Share
from bench.loop import MODES, LoopError, compile_programs
from bench.paced import (
    PacedResult,
    latency_claims,
    latency_table,
    load_of,
    overload_claims,
    overload_table,
    run_paced,
)
from tests.bench.test_loop import WHY_NOT

live = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def _run(mode: str, expected: str) -> PacedResult:
    compile_programs()
    corpus = Corpus(3, 40)
    with load_of(corpus) as load:
        return run_paced(MODES[mode]._replace(expected=expected), 1000, 0.3, corpus, load)


@pytest.mark.lab
@live
def test_every_request_is_answered_and_checked() -> None:
    result = _run("sipalg", "alg")
    assert result.answered == result.sent
    assert result.plain_share == 0
    # The first round, and the measured one; requests and answers.
    assert result.checked >= 2 * 40 + 2 * 250
    assert result.p50_us <= result.p99_us <= result.p999_us
    assert result.late_us > 0


@pytest.mark.lab
@live
def test_what_passes_untranslated_counts_as_that() -> None:
    result = _run("plain", "either")
    assert result.plain_share == 1
    assert (result.low, result.high) == (0, 0)
    assert result.wrong == 0


@pytest.mark.lab
@live
def test_what_passes_untranslated_fails_where_it_must_not() -> None:
    with pytest.raises(LoopError, match="wrong message at the server: the request differs"):
        _run("plain", "alg")


def test_the_load_is_gone_afterwards() -> None:
    with load_of(Corpus(3, 2)) as load:
        assert load.stat().st_size > 100
    assert not Path(load).exists()


def _result(mode: str, p99_us: float, offered: float = 1000.0, high: float = 1.0) -> PacedResult:
    cpu = Share(20.0, 4.0, 2.0, 60.0) if mode == "sipalg" else Share(0.0, 0.0, 2.0, 60.0)
    return PacedResult(mode, offered, offered, offered, 0.25, 50.0, p99_us, 900.0, 0.5, 0.75, high, 100, 0, cpu, 7.0)


def test_added_latency_is_the_difference_of_medians() -> None:
    results = [_result("plain", 100.0), _result("sipalg", 500.0), _result("sipalg", 350.0), _result("sipalg", 390.0)]
    claim, by_round = latency_claims(results)
    assert (claim.measured, claim.met) == ("290 µs (390 against 100)", True)
    assert by_round.met is None
    assert by_round.measured == "sipalg 400 µs (400 to 400)"
    row = next(line for line in latency_table(results) if "| sipalg |" in line)
    assert row == "| sipalg | 1,000 | 50 | 390 | 900 | 350–500 | 10.0 + 2.0 | 1.0 | 7 | 0.00% | 300, all right |"
    assert latency_claims([_result("plain", 100.0)]) == []


def test_added_latency_is_told_round_by_round() -> None:
    rounds = ((100.0, 150.0, 300.0), (900.0, 800.0, 1200.0), (120.0, 180.0, 310.0))
    ways = ("plain", "noop", "sipalg")
    results = [_result(name, p99) for p99s in rounds for name, p99 in zip(ways, p99s, strict=True)]
    _, by_round = latency_claims(results)
    assert by_round.measured == "sipalg 200 µs (190 to 300); noop 50 µs (-100 to 60)"


def test_loads_stand_in_their_order() -> None:
    results = [_result("sipalg", 4000.0, 2000.0, 0.9), _result("sipalg", 100.0)]
    rows = overload_table(results, 1000.0)[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 1.0", "| 2.0"]
    assert "| 25.0% | 50 | 4,000 | 4,000–4,000 | 50% – 75% – 90% | 100, all right |" in rows[1]
    assert [claim.measured for claim in overload_claims(results)] == ["4.0 ms", "40% of 100 %", "0"]
