from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from sipalg.engine.rows import Contact, Entry, Home
from sipalg.engine.transaction import Row, Transaction
from sipalg.engine.verdict import UDP, Endpoint, Mapping

P, N = "192.168.33.10", "203.0.113.1"
MAPPING = Mapping(UDP, Endpoint(P, 5060), Endpoint(N, 7000), "sip")


def entry() -> Entry:
    return Entry(MAPPING, "lan0", Home(P.encode()), N.encode())


def test_a_mapping_has_the_texts_that_messages_need() -> None:
    row = entry()
    assert (row.private_text, row.private_port) == (b"192.168.33.10:5060", b"5060")
    assert row.public_text == b"203.0.113.1:7000"
    row.name(b"198.51.100.1")
    assert (row.public_host, row.public_text) == (b"198.51.100.1", b"198.51.100.1:7000")
    assert row.for_sip
    assert not row.as_it_is


def test_rows_go_back_to_what_they_were() -> None:
    transaction = Transaction()
    row = entry()
    contact = Contact(row, (P, b"a@b", "203.0.113.50"), 10.0)
    transaction.commit()
    transaction.keep(row)
    row.uses, row.idle_until, row.lease_until, row.parting = 1, 2.0, 3.0, True
    mark = transaction.mark()
    transaction.keep(row)
    row.contacts, row.peers = (contact,), (Endpoint(N, 1),)
    row.purpose = "media"
    transaction.keep(contact)
    contact.expires_at, contact.granted_s, contact.longest_s = 20.0, 5, 6.0
    transaction.keep(row.home)
    row.home.mappings = 7
    transaction.rollback(mark)
    assert (row.uses, row.idle_until, len(row.contacts), len(row.peers)) == (1, 2.0, 0, 0)
    assert row.mapping == MAPPING
    assert (contact.expires_at, contact.granted_s, contact.longest_s, row.home.mappings) == (10.0, 0, 0.0, 0)
    transaction.rollback()
    assert (row.uses, row.idle_until, row.lease_until, row.parting) == (0, 0.0, 0.0, False)


def test_a_row_without_anything_that_changes() -> None:
    transaction = Transaction()
    row = Row()
    transaction.keep(row)
    transaction.rollback()
    assert row.state() == ()
    assert (row.record(), row.is_news((), 0.0, 0)) == (("", None), False)


@given(st.lists(st.integers(0, 5).map(lambda number: b"call-%d" % number), max_size=30))
def test_the_last_call_ids_are_remembered(calls: list[bytes]) -> None:
    home = Home(b"10.0.0.1")
    for now, call in enumerate(calls):
        home.note_asked(call, float(now), 3)
    last = {call: float(now) for now, call in enumerate(calls)}
    newest = sorted(last, key=lambda call: last[call])[-3:]
    for number in range(6):
        call = b"call-%d" % number
        assert home.when_asked(call) == (last[call] if call in newest else -math.inf)
    assert home.when_asked(b"never") == -math.inf
