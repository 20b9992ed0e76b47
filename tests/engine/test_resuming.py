from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.generated import messages
from tests.engine.ladder import Ladder, kept_records, port_forward
from tests.engine.scenario import Outgoing, registers
from tests.engine.test_properties import WAYS, Way, datagram, started
from tests.engine.test_records import refuse_to
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine import resuming
from sipalg.engine.dialogs import FIELDS
from sipalg.engine.existing import Restored
from sipalg.engine.resuming import PlainRecord
from sipalg.engine.verdict import UDP, AdmitPeer, CheckFlow, Endpoint, EstablishFlow, OpenMapping

P, N = "192.168.33.10", "203.0.113.1"
PHONE, S = Endpoint(P, 5060), Endpoint("203.0.113.50", 5060)


def stage(**values: Any) -> tuple[Ladder, Outgoing]:
    ladder = Ladder(**values)
    return ladder, Outgoing(ladder.phone(P), ladder.server(S.host))


def resumed(ladder: Ladder) -> dict[str, str]:
    """What the last resumption told."""
    (event,) = (event for event in ladder.alg.take_events() if event.name == "state-resumed")
    return dict(event.facts)


@given(st.lists(st.tuples(messages(), WAYS, st.integers(0, 700)), min_size=1, max_size=6))
@settings(max_examples=60)
def test_restarted_before_each_message_it_answers_the_same(script: list[tuple[bytes, Way, int]]) -> None:
    lasting, restarted = started(), started()
    for payload, way, pause in script:
        restarted.restart()
        # Not kept, since any port that is free will do: where the search for one goes on.
        restarted.alg.mappings._cursor.update(lasting.alg.mappings._cursor)
        first, second = (ladder.receive(datagram(payload, way)) for ladder in (lasting, restarted))
        assert (first.payload, first.edits, first.reason) == (second.payload, second.edits, second.reason)
        assert lasting.kernel.asked_for == restarted.kernel.asked_for
        for ladder in (lasting, restarted):
            ladder.wait(pause)
    assert shown(lasting) == shown(restarted)
    restarted.finish()


def shown(ladder: Ladder) -> dict[str, object]:
    """All that a restart keeps: not what was learned of silences."""
    tables: dict[str, Any] = ladder.alg.snapshot(ladder.now)
    aware = [row for row in tables["phones"] if row["nat_aware"]]
    return {name: tables[name] for name in ("mappings", "contacts", "calls")} | {"aware": aware}


def test_a_call_is_put_on_hold_resumed_and_ended_after_a_restart() -> None:
    ladder, call = stage()
    call.stands()
    before, dialogs = ladder.flows, ladder.dialogs
    ladder.restart()
    assert ladder.flows == before
    assert ladder.dialogs == dialogs
    for number, direction in ((2, "sendonly"), (3, "sendrecv")):
        call.number = number
        body = sdp(P, audio(10000, f"a={direction}"))
        call.asks("INVITE", to_tag=call.tag, body=body)
        call.ok()
        call.ack()
        assert ladder.flows == before
    call.hangs_up()
    assert ladder.flows == set()
    ladder.wait(3601)
    assert ladder.mapped == {}
    ladder.finish()


def test_a_call_that_was_answered_by_the_other_process_gets_its_flows_from_this_one() -> None:
    ladder, call = stage()
    call.invite()
    ladder.restart()
    call.ok()
    assert len(ladder.flows) == 2
    ladder.restart()
    call.ack()
    call.is_hung_up()
    ladder.finish()


def test_what_the_kernel_lost_is_opened_again_if_somebody_needs_it() -> None:
    ladder, call = stage()
    registers(call.phone, call.server)
    call.stands()
    mapped, flows = ladder.mapped, ladder.flows
    ladder.restart(emptied=True)
    assert len([command for command in ladder.commands if isinstance(command, OpenMapping)]) == 3
    assert [command.peer for command in ladder.commands if isinstance(command, AdmitPeer)] == [S.host]
    assert (ladder.mapped, ladder.flows) == (mapped, flows)
    call.hangs_up()
    ladder.wait(33)
    ladder.restart(emptied=True)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}, "nobody needs the media's any more"
    ladder.finish()


