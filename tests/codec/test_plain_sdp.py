"""What is remembered of a description's pieces, against the codec's own reader: the same, or none."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.lines import torn

from sipalg.codec import sdp
from sipalg.codec.plain_sdp import Place, read

OWN: Final = b"192.168.33.10"
HEAD: Final = b"v=0\r\no=- 1 2 IN IP4 192.168.33.10\r\ns=-\r\n"
SESSION: Final = b"c=IN IP4 192.168.33.10\r\nt=0 0\r\n"
AUDIO: Final = b"m=audio 10000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
LINES: Final = st.lists(
    st.sampled_from(
        """c=IN IP4 192.168.33.10|c=IN IP4 192.168.33.10|c=IN IP4 10.0.0.1|c=IN IP4 192.168.33.10/127|c=IN IP6 ::1|c=x
c=IN IP6 192.168.33.10|c:|m:|c=IN IP4 [::1]|m=audio 10000 RTP/AVP 0|m=audio 10000 RTP/AVP 0|m=video 10002 RTP/SAVPF 9
m=audio 0 RTP/AVP 0|m=audio 70000 RTP/AVP 0|m=audio 123456 x|m=audio 10000/2 RTP/AVP 0|m=a 1 udptl t38|m=x|m=a 1 b|m=
m=audio 10 TCP/RTP/AVP 0|m=a  1 b|a=rtcp:10001|a=rtcp:99999|a=rtcp:7 IN IP4 192.168.33.10|a=rtcp:0
a=rtcp:0 IN IP4 192.168.33.10|a=rtcp:7 IN IP4 10.0.0.2|a=rtcp:x|a=rtcp-mux|a=rtcp-mux |a=rtcp-muxed|a=candidate:1
a=remote-candidates:1|o=- 1 1 IN IP4 192.168.33.10|a=sendrecv|a=fmtp:101 0-16|t=0 0|s=192.168.33.10||\0\xff
""".replace("\n", "|").split("|")
    ),
    max_size=10,
)


def compare(data: bytes, start: int, end: int, most: int = 16) -> bool:
    """Both readers; whether the pieces' one knew."""
    found = read(data, start, end, OWN, most)
    if found is None:
        return False
    connections, origin, sections = found
    whole = sdp.read(data, start, end)
    assert isinstance(whole, sdp.Description), data
    assert not whole.candidates
    session = [] if whole.connection is None else [whole.connection]
    every = session + [one for media in whole.media for one in media.connections]
    assert {(OWN, True)} == {(one.host, one.is_typed) for one in every}
    assert sorted(connections) == sorted(one.span for one in every)
    assert [one.span for one in whole.origins if one.host == OWN and one.is_typed] == ([origin] if origin else [])
    assert len(sections) == len(whole.media) <= most
    for (port, first, last, behind, section), media in zip(sections, whole.media, strict=True):
        mux, of_connection, rtcp_port, of_rtcp_port, of_rtcp_host = section

        def there(place: Place | None, since: int = behind) -> tuple[int, int] | None:
            return place and (since + place[0], since + place[1])

        assert (port, (first, last), mux, rtcp_port) == (media.port, media.port_span, media.rtcp_mux, media.rtcp_port)
        assert (media.is_rtp, media.is_udp, media.ports) == (True, True, 1)
        assert there(of_connection) == (media.connections[0].span if media.connections else None)
        assert media.connections or session
        assert there(of_rtcp_host) == (media.rtcp_host_span if media.rtcp_host else None)
        assert media.rtcp_host in (b"", OWN)
        assert not rtcp_port or there(of_rtcp_port) == media.rtcp_port_span
    return True


