"""Case 9: Record-Route, Route, Path and Refer-To that name the sender change; others' addresses and names don't."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.wire import sip

REFER = """
    REFER sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-192.168.33.10
    Route: <sip:{own};lr>, <sip:203.0.113.50;lr>
    Record-Route: <sip:{own};lr>
    Path: <sip:{own}:5060;lr>,<sip:10.0.0.9;lr>
    Service-Route: <sip:{own};lr>
    Refer-To: <sip:c@{own}:5060?Replaces=x%40192.168.33.10%3Bto-tag%3D192.168.33.10>
    Referred-By: <sip:a@{own}>;cid="192.168.33.10"
    From: <sip:a@203.0.113.50>;tag=192.168.33.10
    To: <sip:b@203.0.113.50>;tag=10.0.0.9
    Call-ID: 1@192.168.33.10
    CSeq: 2 REFER
    Replaces: 2@192.168.33.10;to-tag=1;from-tag=192.168.33.10
    Contact: <sip:a@{own}:5060>
    Content-Length: 0
    """
#: An answer: what the phone sent in its own fields comes back.
OK = """
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-192.168.33.10
    Record-Route: <sip:{own}:5060;lr>, <sip:10.0.0.9;lr>
    Path: <sip:{own}:5060;lr>,<sip:10.0.0.9;lr>
    From: <sip:a@203.0.113.50>;tag=192.168.33.10
    To: <sip:b@203.0.113.50>;tag=10.0.0.9
    Call-ID: 1@192.168.33.10
    CSeq: 2 REFER
    Content-Length: 0
    """


def test_there_and_back() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    assert phone.sends(sip(REFER, own="192.168.33.10"), server) == sip(REFER, own="203.0.113.1")
    assert server.sends(sip(OK, own="203.0.113.1")) == sip(OK, own="192.168.33.10")


def test_a_foreign_address_stays() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    foreign = sip(REFER, own="10.0.0.9")
    assert phone.sends(foreign, server) == foreign
    assert ladder.reason == "nothing-to-edit"
    assert ladder.mapped == {}


def test_another_inside_phones_address_in_a_target_is_mapped_as_a_safety_net() -> None:
    ladder = Ladder()
    phone, other = ladder.phone("192.168.33.10"), ladder.phone("192.168.33.11")
    server = ladder.server("203.0.113.50")
    other.sends(sip(REFER, own="192.168.33.11"), server)
    target = """
        BYE sip:b@{other} SIP/2.0
        Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-2
        Route: <sip:203.0.113.50;lr>,<sip:{other};lr>
        From: <sip:a@203.0.113.50>;tag=a
        To: <sip:b@203.0.113.50>;tag=b
        Call-ID: c1
        CSeq: 2 BYE
        Content-Length: 0
        """
    inside = sip(target, own="192.168.33.10", other="192.168.33.11:5060")
    assert phone.sends(inside, server) == sip(target, own="203.0.113.1:16384", other="203.0.113.1:5060").replace(
        b"16384:5060", b"16384"
    )
