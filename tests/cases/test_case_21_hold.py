"""Case 21: hold by a zero address, by `inactive` or by `::` keeps the mapping, and resume uses the same port."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder, Phone, Server
from tests.engine.wire import sip

from sipalg.engine.verdict import Endpoint

INVITE = """
    INVITE sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-{number}
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>{tag}
    Call-ID: c1
    CSeq: {number} INVITE
    Contact: <sip:a@{own}:5060>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 {number} IN IP4 {own}
    s=-
    {connection}
    t=0 0
    m=audio {port} RTP/AVP 0
    {direction}
    """
OK = """
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-{number}
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>;tag=b
    Call-ID: c1
    CSeq: {number} INVITE
    Contact: <sip:b@203.0.113.50>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 {number} IN IP4 203.0.113.60
    s=-
    {connection}
    t=0 0
    m=audio 30000 RTP/AVP 0
    """
ACK = """
    ACK sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-{number}a
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>;tag=b
    Call-ID: c1
    CSeq: {number} ACK
    Content-Length: 0
    """
P, N = "192.168.33.10", "203.0.113.1"
M = Endpoint("203.0.113.60", 30000)


def offer(phone: Phone, server: Server, number: int, connection: str, outside: str, direction: str) -> None:
    """Send an INVITE with a description, the port of which is to stay the same."""
    tag = ";tag=b" if number > 1 else ""
    before = sip(INVITE, own=P, number=number, tag=tag, connection=connection, port=10001, direction=direction)
    after = sip(INVITE, own=N, number=number, tag=tag, connection=outside, port=16384, direction=direction)
    if outside == connection:
        after = after.replace(b"m=audio 16384", b"m=audio 10001")
    assert phone.sends(before, server) == after


def answer(phone: Phone, server: Server, number: int, connection: str = "c=IN IP4 203.0.113.60") -> None:
    """Answer the INVITE, and acknowledge."""
    assert server.sends(sip(OK, number=number, connection=connection)) is not None
    phone.sends(sip(ACK, number=number), server)


@pytest.mark.parametrize(
    ("connection", "outside", "direction"),
    [
        ("c=IN IP4 0.0.0.0", "c=IN IP4 0.0.0.0", "a=sendonly"),
        ("c=IN IP6 ::", "c=IN IP6 ::", "a=inactive"),
        (f"c=IN IP4 {P}", f"c=IN IP4 {N}", "a=inactive"),
        (f"c=IN IP4 {P}", f"c=IN IP4 {N}", "a=sendonly"),
    ],
)
def test_hold_and_resume(connection: str, outside: str, direction: str) -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    offer(phone, server, 1, f"c=IN IP4 {P}", f"c=IN IP4 {N}", "a=sendrecv")
    answer(phone, server, 1)
    media = ladder.flows
    assert len(media) == 2

    offer(phone, server, 2, connection, outside, direction)
    assert "sdp-o" in ladder.rules
    answer(phone, server, 2)
    ladder.wait(600)
    assert ladder.mapped[f"{P}:10001"] == f"{N}:16384"
    assert ladder.flows == media
    assert ladder.media_enters(M, Endpoint(N, 16384)) == Endpoint(P, 10001), "music on hold"

    offer(phone, server, 3, f"c=IN IP4 {P}", f"c=IN IP4 {N}", "a=sendrecv")
    answer(phone, server, 3)
    assert ladder.flows == media
    assert ladder.media_leaves(Endpoint(P, 10001), M) == Endpoint(N, 16384)
    ladder.finish()


@pytest.mark.parametrize("connection", ["c=IN IP4 0.0.0.0", "c=IN IP6 ::"])
def test_the_other_side_holds(connection: str) -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    offer(phone, server, 1, f"c=IN IP4 {P}", f"c=IN IP4 {N}", "a=sendrecv")
    answer(phone, server, 1)
    media = ladder.flows
    offer(phone, server, 2, f"c=IN IP4 {P}", f"c=IN IP4 {N}", "a=sendrecv")
    answer(phone, server, 2, connection)
    ladder.wait(600)
    assert ladder.flows == media
    ladder.finish()


def test_both_sides_hold_by_a_zero_address() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    offer(phone, server, 1, f"c=IN IP4 {P}", f"c=IN IP4 {N}", "a=sendrecv")
    answer(phone, server, 1)
    media = ladder.flows
    offer(phone, server, 2, "c=IN IP4 0.0.0.0", "c=IN IP4 0.0.0.0", "a=inactive")
    answer(phone, server, 2, "c=IN IP4 0.0.0.0")
    ladder.wait(600)
    assert ladder.flows == media
    ladder.finish()
