"""Cases 11 to 15: where the body ends, what Content-Length says, and how lines end, stays as the sender has it."""

from __future__ import annotations

import pytest
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
    Content-Type: application/sdp
    {length}

    v=0
    o=- 1 1 IN IP4 {own}
    s=-
    c=IN IP4 {own}
    t=0 0
    m=audio {port} RTP/AVP 0
    """
NO_LENGTH = INVITE.replace("    {length}\n", "")
P, N = "192.168.33.10", "203.0.113.1"


def translated(before: bytes) -> bytes:
    """What leaves when a phone sends `before`, port 10000 being taken."""
    ladder = Ladder(10000)
    return ladder.phone(P).sends(before, ladder.server("203.0.113.50"))


def test_case_11_no_content_length_and_none_is_added() -> None:
    before, after = sip(NO_LENGTH, own=P, port=10000), sip(NO_LENGTH, own=N, port=16384)
    assert b"Length" not in before
    assert translated(before) == after


MULTIPART = """
    INVITE sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:a@{own}:5060>
    Content-Type: multipart/mixed;boundary="x 192.168.33.10"
    Content-Length: {length}

    preamble 192.168.33.10
    --x 192.168.33.10
    Content-Type: text/plain

    c=IN IP4 192.168.33.10
    m=audio 10000 RTP/AVP 0
    --x 192.168.33.10
    Content-Type: application/sdp

    v=0
    o=- 1 1 IN IP4 {own}
    s=-
    c=IN IP4 {own}
    t=0 0
    m=audio {port} RTP/AVP 0
    --x 192.168.33.10--
    """


def test_case_12_one_part_of_several() -> None:
    before = sip(MULTIPART, own=P, port=10000, length=289)
    after = sip(MULTIPART, own=N, port=16384, length=285)
    assert len(before.partition(b"\r\n\r\n")[2]) == 289
    assert translated(before) == after


def test_case_13_stray_bytes_belong_to_nobody() -> None:
    stray = b"m=video 20000 RTP/AVP 0\r\nc=IN IP4 192.168.33.10\r\n"
    before = sip(INVITE, own=P, port=10000, length="Content-Length: #")
    after = sip(INVITE, own=N, port=16384, length="Content-Length: #")
    assert translated(before + stray) == after + stray


@pytest.mark.parametrize(
    "style",
    [
        "Content-Length   : {0}",
        "l:{0}",
        "L: {0}",
        "CONTENT-LENGTH:\t{0}",
        "Content-Length: {0} ",
        "Content-Length: {0} \t ",
        "content-length:{0}",
    ],
)
def test_case_14_content_length_keeps_its_style(style: str) -> None:
    before = sip(INVITE, own=P, port=10000, length=style.format(96))
    after = sip(INVITE, own=N, port=16384, length=style.format(92))
    assert len(before.partition(b"\r\n\r\n")[2]) == 96
    assert translated(before) == after


def test_case_14_a_length_that_grows_by_a_digit() -> None:
    ladder = Ladder(nat_address="203.0.113.101", advertised_address="203.0.113.101")
    phone, server = ladder.phone("10.0.0.9"), ladder.server("203.0.113.50")
    body = INVITE + "    a=x:1234\n"
    before = sip(body, own="10.0.0.9", port=10000, length="Content-Length: 96")
    after = sip(body, own="203.0.113.101", port=10000, length="Content-Length: 106")
    assert phone.sends(before, server) == after


def test_case_14_leading_zeros_are_a_number() -> None:
    before = sip(INVITE, own=P, port=10000, length="Content-Length: 0096")
    after = sip(INVITE, own=N, port=16384, length="Content-Length: 92")
    assert translated(before) == after


def test_case_15_lines_that_end_in_lf_only() -> None:
    before = sip(INVITE, own=P, port=10000, length="Content-Length: 90").replace(b"\r\n", b"\n")
    after = sip(INVITE, own=N, port=16384, length="Content-Length: 86").replace(b"\r\n", b"\n")
    assert len(before.partition(b"\n\n")[2]) == 90
    assert translated(before) == after


def test_case_15_a_body_with_other_line_ends_than_the_header() -> None:
    head, _, body = sip(INVITE, own=P, port=10000, length="Content-Length: 90").partition(b"\r\n\r\n")
    expected_head, _, expected_body = sip(INVITE, own=N, port=16384, length="Content-Length: 86").partition(
        b"\r\n\r\n"
    )
    assert translated(head + b"\r\n\r\n" + body.replace(b"\r", b"")) == (
        expected_head + b"\r\n\r\n" + expected_body.replace(b"\r", b"")
    )
