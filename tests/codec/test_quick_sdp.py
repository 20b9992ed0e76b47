"""What machine code reads in a session description, against the codec's own reader: the same, or none."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.lines import torn

from sipalg import builds
from sipalg.codec import sdp
from sipalg.codec.machine import quick_sdp
from sipalg.codec.sdp import Address, Description, Media

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

USUAL: Final = (
    b"v=0\r\no=- 1 2 IN IP4 192.168.33.10\r\ns=-\r\nc=IN IP4 192.168.33.10\r\nt=0 0\r\n"
    b"m=audio 10000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtcp:10003 IN IP4 192.168.33.11\r\na=rtcp-mux\r\n"
    b"a=candidate:1 1 UDP 1 192.168.33.10 10000 typ host\r\na=remote-candidates:1 192.168.33.10 1\r\n"
    b"m=video 0 RTP/AVP 31\r\nc=IN IP4 192.168.33.12\r\na=rtcp:5\r\na=rtcp-fb:* nack\r\na=sendrecv\r\n"
)
LINES: Final = st.lists(
    st.sampled_from(
        """v=0|o=- 1 1 IN IP4 10.0.0.1|o=x|o= 1 1 IN IP4 a|o=a b 1 IN IP4 a|o=a 1 1 IN IP4 a/b|o=a 1 1 IN IP6 ::1|o=- 1
c=IN IP4 10.0.0.1|c=IN IP4 10.0.0.1/127|c=IN IP6 ::1|c=x|c=|c:|c|m:|c=IN IP4 [::1]|c=IN IP4 a b|c=IN IP4 a\t
c=IN IP4 a\v|c=in IP4 a|c=IN  IP4 a|m=audio 10000 RTP/AVP 0|m=audio 0 RTP/AVP 0|m=audio 70000 RTP/AVP 0
m=audio 123456 x|m=audio 10000/2 UDP|m=x|m=a 1 b|m=a 1 b\tc|m=a 1 |m=a  1 b|m=a 1|m= 1 b|m=|m|m=a x b
a=rtcp:1|a=rtcp:99999|a=rtcp:123456|a=rtcp:7 IN IP4 10.0.0.2|a=rtcp:7 IN IP6 ::1|a=rtcp:7 IN IP4 a/b|a=rtcp:7 x
a=rtcp:7 |a=rtcp:7\t|a=rtcp:|a=rtcp:x|a=rtcp|a=rtcp=1|a=rtcp 1|a=rtcp-mux|a=rtcp-mux |a=rtcp-mux\v|a=rtcp-muxed
a=rtcp-mux-only|a=rtcp-rsize|a=candidate:|a=candidate|a=remote-candidates:|a=remote-candidates|a=rtcpx|a=|a|a=sendrecv
\0\xff||x=1""".replace("\n", "|").split("|")
    ),
    max_size=14,
)
ENDS: Final = st.sampled_from(["\r\n", "\r\n", "\n", "\r", "\r\r\n", ""])


def machine(data: bytes, start: int, end: int) -> Description | None:
    function = quick_sdp("parse")
    assert function is not None
    found: Description | None = function(data, start, end, Description, Media, Address)
    assert found is None or type(found) is Description
    return found


def compare(data: bytes) -> None:
    """Read all of a payload as a description, and what stands in it from the first one on."""
    for start in {0, max(data.find(b"v=0"), 0)}:
        found = machine(data, start, len(data))
        assert found is None or found == sdp.read(data, start, len(data))


@given(LINES, ENDS, st.integers(0, 40), st.booleans())
@settings(max_examples=1500)
def test_descriptions_of_all_kinds(lines: list[str], line_end: str, cut: int, whole: bool) -> None:
    data = ("v=0\r\n" + line_end.join(lines) + (line_end if whole else "")).encode("latin-1")
    end = max(3 + len(data) - cut, 3)
    found = machine(b"\nc=" + data, 3, end)
    assert found is None or found == sdp.read(b"\nc=" + data, 3, end)


def test_torture() -> None:
    for data in torn():
        compare(data)


@pytest.mark.parametrize("data", [USUAL, USUAL.replace(b"\r\n", b"\n"), USUAL[:-2]])
def test_what_is_usual_is_known(data: bytes) -> None:
    found = machine(data, 0, len(data))
    assert found is not None
    assert found == sdp.read(data, 0, len(data)) == sdp.parse(data, 0, len(data))
    assert (len(found.media), len(found.candidates)) == (2, 2)


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (0, 10_000), (3, 2), (0, 2)])
def test_what_lies_outside_is_not_read(start: int, end: int) -> None:
    assert machine(USUAL, start, end) is None