def test_a_call_whose_flows_are_gone_gets_them_back_and_a_little_time() -> None:
    ladder, call = stage()
    call.stands()
    ladder.kernel.flows.clear()
    ladder.restart()
    (dialog,) = (one for one in ladder.alg.calls.dialogs.values() if one.confirmed)
    assert dialog.expires_at == ladder.now + 100
    ladder.wait(1)
    assert len([command for command in ladder.commands if isinstance(command, CheckFlow)]) == 2
    ladder.alg.media_seen(dialog.flows[0], ladder.now)
    ladder.wait(700)
    assert len(ladder.flows) == 2
    ladder.kernel.flows.clear()
    ladder.restart()
    ladder.wait(101)
    assert ladder.flows == set()
    ladder.finish()


def test_a_session_timer_ends_a_call_whose_flows_are_gone_soon_enough() -> None:
    ladder, call = stage()
    call.invite()
    ok = response(200, "INVITE", via=str(call.public), tags=("a", "b"), more="Session-Expires: 1800\n",
                  contact="<sip:b@203.0.113.50>", body=sdp("203.0.113.60", audio(30000)))  # fmt: skip
    call.server.sends(ok, call.public)
    ladder.kernel.flows.clear()
    ladder.restart()
    assert max(one.expires_at for one in ladder.alg.calls.dialogs.values()) == ladder.now + 1832


def test_one_flow_that_is_gone_comes_back_at_once_and_the_call_has_all_its_time() -> None:
    ladder, call = stage()
    call.stands()
    ladder.kernel.flows.pop(next(flow for flow in ladder.kernel.flows if flow.remote.port == 30000))
    ladder.restart()
    assert max(one.expires_at for one in ladder.alg.calls.dialogs.values()) == ladder.now + 14400
    ladder.wait(1)
    assert len([command for command in ladder.commands if isinstance(command, CheckFlow)]) == 2
    call.hangs_up()
    ladder.finish()


def test_flows_that_stand_are_looked_at_one_call_after_the_other() -> None:
    ladder, call = stage()
    other = Outgoing(call.phone, call.server, call="c2", port=20000)
    call.stands()
    other.stands()
    ladder.wait(33)
    ladder.restart()
    looks = []
    while (due := ladder.alg.next_timer()) is not None and due <= ladder.now + 50.0:
        flows = [command for command in ladder.alg.handle_timer(due) if isinstance(command, CheckFlow)]
        looks += [due - ladder.now] if flows else []
    assert looks == [0.0, 25.0, 50.0]


def test_flows_that_a_phone_got_for_another_port_go_on() -> None:
    ladder, call = stage()
    other = ladder.server("203.0.113.51")
    ladder.kernel.refuse = refuse_to(other.endpoint)
    for server in (call.server, other):
        call.phone.sends(request("OPTIONS", via=f"{P}:5070", contact=f"<sip:a@{P}>"), server)
    assert len(ladder.flows) == 1
    ladder.restart()
    assert [flow.remote for flow in ladder.alg.calls.refused_flows] == [other.endpoint]
    ladder.wait(1)
    assert {flow.private.port for flow, _ in ladder.checks} == {5070}
    ladder.finish()


def test_a_refused_flow_of_a_call_stays_refused() -> None:
    ladder, call = stage()
    call.invite()
    refused = []

    def refuse(command: object) -> str:
        if "EstablishFlow" in str(command) and "30000" in str(command):
            refused.append(command)
            return "refused"
        return ""

    ladder.kernel.refuse = refuse
    call.ok()
    call.ack()
    assert len(refused) == 1
    ladder.restart()
    ladder.wait(120)
    assert {flow.remote.port for flow, _ in ladder.checks} == {30001}
    call.hangs_up()
    ladder.finish()


