"""The PBX's messages: read, written, and the parts that it looks at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_message import SipMessage, address_of, parameter, response, sdp, uri_of, user_of

INVITE = (
    b"INVITE sip:700@192.168.33.20 SIP/2.0\r\n"
    b"via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK1;rport\r\n"
    b"Via: SIP/2.0/UDP 192.168.33.9;branch=z9hG4bK0\r\n"
    b"From: <sip:101@192.168.33.20>;tag=a\r\n"
    b"To: <sip:700@192.168.33.20>\r\n"
    b"Call-ID: one\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Record-Route: <sip:192.168.33.9;lr>\r\n"
    b"\r\n"
    b"v=0\r\nc=IN IP4 192.168.33.10\r\nm=audio 10000 RTP/AVP 0\r\n"
)


def read(data: bytes) -> SipMessage:
    message = SipMessage.parse(data)
    assert message is not None
    return message


def test_what_a_request_says() -> None:
    message = read(INVITE)
    assert (message.method, message.status, message.uri, message.number) == ("INVITE", 0, "sip:700@192.168.33.20", 7)
    assert (message.branch, len(message.all("VIA")), message.source) == ("z9hG4bK1", 2, "")
    assert message.media == Endpoint("192.168.33.10", 10000)
    assert message.one("Subject") == ""


def test_what_a_response_says() -> None:
    message = read(b"SIP/2.0 488 Not Acceptable Here\r\nCSeq: 2 INVITE\r\n\r\n")
    assert (message.method, message.status, message.media) == ("INVITE", 488, None)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\x80\x00rtp", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_sip_is_none(data: bytes) -> None:
    assert SipMessage.parse(data) is None


def test_a_response_has_its_request_s_names_and_a_tag_once() -> None:
    answer = response(read(INVITE), 200, "pbx", ("Contact", "<sip:pbx@192.168.33.20>"), body="v=0\r\n")
    assert answer.start_line == "SIP/2.0 200 OK"
    assert [name.title() for name, _ in answer.fields] == [
        "Via", "Via", "From", "To", "Call-Id", "Cseq", "Record-Route", "Contact"
    ]  # fmt: skip
    assert answer.one("To") == "<sip:700@192.168.33.20>;tag=pbx"
    assert response(answer, 200, "other").one("To") == "<sip:700@192.168.33.20>;tag=pbx"
    assert response(read(INVITE), 100, "pbx").one("To") == "<sip:700@192.168.33.20>"


def test_the_length_is_the_body_s() -> None:
    whole = SipMessage("INFO sip:a SIP/2.0", (), "v=0\r\n").encode()
    assert whole.endswith(b"\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n")
    assert SipMessage("BYE sip:a SIP/2.0", ()).encode() == b"BYE sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n"


ADDRESSES = st.ip_addresses(v=4).map(str)
PORTS = st.integers(1, 65535)


@given(ADDRESSES, ADDRESSES, PORTS)
def test_a_description_says_where_media_is_wanted(own: str, host: str, port: int) -> None:
    body = sdp(own, Endpoint(host, port), 3)
    message = read(SipMessage("INVITE sip:a@b SIP/2.0", (("CSeq", "1 INVITE"),), body).encode())
    assert message.media == Endpoint(host, port)
    assert f"o=- 4713 3 IN IP4 {own}\r\n" in message.body


@given(ADDRESSES, PORTS)
def test_a_uri_leads_to_its_address(host: str, port: int) -> None:
    assert address_of(f"sip:101@{host}:{port};transport=udp") == Endpoint(host, port)
    assert address_of(f"sip:{host};lr") == Endpoint(host, 5060)


@pytest.mark.parametrize(
    ("value", "uri", "user"),
    [
        ('"A" <sip:101@192.168.33.10:5060;ob>;expires=60', "sip:101@192.168.33.10:5060;ob", "101"),
        ("sip:101@192.168.33.10;tag=a", "sip:101@192.168.33.10", "101"),
        ("<sip:203.0.113.50;lr>", "sip:203.0.113.50;lr", ""),
    ],
)
def test_the_uri_and_user_of_a_value(value: str, uri: str, user: str) -> None:
    assert uri_of(value) == uri
    assert user_of(uri) == user


def test_a_parameter_is_found_by_its_whole_name() -> None:
    via = "SIP/2.0/UDP 192.168.33.10:5060;rport=5061;branch=z9hG4bK1 ;received=192.168.33.10"
    assert [parameter(via, name) for name in ("rport", "branch", "received", "port")] == [
        "5061", "z9hG4bK1", "192.168.33.10", ""
    ]  # fmt: skip
