"""Case 32, the engine's part: what the administrator doesn't NAT passes; his port forward is his PBX's mapping."""

from __future__ import annotations

from ipaddress import IPv4Network

from tests.engine.ladder import Ladder, port_forward
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine.verdict import Endpoint, OpenMapping

P, N = "192.168.33.10", "203.0.113.1"
INVITE = request("INVITE", body=sdp(P, audio(10000)))


def test_an_excepted_destination_gets_every_byte_as_it_came() -> None:
    ladder = Ladder(exempt=(IPv4Network("10.8.0.0/16"), IPv4Network("203.0.113.48/29")))
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    assert phone.sends(INVITE, server) == INVITE
    assert ladder.reason == "except"
    assert ladder.mapped == {}
    assert phone.sends(INVITE, ladder.server("203.0.113.47")) != INVITE


def test_what_comes_from_an_excepted_address_does_too() -> None:
    ladder = Ladder(exempt=(IPv4Network("203.0.113.50/32"),))
    phone = ladder.phone(P)
    phone.sends(INVITE, ladder.server("203.0.113.60"))
    answer = response(200, "INVITE")
    assert ladder.server("203.0.113.60").sends(answer) != answer
    ladder.phone(P).sends(INVITE, ladder.server("203.0.113.50"))
    assert ladder.server("203.0.113.50").sends(answer) == answer
    assert ladder.reason == "except"


def test_a_flow_without_source_nat_passes_and_makes_no_mapping() -> None:
    ladder = Ladder()
    ladder.kernel.refuse = lambda _command: "not-natted"
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    assert phone.sends(INVITE, server) == INVITE
    assert ladder.reason == "not-natted"
    assert ladder.alg.reasons == {"not-natted": 1}
    assert ladder.mapped == {}


def test_a_port_forward_is_the_pbxs_mapping_for_good() -> None:
    ladder = Ladder()
    pbx, server = ladder.phone("192.168.33.20", 5062), ladder.server("203.0.113.50")
    ladder.run(ladder.alg.adopt(port_forward(5060, pbx.endpoint), ladder.now))
    assert [type(command) for command in ladder.commands] == [OpenMapping]
    registers(pbx, server)
    assert ladder.public_of(pbx) == Endpoint(N, 5060)
    phone = ladder.phone(P)
    registers(phone, server)
    assert ladder.public_of(phone) == Endpoint(N, 16384), "its port is the PBX's"
    ladder.wait(100000)
    assert ladder.mapped == {"192.168.33.20:5062": f"{N}:5060"}
    stranger = ladder.server("198.51.100.7")
    options = request("OPTIONS", uri=f"sip:pbx@{N}:5060", via="198.51.100.7:5060", contact=None)
    assert stranger.sends(options) == options.replace(b"sip:pbx@203.0.113.1:5060", b"sip:pbx@192.168.33.20:5062")
    ladder.finish()


def test_calls_through_the_port_forward() -> None:
    ladder = Ladder()
    pbx, server = ladder.phone("192.168.33.20", 5062), ladder.server("203.0.113.50")
    ladder.run(ladder.alg.adopt(port_forward(5060, pbx.endpoint), ladder.now, "lan0"))
    call = Outgoing(pbx, server)
    sent = call.invite()
    assert b"Via: SIP/2.0/UDP 203.0.113.1:5060;" in sent
    call.ok()
    call.ack()
    assert len(ladder.flows) == 2
    call.is_hung_up()
    ladder.finish()


def test_an_adopted_rtp_range() -> None:
    ladder = Ladder()
    pbx, server = ladder.phone("192.168.33.20"), ladder.server("203.0.113.50")
    for port in (10000, 10001):
        ladder.run(ladder.alg.adopt(port_forward(port, Endpoint("192.168.33.20", port)), ladder.now, "lan0"))
    other = Outgoing(ladder.phone(P), server, call="other")
    assert b"m=audio 16384 " in other.invite(), "the forwarded ports are the PBX's"
    assert b"m=audio 10000 " in Outgoing(pbx, server, call="c2").invite()
