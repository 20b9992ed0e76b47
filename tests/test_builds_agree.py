"""The compiled build against the interpreted one: of the same messages, the same word for word."""

from __future__ import annotations

import pytest
from fuzz.builds import check_builds, other_build, said
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.lines import doubled, texts, torn
from tests.engine.wire import request, response

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


#: Descriptions' lines, most of the first phone's own, with lines of which the interpreted build remembers nothing.
DESCRIPTIONS = st.lists(
    st.sampled_from(
        """c=IN IP4 192.168.33.10|c=IN IP4 192.168.33.10|c=IN IP4 203.0.113.60|m=audio 10000 RTP/AVP 0
m=audio 10000 RTP/AVP 0|m=audio 10002 RTP/AVP 0 8|m=video 10004/2 RTP/AVP 9|m=audio 0 RTP/AVP 0|m=image 10010 udptl t38
a=rtcp:10001|a=rtcp:10003 IN IP4 192.168.33.10|a=rtcp:0 IN IP4 192.168.33.10|a=rtcp:7 IN IP4 203.0.113.60|a=rtcp-mux
a=sendrecv|a=candidate:1 1 UDP 1 192.168.33.10 10000 typ host|m=x|c=x|t=0 0""".replace("\n", "|").split("|")
    ),
    max_size=9,
)
#: Of these the interpreted build remembers all, and does mostly without reading them whole.
PLAIN = st.lists(
    st.sampled_from(
        """a=rtcp:10001|a=rtcp:10001 IN IP4 192.168.33.10|a=rtcp-mux|a=sendrecv|m=video 10000 RTP/AVP 9
m=video 10002 RTP/AVP 9""".replace("\n", "|").split("|")
    ),
    max_size=4,
)


@st.composite
def calls(draw: st.DrawFn) -> bytes:
    """The first phone's calls, one after the other, each with a description, whose ports the kernel may refuse."""
    data = b""
    for number in range(1, draw(st.integers(2, 5))):
        origin = draw(st.sampled_from(["192.168.33.10", "192.168.33.10", "phone.lan"]))
        lines = [f"v=0\no=- {number} 1 IN IP4 {origin}\ns=-"]
        if draw(st.booleans()):
            lines += ["c=IN IP4 192.168.33.10", "m=audio 10000 RTP/AVP 0", *draw(PLAIN)]
        else:
            lines += [*draw(DESCRIPTIONS), "m=audio 10000 RTP/AVP 0", *draw(DESCRIPTIONS)]
        body = "\n".join(lines) + "\n"
        asks = draw(st.booleans())
        data += request("INVITE", call=f"c{number}", body=body) if asks else response(200, "INVITE", body=body)
        data += b"\r\n%%%" + bytes((draw(st.sampled_from([0, 0, 8, 4, 16, 64])),)) + b"\r\n"
    return data


@given(calls())
@settings(max_examples=300)
def test_both_builds_say_the_same_of_descriptions(data: bytes) -> None:
    check_builds(data)


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
