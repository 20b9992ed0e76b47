"""Media through a real router: every packet is compared, and one from a wrong place fails the run."""

from __future__ import annotations

import pytest
from bench.corpus import Corpus
from bench.kamailio import missing
from bench.loop import MODES, LoopError, compile_programs
from bench.media import MediaResult, claims, highest_whole, run_once, table
from tests.bench.test_loop import WHY_NOT


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.parametrize("mode", ["plain", "sipalg"])
def test_packets_arrive_where_the_sdp_says(mode: str) -> None:
    compile_programs()
    slow, fast = run_once(MODES[mode], (1000, 2000), 0.2, Corpus(3, 16))
    assert 150 < slow.checked < fast.checked
    assert slow.checked <= 1000 * 0.2
    assert 0 < slow.in_time + slow.late <= slow.sent


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT or missing()), reason=WHY_NOT or f"missing: {missing()}")
def test_packets_arrive_through_a_relay() -> None:
    compile_programs()
    (result,) = run_once(MODES["kamailio"], (1000,), 0.2, Corpus(3, 16))
    assert result.checked > 100


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_call_that_isnt_translated_fails_where_it_should_be() -> None:
    compile_programs()
    with pytest.raises(LoopError, match="wrong message at the server"):
        run_once(MODES["plain"]._replace(expected="alg"), (1000,), 0.2, Corpus(3, 16))


def _result(mode: str, rate: int, in_time: float, own: float = 0.0) -> MediaResult:
    return MediaResult(mode, rate, rate, in_time, 0.0, 20.0, 90.0, 1.5, 0.5, own, 100)


def test_judged_is_the_highest_rate_that_plain_nat_delivers_whole() -> None:
    results = [_result("plain", 100, 100.0), _result("plain", 200, 199.0), _result("plain", 300, 240.0)]
    results += [_result("sipalg", 100, 100.0), _result("sipalg", 200, 194.0), _result("sipalg", 300, 200.0)]
    results += [_result("kamailio", 200, 60.0)]
    assert highest_whole(results) == 200
    judged, idle, relay = claims(results)
    assert "200 a second" in judged.what
    assert (judged.measured, judged.met) == ("0.975 ×", True)
    assert (idle.measured, idle.met) == ("0.000 of a core", True)
    assert (relay.measured, relay.met) == ("0.25 ×", None)
    row = "| 200 | sipalg | 194 | 194–194 | 0.97 | 0 | 20 | 90 | 1.50 | 0.50 | 0.00 | 100, all right |"
    assert row in table(results)


def test_where_plain_nat_delivers_nothing_whole_its_most_counts() -> None:
    results = [_result("plain", 100, 80.0), _result("plain", 200, 70.0)]
    assert highest_whole(results) == 100
    assert claims(results) == []
    assert highest_whole([]) == 0


def test_a_busy_process_misses_the_goal() -> None:
    own = claims([_result("plain", 100, 100.0), _result("sipalg", 100, 90.0, own=0.5)])
    assert [claim.met for claim in own] == [False, False]
