"""Session descriptions: every line that can hold an address, as RFC 8866, 3605 and 5761 write it and as devices do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.address import ipv6_reference
from sipalg.codec.sdp import (
    LINE_MALFORMED,
    NO_DESCRIPTION,
    PORT_MALFORMED,
    Address,
    Description,
    Media,
    parse,
)

ORIGIN = "v=0\r\no=- 1 1 IN IP4 192.168.33.10\r\ns=-\r\n"
SESSION = ORIGIN + "c=IN IP4 192.168.33.10\r\nt=0 0\r\n"
ZERO = ".".join("0000")
AUDIO = "m=audio 10000 RTP/AVP 0 101\r\na=sendrecv\r\n"


def read(text: str | bytes) -> Description:
    data = text.encode() if isinstance(text, str) else text
    description = parse(data, 0, len(data))
    assert isinstance(description, Description), description
    return description


def refusal(text: str) -> str:
    reason = parse(text.encode(), 0, len(text))
    assert isinstance(reason, str), reason
    return reason


def only_media(text: str) -> Media:
    (media,) = read(text).media
    return media


def test_offer_of_a_phone() -> None:
    text = SESSION + AUDIO
    description = read(text)
    data = text.encode()
    (origin,) = description.origins
    assert (origin.host, origin.is_typed, data[slice(*origin.span)]) == (b"192.168.33.10", True, b"192.168.33.10")
    assert description.connection is not None
    assert description.connection.span[0] > origin.span[1]
    assert description.connection.host == data[slice(*description.connection.span)] == b"192.168.33.10"
    (media,) = description.media
    assert (media.kind, media.port, media.ports, media.protocol) == (b"audio", 10000, 1, b"RTP/AVP")
    assert data[slice(*media.port_span)] == b"10000"
    assert media.connections == []
    assert (media.rtcp_port, media.rtcp_port_span, media.rtcp_host, media.rtcp_host_span) == (0, (0, 0), b"", (0, 0))
    assert not media.rtcp_mux
    assert description.connections_of(media) == [description.connection]
    assert description.candidates == []


@pytest.mark.parametrize("text", ["", "v=1\r\n", "\r\nv=0\r\n", "o=- 1 1 IN IP4 1.2.3.4\r\n", "text", "V=0\r\n"])
def test_no_description(text: str) -> None:
    assert refusal(text) == NO_DESCRIPTION


@pytest.mark.parametrize("text", ["v=0", "v=0\r\n", "v=0\r\ns=-\r\nt=0 0\r\na=c=IN\r\n"])
def test_description_without_addresses(text: str) -> None:
    assert read(text) == Description([], None, [], [])


def test_lines_that_end_in_lf_only_are_the_same() -> None:
    crlf = read(SESSION + AUDIO)
    lf = read((SESSION + AUDIO).replace("\r\n", "\n"))
    assert [media.port for media in lf.media] == [media.port for media in crlf.media] == [10000]
    assert lf.connection is not None
    assert lf.connection.host == b"192.168.33.10"


def test_last_line_needs_no_end() -> None:
    assert only_media(SESSION + "m=audio 10000 RTP/AVP").protocol == b"RTP/AVP"
    assert read("v=0\r\nc=IN IP4 10.0.0.1").connection == Address(b"10.0.0.1", (14, 22), is_typed=True)
    assert only_media(SESSION + AUDIO + "a=rtcp-mux").rtcp_mux


def test_bytes_outside_the_span_stay_out_of_sight() -> None:
    before, text, behind = (
        b"c=IN IP4 192.0.2.9\r\n",
        (SESSION + AUDIO).encode(),
        b"m=video 20000 RTP/AVP 31\r\nc=x\r\n",
    )
    description = parse(before + text + behind, len(before), len(before) + len(text))
    assert isinstance(description, Description)
    assert [media.kind for media in description.media] == [b"audio"]
    assert description.media[0].port_span == tuple(len(before) + at for at in read(text).media[0].port_span)


def test_unknown_lines_nuls_and_8_bit_bytes_disturb_nothing() -> None:
    noise = (
        b'i=\xff\xfe\0\r\nb=CT:64\r\nx-c=IN IP4 1.2.3.4\r\na=fmtp:18 c=IN IP4 9\r\nk=prompt\r\nz="\\<;\r\n \tc=q\r\n'
    )
    description = read(SESSION.encode() + noise + AUDIO.encode() + noise)
    assert [(media.port, media.connections) for media in description.media] == [(10000, [])]


def test_second_description_counts_to_the_first() -> None:
    description = read(SESSION + AUDIO + ORIGIN + "m=video 10002 RTP/AVP 31\r\n")
    assert [media.port for media in description.media] == [10000, 10002]
    assert len(description.origins) == 2


# Connections.


def test_each_section_has_its_own_connection_or_the_sessions() -> None:
    description = read(
        SESSION
        + "m=audio 10000 RTP/AVP 0\r\nc=IN IP4 192.168.33.11\r\n"
        + "m=video 10002 RTP/AVP 31\r\n"
        + "m=image 10004 udptl t38\r\nc=IN IP6 2001:db8::1\r\n"
    )
    hosts = [[(a.host, a.is_typed) for a in description.connections_of(media)] for media in description.media]
    assert hosts == [[(b"192.168.33.11", True)], [(b"192.168.33.10", True)], [(b"[2001:db8::1]", True)]]
    assert [len(media.connections) for media in description.media] == [1, 0, 1]


def test_no_connection_anywhere() -> None:
    description = read(ORIGIN + AUDIO)
    assert description.connections_of(description.media[0]) == []


def test_several_connections_of_one_section() -> None:
    text = ORIGIN + AUDIO + "c=IN IP4 224.2.1.1/127\r\nc=IN IP4 224.2.1.2/127\r\n"
    assert [address.host for address in only_media(text).connections] == [b"224.2.1.1", b"224.2.1.2"]


@pytest.mark.parametrize("suffix", ["", "/127", "/127/3", "/3", " ", "\t ", "/127/3 "])
def test_ttl_and_count_are_no_part_of_the_address(suffix: str) -> None:
    text = ORIGIN + f"c=IN IP4 224.2.1.1{suffix}\r\n" + AUDIO
    connection = read(text).connection
    assert connection is not None
    assert connection.host == text.encode()[slice(*connection.span)] == b"224.2.1.1"


@pytest.mark.parametrize(
    ("line", "host", "is_typed"),
    [
        (f"IP4 {ZERO}", ZERO, True),
        ("IP4 phone.example.com", "phone.example.com", True),
        ("IP6 phone.example.com", "phone.example.com", False),
        ("IP6 ::", "[::]", True),
        ("IP6 2001:DB8:0:0::1", "[2001:db8::1]", True),
        ("IP6 2001:db8::1/3", "[2001:db8::1]", True),
        ("IP4 2001:db8::1", "[2001:db8::1]", False),
        ("IP6 192.168.33.10", "192.168.33.10", False),
        # Against the grammar, so that nobody's address is taken out of it.
        ("IP6 [2001:db8::1]", "[2001:db8::1]", False),
        ("IP6 2001:db8::1::", "2001:db8::1::", False),
        ("IP6 fe80::1%eth0", "fe80::1%eth0", False),
    ],
)
def test_connection_of_either_type(line: str, host: str, is_typed: bool) -> None:
    connection = read(ORIGIN + f"c=IN {line}\r\n" + AUDIO).connection
    assert connection is not None
    assert (connection.host, connection.is_typed) == (host.encode(), is_typed)


@pytest.mark.parametrize(
    "line",
    [
        "c=IN IP4",
        "c=IN IP4 ",
        "c=",
        "c=IN IP5 1.2.3.4",
        "c=in ip4 1.2.3.4",
        "c=IN  IP4 1.2.3.4",
        "c=ATM NSAP 47.0005",
        "c=IN IP4 1.2.3.4 5.6.7.8",
        "c=IN IP4 1.2.3.4/ttl",
        "c:IN IP4 1.2.3.4",
        "c=IN IP4 1.2.3.4\0 ",
        "c=IN IP4 /127",
    ],
)
def test_connection_against_the_grammar_makes_the_whole_unreadable(line: str) -> None:
    ends = {"c=IN IP4 1.2.3.4\0 "}
    if line in ends:
        connection = read(ORIGIN + line + "\r\n" + AUDIO).connection
        assert connection is not None
        assert connection.host == b"1.2.3.4\0"
        return
    assert refusal(ORIGIN + line + "\r\n" + AUDIO) == LINE_MALFORMED
    assert refusal(SESSION + AUDIO + line + "\r\n") == LINE_MALFORMED


def test_two_session_connections_make_the_whole_unreadable() -> None:
    assert refusal(SESSION + "c=IN IP4 192.168.33.11\r\n" + AUDIO) == LINE_MALFORMED


# Origins.


@pytest.mark.parametrize(
    "line", ["o=-", "o=- 1 IN IP4 1.2.3.4", "o=- x 1 IN IP4 1.2.3.4", "o=- 1 1 IN IP5 1.2.3.4", "o="]
)
def test_origin_against_the_grammar_is_left_alone(line: str) -> None:
    description = read(f"v=0\r\n{line}\r\nc=IN IP4 192.168.33.10\r\n" + AUDIO)
    assert description.origins == []
    assert len(description.media) == 1


def test_origin_of_ipv6_and_of_a_name() -> None:
    assert [(o.host, o.is_typed) for o in read("v=0\r\no=a 1 1 IN IP6 2001:db8::1\r\n").origins] == [
        (b"[2001:db8::1]", True)
    ]
    assert [(o.host, o.is_typed) for o in read("v=0\no=a 1 1 IN IP4 a.example \n").origins] == [(b"a.example", True)]


# Media.


def test_every_section_is_found_in_order() -> None:
    description = read(
        SESSION
        + "m=audio 10000 RTP/AVP 0\r\nm=video 10002 RTP/SAVPF 31\r\nm=image 10004 udptl t38\r\n"
        + "m=text 0 RTP/AVP 98\r\nm=application 10008 UDP/BFCP *\r\nm=message 9 TCP/MSRP *\r\n"
        + "m=application 10010 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    )
    assert [(m.kind, m.port, m.is_udp, m.is_rtp) for m in description.media] == [
        (b"audio", 10000, True, True),
        (b"video", 10002, True, True),
        (b"image", 10004, True, False),
        (b"text", 0, True, True),
        (b"application", 10008, True, False),
        (b"message", 9, False, False),
        (b"application", 10010, True, False),
    ]


@pytest.mark.parametrize("protocol", ["TCP/RTP/AVP", "tcp", "TCP/TLS/BFCP", "tcp/rtp/avp"])
def test_media_over_tcp(protocol: str) -> None:
    assert not only_media(SESSION + f"m=audio 10000 {protocol} 0\r\n").is_udp


@pytest.mark.parametrize(("written", "ports"), [("", 1), ("/1", 1), ("/2", 2), ("/999", 999)])
def test_port_count(written: str, ports: int) -> None:
    text = SESSION + f"m=video 49170{written} RTP/AVP 31\r\n"
    media = only_media(text)
    assert (media.port, media.ports) == (49170, ports)
    assert text.encode()[slice(*media.port_span)] == b"49170"


@pytest.mark.parametrize("port", ["0", "9", "900", "1024", "65535", "00010"])
def test_port_in_range(port: str) -> None:
    assert only_media(SESSION + f"m=audio {port} RTP/AVP 0\r\n").port == int(port)


@pytest.mark.parametrize(
    "line",
    [
        "m=audio 65536 RTP/AVP 0",
        "m=audio 99999 RTP/AVP 0",
        "m=audio 123456 RTP/AVP 0",
        "m=audio -1 RTP/AVP 0",
        "m=audio $ RTP/AVP 0",
        "m=audio text RTP/AVP 0",
        "m=audio 10000",
        "m=audio  10000 RTP/AVP 0",
        "m=audio 10000/ RTP/AVP 0",
        "m=audio 10000/0 RTP/AVP 0",
        "m=audio 10000/x RTP/AVP 0",
        "m=audio 10000/1000 RTP/AVP 0",
        "m=audio",
        "m=",
        "m:audio 10000 RTP/AVP 0",
    ],
)
def test_media_line_against_the_grammar_makes_the_whole_unreadable(line: str) -> None:
    assert refusal(SESSION + AUDIO + line + "\r\n") == PORT_MALFORMED
    assert refusal(SESSION + line + "\r\n" + AUDIO) == PORT_MALFORMED


# RTCP.


def test_rtcp_port() -> None:
    text = SESSION + AUDIO + "a=rtcp:10005\r\n"
    media = only_media(text)
    assert (media.rtcp_port, media.rtcp_host, media.rtcp_host_span) == (10005, b"", (0, 0))
    assert text.encode()[slice(*media.rtcp_port_span)] == b"10005"


def test_rtcp_port_and_address() -> None:
    text = SESSION + AUDIO + "a=rtcp:10005 IN IP4 192.168.33.11 \r\n"
    media = only_media(text)
    assert (media.rtcp_port, media.rtcp_host) == (10005, b"192.168.33.11")
    assert text.encode()[slice(*media.rtcp_port_span)] == b"10005"
    assert text.encode()[slice(*media.rtcp_host_span)] == b"192.168.33.11"


@pytest.mark.parametrize("line", ["a=rtcp:", "a=rtcp:x", "a=rtcp:65536", "a=rtcp:123456", "a=rtcp:10005 1.2.3.4"])
def test_rtcp_against_the_grammar_makes_the_whole_unreadable(line: str) -> None:
    assert refusal(SESSION + AUDIO + line + "\r\n") == PORT_MALFORMED


@pytest.mark.parametrize(
    "line", ["a=rtcp-fb:* nack", "a=rtcp-rsize", "a=rtcp-mux-only", "a=rtcp", "a=rtcp-xr:voip", "a=mux"]
)
def test_attributes_that_only_begin_alike(line: str) -> None:
    media = only_media(SESSION + AUDIO + line + "\r\n")
    assert (media.rtcp_port, media.rtcp_mux) == (0, False)


def test_rtcp_belongs_to_its_own_section() -> None:
    description = read(
        SESSION
        + "m=audio 10000 RTP/AVP 0\r\na=rtcp:10005\r\na=rtcp-mux \r\n"
        + "m=video 10010 RTP/AVP 31\r\n"
        + "m=video 10020 RTP/AVP 31\r\na=rtcp-mux\r\n"
    )
    assert [(m.rtcp_port, m.rtcp_mux) for m in description.media] == [(10005, True), (0, False), (0, True)]


def test_rtcp_at_session_level_means_nothing() -> None:
    media = only_media(SESSION + "a=rtcp:10005\r\na=rtcp-mux\r\n" + AUDIO)
    assert (media.rtcp_port, media.rtcp_mux) == (0, False)


# ICE.


@pytest.mark.parametrize("where", [SESSION + "{}" + AUDIO, SESSION + AUDIO + "{}"])
def test_candidates_are_noticed(where: str) -> None:
    line = "a=candidate:1 1 UDP 2130706431 192.168.33.10 10000 typ host\r\n"
    assert len(read(where.format(line + line.replace("candidate", "remote-candidates"))).candidates) == 2
    assert read(where.format("a=end-of-candidates\r\na=ice-ufrag:x\r\n")).candidates == []


# Whatever comes.

_texts = st.lists(
    st.sampled_from(
        """v=0|o=- 1 1 IN IP4 10.0.0.1|o=x|c=IN IP4 10.0.0.1|c=IN IP4 10.0.0.1/127|c=IN IP6 ::1|c=x
