"""The frame of a message: RFC 3261 §7 and §25.1 by its letter, and datagrams that aren't messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.message import (
    CONTACT,
    KEEP_ALIVE,
    LENGTH_BEYOND,
    LENGTH_MALFORMED,
    LENGTH_TWICE,
    NO_END_OF_HEADERS,
    NOT_SIP,
    REFER_TO,
    ROUTE,
    VIA,
    Message,
    address_of_record,
    cseq_method,
    expires_s,
    find_field,
    has_star,
    identify,
    parse,
    session_expires_s,
    value_end,
)

REQUEST = b"INVITE sip:bob@example.com SIP/2.0\r\n"
VIA_LINE = b"Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK1\r\n"


def frame(data: bytes) -> Message:
    message = parse(data)
    assert isinstance(message, Message), message
    return message


def header(*lines: bytes) -> Message:
    """A request with these header lines and a blank line."""
    return frame(REQUEST + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


# Start lines.


def test_request() -> None:
    data = REQUEST + VIA_LINE + b"\r\nbody"
    message = frame(data)
    assert (message.data, message.method, message.status) == (data, b"INVITE", 0)
    assert data[slice(*message.uri)] == b"sip:bob@example.com"
    assert data[message.head : message.head_end] == b"\n" + VIA_LINE
    assert data[message.body : message.body_end] == b"body"
    assert (message.length, message.content_type, message.encoded) == ((0, 0), 0, False)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"SIP/2.0 200 OK", 200),
        (b"SIP/2.0 100 ", 100),
        (b"SIP/2.0 699", 699),
        (b"sip/2.0 486 Besetzt \xc3\xbc\0\xff: \"x\"", 486),
    ],
)  # fmt: skip
def test_response(line: bytes, status: int) -> None:
    message = frame(line + b"\r\n" + VIA_LINE + b"\r\n")
    assert (message.method, message.status, message.uri) == (b"", status, (0, 0))


@pytest.mark.parametrize(
    ("line", "method", "uri"),
    [
        (
            b"!interesting-Method0123456789_*+`.%indeed'~ a:b SIP/2.0",
            b"!interesting-Method0123456789_*+`.%indeed'~",
            b"a:b",
        ),
        (b"REGISTER <sip:a@b> sip/2.0", b"REGISTER", b"<sip:a@b>"),
        (b"OPTIONS tel:+1-201-555-0123;phone-context=x Sip/2.0", b"OPTIONS", b"tel:+1-201-555-0123;phone-context=x"),
        (b"\r\n\r\n\nACK sip:[2001:db8::1] SIP/2.0", b"ACK", b"sip:[2001:db8::1]"),
        (b"BYE \xff\0 SIP/2.0", b"BYE", b"\xff\0"),
    ],
)
def test_request_lines(line: bytes, method: bytes, uri: bytes) -> None:
    data = line + b"\r\n" + VIA_LINE + b"\r\n"
    message = frame(data)
    assert (message.method, data[slice(*message.uri)]) == (method, uri)


@pytest.mark.parametrize(
    "line",
    [
        b"INVITE  sip:a@b SIP/2.0",
        b"INVITE sip:a@b; lr SIP/2.0",
        b"INVITE sip:a@b SIP/2.0 ",
        b"INVITE sip:a@b SIP/7.0",
        b"INVITE sip:a@b",
        b" INVITE sip:a@b SIP/2.0",
        b"INVITE\tsip:a@b SIP/2.0",
        b"IN\0VITE sip:a@b SIP/2.0",
        b"SIP/2.0 4294967301 x",
        b"SIP/2.0 700 x",
        b"SIP/2.0 099 x",
        b"SIP/2.0 20 x",
        b"SIP/2.0  200 OK",
        b"SIP/2.0 200OK",
        b"SIP/1.0 200 OK",
        b"GET / HTTP/1.1",
        b"POST / HTTP/1.1\r\nX: INVITE sip:a@b SIP/2.0",
        b"RTSP/1.0 200 OK",
    ],
)
def test_start_line_against_the_grammar(line: bytes) -> None:
    assert parse(line + b"\r\n" + VIA_LINE + b"\r\n") == NOT_SIP


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0", b"\0\0\0\0", b" \r\n", b"\n"])
def test_keep_alives(data: bytes) -> None:
    assert parse(data) == KEEP_ALIVE


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(range(12)),  # STUN binding request
        b"\x80\x00\x00\x01" + bytes(164),  # RTP
        b"\x16\x03\x01\x02\x00\x01",  # TLS
        b"jaK",
        b"\xff" * 100,
        b"INVITE sip:a@b SIP/2.0",
        b"INVITE sip:a@b SIP/2.0\r",
        b"SIP/2.0 200 OK",
    ],
)
def test_other_things_on_the_port(data: bytes) -> None:
    assert parse(data) == NOT_SIP


# Where the header ends.


def test_lf_only() -> None:
    data = (REQUEST + VIA_LINE + b"l: 4\r\n\r\nbody").replace(b"\r\n", b"\n")
    message = frame(data)
    assert data[message.head : message.head_end] == b"\nVia: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK1\nl: 4\n"
    assert data[message.body : message.body_end] == b"body"


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_no_header_at_all(line_end: bytes) -> None:
    data = REQUEST.rstrip() + line_end + line_end + b"x"
    message = frame(data)
    assert data[message.body : message.body_end] == b"x"
    assert message.head_end == message.head + 1


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_no_blank_line_and_no_body(line_end: bytes) -> None:
    data = (REQUEST + VIA_LINE).replace(b"\r\n", line_end)
    message = frame(data)
    assert message.head_end == message.body == message.body_end == len(data)


@pytest.mark.parametrize("torn", [b"Via: SIP/2.0/UDP 192.168", b"Via: SIP/2.0/UDP 1.2.3.4\r", b"x"])
def test_torn_last_line(torn: bytes) -> None:
    assert parse(REQUEST + VIA_LINE + torn) == NO_END_OF_HEADERS


EMPTY = b"Content-Length: 0\r\n"


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\n\r\n"])
def test_first_blank_line_ends_the_header_whatever_comes_behind_it(blank: bytes) -> None:
    head = REQUEST + VIA_LINE.rstrip()
    for body in (b"x", REQUEST + VIA_LINE + EMPTY + b"\r\n", EMPTY + b"\r\n", b"\r\n" + EMPTY + b"\r\n"):
        data = head + blank + body
        message = frame(data)
        assert data[message.body : message.body_end] == body


# Content-Length.


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Length: 4",
        b"Content-Length:4",
        b"Content-Length   : 4",
        b"Content-Length:\t4 \t",
        b"CONTENT-LENGTH: 4",
        b"content-length: 0004",
        b"l:4",
        b"L : 4",
        b"Content-Length:\r\n 4",
        b"Content-Length: \r\n \r\n\t4",
    ],
)
def test_length(field: bytes) -> None:
    data = REQUEST + VIA_LINE + field + b"\r\nX: y\r\n\r\nbodystray\r\n"
    message = frame(data)
    assert data[message.body : message.body_end] == b"body"
    assert data[slice(*message.length)] == field.strip().rpartition(b":")[2].strip()


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"+4", b"4x", b"x4", b"4 4", b"4,4", b"0x4", b"4;x", b"4\r\n 4", b"4\r\n x", b"4294967297", b"4\0"],
)  # fmt: skip
@pytest.mark.parametrize("behind", [b"", b"body"])
def test_length_against_the_grammar(value: bytes, behind: bytes) -> None:
    assert parse(REQUEST + VIA_LINE + b"Content-Length: " + value + b"\r\n\r\n" + behind) == LENGTH_MALFORMED


@pytest.mark.parametrize("second", [b"Content-Length: 4", b"l: 4", b"l: 5"])
def test_two_lengths(second: bytes) -> None:
    assert parse(REQUEST + b"l: 4\r\n" + second + b"\r\n\r\nbody") == LENGTH_TWICE


@pytest.mark.parametrize(("length", "body"), [(b"5", b"body"), (b"999999999", b"body"), (b"1", b"")])
def test_length_beyond_the_datagram(length: bytes, body: bytes) -> None:
    assert parse(REQUEST + VIA_LINE + b"Content-Length: " + length + b"\r\n\r\n" + body) == LENGTH_BEYOND


def test_length_without_a_blank_line() -> None:
    assert frame(REQUEST + b"l: 0\r\n").body_end == len(REQUEST) + 6
    assert parse(REQUEST + b"l: 1\r\n") == LENGTH_BEYOND


@pytest.mark.parametrize("field", [b"X-Content-Length: 9", b"Content-Lengthy: 9", b"ll: 9", b"Subject: x\r\n l: 9"])
def test_what_only_looks_like_a_length(field: bytes) -> None:
    assert header(field).length == (0, 0)


@pytest.mark.parametrize(
    "field", [b"Content-Length: 0", b"Content-Length: 0 ", b"Content-Length:0", b"l: 0", b"L:\r\n 0"]
)
def test_header_only(field: bytes) -> None:
    data = REQUEST + VIA_LINE + field + b"\r\nX: y\r\n\r\n"
    message = frame(data)
    assert data[message.head : message.head_end] == data[len(REQUEST) - 1 : -2]
    assert message.body == message.body_end == len(data)


# Content-Type and Content-Encoding.


@pytest.mark.parametrize("name", [b"Content-Type:", b"c:", b"C :", b"content-TYPE \t:", b"c:\r\n", b"c: \r\n\t\r\n"])
def test_content_type(name: bytes) -> None:
    message = header(name + b" application/sdp", b"X: y")
    assert message.data[message.content_type :].startswith(b"application/sdp\r\n")
    assert not message.encoded


@pytest.mark.parametrize("name", [b"Content-Encoding", b"e", b"E ", b"CONTENT-encoding\t"])
def test_content_encoding(name: bytes) -> None:
    assert header(name + b": gzip").encoded


@pytest.mark.parametrize(
    "field", [b"Expires: 0", b"Event: x", b"Content-Disposition: x", b"Contact: *", b"ee: x", b"X: y\r\n e: x"]
)
def test_what_only_looks_like_one(field: bytes) -> None:
    message = header(field)
    assert (message.content_type, message.encoded) == (0, False)


# One field's place.


def test_fields_are_found_by_any_of_their_names() -> None:
    message = header(b"x-via: 1", b"V : 2", b"VIA:3\r\n 4", b"rOUTE:5", b"r: 6", b"m:7")
    found = {kind: find_field(message, kind) for kind in (VIA, ROUTE, REFER_TO, CONTACT)}
    texts = {kind: message.data[slice(*span)] for kind, span in found.items() if span}
    assert texts == {VIA: b" 2", ROUTE: b"5", REFER_TO: b" 6", CONTACT: b"7"}
    first = found[VIA]
    assert first is not None
    second = find_field(message, VIA, first[1])
    assert second is not None
    assert message.data[slice(*second)] == b"3\r\n 4"
    assert find_field(message, VIA, second[1]) is None


def test_fields_of_the_body_are_none() -> None:
    data = REQUEST + b"X: y\r\n\r\nVia: 1\r\n\r\n"
    assert find_field(frame(data), VIA) is None


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize(
    ("value", "rest"),
    [
        (b"a", b"X: y"),
        (b"", b"X: y"),
        (b"a\n b", b"X: y"),
        (b"a\n\tb\n  \n c ", b"X: y"),
        (b"\n a", b"X: y"),
        (b"a", b""),
    ],
)
def test_value_end(value: bytes, rest: bytes, line_end: bytes) -> None:
    value = value.replace(b"\n", line_end)
    data = value + line_end + rest
    assert data[: value_end(data, 0, len(data))] == value


def test_value_that_the_header_cuts_off() -> None:
    assert value_end(b"abc\r\n", 0, 3) == 3
    assert value_end(b"abc\r\n ", 0, 5) == 3


# Whatever comes.

_lines = st.lists(
    st.sampled_from(
        b"Via: SIP/2.0/UDP 10.0.0.1|Contact: <sip:a@10.0.0.1>|Content-Length: 0|Content-Length: 4|l:0|c: a/sdp|body|"
        b"|From: <sip:a@b>;tag=1|Call-ID: 1|CSeq: 1 INVITE|x|\0\xff| folded|\t|Content-Length:| 0|Expires: 0".split(
            b"|"
        )
    ),
    max_size=12,
)
_line_ends = st.sampled_from([b"\r\n", b"\n", b"\r"])
_starts = st.sampled_from([REQUEST, b"SIP/2.0 200 OK\r\n", b"\r\n" + REQUEST, b"BYE a SIP/2.0\n", b""])
_messages = st.builds(
    lambda start, lines, ends, tail: start + b"".join(map(bytes.__add__, lines, ends)) + tail,
    _starts,
    _lines,
    st.lists(_line_ends, min_size=12, max_size=12),
    st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\n\nbody", b"\r\n\r\nbody"]),
)


def simple_frame(data: bytes, head: int) -> tuple[int, int]:
    """Where header and body begin and end, line by line: the header's end and the body's begin."""
    position = head + 1
    while position < len(data):
        newline = data.find(b"\n", position)
        if newline < 0:
            break
        if data[position:newline] in (b"", b"\r"):
            return position, newline + 1
        position = newline + 1
    return len(data), len(data)


@given(st.one_of(_messages, st.binary(max_size=200)))
def test_frame_is_what_reading_line_by_line_finds(data: bytes) -> None:
    message = parse(data)
    if isinstance(message, str):
        assert message in (
            NOT_SIP, KEEP_ALIVE, NO_END_OF_HEADERS, LENGTH_MALFORMED, LENGTH_TWICE, LENGTH_BEYOND
        )  # fmt: skip
        return
    assert data[message.head] == 10
    assert (message.head_end, message.body) == simple_frame(data, message.head)
    assert message.body <= message.body_end <= len(data)
    start, end = message.length
    if end:
        assert message.head < start < end < message.head_end
        assert int(data[start:end]) == message.body_end - message.body
    names = identify(message)
    assert names.method == cseq_method(message)
    for kind in (VIA, CONTACT):
        field = find_field(message, kind)
        if field is not None:
            assert message.head < field[0] <= field[1] <= message.head_end
            assert b":" in data[field[0] - 1 : field[0]]
    assert isinstance(address_of_record(message), bytes)
    assert session_expires_s(message) >= 0
    assert (expires_s(message) or 0) >= 0
    assert isinstance(has_star(message), bool)


@given(
    st.lists(st.sampled_from((b"A: b\r\n", b"A: b\n", b" folded\r\n", b"\r\n", b"\n", b"\r", b"X: l: 0\n"))),
    st.sampled_from((b"Content-Length: 0", b"l:00 ", b"L : 0\t", b" l: 0", b"")),
    st.sampled_from((b"\r\n\r\n", b"\n\r\n")),
)
def test_a_message_without_body_is_framed_as_one_with_bytes_behind_it(
    fields: list[bytes], length: bytes, end: bytes
) -> None:
    data = REQUEST + b"".join(fields) + length + end
    message, longer = frame(data), frame(data + b"\0")
    assert message[1:6] == longer[1:6]
    assert message.body == longer.body
    assert data[message.body : message.body_end] == longer.data[longer.body : longer.body_end].removesuffix(b"\0")
