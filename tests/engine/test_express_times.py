"""The times that the shortest way moves are those that the other way would move, to the last digit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.refreshes import OK, PHONE, REGISTER
from tests.engine.test_express import known_phone, quick_count, receive

from sipalg import builds
from sipalg.engine.verdict import UDP

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")


@given(st.floats(0.0, 60.0))
def test_a_renewal_is_counted_from_now(wait_s: float) -> None:
    alg = known_phone()
    now = 1060.0 + wait_s
    assert quick_count(alg, (REGISTER, True), now) == 1
    receive(alg, (OK, False), now)
    entry = alg.mappings.entries[UDP, PHONE]
    assert entry.home.asked_at == now
    assert [contact.expires_at for contact in entry.contacts] == [now + 3600.0]


def test_what_was_asked_too_long_ago_renews_nothing() -> None:
    alg = known_phone()
    receive(alg, (REGISTER, True), 1080.0)
    assert quick_count(alg, (OK, False), 1112.0) == 1
    assert quick_count(alg, (OK, False), 1112.5) == 0
    assert alg.mappings.entries[UDP, PHONE].contacts[0].expires_at == 1112.0 + 3600.0
