"""Machine code against the codec's own readers: the same answers, or none; and an answer where messages are usual."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.engine.generated import messages, mutated

from sipalg import builds
from sipalg.codec import fields, headers, message
from sipalg.codec.message import Message, read_frame

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

TORTURE: Final = sorted((Path(__file__).parent.parent / "torture" / "own").glob("*.sip"))
LINES: Final = st.lists(
    st.sampled_from(
        [
            b"Via: SIP/2.0/UDP 192.168.33.10:5060;rport;branch=z9hG4bK1",
            b"Via: SIP/2.0/UDP 203.0.113.1:5060;received=203.0.113.1;rport=5060;branch=z9hG4bK1",
            b"v:SIP/2.0/UDP 203.0.113.1 ; RPORT = 123456; rport=77;Received = 10.0.0.9;received=1.1.1.1",
            b"Via: SIP/2.0/UDP 203.0.113.1;received=2001:db8::1;rport",
            b"Via: SIP/2.0/UDP 203.0.113.1;received=[::1];rport=1, SIP/2.0/UDP a;rport=2",
            b'Via: SIP/2.0/UDP 203.0.113.1;x=";rport=1"',
            b"Contact: <sip:a@192.168.33.10:5060>;expires=60",
            b"m: <sip:a@203.0.113.1:5060>",
            b"Contact: <sip:a@x>,\r\n <sip:a@203.0.113.1:5060>",
            b"From: <sip:a@192.168.33.10>;tag=a",
            b"f:<sip:a@x>",
            b"To: <sip:b@203.0.113.1>;tag=b",
            b"t : x",
            b"To: folded\r\n\t;tag=1",
            b"To:",
            b"Call-ID: c1@192.168.33.10",
            b"i:c2",
            b"Call-ID: two words",
            b"Call-ID:",
            b"call-id:\r\n c3",
            b"CSeq: 1 INVITE",
            b"CSEQ:  4294967295\tREGISTER ",
            b"CSeq: 12345678901 INVITE",
            b"CSeq: x INVITE",
            b"CSeq: 3\r\n INVITE",
            b"CSeq: 4",
            b"Expires: 60",
            b"EXPIRES : 0060 ",
            b"Expires: 1234567890",
            b"Expires: soon",
            b"Expires:\r\n 5",
            b"Content-Length: 0",
            b"l:0",
            b"Content-Length : 00\t",
            b"Content-Length: 1",
            b"Subject: 203.0.113.1",
            b" continued 192.168.33.10",
            b"C",
            b"",
        ]
    ),
    max_size=9,
)
STARTS: Final = st.sampled_from(
    [b"REGISTER sip:192.168.33.10 SIP/2.0", b"SIP/2.0 200 OK", b"\r\nSIP/2.0 401 No", b"\nBYE sip:b@x SIP/2.0"]
)
ENDS: Final = st.sampled_from([b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\n", b"", b"\n\r\n", b"\r\n\r\nv=0\r\n"])
TEXTS: Final = (b"192.168.33.10", b"203.0.113.1", b"x", b"[2001:db8::1]")


def machine(name: str) -> Callable[..., Any]:
    from importlib import import_module

    function: Callable[..., Any] = getattr(import_module("sipalg.codec.quick"), name)
    return function


def compare(data: bytes) -> None:
    """All readers, on one payload."""
    framed = read_frame(data)
    assert machine("frame")(data, message._STARTS, Message) in (None, framed)
    if isinstance(framed, str):
        return
    place = (framed.data, framed.head, framed.head_end)
    identity = message.read_identity(framed)
    found = machine("identity")(*place)
    assert found is None or message.identity_of(found) == identity
    assert machine("call_id_of")(*place) in (None, identity.call_id)
    assert machine("cseq_method")(*place) in (None, message.read_cseq_method(framed))
    assert machine("to_value")(*place) in (None, message.read_to_value(framed))
    seconds = machine("expires_s")(*place)
    assert seconds == message.UNKNOWN or (None if seconds < 0 else seconds) == message.read_expires_s(framed)
    for text in TEXTS:
        assert machine("fields_with")(*place, text, fields._LINES) in (None, fields.read_fields_with(framed, text))
    for start in (framed.head, framed.head + 20, framed.head_end - 3):
        end = message.value_end(data, start, framed.head_end)
        expected = headers.read_received_and_rport(data, start, end)
        assert machine("received_and_rport")(data, start, end) in (None, expected)


@given(STARTS, LINES, ENDS, st.booleans())
@settings(max_examples=250)
def test_lines_of_all_kinds(start: bytes, lines: list[bytes], end: bytes, bare: bool) -> None:
    data = b"\r\n".join((start, *lines)) + end
    compare(data.replace(b"\r\n", b"\n") if bare else data)


@given(messages())
@settings(max_examples=200)
def test_whole_messages(data: bytes) -> None:
    compare(data)


@given(mutated())
@settings(max_examples=300)
def test_damaged_messages(data: bytes) -> None:
    compare(data)


@pytest.mark.parametrize("path", TORTURE, ids=lambda path: str(path.stem))
def test_torture(path: Path) -> None:
    data = path.read_bytes()
    compare(data)
    for size in range(0, len(data), 7):
        compare(data[:size])


@given(st.text(alphabet=";,= \t\r\nrReceivedportPORT=0123456789.:[]\"-_%x", max_size=60))
@example(";received=;rport=;rport=65535x;received=-")
@settings(max_examples=250)
def test_parameters_of_a_via(text: str) -> None:
    data = text.encode()
    for start in (0, 1):
        found = machine("received_and_rport")(data, start, len(data))
        assert found in (None, headers.read_received_and_rport(data, min(start, len(data)), len(data)))
    assert machine("received_and_rport")(data, len(data) + 1, len(data)) is None


def test_what_is_usual_is_known() -> None:
    data = (
        b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.33.10:5060;received=1.2.3.4;rport=7\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
        b"Contact: <sip:a@192.168.33.10:5060>\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n"
    )
    framed = machine("frame")(data, message._STARTS, Message)
    assert framed == read_frame(data)
    place = (data, framed.head, framed.head_end)
    assert machine("identity")(*place) == (b"c", 1, b"REGISTER", b" <sip:a@b>;tag=1", b" <sip:a@b>")
    assert machine("call_id_of")(*place) == b"c"
    assert machine("cseq_method")(*place) == b"REGISTER"
    assert machine("to_value")(*place) == b"<sip:a@b>"
    assert machine("expires_s")(*place) == 60
    assert len(machine("fields_with")(*place, b"192.168.33.10", fields._LINES)) == 2
    received, rport = machine("received_and_rport")(data, framed.head, framed.head + 100)
    assert (data[slice(*received)], data[slice(*rport)]) == (b"1.2.3.4", b"7")
    assert machine("edited")(b"abc", [(1, 1, b"xx", "")]) == b"axxc"


@pytest.mark.parametrize("name", ["identity", "call_id_of", "cseq_method", "to_value"])
def test_places_beyond_the_text_are_not_read(name: str) -> None:
    assert machine(name)(b"a\r\nTo: b\r\n", 2, 1000) is None
