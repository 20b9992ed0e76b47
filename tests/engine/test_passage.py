from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from tests.engine.ladder import Ladder, N, port_forward
from tests.engine.scenario import M, Outgoing, registers
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine import passage as module
from sipalg.engine.verdict import UDP, Datagram, Endpoint

P = "192.168.33.10"
BODY = sdp(P, audio(10000))


def test_a_direction_is_told_by_the_interface() -> None:
    ladder = Ladder(inside_interfaces=frozenset(("lan0", "lan1")))
    message = request("OPTIONS")
    server = ladder.server("203.0.113.50")
    assert ladder.phone(P, interface="lan1").sends(message, server) != message
    assert ladder.phone("192.168.33.99", interface="wan1").sends(message, server) == message
    assert ladder.reason == "no-mapping"


def test_no_public_address() -> None:
    ladder = Ladder(nat_address="", advertised_address="")
    message = request("OPTIONS")
    assert ladder.phone(P).sends(message, ladder.server("203.0.113.50")) == message
    assert ladder.reason == "no-public-address"


def test_a_message_with_a_description_only_is_mapped_and_admits_its_server() -> None:
    ladder = Ladder()
    message = request("INVITE", via="phone.lan", contact="<sip:a@phone.lan>", body=BODY)
    sent = ladder.phone(P).sends(message, ladder.server("203.0.113.50"))
    assert ladder.rules == ["content-length", "sdp-o", "sdp-c"]
    assert b"phone.lan;" in sent
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10000", f"{P}:10001"}


@pytest.mark.parametrize("via", ["phone.lan", f"{P}:5060"])
def test_no_free_port(via: str) -> None:
    ladder = Ladder(5060, media_ports=(5060, 5060))
    message = request("INVITE", via=via, contact=None, body=BODY)
    assert ladder.phone(P).sends(message, ladder.server("203.0.113.50")) == message
    assert ladder.reason == "no-free-port"


def test_nothing_private_nothing_mapped() -> None:
    ladder = Ladder()
    message = request("OPTIONS", via="phone.lan", contact=None)
    assert ladder.phone(P).sends(message, ladder.server("203.0.113.50")) == message
    assert ladder.reason == "nothing-to-edit"
    assert ladder.mapped == {}


@pytest.mark.interpreted
def test_answers_to_excepted_addresses_are_remembered_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXEMPT_CACHE", 1)
    ladder = Ladder(exempt=(IPv4Network("10.0.0.0/8"),))
    phone = ladder.phone(P)
    message = request("OPTIONS")
    for _ in range(2):
        assert phone.sends(message, ladder.server("203.0.113.50")) != message
        assert phone.sends(message, ladder.server("10.1.2.3")) == message
        assert ladder.server("203.0.113.50").sends(response(200, "OPTIONS")) != response(200, "OPTIONS")
    assert len(ladder.alg._passage._exempt) == 1


def test_between_two_inside_networks_media_goes_through_the_router() -> None:
    ladder = Ladder(inside_interfaces=frozenset(("lan0", "lan1")))
    phone, other = ladder.phone(P), ladder.phone("192.168.44.10", interface="lan1")
    server = ladder.server("203.0.113.50")
    for one in (phone, other):
        one.sends(request("OPTIONS", via=str(one.endpoint), contact=None), server)
    target = ladder.public_of(other)
    arrived = phone.sends(request("INVITE", uri=f"sip:b@{target}", body=BODY), target)
    assert arrived.startswith(b"INVITE sip:b@192.168.44.10:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;")
    assert b"c=IN IP4 203.0.113.1\r\n" in arrived
    assert len(ladder.alg.calls.dialogs) == 2


def test_within_one_inside_network_the_description_stays() -> None:
    ladder = Ladder()
    phone, other = ladder.phone(P), ladder.phone("192.168.33.11")
    server = ladder.server("203.0.113.50")
    for one in (phone, other):
        one.sends(request("OPTIONS", via=str(one.endpoint), contact=None), server)
    target = ladder.public_of(other)
    arrived = phone.sends(request("INVITE", uri=f"sip:b@{target}", body=BODY), target)
    assert b"c=IN IP4 192.168.33.10\r\n" in arrived
    assert f"{P}:10000" not in ladder.mapped


def test_trying_and_answers_to_what_makes_no_call_are_not_followed() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.invite()
    call.is_answered(100, body=sdp(M.host, audio(M.port)))
    call.is_answered(200, "OPTIONS", body=sdp(M.host, audio(M.port)))
    assert ladder.flows == set()


