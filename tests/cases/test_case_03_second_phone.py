"""Case 3: a second phone on the same port gets another public port, and is reached by it."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.wire import sip

from sipalg.engine.verdict import Endpoint

REGISTER = """
    REGISTER sip:203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK-{user}
    From: <sip:{user}@203.0.113.50>;tag={user}
    To: <sip:{user}@203.0.113.50>
    Call-ID: {user}
    CSeq: 1 REGISTER
    Contact: <sip:{user}@{host}:5060>
    Content-Length: 0
    """
REGISTER_OUTSIDE = """
    REGISTER sip:203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.1:{port};branch=z9hG4bK-{user}
    From: <sip:{user}@203.0.113.50>;tag={user}
    To: <sip:{user}@203.0.113.50>
    Call-ID: {user}
    CSeq: 1 REGISTER
    Contact: <sip:{user}@203.0.113.1:{port}>
    Content-Length: 0
    """
INVITE = sip("""
    INVITE sip:bob@203.0.113.1:16384 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bK-s
    From: <sip:carol@203.0.113.50>;tag=c
    To: <sip:bob@203.0.113.50>
    Call-ID: in
    CSeq: 1 INVITE
    Contact: <sip:carol@203.0.113.50>
    Content-Length: 0
    """)
INVITE_INSIDE = sip("""
    INVITE sip:bob@192.168.33.11:5060 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bK-s
    From: <sip:carol@203.0.113.50>;tag=c
    To: <sip:bob@203.0.113.50>
    Call-ID: in
    CSeq: 1 INVITE
    Contact: <sip:carol@203.0.113.50>
    Content-Length: 0
    """)


def test_two_phones_on_one_port() -> None:
    ladder = Ladder()
    first, second = ladder.phone("192.168.33.10"), ladder.phone("192.168.33.11")
    server = ladder.server("203.0.113.50")
    sent = first.sends(sip(REGISTER, host="192.168.33.10", user="alice"), server)
    assert sent == sip(REGISTER_OUTSIDE, port=5060, user="alice")
    sent = second.sends(sip(REGISTER, host="192.168.33.11", user="bob"), server)
    assert sent == sip(REGISTER_OUTSIDE, port=16384, user="bob")

    assert server.sends(INVITE, Endpoint("203.0.113.1", 16384)) == INVITE_INSIDE
    assert ladder.arrived_at == second.endpoint
    ladder.finish()


def test_a_stranger_rings_nobody() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.11"), ladder.server("203.0.113.50")
    phone.sends(sip(REGISTER, host="192.168.33.11", user="bob"), server)
    assert ladder.server("198.51.100.7").sends(INVITE) is None
