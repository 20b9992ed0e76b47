"""Case 1: an INVITE's Via, Contact and SDP become public, byte for byte nothing else."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.wire import sip

from sipalg.engine.verdict import UDP, AdmitPeer, Endpoint, EstablishFlow, Flow, Mapping, OpenMapping

INVITE = sip("""
    INVITE sip:bob@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1;rport
    Max-Forwards: 70
    From: "192.168.33.10" <sip:alice@192.168.33.10>;tag=192.168.33.10
    To: <sip:bob@203.0.113.50>
    Call-ID: 1-1@192.168.33.10
    CSeq: 1 INVITE
    Contact: <sip:alice@192.168.33.10:5060>
    User-Agent: phone at 192.168.33.10:5060
    Content-Type: application/sdp
    Content-Length: 130

    v=0
    o=- 1 1 IN IP4 192.168.33.10
    s=192.168.33.10
    c=IN IP4 192.168.33.10
    t=0 0
    m=audio 10001 RTP/AVP 0
    a=rtpmap:0 PCMU/8000
    """)
OUTSIDE = sip("""
    INVITE sip:bob@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-1;rport
    Max-Forwards: 70
    From: "192.168.33.10" <sip:alice@192.168.33.10>;tag=192.168.33.10
    To: <sip:bob@203.0.113.50>
    Call-ID: 1-1@192.168.33.10
    CSeq: 1 INVITE
    Contact: <sip:alice@203.0.113.1:5060>
    User-Agent: phone at 192.168.33.10:5060
    Content-Type: application/sdp
    Content-Length: 126

    v=0
    o=- 1 1 IN IP4 203.0.113.1
    s=192.168.33.10
    c=IN IP4 203.0.113.1
    t=0 0
    m=audio 16384 RTP/AVP 0
    a=rtpmap:0 PCMU/8000
    """)
OK = sip("""
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-1;received=203.0.113.1;rport=5060
    From: "192.168.33.10" <sip:alice@192.168.33.10>;tag=192.168.33.10
    To: <sip:bob@203.0.113.50>;tag=b
    Call-ID: 1-1@192.168.33.10
    CSeq: 1 INVITE
    Contact: <sip:bob@203.0.113.50>
    Content-Type: application/sdp
    Content-Length: 106

    v=0
    o=- 7 7 IN IP4 203.0.113.60
    s=-
    c=IN IP4 203.0.113.60
    t=0 0
    m=audio 20000 RTP/AVP 0
    a=sendrecv
    """)

SIGNALLING = Mapping(UDP, Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5060), "sip")
RTP = Mapping(UDP, Endpoint("192.168.33.10", 10001), Endpoint("203.0.113.1", 16384), "media")
RTCP = Mapping(UDP, Endpoint("192.168.33.10", 10002), Endpoint("203.0.113.1", 16385), "media")


def test_the_lengths_in_this_test_are_right() -> None:
    for message in (INVITE, OUTSIDE, OK):
        head, _, body = message.partition(b"\r\n\r\n")
        assert head.endswith(b"Content-Length: %d" % len(body))


def test_invite_leaves_with_public_addresses_after_its_mappings_are_written() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    assert phone.sends(INVITE, server) == OUTSIDE
    assert ladder.rules == ["via", "contact", "content-length", "sdp-o", "sdp-c", "sdp-m"]
    assert ladder.commands == [
        OpenMapping(SIGNALLING, 7200.0),
        AdmitPeer(SIGNALLING, "203.0.113.50", 7200.0),
        OpenMapping(RTP, 7200.0),
        OpenMapping(RTCP, 7200.0),
    ]


def test_media_flows_are_made_when_the_answer_is_known() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    phone.sends(INVITE, server)
    server.sends(OK)
    rtp = Flow(UDP, RTP.private, RTP.public, Endpoint("203.0.113.60", 20000))
    rtcp = Flow(UDP, RTCP.private, RTCP.public, Endpoint("203.0.113.60", 20001))
    assert ladder.commands == [EstablishFlow(rtp, 150.0), EstablishFlow(rtcp, 150.0)]
    ladder.finish()


def test_an_even_port_that_is_free_is_kept() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    outside = phone.sends(INVITE.replace(b"10001", b"10000"), server)
    assert outside == OUTSIDE.replace(b"16384", b"10000")
