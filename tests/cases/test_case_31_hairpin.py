"""Case 31: a length beyond the datagram passes; P calls P2 through S, and both calls end whoever hangs up."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder, Phone, Server
from tests.engine.scenario import registers
from tests.engine.wire import sip

from sipalg.engine.verdict import Endpoint

N = "203.0.113.1"


def test_a_length_beyond_the_datagram_passes() -> None:
    ladder = Ladder()
    message = sip("""
        INVITE sip:b@203.0.113.50 SIP/2.0
        Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1
        Call-ID: c1
        CSeq: 1 INVITE
        Contact: <sip:a@192.168.33.10:5060>
        Content-Type: application/sdp
        Content-Length: 42

        v=0
        c=IN IP4 192.168.33.10
        m=audio 1
        """)
    assert len(message.partition(b"\r\n\r\n")[2]) == 40
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    assert phone.sends(message, server) == message
    assert ladder.reason == "content-length-beyond-datagram"
    assert ladder.mapped == {}


INVITE = """
    INVITE sip:bob@{target} SIP/2.0
    {vias}
    From: <sip:alice@203.0.113.50>;tag=a
    To: <sip:bob@203.0.113.50>
    Call-ID: c1
    CSeq: 1 INVITE
    {routes}Contact: <sip:alice@{contact}:5060>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP4 {own}
    s=-
    c=IN IP4 {own}
    t=0 0
    m=audio 10000 RTP/AVP 0
    """
OK = """
    SIP/2.0 200 OK
    {vias}
    From: <sip:alice@203.0.113.50>;tag=a
    To: <sip:bob@203.0.113.50>;tag=b
    Call-ID: c1
    CSeq: 1 INVITE
    {routes}Contact: <sip:bob@{contact}>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP4 {own}
    s=-
    c=IN IP4 {own}
    t=0 0
    m=audio {port} RTP/AVP 0
    """
ACK_OR_BYE = """
    {method} sip:{target} SIP/2.0
    Via: SIP/2.0/UDP {own};branch=z9hG4bK-{method}
    {routes}From: {caller}
    To: {callee}
    Call-ID: c1
    CSeq: {number} {method}
    Content-Length: 0
    """
BYE_OK = """
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP {own};branch=z9hG4bK-BYE
    From: {caller}
    To: {callee}
    Call-ID: c1
    CSeq: {number} BYE
    Content-Length: 0
    """
ALICE, BOB = "<sip:alice@203.0.113.50>;tag=a", "<sip:bob@203.0.113.50>;tag=b"
S_VIA = "Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bK-s"
ROUTE = "Record-Route: <sip:203.0.113.50;lr>\n"


def established(routes: str) -> tuple[Ladder, Phone, Phone, Server]:
    """P's call to P2, answered; every message at each of the four wires is checked."""
    ladder = Ladder()
    alice, bob, server = ladder.phone("192.168.33.10"), ladder.phone("192.168.33.11"), ladder.server("203.0.113.50")
    registers(alice, server, user="alice")
    registers(bob, server, user="bob")
    to_bob = Endpoint(N, 16384)
    assert ladder.public_of(bob) == to_bob
    inside = "Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1"
    outside = "Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-1"
    own = "192.168.33.10"
    sent = alice.sends(sip(INVITE, target="203.0.113.50", vias=inside, routes="", contact=own, own=own), server)
    assert sent == sip(INVITE, target="203.0.113.50", vias=outside, routes="", contact=N, own=N)
    both = f"{S_VIA}\n{outside}"
    arrived = server.sends(
        sip(INVITE, target=f"{N}:16384", vias=both, routes=routes, contact=N, own=N), to_bob
    )
    assert arrived == sip(
        INVITE, target="192.168.33.11:5060", vias=both, routes=routes, contact=N, own="192.168.33.10"
    ), "the caller's media address is the one inside, its Contact stays public"
    answer = sip(OK, vias=both, routes=routes, contact="192.168.33.11:5060", own="192.168.33.11", port=10000)
    sent = bob.sends(answer, server)
    assert sent == sip(OK, vias=both, routes=routes, contact=f"{N}:16384", own=N, port=16386)
    arrived = server.sends(sip(OK, vias=outside, routes=routes, contact=f"{N}:16384", own=N, port=16386))
    assert arrived == sip(
        OK, vias=inside, routes=routes, contact=f"{N}:16384", own="192.168.33.11", port=10000
    )
    assert ladder.flows == set(), "media goes directly"
    assert len(ladder.alg.calls.dialogs) == 2
    return ladder, alice, bob, server