def test_flows_that_the_kernel_refused_do_not_say_that_the_call_is_over() -> None:
    ladder, call = stage()
    call.invite()
    ladder.kernel.refuse = lambda command: "refused" if isinstance(command, EstablishFlow) else ""
    call.ok(status=183)
    assert ladder.flows == set()
    before, dialogs = shown(ladder), ladder.dialogs
    ladder.restart()
    assert shown(ladder) == before
    assert ladder.dialogs == dialogs
    call.hangs_up()
    ladder.finish()


def test_a_refused_flow_that_only_waits_for_a_change_to_be_settled_stays_refused() -> None:
    ladder, call = stage()
    ladder.kernel.refuse = lambda command: "refused" if isinstance(command, EstablishFlow) else ""
    call.stands()
    refused = dict(ladder.alg.calls.refused_flows)
    call.number = 2
    call.invite(to_tag="b")
    call.ok(Endpoint("203.0.113.61", 9))
    assert len(ladder.alg.calls.refused_flows) == 4
    ladder.restart()
    assert refused.keys() < ladder.alg.calls.refused_flows.keys()
    call.ack()
    call.hangs_up()
    ladder.finish()


def test_what_another_address_or_a_port_forward_contradicts_is_left_out() -> None:
    ladder, call = stage()
    registers(call.phone, call.server)
    call.stands()
    kept = kept_records(ladder.alg)
    for other in (Ladder(nat_address="203.0.113.2", advertised_address="203.0.113.2"), Ladder()):
        if other.settings.nat_address == N:
            other.run(other.alg.adopt(port_forward(7000, PHONE), other.now))
            other.run(other.alg.adopt(port_forward(10000, Endpoint("192.168.33.12", 9)), other.now))
        other.run(other.alg.resume(kept, (), other.now))
        assert list(other.alg.contacts.all()) == []
        assert other.alg.calls.dialogs == {}
    assert resumed(other)["left_out"] == "4"


def test_a_port_forward_that_is_gone_takes_its_calls_along() -> None:
    ladder, call = stage()
    ladder.run(ladder.alg.adopt(port_forward(7000, PHONE), ladder.now))
    registers(call.phone, call.server)
    kept = kept_records(ladder.alg)
    other = Ladder()
    other.run(other.alg.resume(kept, (), other.now))
    assert other.mapped == {}
    assert list(other.alg.contacts.all()) == []
    ladder.restart()
    assert len(list(ladder.alg.contacts.all())) == 1, "one that stands keeps them"


def test_a_flow_that_goes_by_another_mapping_is_not_resumed() -> None:
    ladder, call = stage()
    call.stands()
    kept = [
        record._replace(value=record.value | {"public": [N, 20000]}) if record.key == (UDP, P, 10000) else record
        for record in kept_records(ladder.alg)
    ]
    other = Ladder()
    other.alg.resume(kept, (), other.now)
    (dialog,) = (one for one in other.alg.calls.dialogs.values() if one.confirmed)
    assert [flow.private.port for flow in dialog.flows] == [10001]


@pytest.mark.interpreted
def test_every_field_of_a_dialog_is_read() -> None:
    ladder, call = stage()
    call.stands()
    (record, *_) = (record for record in kept_records(ladder.alg) if record.kind == "dialog")
    assert set(record.value) == {*FIELDS, "refused"}
    read = inspect.getsource(resuming._dialog)
    assert all(f'value["{field}"]' in read or f'value.get("{field}"' in read for field in FIELDS)


def test_what_is_over_is_not_resumed() -> None:
    ladder, call = stage(call_timeout_s=500.0)
    registers(call.phone, call.server)
    call.stands()
    kept = kept_records(ladder.alg)
    other = Ladder()
    other.now = ladder.now + 10_000
    other.kernel.wait_until(other.now)
    other.run(other.alg.resume(kept, (), other.now))
    assert other.mapped == {}
    assert resumed(other) == {"contacts": "0", "calls": "0", "left_out": str(len(kept))}