m=audio 10000 RTP/AVP 0|m=audio 70000 RTP/AVP 0|m=audio 10000/2 UDP|m=x
a=rtcp:1|a=rtcp:99999|a=rtcp:7 IN IP4 10.0.0.2|a=rtcp:|a=rtcp-mux
a=candidate:|a=sendrecv|\0\xff|""".replace("\n", "|").split("|")
    ),
    max_size=12,
)
_ends = st.sampled_from(["\r\n", "\n", "\r", ""])


def check_spans(data: bytes, start: int, end: int) -> None:
    description = parse(data, start, end)
    if isinstance(description, str):
        assert description in (NO_DESCRIPTION, LINE_MALFORMED, PORT_MALFORMED)
        return
    addresses = list(description.origins) + ([description.connection] if description.connection else [])
    for media in description.media:
        addresses += media.connections
        numbers = [(media.port, media.port_span)]
        if media.rtcp_port_span != (0, 0):
            numbers.append((media.rtcp_port, media.rtcp_port_span))
        for number, span in numbers:
            assert start <= span[0] < span[1] <= end
            assert int(data[slice(*span)]) == number <= 65535
        if media.rtcp_host_span != (0, 0):
            addresses.append(Address(media.rtcp_host, media.rtcp_host_span, is_typed=True))
    for address in addresses:
        assert start <= address.span[0] < address.span[1] <= end
        text = data[slice(*address.span)]
        assert text == address.host or ipv6_reference(text) == address.host


@given(_texts, _ends, st.integers(0, 40))
def test_spans_say_what_they_name(lines: list[str], line_end: str, cut: int) -> None:
    data = ("v=0\r\n" + line_end.join(lines)).encode("latin-1")
    check_spans(b"\nc=" + data, 3, max(3 + len(data) - cut, 3))


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(data: bytes, begins_right: bool) -> None:
    data = b"v=0\n" * begins_right + data
    check_spans(data, 0, len(data))
