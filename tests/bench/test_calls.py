"""The calls' closed loop: through a real router, and a wrong message really fails it."""

from __future__ import annotations

import pytest
from bench.calls import CallsResult, claims, run_once, table
from bench.corpus import Corpus
from bench.figures import Share
from bench.kamailio import missing
from bench.loop import MODES, LoopError, compile_programs
from tests.bench.test_loop import WHY_NOT


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.parametrize("mode", ["plain", "sipalg"])
def test_every_message_is_right(mode: str) -> None:
    compile_programs()
    found = run_once(MODES[mode], 4, 0.3, Corpus(3, 20))
    assert found.wrong == 0
    # The first round alone: INVITE, 180, 200, ACK, BYE, 200 of twenty phones.
    assert found.checked >= 20 * 6
    assert 0 < found.p50_us <= found.p99_us


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT or missing()), reason=WHY_NOT or f"missing: {missing()}")
def test_every_message_is_right_behind_a_proxy() -> None:
    compile_programs()
    found = run_once(MODES["kamailio"], 4, 0.3, Corpus(3, 20))
    assert found.wrong == 0
    assert found.checked >= 20 * 6
    assert found.cpu.own_us > 0


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_an_alg_isnt_taken_for_a_proxy() -> None:
    compile_programs()
    with pytest.raises(LoopError, match="wrong message at the server"):
        run_once(MODES["sipalg"]._replace(expected="proxied:192.168.35.254"), 4, 0.3, Corpus(3, 20))


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_no_flow_and_no_call_is_left_over() -> None:
    compile_programs()
    assert run_once(MODES["sipalg"], 4, 0.3, Corpus(3, 20)).left == 0


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_untranslated_calls_fail_where_translation_is_expected() -> None:
    compile_programs()
    with pytest.raises(LoopError, match="wrong message at the server"):
        run_once(MODES["plain"]._replace(expected="alg"), 4, 0.3, Corpus(3, 20))


def test_the_table_has_a_row_for_each_way() -> None:
    rows = table(
        [
            CallsResult("helper", 2000.0, 1.0, 2.0, 0, 100, 10, Share(0.0, 0.0, 9.0, 90.0), 0),
            CallsResult("sipalg", 1000.0, 3.0, 4.0, 1, 200, 0, Share(80.0, 19.0, 9.0, 120.0), 7),
        ]
    )
    assert "| 2,000 |" in rows[2]
    assert "10.0% wrong" in rows[2]
    assert rows[3] == "| sipalg | 1,000 | 1,000–1,000 | 0.50 | 2,000 | 3 | 4 | 80 + 19 | 9 | 1 | 7 | 200, all right |"


def test_goals_are_judged_against_the_helper_and_kamailio() -> None:
    cpu = Share(0.0, 0.0, 9.0, 90.0)
    rates = {"helper": 2000.0, "sipalg": 1300.0, "kamailio": 500.0}
    found = claims([CallsResult(name, rate, 1.0, 2.0, 0, 100, 0, cpu, 0) for name, rate in rates.items()])
    judged = [(claim.measured, claim.met) for claim in found]
    assert judged == [("0.65 ×", True), ("2.60 ×", False), ("0", True), ("0", True)]
