from __future__ import annotations

from sipalg.engine.transaction import Transaction, event_of
from sipalg.engine.verdict import UDP, CloseMapping, Endpoint, Event, Mapping

MAPPING = Mapping(UDP, Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5060), "sip")


def test_rollback_puts_everything_back_in_reverse_order() -> None:
    transaction = Transaction()
    table = {"kept": 1, "changed": 2, "removed": 3}
    transaction.put(table, "changed", 20)
    transaction.put(table, "changed", 21)
    transaction.remove(table, "removed")
    transaction.put(table, "removed", 30)
    transaction.put(table, "new", 4)
    transaction.put(table, "brief", 5)
    transaction.remove(table, "brief")
    transaction.remove(table, "absent")
    transaction.commands.append(CloseMapping(MAPPING))
    transaction.tell("something", where=1)
    assert table == {"kept": 1, "changed": 21, "removed": 30, "new": 4}
    transaction.rollback()
    assert table == {"kept": 1, "changed": 2, "removed": 3}
    assert (transaction.commands, transaction.events) == ([], [])
    assert transaction.log == []


def test_commit_keeps_everything() -> None:
    transaction = Transaction()
    table: dict[str, int] = {}
    transaction.put(table, "new", 4)
    transaction.commit()
    transaction.rollback()
    assert table == {"new": 4}


def test_rollback_to_a_mark_keeps_what_came_before_it() -> None:
    transaction = Transaction()
    table = {"kept": 1}
    transaction.put(table, "before", 2)
    transaction.tell("before")
    mark = transaction.mark()
    transaction.put(table, "before", 3)
    transaction.remove(table, "kept")
    transaction.commands.append(CloseMapping(MAPPING))
    transaction.tell("behind")
    transaction.rollback(mark)
    assert table == {"kept": 1, "before": 2}
    assert (transaction.commands, [name for name, _ in transaction.events]) == ([], ["before"])
    transaction.rollback()
    assert table == {"kept": 1}


def test_an_events_facts_are_texts() -> None:
    transaction = Transaction()
    transaction.tell("opened", private=MAPPING.private, number=7)
    events = [event_of(told) for told in transaction.events]
    assert events == [Event("opened", (("private", "192.168.33.10:5060"), ("number", "7")))]


def test_timers_are_set_and_come_due() -> None:
    transaction = Transaction()
    transaction.wake(1.0, ("again",))
    for _ in transaction.take_due(5.0):
        transaction.wake(6.0, ("again",))
    assert transaction.next_due() == 6.0


def test_what_is_settled_stays_and_its_commands_go_on() -> None:
    transaction = Transaction()
    table: dict[str, int] = {}
    transaction.put(table, "settled", 1)
    transaction.commands.append(CloseMapping(MAPPING))
    transaction.settle()
    transaction.put(table, "open", 2)
    transaction.rollback((0, 1, 0))
    assert (table, transaction.commands) == ({"settled": 1}, [CloseMapping(MAPPING)])
