from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.engine.ladder import Ladder, kept_records
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import request

from sipalg.engine import passage as passage_module
from sipalg.engine.records import KINDS, RecordKey, plain_key
from sipalg.engine.verdict import UDP, Command, Endpoint, EstablishFlow

P, N = "192.168.33.10", "203.0.113.1"
PHONE = Endpoint(P, 5060)
SIP = (UDP, PHONE)


def watched() -> tuple[Ladder, Outgoing]:
    ladder = Ladder()
    ladder.alg.records.watch()
    return ladder, Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))


def refuse_to(remote: Endpoint) -> Callable[[Command], str]:
    return lambda command: "refused" if isinstance(command, EstablishFlow) and command.flow.remote == remote else ""


def kinds(changed: list[RecordKey]) -> list[str]:
    return sorted(kind for kind, _ in changed)


def test_nothing_is_noted_until_somebody_asks() -> None:
    ladder = Ladder()
    registers(ladder.phone(P), ladder.server("203.0.113.50"))
    assert ladder.alg.records.take_changed() == []
    registers(ladder.phone(P), ladder.server("203.0.113.51"))
    assert kinds(ladder.alg.records.take_changed()) == ["contact", "mapping"]


def test_each_changed_record_comes_once() -> None:
    ladder, call = watched()
    call.stands()
    assert kinds(ladder.alg.records.take_changed()) == ["dialog", "dialog", "mapping", "mapping", "mapping"]
    assert ladder.alg.records.take_changed() == []
    call.hangs_up()
    changed = ladder.alg.records.take_changed()
    assert [ladder.alg.records.value(key) for key in changed if key[0] == "dialog"] == [None]


def test_what_the_kernel_refused_is_not_noted() -> None:
    ladder, call = watched()
    ladder.kernel.refuse = lambda _: "not-natted"
    call.invite()
    assert ladder.alg.records.take_changed() == []


def test_what_hangs_on_a_mapping_is_in_its_record() -> None:
    ladder, call = watched()
    other = ladder.server("203.0.113.51")
    ladder.kernel.refuse = refuse_to(other.endpoint)
    for server in (call.server, other):
        call.phone.sends(request("OPTIONS", via=f"{P}:5070", contact=f"<sip:a@{P}>"), server)
    named = ladder.alg.records.value(("mapping", (UDP, Endpoint(P, 5070))))
    own = ladder.alg.records.value(("mapping", SIP))
    assert named is not None
    assert own is not None
    servers = [call.server.endpoint, other.endpoint]
    assert (named["public"], named["flows"], named["refused"]) == ((N, 5070), servers, servers[1:])
    assert (own["peers"], own["flows"], own["parting"]) == (servers, [], False)
    assert len(own["bare"]) == 1
    assert (own["idle_until"], own["lease_until"]) == (4600.0, 8200.0)


def test_a_contacts_record_follows_its_renewals_at_some_distance() -> None:
    ladder, call = watched()
    records = ladder.alg.records

    def renewed_after(seconds: float) -> list[str]:
        ladder.wait(seconds)
        registers(call.phone, call.server)
        return [kind for kind in kinds(records.take_changed()) if kind == "contact"]

    assert renewed_after(0) == ["contact"]
    records.value(("contact", next(ladder.alg.contacts.all()).key))
    assert renewed_after(200) == []
    assert renewed_after(200) == ["contact"]


def test_a_contact_that_was_taken_back_is_news_whether_or_not_another_came_and_went_since() -> None:
    ladder, call = watched()

    def registers_and_leaves(number: int) -> None:
        registers(call.phone, call.server, number=number)
        registers(call.phone, call.server, contact=f"<sip:a@{P}>;expires=0", granted=None, number=number + 1)

    registers(call.phone, call.server)
    (contact,) = (key for key in ladder.alg.records.take_changed() if key[0] == "contact")
    assert ladder.alg.records.value(contact) is not None
    registers_and_leaves(2)
    registers_and_leaves(4)
    assert contact in ladder.alg.records.take_changed()
    assert ladder.alg.records.value(contact) is None


def test_media_that_runs_changes_a_dialogs_record_now_and_then() -> None:
    ladder, call = watched()
    call.stands()
    (flow, *_) = ladder.alg.calls.holders
    ladder.alg.records.take_changed()
    ladder.alg.media_seen(flow, ladder.now + 1000)
    assert ladder.alg.records.take_changed() == []
    ladder.alg.media_seen(flow, ladder.now + 2000)
    assert kinds(ladder.alg.records.take_changed()) == ["dialog"]


def test_the_end_of_a_mapping_is_news_when_its_record_is_three_seconds_behind() -> None:
    ladder, call = watched()
    call.stands()
    call.hangs_up()
    ladder.alg.records.take_changed()
    media = [key for key in ladder.alg.records.all() if key[0] == "mapping" and key[1] != SIP]
    news = 0
    for number in range(2, 102):
        ladder.wait(0.1)
        again = Outgoing(call.phone, call.server, f"call-{number}")
        again.stands()
        again.hangs_up()
        changed = ladder.alg.records.take_changed()
        assert len([key for key in changed if key in media]) in (0, len(media))
        news += media[0] in changed
    assert 3 <= news <= 4


@pytest.mark.interpreted
def test_nat_aware_phones_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passage_module, "MAX_NAT_AWARE", 1)
    ladder, call = watched()
    other = Outgoing(ladder.phone("192.168.33.11"), call.server)
    public = request("OPTIONS", via=f"{N}:5060", contact=f"<sip:a@{N}:5060>")
    call.phone.sends(public, call.server)
    assert ladder.alg.records.take_changed() == [("aware", SIP)]
    assert ladder.alg.records.value(("aware", SIP)) == {}
    call.phone.sends(public, call.server)
    assert ladder.alg.records.take_changed() == []
    other.phone.sends(public, call.server)
    assert [(key, ladder.alg.records.value(key)) for key in ladder.alg.records.take_changed()] == [
        (("aware", SIP), None),
        (("aware", (UDP, Endpoint("192.168.33.11", 5060))), {}),
    ]
    other.asks("OPTIONS")
    assert ("aware", (UDP, Endpoint("192.168.33.11", 5060))) in ladder.alg.records.take_changed()


def test_all_records_are_plain_and_in_order() -> None:
    ladder, call = watched()
    registers(call.phone, call.server)
    registers(call.phone, call.server, contact=f"<sip:z@{P}>;expires=0", granted=None, number=2, user="z", status=401)
    call.stands()
    records = ladder.alg.records
    keys = records.all()
    found = [kind for kind, _ in keys]
    assert found == sorted(found, key=list(KINDS).index)
    assert set(found) == {"mapping", "contact", "removal", "dialog"}
    json.dumps([[plain_key(key), records.value(key)] for key in keys])
    assert {record.key for record in kept_records(ladder.alg) if record.kind == "contact"} == {
        (UDP, P, 5060, "sip:a@example.org", "203.0.113.50")
    }
