"""Settings that change while phones are registered and calls stand."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder, N, Phone, Server
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import request

from sipalg.engine.verdict import (
    UDP,
    AdmitPeer,
    CheckFlow,
    Datagram,
    Endpoint,
    EstablishFlow,
    Flow,
    Mapping,
    RefreshMapping,
)

P = "192.168.33.10"
OTHER = "192.168.33.11"
S = "203.0.113.50"
PRIVATE, PUBLIC, SERVER = Endpoint(P, 5060), Endpoint(N, 5060), Endpoint(S, 5060)


def options(number: int, host: str = P) -> bytes:
    return request("OPTIONS", via=f"{host}:5060", number=number, contact=f"<sip:a@{host}:5060>")


def test_settings_of_the_next_message_only_need_no_command() -> None:
    ladder = Ladder()
    registers(ladder.phone(P), ladder.server(S))
    ladder.changes(ports=(5070,), direct_media=False, media_ports=(20000, 20100), call_timeout_s=60.0)
    assert ladder.commands == []
    assert ladder.alg.settings.media_ports == (20000, 20100)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}


def test_another_advertised_address_is_written_from_now_on() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    registers(phone, server)
    ladder.changes(advertised_address="198.51.100.7")
    assert ladder.commands == []
    assert b"<sip:a@198.51.100.7:5060>" in phone.sends(options(9), server)


# sip-timeout


def test_a_longer_sip_timeout_holds_for_what_stands() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(options(1), server)
    ladder.wait(290)
    ladder.changes(sip_timeout_s=3600.0)
    commands = ladder.wait(0)
    assert [type(command) for command in commands] == [RefreshMapping, AdmitPeer]
    ladder.wait(3590)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}
    ladder.wait(20)
    assert ladder.mapped == {}
    ladder.finish()


def test_a_shorter_sip_timeout_ends_nothing_at_once() -> None:
    ladder = Ladder(sip_timeout_s=3600.0)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(options(1), server)
    ladder.wait(1000)
    ladder.changes(sip_timeout_s=300.0)
    ladder.wait(290)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}
    ladder.wait(20)
    assert ladder.mapped == {}
    ladder.finish()


def test_a_server_that_comes_after_a_shorter_sip_timeout_is_let_in_as_long_as_the_phone_is_registered() -> None:
    # The mapping is renewed by what it got before: a lease of two hours.
    ladder = Ladder()
    phone, other = ladder.phone(P), ladder.server("203.0.113.51")
    registers(phone, ladder.server(S), granted=f"<sip:a@{PUBLIC}>;expires=100000")
    ladder.changes(sip_timeout_s=60.0)
    phone.sends(options(2), other)
    ladder.wait(7000)
    assert other.sends(request("OPTIONS", uri=f"sip:a@{PUBLIC}", via="203.0.113.51"), PUBLIC) is not None
    ladder.wait(90000)
    assert other.sends(request("OPTIONS", uri=f"sip:a@{PUBLIC}", via="203.0.113.51"), PUBLIC) is not None
    ladder.finish()


def test_a_phone_that_is_leaving_stays_no_longer() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server(S)
    registers(phone, server)
    registers(phone, server, contact=f"<sip:a@{P}:5060>;expires=0", granted=None, number=2)
    ladder.changes(sip_timeout_s=3600.0)
    ladder.wait(40)
    assert ladder.mapped == {}
    ladder.finish()


@pytest.mark.parametrize(("granted_s", "stays_s"), [(60, 3600), (7200, 7200)])
def test_a_registration_lives_for_the_longer_of_both(granted_s: int, stays_s: int) -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    registers(ladder.phone(P), ladder.server(S), granted=f"<sip:a@{N}:5060>;expires={granted_s}")
    ladder.changes(sip_timeout_s=3600.0)
    ladder.wait(stays_s - 10)
    assert len(list(ladder.alg.contacts.all())) == 1
    ladder.wait(20)
    assert len(list(ladder.alg.contacts.all())) == 0
    ladder.finish()


def test_flows_that_the_policy_of_the_kernel_does_not_hold_for_get_the_new_time() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(request("REGISTER", contact=f"<sip:a@{P}:5070>"), server)
    (own,) = [command.flow for command in ladder.commands if isinstance(command, EstablishFlow)]
    ladder.run(ladder.alg.adopt(Mapping(UDP, PRIVATE, PUBLIC, "sip"), ladder.now, "lan0", SERVER))
    older = Flow(UDP, PRIVATE, PUBLIC, SERVER)
    ladder.changes(sip_timeout_s=3600.0)
    assert ladder.commands == [CheckFlow(own, 3600.0, fixed=True)]
    # The driver tells of all that conntrack has.
    ladder.run(ladder.alg.adopt(Mapping(UDP, PRIVATE, PUBLIC, "sip"), ladder.now, "lan0", SERVER))
    assert ladder.commands == [CheckFlow(older, 3600.0, fixed=True)]
    phone.sends(options(9), server)
    assert ladder.checks == []
    ladder.wait(400)
    phone.sends(options(10), server)
    assert (older, 3600.0) in ladder.checks


# disabled


def test_a_new_phone_is_left_to_plain_nat_and_a_known_one_is_served() -> None:
    ladder = Ladder()
    known, new, server = ladder.phone(P), ladder.phone(OTHER), ladder.server(S)
    registers(known, server)
    ladder.changes(disabled=True)
    assert new.sends(options(1, OTHER), server) == options(1, OTHER)
    assert ladder.reason == "disabled"
    assert ladder.commands == []
    assert f"{N}:5060".encode() in known.sends(options(2), server)
    registers(known, server, number=3)
    assert len(list(ladder.alg.contacts.all())) == 1
    ladder.changes(disabled=False)
    assert new.sends(options(4, OTHER), server) != options(4, OTHER)
    assert ladder.alg.counts()["passes"]["disabled"] == 1


def test_a_standing_call_is_served_to_its_end_and_a_new_one_is_not_begun() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    registers(phone, server)
    call = Outgoing(phone, server)
    call.invite()
    ladder.changes(disabled=True)
    call.ok()
    assert ladder.rules
    call.ack()
    assert ladder.rules
    assert len(ladder.flows) == 2
    for method in ("INVITE", "CANCEL", "ACK"):
        message = request(method, number=50, call="another")
        assert phone.sends(message, server) == message
        assert ladder.reason == "disabled"
    call.bye()
    assert ladder.rules
    call.is_answered(200, "BYE")
    assert ladder.rules
    ladder.finish()


def test_calls_from_outside_are_not_begun_either() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    registers(phone, server)
    ladder.changes(disabled=True)
    invite = request("INVITE", uri=f"sip:a@{N}:5060", via=S, call="in")
    assert server.sends(invite) == invite
    assert ladder.reason == "disabled"
    ping = request("OPTIONS", uri=f"sip:a@{N}:5060", via=S, call="ping")
    assert server.sends(ping) != ping


def test_a_known_phone_gets_no_other_mapping_of_signalling() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    registers(phone, server)
    ladder.changes(disabled=True)
    message = request("REGISTER", contact=f"<sip:a@{P}:5070>", number=7)
    assert phone.sends(message, server) == message
    assert ladder.reason == "disabled"
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}


# All at once


def test_all_ends_when_that_is_wanted() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    registers(phone, server)
    call = Outgoing(phone, server)
    call.invite()
    call.ok()
    call.ack()
    assert ladder.flows
    ladder.alg.take_events()
    ladder.run(ladder.alg.end_all(ladder.now))
    assert (ladder.mapped, ladder.flows) == ({}, set())
    assert "address-lost" not in [event.name for event in ladder.alg.take_events()]
    ladder.finish()


# Observing, and then no more


def test_what_the_kernel_has_not_goes_and_what_it_has_stays_with_its_calls() -> None:
    ladder = Ladder()
    phone, other, server = ladder.phone(P), ladder.phone(OTHER), ladder.server(S)
    registers(phone, server)
    call = Outgoing(phone, server)
    call.stands()
    observed(ladder, other, server)
    standing = set(ladder.kernel.mappings)
    ladder.run(ladder.alg.keep_only(standing, ladder.now))
    assert set(ladder.mapped) == {f"{P}:{port}" for port in (5060, 10000, 10001)}
    assert len(ladder.flows) == 2
    renewed = {command.mapping for command in ladder.commands if isinstance(command, RefreshMapping)}
    assert renewed == standing
    assert [command.peer for command in ladder.commands if isinstance(command, AdmitPeer)] == [S]
    call.hangs_up()
    ladder.finish()


def test_a_call_that_needs_what_is_not_there_goes_too() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    registers(phone, server)
    standing = set(ladder.kernel.mappings)
    Outgoing(phone, server).invite()
    ladder.kernel.mappings = {one: until for one, until in ladder.kernel.mappings.items() if one in standing}
    ladder.run(ladder.alg.keep_only(standing, ladder.now))
    assert ladder.alg.calls.dialogs == {}
    ladder.finish()


def observed(ladder: Ladder, phone: Phone, server: Server) -> None:
    """Have the engine decide on a message, and nobody carry it out."""
    datagram = Datagram(options(5, phone.endpoint.host), phone.endpoint, server.endpoint, UDP, "lan0")
    verdict = ladder.alg.receive_datagram(datagram, ladder.now)
    ladder.alg.commands_done(verdict.token, ladder.now)
