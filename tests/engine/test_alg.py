from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
from tests.engine.ladder import Ladder, port_forward
from tests.engine.scenario import M, Outgoing, registers
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine import alg as module
from sipalg.engine.existing import Restored
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import (
    ACCEPT,
    REPLACE,
    UDP,
    AdmitPeer,
    CheckFlow,
    Command,
    Datagram,
    EndFlow,
    Endpoint,
    EstablishFlow,
    Flow,
    Mapping,
    OpenMapping,
    RefreshMapping,
    Verdict,
)

P, N = "192.168.33.10", "203.0.113.1"
PHONE, S = Endpoint(P, 5060), Endpoint("203.0.113.50", 5060)
OPTIONS = Datagram(request("OPTIONS"), PHONE, S, UDP, "lan0")
INVITE = Datagram(request("INVITE", body=sdp(P, audio(10000))), PHONE, S, UDP, "lan0")


def test_nothing_counts_before_the_kernel_has_carried_it_out() -> None:
    ladder = Ladder()
    alg = ladder.alg
    verdict = alg.receive_datagram(INVITE, 0.0)
    assert verdict.action == REPLACE
    assert verdict.token
    again = alg.receive_datagram(INVITE, 0.0)
    assert again == verdict._replace(token=again.token), "who reports nothing gets the same once more"
    assert alg.take_events() == []
    alg.commands_done(verdict.token, 0.0)
    assert alg.receive_datagram(INVITE, 0.0).commands != (), "an old token commits nothing"
    alg.handle_timer(0.0)
    assert alg.public_of(UDP, PHONE) is None, "nor does time"
    verdict = alg.receive_datagram(INVITE, 0.0)
    alg.commands_done(verdict.token, 0.0)
    assert alg.public_of(UDP, PHONE) == Endpoint(N, 5060)
    assert alg.receive_datagram(INVITE, 0.0) == verdict._replace(token=0, commands=())
    alg.commands_done(verdict.token, 0.0)


def test_a_token_that_nobody_waits_for() -> None:
    alg = Ladder().alg
    nothing = Verdict(ACCEPT, b"", (), (), "why", 0)
    assert alg.commands_failed(7, 0, "why", 0.0) == nothing
    verdict = alg.receive_datagram(OPTIONS, 0.0)
    assert alg.commands_failed(verdict.token + 1, 0, "why", 0.0) == nothing


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_refused_port_means_another_one(times: int) -> None:
    ladder = Ladder()
    refused: list[Command] = []

    def refuse(command: Command) -> str:
        if isinstance(command, OpenMapping) and len(refused) < times:
            refused.append(command)
            return "port taken"
        return ""

    ladder.kernel.refuse = refuse
    verdict = ladder.receive(OPTIONS)
    assert verdict.action == REPLACE
    assert ladder.mapped == {"192.168.33.10:5060": f"{N}:{16384 + times - 1}"}


def test_refused_too_often_the_message_passes() -> None:
    ladder = Ladder()
    ladder.kernel.refuse = lambda command: "no" if isinstance(command, OpenMapping) else ""
    assert ladder.receive(OPTIONS) == Verdict(ACCEPT, OPTIONS.payload, (), (), "no", 0)
    assert ladder.mapped == {}
    ladder.kernel.refuse = lambda _command: ""
    assert ladder.receive(OPTIONS).action == REPLACE


def test_a_refused_peer_cant_be_avoided() -> None:
    ladder = Ladder()
    ladder.kernel.refuse = lambda command: "no" if isinstance(command, AdmitPeer) else ""
    assert ladder.receive(OPTIONS).reason == "no"
    assert ladder.alg.commands_failed(0, 0, "no", 0.0).reason == "no"


def test_an_index_beyond_the_commands_passes() -> None:
    alg = Ladder().alg
    verdict = alg.receive_datagram(OPTIONS, 0.0)
    assert alg.commands_failed(verdict.token, 99, "no", 0.0) == Verdict(ACCEPT, OPTIONS.payload, (), (), "no", 0)


def test_a_refused_flow_for_a_port_that_nobody_knows_yet_means_another_port() -> None:
    ladder = Ladder()
    phone = ladder.phone(P)
    taken = Endpoint(N, 5070)
    ladder.kernel.refuse = lambda command: (
        "held" if isinstance(command, EstablishFlow) and command.flow.public == taken else ""
    )
    phone.sends(request("REGISTER", contact=f"<sip:a@{P}:5070>"), ladder.server(S.host))
    assert ladder.public_of(phone, 5070) == Endpoint(N, 16384)
    assert len(ladder.flows) == 1


