"""Where the session description lies: RFC 3261 §7.4, RFC 2046 §5.1 and what devices make of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.body import MAX_NESTING, MAX_PARTS, sdp_parts, sdp_span
from sipalg.codec.message import Message, parse

SDP = b"v=0\r\no=- 1 1 IN IP4 192.168.33.10\r\n"
TEXT_PART = b"Content-Type: text/plain\r\n\r\nhello\r\n"
SDP_PART = b"Content-Type: application/sdp\r\n\r\n" + SDP


def frame(fields: bytes, body: bytes) -> Message:
    message = parse(b"INVITE sip:bob@example.com SIP/2.0\r\n" + fields + b"\r\n" + body)
    assert isinstance(message, Message), message
    return message


def found(fields: bytes, body: bytes) -> bytes:
    """The text of the description that is found, b"" if none is."""
    message = frame(fields, body)
    start, end = sdp_span(message)
    assert (start, end) == (0, 0) or message.body <= start <= end <= message.body_end
    return message.data[start:end]


def multipart(*parts: bytes, boundary: bytes = b"b1", before: bytes = b"", behind: bytes = b"") -> bytes:
    return (
        before + b"".join(b"--" + boundary + b"\r\n" + part for part in parts) + b"--" + boundary + b"--\r\n" + behind
    )


def within(*parts: bytes, boundary: bytes = b"c1", more: bytes = b"") -> bytes:
    """A part that is a multipart itself."""
    return (
        b"Content-Type: multipart/alternative;boundary=" + boundary + b"\r\n" + more + b"\r\n"
        + multipart(*parts, boundary=boundary)
    )  # fmt: skip


def spans(body: bytes) -> list[tuple[bytes, list[bytes], bool]]:
    """All descriptions of a multipart body: their text, the lengths around them, whether they are early ones."""
    message = frame(MIXED, body)
    data = message.data
    return [
        (data[part.start : part.end], [data[slice(*one)] for one in part.lengths], part.is_early)
        for part in sdp_parts(message)
    ]


MIXED = b"Content-Type: multipart/mixed;boundary=b1\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Type: application/sdp",
        b"c:application/sdp",
        b"CONTENT-TYPE : Application/SDP",
        b"c: application/sdp;charset=utf-8",
        b"c: application/sdp ; x",
        b"Content-Type:\r\n application/sdp",
        b"Content-Type: application\r\n / sdp\r\n ;x",
    ],
)
def test_body_is_the_description(field: bytes) -> None:
    assert found(field + b"\r\n", SDP) == SDP


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Content-Type:\r\n",
        b"Content-Type: text/plain\r\n",
        b"Content-Type: application/sdpx\r\n",
        b"Content-Type: application/sdp+xml\r\n",
        b"Content-Type: x-application/sdp\r\n",
        b"Content-Type: application/pkcs7-mime\r\n",
        b"X-Content-Type: application/sdp\r\n",
        b"Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n",
        b"e: gzip\r\nc: application/sdp\r\n",
        b"Content-Type: multipart/mixed\r\n",
        b"Content-Type: multipart/mixed;xboundary=b1\r\n",
        b"Content-Type: multipart/mixed;boundary=\r\n",
        b"Content-Type: multipart/mixed\r\nX: y;boundary=b1\r\n",
        b"Content-Type: multipart/;boundary=b1\r\n",
    ],
)
def test_body_of_another_type_is_left_alone(fields: bytes) -> None:
    assert found(fields, SDP) == b""
    assert found(fields, multipart(SDP_PART)) == b""


def test_no_body() -> None:
    assert found(b"Content-Type: application/sdp\r\n", b"") == b""
    assert found(b"Content-Type: application/sdp\r\nContent-Length: 0\r\n", SDP) == b""


def test_stray_bytes_behind_the_body_are_none_of_it() -> None:
    fields = b"Content-Type: application/sdp\r\nContent-Length: %d\r\n" % len(SDP)
    assert found(fields, SDP + b"c=IN IP4 1.2.3.4\r\n") == SDP


@pytest.mark.parametrize(
    "body",
    [
        multipart(SDP_PART),
        multipart(SDP_PART, TEXT_PART),
        multipart(TEXT_PART, SDP_PART),
        multipart(TEXT_PART, SDP_PART, SDP_PART.replace(b"33", b"44")),
        multipart(TEXT_PART, SDP_PART, before=b"preamble\r\n--b12\r\n\r\nv=0\r\n", behind=b"epilogue\r\n" + SDP_PART),
        multipart(b"Content-Disposition: session\r\ncontent-type : APPLICATION/SDP;x=y\r\nX: y\r\n\r\n" + SDP),
        multipart(b"Content-Type:\r\n application/sdp\r\n\r\n" + SDP),
        multipart(b"c: application/sdp\r\n\r\n" + SDP),
        multipart(b"\r\ncontent of a part without a header\r\n", SDP_PART),
        multipart(b"\r\nContent-Type: application/sdp\r\n\r\nv=0 in a text\r\n", SDP_PART),
        multipart(b"Content-Type: text/plain\r\n", SDP_PART),
        multipart(SDP_PART).replace(b"--b1\r\n", b"--b1 \t\r\n"),
        multipart(SDP_PART)[:-2],
    ],
)
def test_part_is_the_description(body: bytes) -> None:
    assert found(MIXED, body) == SDP


@pytest.mark.parametrize("field", [b"Content-Transfer-Encoding", b"Content-Encoding", b"content-transfer-encoding "])
@pytest.mark.parametrize("value", [b"7bit", b" 8bit", b"  Binary", b"\r\n identity", b" binary "])
def test_part_that_is_plain_says_so(field: bytes, value: bytes) -> None:
    assert found(MIXED, multipart(field + b":" + value + b"\r\n" + SDP_PART)) == SDP
    assert (
        found(MIXED, multipart(b"Content-Type: application/sdp\r\n" + field + b":" + value + b"\r\n\r\n" + SDP)) == SDP
    )


@pytest.mark.parametrize("value", [b"base64", b" base64", b" quoted-printable", b"gzip", b" 7bitter", b""])
def test_part_that_is_encoded_is_left_alone(value: bytes) -> None:
    assert found(MIXED, multipart(b"Content-Transfer-Encoding:" + value + b"\r\n" + SDP_PART)) == b""
    assert found(MIXED, multipart(b"Content-Encoding:" + value + b"\r\n" + SDP_PART, SDP_PART)) == SDP


@pytest.mark.parametrize(
    "body",
    [
        b"",
        SDP,
        SDP_PART,
        b"--b1\r\n" + SDP_PART,
        multipart(TEXT_PART),
        multipart(b"Content-Type: application/sdp\r\n"),
        multipart(SDP_PART, boundary=b"b12"),
        multipart(SDP_PART, boundary=b"B1"),
        multipart(SDP_PART).replace(b"--b1", b" --b1"),
        multipart(b"Content-Type: multipart/alternative\r\n\r\n" + multipart(SDP_PART, boundary=b"b11")),
        multipart(within(SDP_PART, more=b"Content-Encoding: gzip\r\n")),
    ],
)
def test_no_part_is_the_description(body: bytes) -> None:
    assert found(MIXED, b"x" + body) == found(MIXED, b"x\r\n" + body) == b""


def test_closed_multipart_needs_its_delimiters_at_the_start_of_a_line() -> None:
    assert found(MIXED, b"x\r\n" + multipart(SDP_PART)) == SDP
    assert found(MIXED, b"x" + multipart(SDP_PART)) == b""


@pytest.mark.parametrize(
    ("parameter", "boundary"),
    [
        (b'boundary="b1"', b"b1"),
        (b'boundary="a b:c,(d)/e=f?"', b"a b:c,(d)/e=f?"),
        (b'type="a;b" ; Boundary = "b.*"', b"b.*"),
        (b"boundary=b1;x=y", b"b1"),
        (b"\r\n boundary=b1\r\n ;x=y", b"b1"),
        (b"boundary=----=_Part_1", b"----=_Part_1"),
        (b"boundary=" + b"b" * 70, b"b" * 70),
    ],
)
def test_boundaries(parameter: bytes, boundary: bytes) -> None:
    field = b"Content-Type: multipart/mixed;" + parameter + b"\r\n"
    assert found(field, multipart(TEXT_PART, SDP_PART, boundary=boundary)) == SDP


EARLY_PART = b"Content-Disposition: early-session;handling=optional\r\n" + SDP_PART


def test_several_descriptions() -> None:
    other = SDP_PART.replace(b"33", b"44")
    assert [text for text, *_ in spans(multipart(TEXT_PART, SDP_PART, other))] == [SDP, SDP.replace(b"33", b"44")]


def test_early_session_comes_behind_the_calls_own() -> None:
    body = multipart(EARLY_PART.replace(b"33", b"44"), SDP_PART)
    assert [is_early for *_, is_early in spans(body)] == [True, False]
    assert found(MIXED, body) == SDP
    assert found(MIXED, multipart(EARLY_PART)) == SDP


def test_nested_multiparts() -> None:
    body = multipart(TEXT_PART, within(TEXT_PART, within(SDP_PART, boundary=b"c1-1")), SDP_PART)
    assert [text for text, *_ in spans(body)] == [SDP, SDP]


def test_lengths_of_the_parts_around_innermost_first() -> None:
    inner = within(b"l: 7\r\n" + SDP_PART, SDP_PART, more=b"Content-Length : 88 \r\n")
    assert spans(multipart(inner, b"Content-Length: x\r\n" + SDP_PART)) == [
        (SDP, [b"7", b"88"], False),
        (SDP, [b"88"], False),
        (SDP, [], False),
    ]


def test_nesting_has_an_end() -> None:
    part = SDP_PART
    for depth in range(2, 7):
        part = within(part, boundary=b"c%d" % depth)
        assert bool(spans(multipart(part))) == (depth <= MAX_NESTING)


def test_parts_have_an_end() -> None:
    assert len(spans(multipart(*[TEXT_PART] * (MAX_PARTS - 1), SDP_PART))) == 1
    assert spans(multipart(*[TEXT_PART] * MAX_PARTS, SDP_PART)) == []
    assert spans(multipart(within(*[TEXT_PART] * MAX_PARTS), SDP_PART)) == [], "wherever they are"


def test_signed_bodies_are_read_all_the_same() -> None:
    field = b'Content-Type: multipart/signed;protocol="application/pkcs7-signature";boundary=b1\r\n'
    assert found(field, multipart(SDP_PART, b"Content-Type: application/pkcs7-signature\r\n\r\nxyz\r\n")) == SDP


def test_lines_that_end_in_lf_only() -> None:
    body = multipart(TEXT_PART, SDP_PART).replace(b"\r\n", b"\n")
    assert found(MIXED.replace(b"\r\n", b"\n"), body) == SDP.replace(b"\r\n", b"\n")


_pieces = st.lists(
    st.sampled_from(
        [b"--b1", b"--b1--", b"--b12", b"\r\n", b"\n", SDP, SDP_PART, TEXT_PART, b"e: gzip", b"--", b"\0", b"c:"]
    )
)


@given(st.one_of(_pieces.map(b"".join), st.binary(max_size=100)), st.sampled_from([MIXED, b"c: application/sdp\r\n"]))
def test_whatever_comes_the_span_lies_in_the_body(body: bytes, fields: bytes) -> None:
    text = found(fields, body)
    assert not text or text in body
    if fields != MIXED:
        assert text == body