def test_an_ended_mapping_takes_all_that_was_remembered_of_it_along() -> None:
    ladder = Ladder(sip_timeout_s=60.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    phone.sends(request("OPTIONS", via=P, contact=f"<sip:a@{P}>"), server)
    assert len(ladder.alg._passage.headers.bare) == 2
    keys = {key for key, _ in ladder.alg._passage.headers.bare}
    assert all(ladder.alg._passage.headers._is_bare(key) for key in keys)
    assert not ladder.alg._passage.headers._is_bare((UDP, Endpoint("192.168.33.77", 5060)))
    phone.sends(request("OPTIONS", contact=f"<sip:a@{N}:5060>"), server)
    assert len(ladder.alg.nat_aware) == 1
    ladder.wait(61)
    assert ladder.alg._passage.headers.bare == {}
    assert ladder.alg.nat_aware == {}


def test_a_registration_of_one_phone_says_nothing_about_anothers() -> None:
    ladder = Ladder()
    phone, other = ladder.phone(P), ladder.phone("192.168.33.11")
    server = ladder.server("203.0.113.50")
    registers(phone, server)
    registers(other, server, contact="*", expires="0", granted=None)
    assert len(list(ladder.alg.contacts.all())) == 1


def test_an_answer_to_a_register_that_isnt_ours_to_follow() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    inward = request("REGISTER", uri=f"sip:{N}", via="203.0.113.50", contact="<sip:z@203.0.113.50>")
    assert server.sends(inward) == inward.replace(b"sip:203.0.113.1 ", b"sip:192.168.33.10 ") or ladder.verdict
    assert ladder.arrived_at == Endpoint(P, 5060)
    assert len(list(ladder.alg.contacts.all())) == 1


def test_a_privileged_source_port_passes() -> None:
    ladder = Ladder()
    message = request("OPTIONS")
    assert ladder.phone(P, 1023).sends(message, ladder.server("203.0.113.50")) == message
    assert ladder.reason == "source-port-privileged"
    assert ladder.mapped == {}


def test_no_public_address_inward() -> None:
    ladder = Ladder()
    server = ladder.server("203.0.113.50")
    ladder.phone(P).sends(request("OPTIONS"), server)
    ladder.moves_to("")
    answer = Datagram(response(200, "OPTIONS"), server.endpoint, Endpoint(P, 5060), UDP, "wan0")
    assert ladder.receive(answer).payload == answer.payload
    assert ladder.reason == "no-public-address"


def test_what_comes_for_a_media_port_is_no_message_of_ours() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.invite()
    message = request("OPTIONS", uri=f"sip:a@{N}:5060", via="203.0.113.50")
    assert call.server.sends(message, Endpoint(N, 10000)) == message
    assert ladder.reason == "no-mapping"


@pytest.mark.interpreted
def test_a_flood_of_nat_aware_sources_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAT_AWARE", 2)
    ladder = Ladder()
    message = request("OPTIONS", contact=f"<sip:a@{N}:5060>")
    for host in ("192.168.33.10", "192.168.33.11", "192.168.33.12", "192.168.33.12"):
        ladder.phone(host).sends(message, ladder.server("203.0.113.50"))
    assert [key[1].host for key in ladder.alg.nat_aware] == ["192.168.33.11", "192.168.33.12"]


def test_a_phone_that_moves_to_another_interface() -> None:
    ladder = Ladder(inside_interfaces=frozenset(("lan0", "lan1")))
    server = ladder.server("203.0.113.50")
    ladder.phone(P).sends(request("OPTIONS"), server)
    sent = ladder.phone(P, interface="lan1").sends(request("OPTIONS"), server)
    assert b"UDP 203.0.113.1:5060;" in sent
    assert [entry.in_interface for entry in ladder.alg.mappings.entries.values()] == ["lan1"]


def test_nat_awareness_ends_with_a_private_contact() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    aware = request("OPTIONS", contact=f"<sip:a@{N}:5060>")
    bye = request("BYE", contact=None)
    for message in (aware, bye):
        assert phone.sends(message, server) == message
    assert phone.sends(request("OPTIONS"), server) != request("OPTIONS")
    assert ladder.alg.nat_aware == {}
    assert phone.sends(bye, server) != bye


def test_excepted_both_ways() -> None:
    ladder = Ladder(exempt=(IPv4Network("203.0.113.50/32"),))
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    message = request("OPTIONS")
    phone.sends(message, ladder.server("203.0.113.60"))
    assert phone.sends(message, server) == message
    assert ladder.reason == "except"
    inward = request("OPTIONS", uri=f"sip:a@{N}:5060", via="203.0.113.50")
    assert server.sends(inward) == inward
    assert ladder.reason == "except"


def test_a_nat_aware_phone_behind_a_port_forward_gets_answers_to_what_it_wrote() -> None:
    ladder = Ladder()
    pbx, server = ladder.phone(P), ladder.server("203.0.113.50")
    ladder.run(ladder.alg.adopt(port_forward(5060, pbx.endpoint), ladder.now, "lan0"))
    message = request("REGISTER", via=f"{N}:5060", contact=f"<sip:a@{N}:5060>")
    assert pbx.sends(message, server) == message
    answer = response(200, "REGISTER", via=f"{N}:5060", contact=f"<sip:a@{N}:5060>;expires=60")
    assert server.sends(answer) == answer
    assert ladder.reason == "nat-aware"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Call-ID: c2", "field-twice"),
        ("CSeq: 8 INVITE", "field-twice"),
        ("To: <sip:c@example.org>", "field-twice"),
        ("Route: <sip:203.0.113.50;lr>;;x", "empty-parameter"),
        ("Contact: <sip:b@example.org>;;", "empty-parameter"),
    ],
)
def test_an_ambiguous_message_passes_and_opens_nothing(line: str, reason: str) -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    body = sdp("192.168.33.10", audio(10000))
    invite = request("INVITE", body=body, more=f"{line}\n")
    assert phone.sends(invite, server) == invite
    assert (ladder.reason, ladder.mapped, ladder.flows) == (reason, {}, set())
    phone.sends(request("OPTIONS", call="hello"), server)
    asked = request("INVITE", uri="sip:a@203.0.113.1", via="203.0.113.50", contact=None, body=body, more=f"{line}\n")
    assert server.sends(asked) == asked
    assert (ladder.reason, ladder.flows, ladder.alg.calls.dialogs) == (reason, set(), {})
    ladder.finish()


def test_empty_parameters_where_nothing_is_edited_or_opened_are_nobodys_concern() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    body = sdp("192.168.33.10", audio(10000))
    assert b"192.168" not in phone.sends(request("INVITE", body=body, more="X-A: ;;,,;;\n"), server)
    register = request("REGISTER", contact="<sip:a@192.168.33.10:5060>;;expires=60")
    assert b"@203.0.113.1:5060>;;expires=60" in phone.sends(register, server)
