"""The engine's benchmark judges: every output is the corpus's, and one that isn't fails it."""

from __future__ import annotations

from statistics import median

import pytest
from bench.allocations import Counting
from bench.corpus import Corpus
from bench.engine import EngineBench, WrongOutputError, collect, measure
from bench.figures import machine_us

from sipalg.engine.alg import Alg
from sipalg.engine.verdict import Datagram, Verdict


def test_every_output_is_right() -> None:
    results = {result.kind: result for result in measure(1, 60, seed=5)}
    assert {
        "REGISTER",
        "401",
        "200 REGISTER",
        "INVITE",
        "200 INVITE",
        "BYE",
        "OPTIONS",
        "ICE INVITE",
        "garbage",
    } <= results.keys()
    assert results["INVITE"].checked == 180
    assert all(0 < result.least_us <= result.median_us <= result.most_us for result in results.values())


def test_a_wrong_output_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Alg.receive_datagram

    def wrong(self: Alg, datagram: Datagram, now: float) -> Verdict:
        verdict = right(self, datagram, now)
        return verdict._replace(payload=verdict.payload.replace(b"203.0.113.1:", b"203.0.113.2:"))

    monkeypatch.setattr(Alg, "receive_datagram", wrong)
    with pytest.raises(WrongOutputError, match="REGISTER of phone 0"):
        EngineBench(Corpus(5, 10), {}).run(1, 5)


def test_allocations_are_counted() -> None:
    samples, checked = collect(1, 20, counter=Counting())
    made = {kind: median(samples[kind]) for kind in ("REGISTER", "INVITE, new ports", "garbage")}
    assert 1 < made["garbage"] < made["REGISTER"] < made["INVITE, new ports"] < 2000
    assert checked["REGISTER"] == 60


def test_the_machine_takes_time() -> None:
    assert machine_us() > 0
