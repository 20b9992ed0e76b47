"""Case 2: what comes back to the phone names the phone's own address, as it sent it."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.wire import sip

INVITE = sip("""
    INVITE sip:bob@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1;rport
    From: <sip:alice@203.0.113.50>;tag=a
    To: <sip:bob@203.0.113.50>
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:alice@192.168.33.10:5060>
    Content-Length: 0
    """)
OK = """
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-1{parameters}
    From: <sip:alice@203.0.113.50>;tag=a
    To: <sip:bob@203.0.113.50>;tag=b
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:bob@203.0.113.50>
    Content-Length: 0
    """
OK_INSIDE = """
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1{parameters}
    From: <sip:alice@203.0.113.50>;tag=a
    To: <sip:bob@203.0.113.50>;tag=b
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:bob@203.0.113.50>
    Content-Length: 0
    """


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        (";received=203.0.113.1;rport=5060", ";received=192.168.33.10;rport=5060"),
        (";rport=5060;received=203.0.113.1", ";rport=5060;received=192.168.33.10"),
        (";received=203.0.113.1", ";received=192.168.33.10"),
        (";rport=5060", ";rport=5060"),
        (";rport", ";rport"),
        ("", ""),
    ],
)
def test_the_phone_gets_its_sent_by_back(outside: str, inside: str) -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    phone.sends(INVITE, server)
    arrived = server.sends(sip(OK, parameters=outside))
    assert arrived == sip(OK_INSIDE, parameters=inside)
    assert b"203.0.113.1" not in arrived.replace(b"203.0.113.50", b"")
    ladder.finish()


def test_rport_is_the_phones_own_where_its_public_port_is_another() -> None:
    ladder = Ladder(5060)
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    phone.sends(INVITE, server)
    public = ladder.public_of(phone)
    assert public.port == 16384
    outside = sip(OK, parameters=";received=203.0.113.1;rport=16384").replace(b"1:5060;", b"1:16384;")
    assert server.sends(outside, public) == sip(
        OK_INSIDE.format(parameters=";received=192.168.33.10;rport=5060")
    )


def test_a_sent_by_without_port_comes_back_without_port() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    bare = INVITE.replace(b"UDP 192.168.33.10:5060", b"UDP 192.168.33.10")
    assert b"UDP 203.0.113.1;branch" in phone.sends(bare, server)
    arrived = server.sends(sip(OK, parameters="").replace(b"1:5060;", b"1;"))
    assert arrived == sip(OK_INSIDE, parameters="").replace(b"10:5060;", b"10;")
