from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.messages import CUT, Messages, SipMessage, is_sip, sip_messages
from sipalg.capture.decode import Segment
from sipalg.codec.message import LENGTH_BEYOND, NOT_SIP
from sipalg.engine.verdict import Endpoint

INVITE = (
    b"INVITE sip:bob@203.0.113.50 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 192.168.33.10:5060;rport;branch=z9hG4bKabc\r\n"
    b"From: <sip:alice@example.com>;tag=1\r\n"
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: a@b\r\n"
    b"Subject: two\r\n lines\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"l: 4\r\n\r\nbody"
)


def segment(payload: bytes, protocol: int = 17, *, number: int = 1, whole: bool = True) -> Segment:
    ends = Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.50", 5999)
    return Segment(number, number * 10, protocol, *ends, payload, b"ends", 0, 0, whole, (), 0)


def one(payload: bytes, *, whole: bool = True) -> SipMessage:
    (message,) = sip_messages([segment(payload, whole=whole)])
    return message


def test_message_with_what_names_it() -> None:
    message = one(INVITE)
    assert (message.number, message.time_ns, message.frames, message.problem) == (1, 10, (1,), "")
    assert (message.call_id, message.cseq, message.cseq_method) == ("a@b", 7, "INVITE")
    assert (message.branch, message.from_tag, message.to_tag) == ("z9hG4bKabc", "1", "")
    assert (message.method, message.status, message.name) == ("INVITE", 0, "INVITE")
    assert message.target == "sip:bob@203.0.113.50"
    assert message.body == b"body"


def test_fields_have_their_long_names_in_order() -> None:
    fields = one(INVITE).headers()
    assert [name for name, _ in fields] == ["Via", "From", "To", "Call-ID", "Subject", "CSeq", "Content-Length"]
    assert one(INVITE).header("subject") == "two lines"
    assert one(INVITE).header("Contact") == ""


def test_response_is_called_by_its_status() -> None:
    message = one(b"SIP/2.0 486 Busy Here\r\nCSeq: 1 INVITE\r\n\r\n")
    assert (message.name, message.method, message.status, message.target) == ("486 Busy Here", "", 486, "")


@pytest.mark.parametrize(
    ("payload", "problem", "method"),
    [
        (INVITE[:-1], LENGTH_BEYOND, "INVITE"),
        (INVITE.replace(b" SIP/2.0\r\nv", b" SIP/2.0 x\r\nv"), NOT_SIP, "INVITE"),
        (INVITE.replace(b"\r\nv", b"\r\nv", 1)[:60], "no-end-of-headers", "INVITE"),
    ],
)
def test_broken_message_is_given_with_its_reason(payload: bytes, problem: str, method: str) -> None:
    message = one(payload)
    assert (message.problem, message.method, message.data) == (problem, method, payload)


def test_broken_message_keeps_its_names() -> None:
    message = one(INVITE[:-1])
    assert (message.call_id, message.cseq, message.branch, message.body) == ("a@b", 7, "z9hG4bKabc", b"bod")


def test_message_cut_by_the_capture() -> None:
    assert one(INVITE[:-1], whole=False).problem == CUT
    assert one(INVITE, whole=False).problem == CUT


def test_stream_is_read_too() -> None:
    found = list(sip_messages([segment(INVITE + INVITE, 6, number=9)]))
    assert [(message.number, message.protocol) for message in found] == [(9, 6), (9, 6)]


@pytest.mark.parametrize(
    "payload",
    [b"", b"\r\n\r\n", b"\0", b"\x80\0\0\x01SIP/2.0 200 OK", b"GET / HTTP/1.1\r\n\r\n", b"hello, how are you?\r\n"],
)
def test_what_is_no_sip(payload: bytes) -> None:
    assert not is_sip(payload)
    assert list(sip_messages([segment(payload)])) == []
    assert Messages().take(segment(payload)) == ()


def test_other_protocols_have_no_messages() -> None:
    assert Messages().take(segment(INVITE, 132)) == ()


@given(payload=st.binary(max_size=300), cut=st.integers(0, len(INVITE)))
def test_no_bytes_raise(payload: bytes, cut: int) -> None:
    for message in sip_messages([segment(INVITE[:cut] + payload), segment(INVITE[:cut] + payload, 6)]):
        assert message.headers() is not None
        assert message.name is not None


@pytest.mark.parametrize(
    "payload",
    [
        b"INVITE sip:" + b" " * 60_000,
        b"INVITE sip:x" + b" \t" * 30_000 + b"x SIP/2.0",
        INVITE[:-1] + b"a" + b" " * 60_000,
        INVITE[:60] + b"\r\n" + b" " * 60_000,
        INVITE[:60] + b"\r\n" + b"a: " * 20_000,
        b"SIP/2.0" + b" " * 60_000 + b"200",
    ],
    ids=range(6),
)
def test_hostile_lengths_are_read_in_no_time(payload: bytes) -> None:
    for message in sip_messages([segment(payload), segment(payload, 6)]):
        assert len(message.headers()) <= 9


def test_broken_request_line_has_its_parts() -> None:
    message = one(b"INVITE  sip:b@c;x=y  sip/2.0x\r\nCall-ID: 1\r\n\r\n")
    assert (message.method, message.target, message.call_id) == ("INVITE", " sip:b@c;x=y  sip/2.0x", "1")
    message = one(b"\r\nINVITE sip:b@c sip/2.0 \r\nContent-Length: 9\r\n\r\n")
    assert (message.method, message.target) == ("INVITE", "sip:b@c")