def test_where_a_phone_is_comes_from_the_record_if_that_knows() -> None:
    ladder, call = stage()
    call.asks("OPTIONS")
    (record,) = kept_records(ladder.alg)
    for known, interface in (("", "lan9"), ("lan0", "lan0")):
        other = Ladder()
        (entry,) = ladder.alg.mappings.entries.values()
        other.alg.restore([Restored(entry.mapping, 100.0, "lan9")], other.now)
        other.alg.resume([record._replace(value=record.value | {"interface": known})], (), other.now)
        assert [entry.in_interface for entry in other.alg.mappings.entries.values()] == [interface]


@pytest.mark.parametrize(
    "record",
    [
        PlainRecord("mapping", (UDP, P), {}),
        PlainRecord("mapping", (UDP, P, 5060), {}),
        PlainRecord("contact", (UDP, P, 5060, "a", S.host), {}),
        PlainRecord("removal", (P, 5, 1), {"until": 1.0}),
        PlainRecord("dialog", (P, "c", "a", "b"), {"expires_at": "soon", "keys": None}),
        PlainRecord("dialog", (P, "c", "a", "b"), {"expires_at": 1e9, "keys": None}),
        PlainRecord("aware", (UDP,), {}),
        PlainRecord("aware", (-1, P, 5060), {}),
        PlainRecord("aware", (UDP, "a phone", 5060), {}),
        PlainRecord("aware", (UDP, P, 65536), {}),
        PlainRecord("aware", (UDP, P, math.inf), {}),
        PlainRecord("removal", (P, "c", 1), {"until": math.nan}),
        PlainRecord("contact", (UDP, P, 5060, "a", S.host), {"until": 10**400}),
        PlainRecord("of-the-future", (), {}),
    ],
)
def test_what_cannot_be_read_is_left_out(record: PlainRecord) -> None:
    ladder, call = stage()
    call.stands()
    kept = [*kept_records(ladder.alg), record]
    other = Ladder()
    other.run(other.alg.resume(kept, ladder.kernel.flows, other.now))
    assert other.mapped == ladder.mapped
    assert resumed(other)["left_out"] == str(int(record.kind != "of-the-future"))


def test_a_privileged_port_is_not_opened_again() -> None:
    ladder, call = stage()
    registers(call.phone, call.server)
    kept = [
        record._replace(value=record.value | {"public": [N, 53]}) if record.kind == "mapping" else record
        for record in kept_records(ladder.alg)
    ]
    other = Ladder()
    other.run(other.alg.resume(kept, (), other.now))
    assert other.mapped == {}


def test_nothing_kept_is_nothing_told() -> None:
    ladder, _ = stage()
    ladder.run(ladder.alg.resume((), (), ladder.now))
    assert ladder.alg.take_events() == []


def test_a_removal_whose_answer_is_still_to_come_is_carried_out() -> None:
    ladder, call = stage()
    registers(call.phone, call.server)
    gone = f"<sip:a@{P}:5060>;expires=0"
    registers(call.phone, call.server, number=2, contact=gone, status=401)
    ladder.restart()
    registers(call.phone, call.server, number=2, contact=gone, granted=None)
    assert list(ladder.alg.contacts.all()) == []
    registers(call.phone, call.server, number=3)
    registers(call.phone, call.server, number=4, contact=gone, granted=None)
    ladder.restart()
    assert [entry.parting for entry in ladder.alg.mappings.entries.values()] == [True]
    ladder.finish()


def test_a_nat_aware_phone_is_left_alone_from_its_first_message_on() -> None:
    ladder, call = stage()
    call.phone.sends(request("OPTIONS", via=f"{N}:5060", contact=f"<sip:a@{N}:5060>"), call.server)
    assert ladder.reason == "nat-aware"
    ladder.restart()
    call.phone.sends(request("MESSAGE", contact=None), call.server)
    assert ladder.reason == "nat-aware"
