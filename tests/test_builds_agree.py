"""The compiled build against the interpreted one: of the same messages, the same word for word."""

from __future__ import annotations

import pytest
from fuzz.builds import check_builds, other_build, said
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.lines import doubled, texts, torn

pytestmark = pytest.mark.skipif(not other_build(), reason="there is no compiled build of these sources")


@st.composite
def scripts(draw: st.DrawFn) -> bytes:
    """A few messages, each from a phone or to it."""
    data = draw(texts())
    for _ in range(draw(st.integers(0, 3))):
        way = draw(st.sampled_from([0, 2, 2, 4, 16]))
        data += b"\r\n%%%" + bytes((way,)) + b"\r\n" + draw(st.one_of(doubled(), texts()))
    return data


@given(scripts())
@settings(max_examples=150)
def test_both_builds_say_the_same(data: bytes) -> None:
    check_builds(data)


@given(doubled())
@settings(max_examples=800)
def test_both_builds_say_the_same_of_fields_that_are_there_twice(data: bytes) -> None:
    check_builds(data)


@given(st.binary(min_size=20, max_size=100))
@settings(max_examples=60)
def test_both_builds_say_the_same_of_refreshes(script: bytes) -> None:
    check_builds(b"\xff" + script)


def test_of_torn_messages_too() -> None:
    for data in torn()[::5]:
        check_builds(data)


def test_what_is_compared_says_something() -> None:
    register = (
        b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.33.10:5060\r\nFrom: <sip:a@b>;tag=1\r\n"
        b"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@192.168.33.10:5060>\r\n\r\n"
    )
    words = said(register)
    for name in ("identify: Identity(call_id=b'c'", "address_of_record: b'sip:a@b'", "said: Verdict(action='replace'"):
        assert name in words
    assert said(register.replace(b"sip:a@b>\r", b"sip:c@b>\r")) != words
