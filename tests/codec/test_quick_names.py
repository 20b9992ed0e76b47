"""What machine code finds that fields name, against the codec's own readers: the same, or none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.codec.lines import doubled, framed_by_machine, texts, torn

from sipalg import builds
from sipalg.codec import message
from sipalg.codec.machine import quick_names
from sipalg.codec.message import Identity, Message, read_frame

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")


READERS = (
    "identity", "call_id_of", "cseq_method", "address_of_record", "expires_s", "session_expires_s", "has_no_others",
)  # fmt: skip


def answers(framed: Message) -> list[object]:
    """What machine code says, in the order of its readers."""
    functions = [quick_names(name) for name in READERS]
    assert all(functions)
    return [
        function(framed, Identity) if number == 0 else function(framed)
        for number, function in enumerate(functions)
        if function
    ]


def compare(data: bytes) -> None:
    """All readers, on one payload."""
    framed = framed_by_machine(data)
    if framed is None:
        return
    identity, call_id, method, record, seconds, session_s, none = answers(framed)
    assert identity in (None, message.read_identity(framed))
    assert call_id in (None, message.read_call_id(framed))
    assert method in (None, message.read_cseq_method(framed))
    assert record in (None, message.read_address_of_record(framed))
    assert seconds == message.UNKNOWN or (None if seconds == -1 else seconds) == message.read_expires_s(framed)
    known_s = 0 if session_s == -1 else session_s
    assert session_s == message.UNKNOWN or known_s == message.read_session_expires_s(framed)
    unmarked = framed._replace(marks=b"")
    others = range(message.ROUTE, message.REFERRED_BY + 1)
    assert not none or not any(message.find_field(unmarked, kind) for kind in others)


@given(texts())
@settings(max_examples=400)
def test_names_are_the_same(data: bytes) -> None:
    compare(data)


@given(doubled())
@settings(max_examples=600)
def test_names_that_are_there_twice_are_the_same(data: bytes) -> None:
    compare(data)


def test_torture() -> None:
    for data in torn():
        compare(data)


def test_what_is_usual_is_known() -> None:
    data = (
        b'REGISTER sip:example.com SIP/2.0\r\nFrom: <sip:a@b;tag=0>;tag=1\r\nTo: "a < b" <sip:a@b>\r\n'
        b"Call-ID: c\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\n\r\n"
    )
    framed = framed_by_machine(data)
    assert framed is not None
    identity = Identity(b"c", 1, b"REGISTER", b"1", b"")
    assert answers(framed) == [identity, b"c", b"REGISTER", b"sip:a@b", 60, -1, True]
    bare = framed_by_machine(data.replace(b'"a < b" <sip:a@b>', b"sip:a@b;tag=7"))
    assert bare is not None
    assert answers(bare) == [identity._replace(to_tag=b"7"), b"c", b"REGISTER", b"sip:a@b", 60, -1, True]
    routed = framed_by_machine(data.replace(b"Expires: 60", b"x: 1800;refresher=uac\r\nRoute: <sip:a>"))
    assert routed is not None
    assert answers(routed)[4:] == [-1, 1800, False]


def test_what_another_framed_is_left_to_the_codec() -> None:
    framed = read_frame(b"BYE sip:a SIP/2.0\r\nTo: <sip:b>\r\nCall-ID: c\r\n\r\n")
    assert isinstance(framed, Message)
    assert answers(framed) == [None, None, None, None, message.UNKNOWN, message.UNKNOWN, False]
