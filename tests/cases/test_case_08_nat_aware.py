"""Case 8: a phone whose Contact is public already is left alone, and shown as NAT aware."""

from __future__ import annotations

from tests.engine.ladder import Ladder, port_forward
from tests.engine.wire import sip

REGISTER = sip("""
    REGISTER sip:203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1;rport
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:a@203.0.113.50>
    Call-ID: r1
    CSeq: 1 REGISTER
    Contact: <sip:a@203.0.113.1:5060>
    Content-Length: 0
    """)
BYE = sip("""
    BYE sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-2;rport
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>;tag=b
    Call-ID: c1
    CSeq: 2 BYE
    Content-Length: 0
    """)


def test_nothing_changes() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    for message in (REGISTER, BYE, REGISTER):
        assert phone.sends(message, server) == message
        assert ladder.reason == "nat-aware"
    assert ladder.mapped == {}
    snapshot = ladder.alg.snapshot(ladder.now)
    assert snapshot["phones"] == [{"protocol": "udp", "private": "192.168.33.10:5060", "nat_aware": True}]
    assert snapshot["passes"] == {"nat-aware": 3}


def test_a_phone_that_stops_asking_stun_is_translated_again() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    phone.sends(REGISTER, server)
    private = REGISTER.replace(b"a@203.0.113.1:5060", b"a@192.168.33.10:5060")
    assert phone.sends(private, server) == REGISTER.replace(b"UDP 192.168.33.10", b"UDP 203.0.113.1")
    assert ladder.alg.snapshot(ladder.now)["phones"] == []
    assert phone.sends(BYE, server) == BYE.replace(b"192.168.33.10", b"203.0.113.1")


def test_a_pbx_behind_a_port_forward_gets_back_what_it_wrote() -> None:
    ladder = Ladder()
    pbx, server = ladder.phone("192.168.33.20"), ladder.server("203.0.113.50")
    ladder.run(ladder.alg.adopt(port_forward(5060, pbx.endpoint), ladder.now, "lan0"))
    asks = REGISTER.replace(b"192.168.33.10", b"203.0.113.1").replace(b"REGISTER", b"OPTIONS")
    answer = asks.replace(b"OPTIONS sip:203.0.113.50 SIP/2.0", b"SIP/2.0 200 OK")
    hairpin = BYE.replace(b"sip:b@203.0.113.50 SIP", b"sip:b@203.0.113.1:5060 SIP")
    call = hairpin.replace(b"192.168.33.10", b"198.51.100.7")
    # Until it has said what it is, it is told its private address as every other one.
    assert server.sends(call) == call.replace(b"sip:b@203.0.113.1:5060", b"sip:b@192.168.33.20:5060")
    assert pbx.sends(asks, server) == asks
    for message in (answer, call):
        assert server.sends(message) == message
        assert ladder.reason == "nat-aware"
    phone = ladder.phone("192.168.33.10")
    sent = phone.sends(hairpin, ladder.public_of(pbx))
    assert sent == hairpin.replace(b"UDP 192.168.33.10:5060", f"UDP {ladder.public_of(phone)}".encode())
