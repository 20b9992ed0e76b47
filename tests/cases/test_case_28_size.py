"""Case 28, the engine's part: a message that grows past the MTU, or came in fragments, is translated whole."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.wire import sip

INVITE = """
    INVITE sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:a@{own}:5060>
    X-Padding: {padding}
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP4 {own}
    s=-
    c=IN IP4 {own}
    t=0 0
    m=audio 10000 RTP/AVP 0
    """


def padded(size: int) -> tuple[bytes, bytes]:
    """An INVITE of `size` bytes, and what is to leave."""
    padding = "x" * (size - len(sip(INVITE, own="10.0.0.9", padding="")))
    return sip(INVITE, own="10.0.0.9", padding=padding), sip(INVITE, own="203.0.113.101", padding=padding)


def test_an_invite_of_1470_bytes_grows_past_the_mtu() -> None:
    ladder = Ladder(nat_address="203.0.113.101", advertised_address="203.0.113.101")
    before, after = padded(1470)
    assert len(before) == 1470
    assert len(after) + 28 > 1500
    assert ladder.phone("10.0.0.9").sends(before, ladder.server("203.0.113.50")) == after


def test_three_kilobytes() -> None:
    ladder = Ladder(nat_address="203.0.113.101", advertised_address="203.0.113.101")
    before, after = padded(3000)
    assert ladder.phone("10.0.0.9").sends(before, ladder.server("203.0.113.50")) == after


def test_the_largest_datagram_may_grow_beyond_what_udp_carries_and_that_is_the_drivers_to_say() -> None:
    ladder = Ladder(nat_address="203.0.113.101", advertised_address="203.0.113.101")
    before, after = padded(65507)
    assert ladder.phone("10.0.0.9").sends(before, ladder.server("203.0.113.50")) == after
