from __future__ import annotations

import pytest

from sipalg.analysis.diagnose.facts import Proof
from sipalg.analysis.diagnose.findings import NOTE, duration, finding, some_packets


@pytest.mark.parametrize(
    ("packets", "count", "text"),
    [
        ((), 0, ""),
        ((4,), 1, "packet 4"),
        ((4, 9), 2, "packets 4, 9"),
        ((4,), 3, "packets 4 and 2 more"),
    ],
)
def test_packets_for_people(packets: tuple[int, ...], count: int, text: str) -> None:
    assert some_packets(packets, count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(29.6, "30 s"), (90, "90 s"), (120, "2 min"), (3600, "1 h"), (5400, "90 min"), (0, "0 s")]
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_packets_that_prove_two_things_count_once() -> None:
    first, second = Proof(), Proof()
    for number in range(10):
        first.add(number + 1)
    second.add(2)
    found = finding(NOTE, "check", "text", "", first, second)
    assert (found.packets, found.packet_count) == ((1, 2, 3, 4), 10)
    assert finding(NOTE, "check", "text", "").packet_count == 0
