"""Case 7: a Contact on another port than the packet's gets a mapping and a flow of its own."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.wire import sip

from sipalg.engine.verdict import Endpoint

REGISTER = sip("""
    REGISTER sip:203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:a@203.0.113.50>
    Call-ID: r1
    CSeq: 1 REGISTER
    Contact: <sip:a@192.168.33.10:5070>
    Content-Length: 0
    """)
OUTSIDE = sip("""
    REGISTER sip:203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:a@203.0.113.50>
    Call-ID: r1
    CSeq: 1 REGISTER
    Contact: <sip:a@203.0.113.1:5070>
    Content-Length: 0
    """)
INVITE = sip("""
    INVITE sip:a@203.0.113.1:5070 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bK-s
    From: <sip:b@203.0.113.50>;tag=b
    To: <sip:a@203.0.113.50>
    Call-ID: in
    CSeq: 1 INVITE
    Contact: <sip:b@203.0.113.50>
    Content-Length: 0
    """)
PORT = Endpoint("203.0.113.1", 5070)


def test_a_call_arrives_there_behind_the_strict_firewall() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    assert phone.sends(REGISTER, server) == OUTSIDE
    assert ladder.flows == {("192.168.33.10:5070", "203.0.113.1:5070", "203.0.113.50:5060")}
    assert server.sends(INVITE, PORT, strict=True) == INVITE.replace(
        b"sip:a@203.0.113.1:5070", b"sip:a@192.168.33.10:5070"
    )
    assert ladder.arrived_at == Endpoint("192.168.33.10", 5070)


def test_the_flow_stands_as_long_as_the_phone_speaks_and_goes_with_its_mapping() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    for _ in range(5):
        phone.sends(REGISTER, server)
        ladder.wait(1000)
        assert server.sends(INVITE, PORT, strict=True) is not None
    ladder.wait(3600)
    assert ladder.flows == set()
    assert ladder.server("203.0.113.50").sends(INVITE, PORT) is None
    ladder.finish()


def test_the_other_port_is_another_where_it_is_taken() -> None:
    ladder = Ladder(5070)
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    assert phone.sends(REGISTER, server) == OUTSIDE.replace(b"203.0.113.1:5070", b"203.0.113.1:16384")
