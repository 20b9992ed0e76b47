"""What people are told of a sip-timeout that is too short."""

from __future__ import annotations

from typing import Any

import pytest

from sipalg.control.service.timeouts import warnings


def row(number: int, needed_s: int | None, because: str = "registration") -> dict[str, Any]:
    return {
        "private": f"192.168.20.{number}:5060",
        "server": "203.0.113.50",
        "expected_s": 3600.0,
        "because": because,
        "sip_timeout_needed_s": needed_s,
    }


@pytest.mark.parametrize(
    ("because", "why"),
    [
        ("registration", "192.168.20.1:5060 is registered at 203.0.113.50 for 1h, and sip-timeout is 30m: "),
        ("keep-alive", "keep-alives between 192.168.20.1:5060 and 203.0.113.50 come every 1h, and "),
        ("session-timer", "calls of 192.168.20.1:5060 through 203.0.113.50 are refreshed within 1h, and "),
    ],
)
def test_a_sentence_says_who_why_and_what_would_do(because: str, why: str) -> None:
    (told,) = warnings([row(1, 5400, because)], 1800.0)
    assert told.startswith(why)
    assert told.endswith("; sip-timeout=1h30m would do")


def test_phones_for_which_it_is_long_enough_arent_named() -> None:
    assert warnings([row(1, None), {"private": "192.168.20.2:5060", "nat_aware": True}], 1800.0) == []


def test_of_many_the_worst_are_named_and_the_others_counted() -> None:
    told = warnings([row(number, 600 * number) for number in range(1, 9)], 60.0)
    assert [line.split(":")[0] for line in told[:5]] == [f"192.168.20.{number}" for number in (8, 7, 6, 5, 4)]
    assert told[5:] == ["sip-timeout is too short for 3 more phones, see `sipalg status --json`"]