@given(LINES, LINES, st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"]), st.integers(0, 12), st.booleans())
@settings(max_examples=1500)
def test_descriptions_of_all_kinds(
    lines: list[str], more: list[str], line_end: bytes, cut: int, with_connection: bool
) -> None:
    words = [one.encode("latin-1") for one in [*lines, "m=audio 10000 RTP/AVP 8", *more]]
    data = HEAD + (SESSION if with_connection else b"") + line_end.join(words) + line_end
    compare(b"\nc=" + data, 3, max(3 + len(data) - cut, 3))


def test_torture() -> None:
    for data in torn():
        compare(data, max(data.find(b"v=0"), 0), len(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEAD + SESSION + AUDIO, id="usual"),
        pytest.param((HEAD + SESSION + AUDIO)[:-2], id="without an end"),
        pytest.param((HEAD + SESSION + AUDIO).replace(b"\r\n", b"\n"), id="newlines only"),
        pytest.param(HEAD + AUDIO + SESSION, id="a c= of the section's"),
        pytest.param(HEAD + SESSION + AUDIO + SESSION, id="both"),
        pytest.param(HEAD + SESSION + AUDIO + b"a=rtcp:10001\r\na=rtcp-mux\r\n", id="RTCP"),
        pytest.param(HEAD + SESSION + AUDIO + b"a=rtcp:10001 IN IP4 192.168.33.10\r\n" + AUDIO, id="RTCP's address"),
        pytest.param(HEAD.replace(OWN, b"phone.lan") + SESSION + AUDIO, id="an origin's name"),
        pytest.param(HEAD[:-5] + AUDIO + SESSION, id="no line between"),
    ],
)
def test_what_is_usual_is_known(data: bytes) -> None:
    assert compare(data, 0, len(data))
    assert compare(data, 0, len(data), 2)


LONG: Final = b"a=" + 600 * b"x" + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEAD + SESSION, id="no media"),
        pytest.param(HEAD + AUDIO, id="no address"),
        pytest.param(b"v=0\r\n" + SESSION + AUDIO, id="no origin"),
        pytest.param(HEAD + LONG + SESSION + AUDIO, id="a long session"),
        pytest.param(HEAD + SESSION + AUDIO + LONG, id="a long section"),
        pytest.param(HEAD + SESSION + 3 * AUDIO, id="too many"),
        pytest.param(HEAD + SESSION + SESSION + AUDIO, id="two session c="),
        pytest.param(HEAD + HEAD[5:] + SESSION + AUDIO, id="two origins"),
        pytest.param(HEAD + SESSION.replace(OWN, b"10.0.0.1") + AUDIO, id="another's session"),
        pytest.param(HEAD + SESSION.replace(b"4 " + OWN, b"6 ::1") + AUDIO, id="IPv6"),
        pytest.param(HEAD + SESSION + AUDIO + SESSION.replace(b"4 " + OWN, b"6 ::1"), id="IPv6 in a section"),
        pytest.param(HEAD + SESSION + AUDIO + SESSION + SESSION, id="two c= in a section"),
        pytest.param(HEAD + SESSION + AUDIO + SESSION.replace(OWN, b"10.0.0.1"), id="another's section"),
        pytest.param(HEAD + SESSION + AUDIO + b"a=rtcp:1 IN IP4 10.0.0.1\r\n", id="another's RTCP"),
        pytest.param(HEAD + SESSION + AUDIO + b"a=rtcp:0 IN IP4 192.168.33.10\r\n", id="RTCP on no port"),
        pytest.param(HEAD + SESSION + AUDIO + SESSION + b"a=rtcp:1 IN IP4 10.0.0.1\r\n", id="RTCP elsewhere"),
        pytest.param(HEAD + SESSION + AUDIO + b"a=rtcp:1 IN IP6 ::1\r\n", id="RTCP over IPv6"),
        pytest.param(HEAD + SESSION + AUDIO + b"a=rtcp:x\r\n", id="RTCP that can't be read"),
        pytest.param(HEAD + SESSION + AUDIO + b"a=candidate:1\r\n", id="ICE"),
        pytest.param(HEAD + SESSION + AUDIO.replace(b"10000", b"70000"), id="no port"),
        pytest.param(HEAD + SESSION + AUDIO.replace(b"10000", b"10000/2"), id="ports"),
        pytest.param(HEAD + SESSION + AUDIO.replace(b"RTP/AVP", b"udptl"), id="not RTP"),
        pytest.param(HEAD + SESSION + AUDIO.replace(b"RTP", b"TCP/RTP"), id="TCP"),
    ],
)
def test_what_is_not_is_left(data: bytes) -> None:
    assert not compare(data, 0, len(data), 2)
