"""The events' lines, and a follower that reads slowly."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.socket.events import Follower, line_of
from sipalg.engine.verdict import Event

EVENT = Event("mapping-opened", (("private", "192.168.33.10:5060"), ("odd", "a\n\"\x1b")))


def test_an_event_is_one_line_of_json() -> None:
    line = line_of(EVENT, 1234.56789)
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "event": "mapping-opened",
        "time": 1234.568,
        "facts": {"private": "192.168.33.10:5060", "odd": 'a\n"\x1b'},
    }


def drained(follower: Follower, piece_bytes: int = 100) -> bytes:
    read = b""
    while piece := follower.next_piece(piece_bytes):
        read += piece
        follower.sent(len(piece), 2.0)
    return read


def test_what_fits_comes_whole_and_in_order() -> None:
    follower = Follower()
    lines = [b"%d\n" % number for number in range(1000)]
    for line in lines:
        follower.add(line, 1.0)
    assert drained(follower) == b"".join(lines)
    assert follower.next_piece(100) == b""


def test_what_does_not_fit_is_counted_and_told_at_the_end() -> None:
    follower = Follower(1000)
    for _ in range(20):
        follower.add(b"x" * 99 + b"\n", 1.0)
    read = drained(follower).splitlines()
    assert [json.loads(line)["facts"] for line in read[7:]] == [{"count": "13"}]
    assert json.loads(read[7])["event"] == "events-left-out"
    assert follower.left_out == 0


def test_or_before_the_next_that_fits() -> None:
    follower = Follower(1000)
    for _ in range(9):
        follower.add(b"x" * 99 + b"\n", 1.0)
    follower.sent(500, 1.0)
    follower.add(b"again\n", 3.0)
    lines = drained(follower).splitlines()
    assert json.loads(lines[-2]) == {"event": "events-left-out", "time": 3.0, "facts": {"count": "2"}}
    assert lines[-1] == b"again"


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 600)), max_size=60))
def test_it_never_holds_more_than_it_may_and_loses_count_of_nothing(steps: list[tuple[int, int]]) -> None:
    follower = Follower(2000)
    read = b""
    for size, taken in steps:
        follower.add(b"x" * size + b"\n", 0.0)
        assert len(follower.next_piece(10_000)) <= 2000
        piece = follower.next_piece(taken)
        read += piece
        follower.sent(len(piece), 0.0)
    lines = (read + drained(follower)).splitlines()
    left_out = sum(int(json.loads(line)["facts"]["count"]) for line in lines if line.startswith(b"{"))
    assert left_out + sum(line.startswith(b"x") for line in lines) == len(steps)
