"""Cases 18 and 19: each UDP line gets its pinhole, RTCP where the description says."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.wire import sip

from sipalg.engine.verdict import Endpoint

INVITE = """
    INVITE sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:a@{own}:5060>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP4 {own}
    s=-
    c=IN IP4 {own}
    t=0 0
    {media}
    """
OK = """
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>;tag=b
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:b@203.0.113.50>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP4 203.0.113.60
    s=-
    c=IN IP4 203.0.113.60
    t=0 0
    {media}
    """
P, N = "192.168.33.10", "203.0.113.1"


def call(ladder: Ladder, offer: str, offer_outside: str, answer: str) -> None:
    """An INVITE with `offer`, which leaves as `offer_outside`, and a 200 with `answer`."""
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    assert phone.sends(sip(INVITE, own=P, media=offer), server) == sip(INVITE, own=N, media=offer_outside)
    assert server.sends(sip(OK, own=N, media=answer)) == sip(OK, own=P, media=answer)


SECTIONS = """m=audio {} RTP/AVP 0
m=video {} RTP/SAVPF 31
m=image {} udptl t38
m=audio {} RTP/AVP 8
m=text {} RTP/AVP 98
m=application {} UDP/BFCP *
m=application 9 TCP/BFCP *
m=message 2855 TCP/MSRP *
m=audio 0 RTP/AVP 0"""


def test_case_18_every_udp_line_has_a_pinhole() -> None:
    ladder = Ladder()
    inside = SECTIONS.format(10000, 10002, 10004, 10006, 10009, 10011)
    call(ladder, inside, SECTIONS.format(10000, 10002, 10004, 10006, 16384, 10011), SECTIONS.format(*[30000] * 6))
    media = {private: public for private, public in ladder.mapped.items() if private != "192.168.33.10:5060"}
    assert media == {
        f"{P}:{private}": f"{N}:{public}"
        for private, public in [
            (10000, 10000),
            (10001, 10001),
            (10002, 10002),
            (10003, 10003),
            (10004, 10004),
            (10006, 10006),
            (10007, 10007),
            (10009, 16384),
            (10010, 16385),
            (10011, 10011),
        ]
    }
    assert len(ladder.flows) == 10
    for port, public in ((10000, 10000), (10004, 10004), (10009, 16384), (10011, 10011)):
        private = ladder.media_enters(Endpoint("203.0.113.60", 30000), Endpoint(N, public))
        assert private == Endpoint(P, port)
    ladder.finish()


def test_case_19_an_odd_port_becomes_an_even_one_with_rtcp_beside_it() -> None:
    ladder = Ladder()
    call(ladder, "m=audio 10001 RTP/AVP 0", "m=audio 16384 RTP/AVP 0", "m=audio 30001 RTP/AVP 0")
    assert ladder.flows == {
        (f"{P}:10001", f"{N}:16384", "203.0.113.60:30001"),
        (f"{P}:10002", f"{N}:16385", "203.0.113.60:30002"),
    }


def test_case_19_rtcp_where_the_description_says() -> None:
    ladder = Ladder(10005)
    call(
        ladder,
        f"m=audio 10000 RTP/AVP 0\na=rtcp:10005 IN IP4 {P}",
        f"m=audio 10000 RTP/AVP 0\na=rtcp:16384 IN IP4 {N}",
        "m=audio 30000 RTP/AVP 0\na=rtcp:31000 IN IP4 203.0.113.61",
    )
    assert ladder.flows == {
        (f"{P}:10000", f"{N}:10000", "203.0.113.60:30000"),
        (f"{P}:10005", f"{N}:16384", "203.0.113.61:31000"),
    }
    assert f"{P}:10001" not in ladder.mapped


def test_case_19_rtcp_beside_an_rtp_port_that_moved() -> None:
    ladder = Ladder()
    call(
        ladder,
        "m=audio 10001 RTP/AVP 0\na=rtcp:10002",
        "m=audio 16384 RTP/AVP 0\na=rtcp:16385",
        "m=audio 30000 RTP/AVP 0\na=rtcp:30005",
    )
    assert (f"{P}:10002", f"{N}:16385", "203.0.113.60:30005") in ladder.flows


def test_case_19_rtcp_at_somebody_elses_address_stays() -> None:
    ladder = Ladder()
    lines = "m=audio 10000 RTP/AVP 0\na=rtcp:10001 IN IP4 192.168.33.99"
    call(ladder, lines, lines, "m=audio 30000 RTP/AVP 0")
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10000"}
    assert ladder.flows == {(f"{P}:10000", f"{N}:10000", "203.0.113.60:30000")}
    ladder.finish()


def test_case_19_mux_agreed_is_one_pinhole() -> None:
    ladder = Ladder()
    offer = "m=audio 10000 RTP/AVP 0\na=rtcp-mux"
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    assert phone.sends(sip(INVITE, own=P, media=offer), server) == sip(INVITE, own=N, media=offer)
    assert f"{P}:10001" in ladder.mapped, "until the answer is there, RTCP may go either way"
    server.sends(sip(OK, own=N, media="m=audio 30000 RTP/AVP 0\na=rtcp-mux"))
    assert ladder.flows == {(f"{P}:10000", f"{N}:10000", "203.0.113.60:30000")}
    ladder.wait(65)  # the INVITE's other answers are waited for, then the mapping lingers
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10000"}
    ladder.finish()


def test_case_19_mux_refused_is_two() -> None:
    ladder = Ladder()
    offer = "m=audio 10000 RTP/AVP 0\na=rtcp-mux"
    call(ladder, offer, offer, "m=audio 30000 RTP/AVP 0")
    assert len(ladder.flows) == 2


def test_case_19_mux_on_one_port_from_the_start() -> None:
    ladder = Ladder(10000)
    call(
        ladder,
        "m=audio 10000 RTP/AVP 0\na=rtcp:10000\na=rtcp-mux",
        "m=audio 16384 RTP/AVP 0\na=rtcp:16384\na=rtcp-mux",
        "m=audio 30000 RTP/AVP 0\na=rtcp-mux",
    )
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10000"}
