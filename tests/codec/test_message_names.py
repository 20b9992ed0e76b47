"""What names a message's dialog, transaction and lifetime: RFC 3261 §8.1.1, §10.2, §19.3, §20.19 and RFC 4028 §4."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.codec.lines import doubled

from sipalg.codec.message import (
    Identity,
    Message,
    address_of_record,
    call_id_of,
    cseq_method,
    expires_s,
    has_star,
    identify,
    parse,
    session_expires_s,
)

REQUEST = b"INVITE sip:bob@example.com SIP/2.0\r\n"


def frame(data: bytes) -> Message:
    message = parse(data)
    assert isinstance(message, Message), message
    return message


def header(*lines: bytes) -> Message:
    """A request with these header lines and a blank line."""
    return frame(REQUEST + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


NAMES = (b"From: <sip:a@b>;tag=1", b"To: <sip:b@c>;tag=2", b"Call-ID: x@192.168.33.10", b"CSeq: 7 INVITE")


@pytest.mark.parametrize(
    "lines",
    [
        NAMES,
        tuple(reversed(NAMES)),
        (b'f:"A;tag=9" <sip:a@b;tag=8>;x=y;tag=1', b"t:sip:b@c;tag=2", b"i:x@192.168.33.10", b"cseq:7 INVITE"),
        (
            b"FROM : <sip:a@b> ; TAG = 1",
            b"TO : <sip:b@c>;tag=2;x",
            b"CALL-ID : x@192.168.33.10",
            b"CSEQ : 0007  INVITE",
        ),
        (
            b"fRoM:\r\n sip:a@b\r\n ;\r\n\ttag\r\n = 1",
            b"tO :\r\n sip:b@c ;\r\n   tag    = 2",
            b"call-id:\r\n x@192.168.33.10",
            b"cSeq:\r\n 7\r\n  INVITE",
        ),
    ],
)
def test_identity(lines: tuple[bytes, ...]) -> None:
    message = header(*lines)
    assert identify(message) == Identity(b"x@192.168.33.10", 7, b"INVITE", b"1", b"2")
    assert cseq_method(message) == b"INVITE"
    assert call_id_of(message) == b"x@192.168.33.10"


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"X-From: ;tag=1", b"Too: ;tag=1", b"Call-IDs: x", b"CSeqs: 1 INVITE"),
        (b"From: <sip:a@b;tag=1>", b"To: <sip:a@b>;xtag=1", b"Call-ID:", b"CSeq: INVITE"),
        (b"From:", b"To:", b"Call-ID: ", b"CSeq: 1"),
        (b"Subject: x\r\n From: ;tag=1", b"CSeq: 12345678901 INVITE", b"CSeq: 1INVITE"),
    ],
)
def test_names_that_are_missing(lines: tuple[bytes, ...]) -> None:
    message = header(*lines)
    assert identify(message) == Identity(b"", 0, b"", b"", b"")
    assert call_id_of(message) == b""
    assert cseq_method(message) == b""


def test_names_in_the_body_are_none() -> None:
    message = frame(REQUEST + b"\r\n" + b"\r\n".join(NAMES) + b"\r\n")
    assert identify(message).call_id == cseq_method(message) == address_of_record(message) == b""


@pytest.mark.parametrize(
    ("to", "uri"),
    [
        (b"To: <sip:a@b;x>;y", b"sip:a@b;x"),
        (b"t:sip:a@b;tag=1", b"sip:a@b"),
        (b"TO :\r\n sip:a@b ; x", b"sip:a@b"),
        (b'To: "A <x>, \\"" <sip:a@b>', b"sip:a@b"),
        (b'To: A B<sip:a@b>;x="<y>"', b"sip:a@b"),
        (b"To: <>", b""),
        (b"To: ", b""),
        (b"To: <sip:a", b""),
        (b"X: y", b""),
    ],
)
def test_address_of_record(to: bytes, uri: bytes) -> None:
    assert address_of_record(header(to)) == uri


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (b"Session-Expires: 1800;refresher=uac", 1800),
        (b"x:90", 90),
        (b"SESSION-EXPIRES :\r\n 90", 90),
        (b"Session-Expires: x", 0),
        (b"Min-SE: 90", 0),
    ],
)
def test_session_expires(field: bytes, seconds: int) -> None:
    assert session_expires_s(header(field)) == seconds


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (b"Expires: 3600", 3600),
        (b"EXPIRES :0", 0),
        (b"expires:\r\n 60 ", 60),
        (b"Expires: Thu, 01 Dec 1994 16:00:00 GMT", None),
        (b"Expires: 10000000000", None),
        (b"Min-Expires: 60", None),
        (b"X: y", None),
    ],
)
def test_expires(field: bytes, seconds: int | None) -> None:
    assert expires_s(header(field)) == seconds


@pytest.mark.parametrize("field", [b"Contact: *", b"m:*", b"CONTACT :\r\n * "])
def test_star(field: bytes) -> None:
    assert has_star(header(field))


@pytest.mark.parametrize("field", [b"Contact: <sip:*@h>", b"X: y\r\n m: *", b"Contact: sip:a", b"Contact:"])
def test_no_star(field: bytes) -> None:
    assert not has_star(header(field))


@pytest.mark.parametrize("line", [*NAMES, b"i: other", b"t: <sip:c@d>;tag=4", b"f: <sip:c@d>;tag=3", b"CSeq: 8 BYE"])
def test_a_name_that_is_there_twice_is_ambiguous(line: bytes) -> None:
    assert not identify(header(*NAMES)).ambiguous
    twice = identify(header(*NAMES, line))
    assert twice == identify(header(*NAMES))._replace(ambiguous=True), "the first one counts"


#: Fields that are there twice, the first one in each of its spellings.
SPELLINGS = {
    b"Call-ID": (b"Call-ID: ", b"CALL-ID: ", b"Call-ID:", b"call-id : ", b"i: ", b"I:\r\n "),
    b"CSeq": (b"CSeq: ", b"CSEQ: ", b"cseq:", b"CSeq : ", b"CSeq:\r\n "),
    b"To": (b"To: ", b"TO: ", b"to:", b"To\t: ", b"t: ", b"T:\r\n "),
    b"Expires": (b"Expires: ", b"EXPIRES: ", b"expires:", b"Expires : ", b"Expires:\r\n "),
}


@pytest.mark.parametrize(("name", "first"), [(name, first) for name, known in SPELLINGS.items() for first in known])
def test_of_a_field_that_is_there_twice_the_first_counts(name: bytes, first: bytes) -> None:
    values = {
        b"Call-ID": (b"c", b"d"),
        b"CSeq": (b"1 BYE", b"2 ACK"),
        b"To": (b"<a>", b"<b>"),
        b"Expires": (b"1", b"2"),
    }
    for second in SPELLINGS[name]:
        message = header(first + values[name][0], b"X: y", second + values[name][1])
        found = (call_id_of(message), cseq_method(message), address_of_record(message), expires_s(message))
        assert found in ((b"c", b"", b"", None), (b"", b"BYE", b"", None), (b"", b"", b"a", None), (b"", b"", b"", 1))
        assert found[:2] == (identify(message).call_id, identify(message).method)


@given(doubled())
@settings(max_examples=400)
def test_call_id_and_method_are_those_of_the_identity(data: bytes) -> None:
    message = parse(data)
    if isinstance(message, Message):
        named = identify(message)
        assert (call_id_of(message), cseq_method(message)) == (named.call_id, named.method)


@pytest.mark.parametrize("space", [b"\r", b"\v", b"\f"])
def test_any_space_ends_a_call_id(space: bytes) -> None:
    message = header(b"Call-ID: a" + space + b"b", b"CSeq: 1 INVITE")
    assert call_id_of(message) == identify(message).call_id == b"a"
    message = header(b"Call-ID: a" + space)
    assert call_id_of(message) == identify(message).call_id == b"a"


def test_a_start_line_behind_an_empty_one_is_no_field() -> None:
    message = frame(b"\nI :x SIP/2.0\r\n\r\n")
    assert message.method == b"I"
    assert call_id_of(message) == identify(message).call_id == b""