def test_with_record_route_the_caller_hangs_up() -> None:
    ladder, alice, bob, server = established(ROUTE)
    route = "Route: <sip:203.0.113.50;lr>\n"
    target = f"bob@{N}:16384"
    for number, method in ((1, "ACK"), (2, "BYE")):
        values = {"method": method, "number": number, "caller": ALICE, "callee": BOB}
        inside = sip(ACK_OR_BYE, target=target, own="192.168.33.10:5060", routes=route, **values)
        outside = sip(ACK_OR_BYE, target=target, own=f"{N}:5060", routes=route, **values)
        assert alice.sends(inside, server) == outside
        arrived = server.sends(
            sip(ACK_OR_BYE, target=target, own="203.0.113.50:5060", routes="", **values), Endpoint(N, 16384)
        )
        bob_inside = "bob@192.168.33.11:5060"
        assert arrived == sip(ACK_OR_BYE, target=bob_inside, own="203.0.113.50:5060", routes="", **values)
    answer = {"number": 2, "caller": ALICE, "callee": BOB}
    bob.sends(sip(BYE_OK, own="203.0.113.50:5060", **answer), server)
    assert server.sends(sip(BYE_OK, own=f"{N}:5060", **answer)) == sip(BYE_OK, own="192.168.33.10:5060", **answer)
    ladder.wait(33)
    assert ladder.alg.calls.dialogs == {}
    ladder.finish()


def test_with_record_route_the_called_one_hangs_up() -> None:
    ladder, alice, bob, server = established(ROUTE)
    values = {"method": "BYE", "number": 1, "caller": BOB, "callee": ALICE}
    target = f"alice@{N}:5060"
    inside = sip(
        ACK_OR_BYE, target=target, own="192.168.33.11:5060", routes="Route: <sip:203.0.113.50;lr>\n", **values
    )
    sent = bob.sends(inside, server)
    assert sent == inside.replace(b"192.168.33.11:5060", b"203.0.113.1:16384")
    assert b"192.168." not in sent.partition(b"\r\n")[0]
    arrived = server.sends(sip(ACK_OR_BYE, target=target, own="203.0.113.50:5060", routes="", **values))
    assert arrived == sip(ACK_OR_BYE, target="alice@192.168.33.10:5060", own="203.0.113.50:5060", routes="", **values)
    answer = {"number": 1, "caller": BOB, "callee": ALICE}
    alice.sends(sip(BYE_OK, own="203.0.113.50:5060", **answer), server)
    server.sends(sip(BYE_OK, own=f"{N}:16384", **answer), Endpoint(N, 16384))
    ladder.wait(33)
    assert ladder.alg.calls.dialogs == {}
    ladder.finish()


@pytest.mark.parametrize("caller_hangs_up", [True, False])
def test_without_record_route_the_bye_goes_by_hairpin(caller_hangs_up: bool) -> None:
    ladder, alice, bob, _ = established("")
    phone, other, target, number = (
        (alice, bob, Endpoint(N, 16384), 2) if caller_hangs_up else (bob, alice, Endpoint(N, 5060), 1)
    )
    caller, callee = (ALICE, BOB) if caller_hangs_up else (BOB, ALICE)
    values = {"method": "BYE", "number": number, "caller": caller, "callee": callee, "routes": ""}
    public = ladder.public_of(phone)
    arrived = phone.sends(sip(ACK_OR_BYE, target=f"x@{target}", own=phone.endpoint, **values), target)
    assert arrived == sip(ACK_OR_BYE, target=f"x@{other.endpoint}", own=public, **values)
    assert ladder.arrived_at == other.endpoint
    answer = {"number": number, "caller": caller, "callee": callee}
    arrived = other.sends(sip(BYE_OK, own=public, **answer), public)
    assert arrived == sip(BYE_OK, own=phone.endpoint, **answer)
    ladder.wait(33)
    assert ladder.alg.calls.dialogs == {}
    ladder.finish()
