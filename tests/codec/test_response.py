"""Responses that the router makes of a request's own fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.wire import sip

from sipalg.codec.message import Message, identify, parse
from sipalg.codec.response import response_to, return_path

INVITE = """
    INVITE sip:b@203.0.113.50 SIP/2.0
    {via}
    Max-Forwards: 70
    {from}
    {to}
    {call}
    CSeq: 7 INVITE
    Contact: <sip:a@192.168.33.20>
    Content-Length: #

    v=0
    """


def request(**changes: str) -> Message:
    values = {
        "via": "Via: SIP/2.0/UDP 192.168.33.20:5060;branch=z9hG4bK1;rport",
        "from": "From: <sip:a@example.org>;tag=a",
        "to": "To: <sip:b@example.org>;tag=b",
        "call": "Call-ID: c1",
    }
    message = parse(sip(INVITE, **(values | changes)))
    assert isinstance(message, Message)
    return message


def test_a_response_repeats_what_it_has_to_and_nothing_else() -> None:
    assert response_to(request(), b"488 Not Acceptable Here", b'Warning: 399 x "no"') == sip("""
        SIP/2.0 488 Not Acceptable Here
        Via: SIP/2.0/UDP 192.168.33.20:5060;branch=z9hG4bK1;rport
        From: <sip:a@example.org>;tag=a
        To: <sip:b@example.org>;tag=b
        Call-ID: c1
        CSeq: 7 INVITE
        Warning: 399 x "no"
        Content-Length: 0
        """)


def test_compact_and_folded_fields_stay_as_they_are() -> None:
    message = request(
        **{
            "via": "v: SIP/2.0/UDP 192.168.33.20\n ;branch=z9hG4bK1\nVIA : SIP/2.0/TCP 10.0.0.9, SIP/2.0/UDP p",
            "from": "f:\n <sip:a@example.org>;tag=a",
            "to": "t: <sip:b@example.org>\n\t;tag=b",
            "call": "i:c1",
        }
    )
    response = response_to(message, b"488 No")
    assert response is not None
    assert response == sip("""
        SIP/2.0 488 No
        v: SIP/2.0/UDP 192.168.33.20
         ;branch=z9hG4bK1
        VIA : SIP/2.0/TCP 10.0.0.9, SIP/2.0/UDP p
        f:
         <sip:a@example.org>;tag=a
        t: <sip:b@example.org>
        \t;tag=b
        i:c1
        CSeq: 7 INVITE
        Content-Length: 0
        """)


def test_line_ends_become_the_standards() -> None:
    message = request()
    plain = parse(message.data.replace(b"\r\n", b"\n").replace(b"Length: 5", b"Length: 4"))
    assert isinstance(plain, Message)
    assert response_to(plain, b"488 No") == response_to(request(), b"488 No")


@pytest.mark.parametrize("missing", ["via", "from", "to", "call"])
def test_without_a_needed_field_there_is_no_response(missing: str) -> None:
    assert response_to(request(**{missing: "X: y"}), b"488 No") is None


MORE = ["X-A: b", "v: SIP/2.0/UDP q", "Subject: a\n folded", ": nothing", "To: <sip:c>", "CSeq: x", "i: ", "f: d"]


@given(st.lists(st.sampled_from(MORE)))
def test_a_response_answers_its_request(more: list[str]) -> None:
    message = request(call="\n".join((*more, "Call-ID: c1")))
    response = parse(response_to(message, b"488 No") or b"")
    assert isinstance(response, Message)
    assert response.status == 488
    assert identify(response) == identify(message)
    assert response.body == response.body_end == len(response.data)


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("Via: SIP/2.0/UDP 192.168.33.20:5070;branch=z9hG4bK1", (b"z9hG4bK1", 5070)),
        ("Via: SIP/2.0/UDP 192.168.33.20;branch=z9hG4bK1", (b"z9hG4bK1", 5060)),
        ("Via: SIP/2.0/UDP 192.168.33.20:5070;rport;branch=z9hG4bK1", (b"z9hG4bK1", 0)),
        ("v: SIP/2.0/UDP a:5070 ; BRANCH = z9hG4bK1 ; RPORT=9", (b"z9hG4bK1", 0)),
        ("Via: SIP/2.0/UDP a:5070;branch=1;branch=2;rports", (b"1", 5070)),
        ('Via: SIP/2.0/UDP a:5070;x=";rport,",SIP/2.0/UDP b;rport;branch=2', (b"", 5070)),
        ("Via: what", None),
        ("X: y", None),
    ],
)
def test_where_a_response_goes(via: str, expected: tuple[bytes, int] | None) -> None:
    assert return_path(request(via=via)) == expected
