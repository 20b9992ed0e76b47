from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from sipalg.engine.timers import SLOT_S, Subject, Timed, Timers

TIMES = st.integers(0, 5 * int(SLOT_S)).map(float)


def test_they_come_in_order_and_each_once() -> None:
    timers = Timers()
    assert timers.next_due() is None
    timers.wake(30.0, ("late",))
    timers.wake(10.0, ("early",))
    timers.wake(20.0, ("late",))
    timers.wake(25.0, ("late",))
    assert timers.next_due() == 10.0
    assert list(timers.take_due(9.0)) == []
    assert list(timers.take_due(20.0)) == [("early",), ("late",)]
    assert list(timers.take_due(100.0)) == [], "the deadline that was brought forward is gone"
    assert timers.next_due() is None


def test_one_may_be_set_anew_while_it_is_handled() -> None:
    timers = Timers()
    row = Timed()
    timers.wake(1.0, row)
    timers.wake(1.0, ("again",))
    for subject in timers.take_due(5.0):
        timers.wake(6.0, subject)
    assert timers.next_due() == row.wakes_at == 6.0


def test_the_exact_time_of_what_is_far_away_is_told() -> None:
    timers = Timers()
    timers.wake(1000.5, ("first",))
    timers.wake(1000.25, ("second",))
    timers.wake(5000.0, ("third",))
    assert timers.next_due() == 1000.25
    assert list(timers.take_due(1000.3)) == [("second",)]
    assert timers.next_due() == 1000.5


def test_what_is_never_due_needs_no_timer() -> None:
    timers = Timers()
    timers.wake(math.inf, ("never",))
    assert timers.next_due() is None


def test_what_was_brought_forward_out_of_its_slot_isnt_met_there_again() -> None:
    timers = Timers()
    row = Timed()
    timers.wake(10 * SLOT_S, row)
    timers.wake(1.0, row)
    assert list(timers.take_due(2.0)) == [row]
    timers.wake(10 * SLOT_S + 5.0, row)
    assert list(timers.take_due(10 * SLOT_S + 4.0)) == []
    assert list(timers.take_due(10 * SLOT_S + 5.0)) == [row]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), TIMES), max_size=40))
def test_they_do_what_a_list_of_deadlines_does(steps: list[tuple[bool, int, float]]) -> None:
    subjects: list[Subject] = [Timed(), Timed(), ("a", 1), ("b", 2)]
    timers = Timers()
    deadlines: dict[int, float] = {}
    now = 0.0
    for passes, which, time in steps:
        if not passes:
            timers.wake(now + time, subjects[which])
            deadlines[which] = min(now + time, deadlines.get(which, math.inf))
            continue
        now += time
        due = sorted((at, which) for which, at in deadlines.items() if at <= now)
        taken = [(deadlines[subjects.index(subject)], subjects.index(subject)) for subject in timers.take_due(now)]
        assert [at for at, _ in taken] == [at for at, _ in due]
        assert sorted(taken) == due
        deadlines = {which: at for which, at in deadlines.items() if at > now}
        following = timers.next_due()
        assert following is None or following > now
        assert not deadlines or (following is not None and following <= min(deadlines.values()))
