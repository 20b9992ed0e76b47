"""How rows become columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.asking.columns import duration, in_columns, text_of, words

ROWS = [
    {
        "protocol": "udp",
        "private": f"192.168.133.{100 + n}:50600",
        "public": f"203.100.113.100:5060{n}",
        "purpose": "sip",
        "adopted": False,
        "interface": "lan0",
        "holders": n,
        "ends_in_s": 3599.0,
        "peers": ["203.0.113.50", "203.0.113.51"],
    }
    for n in range(3)
]


def test_a_pipe_gets_every_column_and_no_blanks_at_the_end() -> None:
    lines = list(in_columns(ROWS, None))
    assert lines[0].split() == [
        *("protocol", "private", "public", "purpose", "adopted", "interface", "holders", "ends", "in", "peers")
    ]
    assert lines[1].endswith("59m59s   203.0.113.50, 203.0.113.51")
    assert [line for line in lines if line != line.rstrip()] == []


@given(st.integers(1, 200))
def test_addresses_are_never_cut(width: int) -> None:
    lines = list(in_columns(ROWS, width))
    assert len(lines) == 4
    for row, line in zip(ROWS, lines[1:], strict=True):
        assert {str(row["private"]), str(row["public"])} <= set(line.split())


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120])
def test_what_matters_least_goes_first(width: int) -> None:
    lines = list(in_columns(ROWS, width))
    assert max(map(len, lines)) <= width
    assert ("purpose" in lines[0]) == (width > 50)
    assert ("protocol" in lines[0]) == (width == 120)


def test_what_was_learned_of_phones_fits_a_terminal() -> None:
    row = {
        "protocol": "udp",
        "private": "192.168.133.100:5060",
        "server": "203.0.113.100",
        "registration_s": 3600,
        "keepalive_s": 30.5,
        "session_s": 1800,
        "silence_s": 1234.5,
        "expected_s": 3600,
        "because": "registration",
        "sip_timeout_needed_s": 7200,
        "nat_aware": False,
    }
    head, line = in_columns([row], 80)
    assert max(len(head), len(line)) <= 80
    assert head.split() == ["private", "server", "registration", "keepalive", "nat", "aware"]


def test_names_are_shortened_where_nothing_else_can_go() -> None:
    rows = [{"phone": "192.168.33.10:5060", "state": "early", "call_id": "x" * 90}]
    head, line = in_columns(rows, 60)
    assert head.split() == ["phone", "state", "call", "id"]
    assert len(line) == 60
    assert line.endswith("x…")
    assert next(reversed(list(in_columns(rows, 39)))).endswith("early  xxxxxxxxxxx…")
    assert next(reversed(list(in_columns(rows, 30)))).endswith("early")
    assert next(reversed(list(in_columns(rows, None)))).endswith("x" * 90)


def test_a_row_without_a_fact_has_a_dash() -> None:
    assert list(in_columns([{"a": "one"}, {"b": 2}], 80)) == ["a    b", "one  -", "-    2"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (-5, "0s"), (59.6, "1m"), (3600, "1h"), (93784, "1d2h3m4s"), (86400 * 400, "400d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("a", None, "-"),
        ("a", [], "-"),
        ("a", True, "yes"),
        ("a", 1.5, "1.5"),
        ("a", 7, "7"),
        ("a_s", 61, "1m1s"),
        ("a", [{"low": 1, "high": 2}, "x"], "1-2, x"),
        ("a", "\x1b[2J\n", "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_values_are_words(key: str, value: object, text: str) -> None:
    assert text_of(key, value) == text


def test_the_two_queues_have_two_names() -> None:
    assert (words("queue_number"), words("queue"), words("kept_for_s")) == ("queue number", "packet queue", "kept for")


def test_a_call_and_a_registration_are_told_apart_where_names_can_be_shorter() -> None:
    row = {
        "number": 1, "kind": "call", "from": "alice@a.example.com", "to": "bob@b.example.com",
        "source": "192.168.133.100:50600", "destination": "203.100.113.100:5060", "state": "ended",
        "failure": "", "sip_packets": 14, "private_addresses": ["192.168.133.100"],
    }  # fmt: skip
    head, line = in_columns([row], 80)
    assert head.split() == ["#", "kind", "from", "to", "state", "first", "failure", "private"]
    assert max(len(head), len(line)) <= 80