def test_a_refused_flow_for_a_port_that_is_known_is_left_out() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server(S.host))
    call.invite()
    ladder.kernel.refuse = lambda command: (
        "held" if isinstance(command, EstablishFlow) and command.flow.private.port == 10000 else ""
    )
    assert call.ok() is not None
    assert ladder.verdict.action == REPLACE
    assert ladder.flows == {(f"{P}:10001", f"{N}:10001", "203.0.113.60:30001")}
    assert "flow-refused" in [event.name for event in ladder.alg.take_events()]
    call.ack()
    assert all(command.flow.private.port == 10001 for command in ladder.wait(60) if isinstance(command, CheckFlow))
    call.hangs_up()
    ladder.finish()


def test_streams_pass_until_they_have_an_entrance_of_their_own() -> None:
    ladder = Ladder()
    verdict = ladder.receive(OPTIONS._replace(protocol=6))
    assert verdict == Verdict(ACCEPT, OPTIONS.payload, (), (), "stream-transport", 0)


def test_what_is_no_message_passes() -> None:
    ladder = Ladder()
    assert ladder.receive(OPTIONS._replace(payload=b"\r\n\r\n")).reason == "keep-alive"
    assert ladder.receive(OPTIONS._replace(payload=b"\0\1\2")).reason == "not-sip"
    assert ladder.alg.reasons == {"keep-alive": 1, "not-sip": 1}


def test_a_standing_flow_is_taken_over_and_refreshed_on_its_packets() -> None:
    ladder = Ladder()
    mapping = Mapping(UDP, PHONE, Endpoint(N, 7000), "sip")
    ladder.run(ladder.alg.adopt(mapping, ladder.now, "lan0", S))
    flow = Flow(UDP, PHONE, Endpoint(N, 7000), S)
    assert ladder.commands[:2] == [OpenMapping(mapping, 7200.0), AdmitPeer(mapping, S.host, 7200.0)]
    assert ladder.checks == [(flow, 3600.0)]
    ladder.receive(OPTIONS)
    assert ladder.commands == []
    ladder.wait(400)
    assert b"UDP 203.0.113.1:7000;" in ladder.receive(OPTIONS).payload
    assert ladder.checks == [(flow, 3600.0)]
    ladder.wait(400)
    inward = request("OPTIONS", uri=f"sip:a@{N}:7000", via="203.0.113.50", contact=None)
    ladder.server(S.host).sends(inward, Endpoint(N, 7000))
    assert ladder.checks == [(flow, 3600.0)]
    ladder.run(ladder.alg.adopt(mapping, ladder.now, "lan0", S))
    assert ladder.checks == [(flow, 3600.0)], "once more is no harm"
    ladder.finish()


def test_what_stands_in_the_way_of_another_isnt_taken_over() -> None:
    ladder = Ladder()
    ladder.receive(OPTIONS)
    other = Mapping(UDP, Endpoint("192.168.33.11", 5060), Endpoint(N, 5060), "sip")
    assert ladder.alg.adopt(other, ladder.now, "lan0", S) == ()
    moved = Mapping(UDP, PHONE, Endpoint(N, 7000), "sip")
    assert ladder.alg.adopt(moved, ladder.now, "lan0", S) == ()
    ladder.alg.restore([Restored(other, 100.0)], ladder.now)
    ladder.alg.restore([Restored(moved, 100.0)], ladder.now)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}


def test_what_an_earlier_process_left_ends_when_the_kernel_forgets_it() -> None:
    ladder = Ladder()
    mapping = Mapping(UDP, PHONE, Endpoint(N, 7000), "sip")
    ladder.kernel.run([OpenMapping(mapping, 100.0)])
    ladder.alg.restore([Restored(mapping, 100.0)], ladder.now)
    assert ladder.mapped == {f"{P}:5060": f"{N}:7000"}
    assert ladder.alg.private_of(UDP, Endpoint(N, 7000)) == PHONE
    assert ladder.alg.private_of(UDP, Endpoint("198.51.100.1", 7000)) is None
    assert ladder.alg.private_of(UDP, Endpoint(N, 7001)) is None
    assert ladder.alg.handle_timer(ladder.now + 99.0) == ()
    assert len(ladder.alg.handle_timer(ladder.now + 100.0)) == 1
    assert ladder.mapped == {}


