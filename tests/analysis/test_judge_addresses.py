from __future__ import annotations

import pytest
from tests.analysis.exchange import BYE, INVITE, OFFER, PHONE, REGISTERED, heard, message, pair_of

from sipalg.analysis.judge_addresses import hosts_named, judge_addresses
from sipalg.codec.datagram import TCP

NEAR, FAR = message(INVITE)
CONTACT = b"Contact: \"David\" <sip:525@"


def outward(near: bytes, far: bytes) -> list[str]:
    return [found.rule for found in judge_addresses(pair_of(near, far))]


def test_complete_and_correct() -> None:
    assert outward(NEAR, FAR) == []


@pytest.mark.parametrize(
    ("contact", "now", "rules"),
    [
        # A list of which one is left.
        (
            b"<sip:a@192.168.20.100>, <sip:b@192.168.20.100:5062>",
            b"<sip:a@75.142.151.49:1024>, <sip:b@192.168.20.100:5062>",
            ["contact-private"],
        ),
        # Another port has a mapping of its own.
        (b"<sip:a@192.168.20.100:5070>", b"<sip:a@75.142.151.49:2000>", []),
        (b"<sip:a@192.168.20.100:5070>", b"<sip:a@8.8.8.8:2000>", ["contact-wrong"]),
        (b"<sip:a@192.168.20.100;transport=tcp>", b"<sip:a@75.142.151.49:2000;transport=tcp>", []),
        # Somebody else's private address, a name, another scheme: none of the device's business.
        (b"<sip:a@10.0.0.9>, <sip:a@phone.lan>, <tel:+1>", b"<sip:a@10.0.0.9>, <sip:a@phone.lan>, <tel:+1>", []),
        # A port of the system's, another transport.
        (b"<sip:a@192.168.20.100:22>", b"<sip:a@192.168.20.100:22>", []),
        (b"<sip:a@192.168.20.100;transport=tcp>", b"<sip:a@192.168.20.100;transport=tcp>", []),
        (b"<sip:a@192.168.20.100>", b"<sip:a@75.142.151.50:1024>", ["contact-wrong"]),
        (b"<sip:a@192.168.20.100>", b"<sip:a@75.142.151.49>", ["contact-wrong"]),
    ],
)
def test_contact(contact: bytes, now: bytes, rules: list[str]) -> None:
    near = NEAR.replace(b'"David" <sip:525@192.168.20.100:5060>', contact)
    far = FAR.replace(b'"David" <sip:525@75.142.151.49:1024>', now)
    assert near != NEAR
    assert far != FAR
    assert outward(near, far) == rules


def over_tcp(near: bytes, far: bytes) -> list[str]:
    given, made = (
        text.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP").replace(port, b"5060;transport=tcp>", 1)
        for text, port in ((near, b"5060>"), (far, b"1024>"))
    )
    pair = pair_of(given, made, ports=(50000, 40000))
    pair = pair._replace(before=pair.before._replace(protocol=TCP), after=pair.after._replace(protocol=TCP))
    return [found.rule for found in judge_addresses(pair)]


def test_over_tcp_the_hosts_are_judged_and_no_port() -> None:
    assert over_tcp(NEAR, FAR) == []
    assert over_tcp(NEAR, NEAR) == ["via-private", "contact-private"]
    wrong = FAR.replace(b"75.142.151.49", b"8.8.8.8")
    assert over_tcp(NEAR, wrong) == ["via-wrong", "contact-wrong"]
    # A phone that knows its public address needs no ALG.
    assert over_tcp(FAR, FAR) == []


def test_routes() -> None:
    route = b"\r\nRecord-Route: <sip:192.168.20.100;lr>\r\nCSeq"
    assert outward(NEAR.replace(b"\r\nCSeq", route), FAR.replace(b"\r\nCSeq", route)) == ["route-private"]


def test_behind_another_nat_the_outer_address_is_right() -> None:
    pair = pair_of(NEAR, FAR)
    inner = pair._replace(after=pair.after._replace(source=pair.after.source._replace(host="10.0.0.2")))
    assert list(judge_addresses(inner)) == []


def test_without_nat_and_unread_nothing_is_asked() -> None:
    pair = pair_of(NEAR, NEAR)
    assert [found.rule for found in judge_addresses(pair)] == ["via-private", "contact-private"]
    assert list(judge_addresses(pair._replace(after=pair.after._replace(source=pair.before.source)))) == []
    assert list(judge_addresses(pair._replace(before=pair.before._replace(frame="no-end-of-headers")))) == []


def test_inward() -> None:
    near, far = message(REGISTERED)
    assert list(judge_addresses(pair_of(far, near, out=False))) == []
    found = list(judge_addresses(pair_of(far, far, out=False)))
    assert [one.rule for one in found] == ["contact-not-restored", "via-not-restored"]
    near, far = message(BYE)
    (one,) = judge_addresses(pair_of(far, far, out=False))
    assert one == (
        "request-uri-not-restored",
        "the Request-URI still says 75.142.151.49:1024, the phone is 192.168.20.100:5060",
    )


def test_the_hosts_that_a_request_names() -> None:
    near = message(INVITE, OFFER)[0].replace(b"\r\nCSeq", b"\r\nRecord-Route: <sip:10.0.0.9;lr>\r\nCSeq")
    own = frozenset((PHONE,))
    assert hosts_named(heard(near)) == {
        "Via": own, "Contact": own, "Record-Route": frozenset(("10.0.0.9",)), "o=": own, "c=": own,
    }
    assert hosts_named(heard(b"OPTIONS sip:x SIP/2.0\r\n\r\n")) == {}


def test_which_of_several_is_left() -> None:
    contacts = b", ".join(b"<sip:%c@192.168.20.100>" % name for name in b"abc")
    near = NEAR.replace(b'"David" <sip:525@192.168.20.100:5060>', contacts)
    half = contacts.replace(b"a@192.168.20.100", b"a@75.142.151.49:1024")
    made = FAR.replace(b'"David" <sip:525@75.142.151.49:1024>', half)
    details = [found.detail for found in judge_addresses(pair_of(near, made))]
    assert details == [f"Contact {number} of 3 still says 192.168.20.100:5060" for number in (2, 3)]
