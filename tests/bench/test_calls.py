"""The calls' closed loop: through a real router, and a wrong message really fails it."""

from __future__ import annotations

import pytest
from bench.calls import CallsResult, run_once, table
from bench.corpus import Corpus
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
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_untranslated_calls_fail_where_translation_is_expected() -> None:
    compile_programs()
    with pytest.raises(LoopError, match="wrong message at the server"):
        run_once(MODES["plain"]._replace(expected="alg"), 4, 0.3, Corpus(3, 20))


def test_the_table_has_a_row_for_each_way() -> None:
    rows = table(
        [
            CallsResult("helper", 2000.0, 1.0, 2.0, 0, 100, 10, None),
            CallsResult("sipalg", 1000.0, 3.0, 4.0, 1, 200, 0, 99.0),
        ]
    )
    assert "| 2,000 |" in rows[2]
    assert "10.0% wrong" in rows[2]
    assert rows[3] == "| sipalg | 1,000 | 1,000–1,000 | 0.50 | 3 | 4 | 99 | 1 | 200, all right |"