def test_what_an_earlier_process_left_is_kept_for_a_phone_that_speaks() -> None:
    ladder = Ladder()
    mapping = Mapping(UDP, PHONE, Endpoint(N, 7000), "sip")
    ladder.kernel.run([OpenMapping(mapping, 100.0)])
    ladder.alg.restore([Restored(mapping, 100.0)], ladder.now)
    ladder.receive(OPTIONS)
    ladder.wait(3000)
    assert ladder.mapped == {f"{P}:5060": f"{N}:7000"}
    ladder.finish()


def test_what_an_earlier_process_left_is_kept_where_a_phone_needs_it() -> None:
    ladder = Ladder()
    mapping = Mapping(UDP, PHONE, Endpoint(N, 7000), "sip")
    ladder.kernel.run([OpenMapping(mapping, 100.0)])
    ladder.alg.restore([Restored(mapping, 100.0)], ladder.now)
    registers(ladder.phone(P), ladder.server(S.host))
    ladder.wait(1000)
    assert ladder.mapped == {f"{P}:5060": f"{N}:7000"}
    ladder.finish()


def test_another_outside_address_ends_everything() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S.host)
    ladder.run(ladder.alg.adopt(port_forward(7000, Endpoint("192.168.33.20", 5060)), ladder.now))
    registers(phone, server)
    call = Outgoing(phone, server)
    call.stands()
    ladder.alg.take_events()
    ladder.moves_to("203.0.113.2")
    assert ladder.mapped == {}
    assert ladder.flows == set()
    assert {type(command) for command in ladder.commands} >= {EndFlow}
    lost = [event.facts[0][1] for event in ladder.alg.take_events() if event.name == "address-lost"]
    assert lost == ["192.168.33.20:5060", f"{P}:5060", f"{P}:10000", f"{P}:10001"]
    assert b"203.0.113.2:5060" in phone.sends(OPTIONS.payload, server)
    ladder.moves_to("")
    assert phone.sends(OPTIONS.payload, server) == OPTIONS.payload
    assert ladder.reason == "no-public-address"


def test_another_advertised_address_alone_ends_nothing() -> None:
    ladder = Ladder()
    ladder.receive(OPTIONS)
    ladder.changes(advertised_address="198.51.100.1")
    assert ladder.commands == []
    assert b"UDP 198.51.100.1:5060;" in ladder.receive(OPTIONS).payload
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}


def test_a_one_to_one_nat_before_the_router() -> None:
    ladder = Ladder(nat_address=N, advertised_address="198.51.100.1")
    call = Outgoing(ladder.phone(P), ladder.server(S.host))
    sent = call.invite()
    assert sent.count(b"198.51.100.1") == 4
    assert N.encode() not in sent
    assert ladder.mapped[f"{P}:10000"] == f"{N}:10000"
    back = request("OPTIONS", uri="sip:a@198.51.100.1:5060", via="203.0.113.50", contact=None)
    arrived = call.server.sends(back, Endpoint(N, 5060))
    assert arrived == back.replace(b"198.51.100.1:5060", b"192.168.33.10:5060")


def test_media_that_runs_keeps_a_call() -> None:
    ladder = Ladder(call_timeout_s=1000.0)
    call = Outgoing(ladder.phone(P), ladder.server(S.host))
    call.stands()
    flow = Flow(UDP, Endpoint(P, 10000), Endpoint(N, 10000), M)
    for _ in range(5):
        ladder.wait(900)
        ladder.alg.media_seen(flow, ladder.now)
    assert len(ladder.flows) == 2
    ladder.alg.media_seen(flow._replace(remote=S), ladder.now)
    ladder.wait(1001)
    assert ladder.flows == set()
    ladder.finish()


def test_media_keeps_neither_a_call_with_a_session_timer_nor_one_that_isnt_answered() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server(S.host))
    call.invite()
    call.ok(status=183)
    flow = Flow(UDP, Endpoint(P, 10000), Endpoint(N, 10000), M)
    before = ladder.dialogs
    ladder.alg.media_seen(flow, ladder.now + 100)
    assert ladder.dialogs == before


@pytest.mark.interpreted
def test_events_that_nobody_fetches_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_EVENTS", 2)
    ladder = Ladder()
    for host in range(10, 15):
        ladder.receive(
            OPTIONS._replace(
                source=Endpoint(f"192.168.33.{host}", 5060),
                payload=request("OPTIONS", via=f"192.168.33.{host}:5060", contact=None),
            )
        )
    assert [event.name for event in ladder.alg.take_events()] == ["mapping-opened", "peer-admitted"]
    assert ladder.alg.take_events() == []


