"""SIPp's calls: its scenarios compare what arrives, and a call that isn't translated fails."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from bench.corpus import Corpus
from bench.loop import MODES
from bench.sipp import SippResult, run_once, table, write_files
from tests.bench.test_loop import WHY_NOT

WHY_NO_SIPP = WHY_NOT or ("" if shutil.which("sipp") else "SIPp is missing (Debian: apt-get install sip-tester)")


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NO_SIPP), reason=WHY_NO_SIPP)
def test_calls_succeed_through_sipalg() -> None:
    (result,) = run_once(MODES["sipalg"], (50,), 0.4, Corpus(3, 10))
    assert (result.calls, result.failed) == (20, 0)


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NO_SIPP), reason=WHY_NO_SIPP)
def test_calls_fail_where_the_sdp_isnt_what_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.sipp._PATIENCE_S", 2)
    (result,) = run_once(MODES["plain"]._replace(expected="alg"), (50,), 0.4, Corpus(3, 10))
    assert (result.calls, result.failed) == (20, 20)


@pytest.mark.parametrize(
    ("mode", "outside"), [("plain", "192.168"), ("sipalg", "203.0.113.1"), ("kamailio", "203.0.113.1")]
)
def test_scenarios_name_what_has_to_arrive(mode: str, outside: str, tmp_path: Path) -> None:
    write_files(tmp_path, MODES[mode], Corpus(3, 10))
    expected = {"called": outside, "caller": "192.168.35.254" if mode == "kamailio" else "203.0.113.60"}
    for name, address in expected.items():
        scenario = (tmp_path / f"{name}.xml").read_text()
        assert re.findall('<ereg regexp="(.*?)"', scenario) == [f"c=IN IP4 {address}"]
    rows = (tmp_path / "phones.csv").read_text().split()
    assert rows[:2] == ["SEQUENTIAL", "192.168.32.10;u0;20000"]


def test_failed_calls_are_told() -> None:
    results = [SippResult("plain", 500, 490.0, 500, 0, 2), SippResult("helper", 500, 20.0, 500, 9, 300)]
    assert table(results)[2:] == [
        "| 500 | plain NAT | 490 | 490–490 | 0 of 500 | 2 | all right |",
        "| 500 | Linux's SIP helper | 20 | 20–20 | 9 of 500 | 300 | **calls failed** |",
    ]
