"""One leg's requests: names, numbers and routes, as its first messages settled them."""

from __future__ import annotations

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_leg import Leg
from sipalg.lab.pbx_message import SipMessage, sdp

OWN, MEDIA = Endpoint("192.168.33.20", 5060), Endpoint("203.0.113.60", 30000)
PROXIES = ("<sip:203.0.113.50;lr>", "<sip:203.0.113.51:5070;lr>")


def answer(tag: str, media: Endpoint = MEDIA) -> SipMessage:
    fields = (
        ("To", f"<sip:700@203.0.113.50>;tag={tag}"),
        ("Contact", "<sip:service@203.0.113.50:5080>"),
        *(("Record-Route", proxy) for proxy in PROXIES),
    )
    return SipMessage("SIP/2.0 200 OK", fields, sdp("203.0.113.60", media, 1))


def test_a_callee_s_leg_is_settled_by_its_first_answer() -> None:
    leg = Leg("one", "<sip:101@192.168.33.20>;tag=a", "<sip:700@203.0.113.50>", "sip:700@203.0.113.50:5061")
    invite = leg.request("INVITE", OWN, leg.describe(OWN.host, Endpoint(OWN.host, 16002)))
    assert (invite.uri, invite.number, invite.one("Contact")) == ("sip:700@203.0.113.50:5061", 1, f"<sip:pbx@{OWN}>")
    assert leg.peer == Endpoint("203.0.113.50", 5061)
    leg.take(answer("b"))
    # RFC 3261, section 12.1.2: the route is the answer's the other way round, and stays as it is.
    assert leg.route == list(PROXIES[::-1])
    leg.route = leg.route[1:]
    other = Endpoint("203.0.113.61", 30002)
    leg.take(answer("b", other))
    assert (leg.route, leg.peer, leg.media) == ([PROXIES[0]], Endpoint("203.0.113.50", 5060), other)
    ack = leg.ack(1, OWN)
    assert (ack.uri, ack.one("CSeq"), ack.one("To")) == (
        "sip:service@203.0.113.50:5080", "1 ACK", "<sip:700@203.0.113.50>;tag=b"
    )  # fmt: skip
    bye = leg.request("BYE", OWN)
    assert (bye.number, bye.one("Route"), bye.one("From"), bye.one("Call-ID")) == (2, PROXIES[0], leg.local, "one")


def test_a_caller_s_leg_is_its_invite_the_other_way_round() -> None:
    fields = (
        ("From", "<sip:101@192.168.33.20>;tag=a"),
        ("To", "<sip:700@192.168.33.20>"),
        ("Call-ID", "one"),
        ("Contact", "<sip:101@192.168.33.10:5062>"),
    )
    leg = Leg.of_caller(SipMessage("INVITE sip:700@192.168.33.20 SIP/2.0", fields, sdp("a", MEDIA, 1)), "b")
    assert (leg.local, leg.remote) == ("<sip:700@192.168.33.20>;tag=b", "<sip:101@192.168.33.20>;tag=a")
    assert (leg.peer, leg.media, leg.request("BYE", OWN).uri) == (
        Endpoint("192.168.33.10", 5062), MEDIA, "sip:101@192.168.33.10:5062"
    )  # fmt: skip


def test_each_description_is_a_newer_one() -> None:
    leg = Leg("one", "", "", "sip:a@192.168.33.10")
    origins = [leg.describe(OWN.host, MEDIA).splitlines()[1] for _ in range(3)]
    assert origins == [f"o=- 4713 {version} IN IP4 {OWN.host}" for version in (1, 2, 3)]