def test_exceptions_change_while_it_runs() -> None:
    ladder = Ladder()
    ladder.receive(OPTIONS)
    ladder.changes(exempt=(IPv4Network("203.0.113.0/24"),))
    assert ladder.receive(OPTIONS).reason == "except"
    ladder.changes(exempt=())
    assert ladder.receive(OPTIONS).reason == ""


def test_flows_that_are_refused_again_and_again_keep_no_message_from_passing_translated() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server(S.host))
    call.invite()
    ladder.kernel.refuse = lambda command: "held" if isinstance(command, EstablishFlow) else ""
    assert call.ok() is not None
    assert ladder.verdict.action == REPLACE
    assert ladder.flows == set()
    call.ack()
    call.hangs_up()
    assert ladder.alg.calls.refused_flows == {}
    ladder.finish()


def test_a_refused_flow_is_forgotten_with_the_message_that_passes() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server(S.host))
    call.invite()
    answer = Datagram(response(200, "INVITE", body=sdp(M.host, audio(M.port))), S, PHONE, UDP, "wan0")
    alg = ladder.alg
    verdict = alg.receive_datagram(answer, ladder.now)
    verdict = alg.commands_failed(verdict.token, 0, "held", ladder.now)
    assert len(verdict.commands) == 1
    assert alg.commands_failed(verdict.token, 0, "not-natted", ladder.now).payload == answer.payload
    assert alg.calls.refused_flows == {}
    ladder.receive(answer)
    assert len(ladder.flows) == 2


def test_a_timer_of_a_mapping_that_was_never_made_does_nothing() -> None:
    ladder = Ladder()
    ladder.kernel.refuse = lambda _command: "not-natted"
    ladder.receive(INVITE)
    assert ladder.alg.next_timer() is not None
    assert ladder.wait(4000) == []
    ladder.finish()


def test_a_standing_flow_that_cant_be_kept_is_tended_no_more() -> None:
    ladder = Ladder()
    ladder.run(ladder.alg.adopt(Mapping(UDP, PHONE, Endpoint(N, 7000), "sip"), ladder.now, "lan0", S))
    ladder.wait(400)
    ladder.kernel.refuse = lambda command: "port-taken" if isinstance(command, CheckFlow) else ""
    assert b"UDP 203.0.113.1:7000;" in ladder.receive(OPTIONS).payload
    assert ladder.alg.peers.tended == {}
    ladder.wait(400)
    assert b"UDP 203.0.113.1:7000;" in ladder.receive(OPTIONS).payload


def test_a_message_amid_which_something_failed_leaves_nothing_for_a_timer() -> None:
    def ports_taken(_protocol: int, port: int) -> bool:
        if port == 5070:
            raise ValueError("no such port")
        return False

    alg = module.Alg(Settings(frozenset(("lan0",)), N, N), ports_taken)
    alg.adopt(Mapping(UDP, Endpoint("192.168.33.11", 5060), Endpoint(N, 7000), "sip"), 0.0)
    two_ports = request("REGISTER", contact=f"<sip:a@{P}:5070>")
    with pytest.raises(ValueError, match="no such port"):
        alg.receive_datagram(Datagram(two_ports, PHONE, S, UDP, "lan0"), 1.0)
    assert alg.handle_timer(2.0) == ()
    assert alg.public_of(UDP, PHONE) is None


def test_a_timer_that_fails_loses_none_of_the_others() -> None:
    ladder = Ladder(sip_timeout_s=60.0, flow_check_s=100.0)
    alg: Any = ladder.alg
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.stands()
    registers(ladder.phone("192.168.33.11"), ladder.server("203.0.113.50"))
    assert len(list(alg.contacts.all())) == 1
    for dialog in alg.calls.dialogs.values():
        dialog.expires_at = 0.0
    alg.calls.by_call.clear()
    faults = 0
    for _ in range(10):
        try:
            commands = alg.handle_timer(ladder.now + 200)
            break
        except KeyError:
            faults += 1
    assert faults == 1
    assert list(alg.contacts.all()) == []
    refreshed = {command.mapping.private for command in commands if isinstance(command, RefreshMapping)}
    assert PHONE in refreshed
    assert "unregistered" in [event.name for event in alg.take_events()]
    assert alg.next_timer() > ladder.now + 200
