"""SIP URIs and lists of them, in every form of RFC 3261 §19.1, §20.10 and §25.1, and in some that they forbid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.uri import UriSpan, parse_list, parse_one


def only(value: bytes) -> UriSpan:
    spans = parse_list(value)
    assert spans is not None
    (span,) = spans
    return span


def texts(value: bytes) -> list[bytes]:
    """What stands in a value's spans of host and port."""
    spans = parse_list(value)
    assert spans is not None
    return [value[span.start : span.end] for span in spans]


def test_usual_contact() -> None:
    value = b"<sip:alice@192.168.33.10:5060;line=x>;expires=60"
    span = only(value)
    assert (span.host, span.port, span.with_port, span.default_port) == (b"192.168.33.10", 5060, True, 5060)
    assert value[span.start : span.end] == b"192.168.33.10:5060"
    assert not span.over_stream
    assert span.expires_s == 60


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"<sip:10.0.0.1>", b"10.0.0.1"),
        (b"<sip:10.0.0.1:5070>", b"10.0.0.1:5070"),
        (b"<sip:@10.0.0.1>", b"10.0.0.1"),
        (b"<SIP:a@10.0.0.1>", b"10.0.0.1"),
        (b"<sIpS:a@10.0.0.1:5061>", b"10.0.0.1:5061"),
        (b"<sip:a:secret@10.0.0.1:1>", b"10.0.0.1:1"),
        (b"<sip:a;b=c@10.0.0.1;d>", b"10.0.0.1"),
        (b"<sip:a?b,c/d@10.0.0.1?subject=x>", b"10.0.0.1"),
        (b"<sip:user;par=u%40example.net@10.0.0.1>", b"10.0.0.1"),
        (b"<sip:1.2.3.4;x=5.6.7.8@10.0.0.1>", b"10.0.0.1"),
        (b"<sip:+1-212-555-1212:1234@gateway.com;user=phone>", b"gateway.com"),
        (b"<sip:a@[2001:db8::10]:5070>", b"[2001:db8::10]:5070"),
        (b"<sip:[2001:db8::10:5070]>", b"[2001:db8::10:5070]"),
        (b"Alice <sip:a@10.0.0.1>", b"10.0.0.1"),
        (b"Alice B. C <sip:a@10.0.0.1>", b"10.0.0.1"),
        (b"Alice<sip:a@10.0.0.1>", b"10.0.0.1"),
        (b'"Alice"<sip:a@10.0.0.1>', b"10.0.0.1"),
        (b'"" <sip:a@10.0.0.1>', b"10.0.0.1"),
        (b'"A, B" <sip:a@10.0.0.1>', b"10.0.0.1"),
        (b'"<sip:x@1.2.3.4>," <sip:a@10.0.0.1>', b"10.0.0.1"),
        (b'"Quoted \\" \\\\" <sip:a@10.0.0.1>', b"10.0.0.1"),
        (b'"\\\\"<sip:a@10.0.0.1>', b"10.0.0.1"),
        (b'"\xc3\xbc\0\xff" <sip:a@10.0.0.1>', b"10.0.0.1"),
        (b"\xd0\x90 <sip:a@10.0.0.1>", b"10.0.0.1"),
        (b"\r\n <sip:a@10.0.0.1>", b"10.0.0.1"),
        (b' "A"\r\n\t<sip:a@10.0.0.1>\r\n ;\r\n expires = 1 ', b"10.0.0.1"),
        (b"  A\r\n B <sip:a@10.0.0.1> ; q = 0.33", b"10.0.0.1"),
        (b"sip:a@10.0.0.1", b"10.0.0.1"),
        (b" sip:10.0.0.1:5070;expires=5", b"10.0.0.1:5070"),
        (b"\r\n SIPS:a@10.0.0.1 ;x", b"10.0.0.1"),
        (b"sip:a@[::1]:5070;x", b"[::1]:5070"),
        (b"<sip:a@under_score.lan>", b"under_score.lan"),
    ],
)
def test_forms(value: bytes, text: bytes) -> None:
    assert texts(value) == [text]
    assert text.startswith(only(value).host)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"*",
        b"<tel:+1-201-555-0123>",
        b"tel:+1-201-555-0123;phone-context=example.com",
        b'"A" <http://10.0.0.1/a,b>;x="y,z"',
        b"<urn:service:sos>",
        b"<sip:>",
        b"<sip:a@>",
        b"<sip:a@b@10.0.0.1>",
        b"<sip:a@10.0.0.1:>",
        b"<sip:a@10.0.0.1:x>",
        b"<sip:a@10.0.0.1:123456>",
        b"<sip:a@2001:db8::1>",
        b"<sip:a@[::1>",
        b"<sip: a@10.0.0.1>",
        b"<sip:a@10.0.0.1 >",
        b"<sip:a@ 10.0.0.1>",
        b"< sip:a@10.0.0.1>",
        b"<sip:a@10.0.0.1\0>",
        b"sip:a@10.0.0.1:x",
        b"sip:a@10.0.0.1/x",
        b"sipx:a@10.0.0.1",
        b"xsip:a@10.0.0.1",
        b"<10.0.0.1>",
        b"10.0.0.1",
    ],
)
def test_what_holds_no_sip_uri_is_skipped(value: bytes) -> None:
    assert parse_list(value) == ()
    # And stands in nobody's way.
    if value.strip():
        assert texts(value + b" , <sip:a@10.0.0.2>") == [b"10.0.0.2"]
        assert texts(b"<sip:a@10.0.0.2:1>," + value) == [b"10.0.0.2:1"]


@pytest.mark.parametrize(
    "value",
    [
        b'"A <sip:a@10.0.0.1>',
        b'A" <sip:a@10.0.0.1>',
        b'"A\\" <sip:a@10.0.0.1>',
        b'<sip:a@10.0.0.1>;x="y',
        b"<sip:a@10.0.0.1",
        b"sip:a@10.0.0.1>",
        b"<<sip:a@10.0.0.1>>",
        b'sip:a@10.0.0.1 <x>',
        b">",
        b'<sip:a@10.0.0.2>, "',
        b"<sip:a@10.0.0.2>, <sip:b@10.0.0.1",
    ],
)  # fmt: skip
def test_list_that_cannot_be_read_is_not_read_by_halves(value: bytes) -> None:
    assert parse_list(value) is None


def test_lists() -> None:
    value = (
        b'"A, B" <sip:a@10.0.0.1:1>;q=0.7;expires="3,6", <sip:b@host.lan>\r\n ,sips:c@10.0.0.1;x, * ,<tel:1,2>,'
        b"D <sip:d,e@10.0.0.2;a=b?c=d,e>;+sip.instance=\"<urn:uuid:1>\",\r\n\t<sip:10.0.0.3>"
    )  # fmt: skip
    assert texts(value) == [b"10.0.0.1:1", b"host.lan", b"10.0.0.1", b"10.0.0.2", b"10.0.0.3"]


def test_empty_places_in_a_list() -> None:
    assert texts(b",<sip:10.0.0.1>,, <sip:10.0.0.2> ,") == [b"10.0.0.1", b"10.0.0.2"]


@pytest.mark.parametrize(
    ("uri", "port", "default"),
    [
        (b"sip:h", 5060, 5060),
        (b"sips:h", 5061, 5061),
        (b"sip:h:5061", 5061, 5060),
        (b"sips:h:1", 1, 5061),
        (b"sip:h:0", 0, 5060),
    ],
)
def test_ports(uri: bytes, port: int, default: int) -> None:
    for span in (only(b"<" + uri + b">"), only(uri), parse_one(uri)):
        assert span is not None
        assert (span.port, span.default_port) == (port, default)
        assert span.with_port == (uri.count(b":") == 2)


def test_port_above_65535_is_handed_on_as_it_is() -> None:
    assert only(b"<sip:h:65536>").port == 65536


@pytest.mark.parametrize(
    ("uri", "over_stream"),
    [
        (b"sip:h", False),
        (b"sip:h;transport=udp", False),
        (b"sip:h;transport=UDP;lr", False),
        (b"sip:h;transport=tcp", True),
        (b"sip:h;lr;Transport=TLS", True),
        (b"sip:h;transport=ws?x=y", True),
        (b"sip:h;transport=wss", True),
        (b"sip:h;transport=tcpx", False),
        (b"sip:h;xtransport=tcp", False),
        (b"sip:transport=tcp@h", False),
        (b"sips:h", True),
        (b"sips:h;transport=udp", True),
    ],
)
def test_transport(uri: bytes, over_stream: bool) -> None:
    for span in (only(b"<" + uri + b">"), parse_one(uri)):
        assert span is not None
        assert span.over_stream is over_stream


def test_without_brackets_parameters_are_the_fields() -> None:
    assert not only(b"sip:h;transport=tcp").over_stream
    assert only(b"sip:h;expires=60").expires_s == 60
    assert only(b"<sip:h;expires=60>").expires_s is None


@pytest.mark.parametrize(
    ("uri", "maddr"),
    [
        (b"sip:10.0.0.1;maddr=10.0.0.1", b"10.0.0.1"),
        (b"sip:a@10.0.0.1:5070;lr;Maddr=10.0.0.1;x?y=z", b"10.0.0.1"),
        (b"sip:a@[::1];maddr=[::1]", b"[::1]"),
        (b"sip:a@10.0.0.1;maddr=10.0.0.11", b""),
        (b"sip:a@10.0.0.1;maddr=10.0.0.2", b""),
        (b"sip:a@10.0.0.1;xmaddr=10.0.0.1", b""),
        (b"sip:a;maddr=10.0.0.1@10.0.0.1", b""),
        (b"sip:a@10.0.0.1?x;maddr=10.0.0.1", b""),
        (b"sip:a@10.0.0.1;maddr", b""),
    ],
)
def test_maddr_that_says_the_same(uri: bytes, maddr: bytes) -> None:
    for text, span in ((b"<" + uri + b">", only(b"<" + uri + b">")), (uri, parse_one(uri))):
        assert span is not None
        assert text[slice(*span.maddr)] == maddr


@pytest.mark.parametrize(
    ("parameters", "expires_s"),
    [
        (b"", None),
        (b";expires=0", 0),
        (b';q=1;EXPIRES="3600"', 3600),
        (b" ;\r\n expires\r\n =\r\n 7 ;x", 7),
        (b";expires", None),
        (b";expires=", None),
        (b";expires=never", None),
        (b";xexpires=5", None),
        (b";expires=999999999", 999999999),
    ],
)
def test_lifetime(parameters: bytes, expires_s: int | None) -> None:
    assert only(b"<sip:a@h>" + parameters).expires_s == expires_s


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (b"sip:10.0.0.1", b"10.0.0.1"),
        (b"sip:bob@10.0.0.1:5070;lr?a=b", b"10.0.0.1:5070"),
        (b"SIPS:a;b?c@[2001:db8::1]:1;x", b"[2001:db8::1]:1"),
        (b"sip:a%40b@example.com;x=%3b", b"example.com"),
    ],
)
def test_request_uri(text: bytes, address: bytes) -> None:
    span = parse_one(text)
    assert span is not None
    assert text[span.start : span.end] == address


@pytest.mark.parametrize(
    "text",
    b"|*|tel:1|<sip:a@h>| sip:a@h|sip:a@h |sip:|sip:a@|sip:2001:db8::1|sip:h,x|sip:h:x|sip:a b@h".split(b"|"),
)
def test_what_is_no_request_uri(text: bytes) -> None:
    assert parse_one(text) is None


_pieces = st.lists(
    st.sampled_from(
        b'<|>|"|\\|,|;|:|@|?|=|*| |\r\n |sip:|sips:|tel:|10.0.0.1|[::1]|5060|99999|a|expires|transport=tcp|\0|\xff'
        b'|<sip:a@10.0.0.1:5060>|"A, B"|;expires=60'.split(b"|")
    ),
    max_size=25,
).map(b"".join)


@given(st.one_of(_pieces, st.binary(max_size=100)))
def test_spans_say_what_they_name(value: bytes) -> None:
    spans = list(parse_list(value) or ())
    one = parse_one(value)
    if one is not None:
        spans.append(one)
    last = 0
    for span in spans[: len(spans) - (one is not None)]:
        assert last <= span.start
        last = span.end
    for span in spans:
        text = value[span.start : span.end]
        assert text == (span.host + b":" + text.rpartition(b":")[2] if span.with_port else span.host)
        assert span.port == (int(text.rpartition(b":")[2]) if span.with_port else span.default_port)


_users = st.sampled_from([b"", b"@", b"a@", b"a:b@", b"a;b@", b"a?b@", b"a,b@", b"%22@", b"*@"])
_hosts = st.sampled_from([b"10.0.0.1", b"192.168.33.10", b"h", b"phone.lan", b"[2001:db8::1]"])
_ports = st.sampled_from([b"", b":1", b":5060", b":65535"])
_names = st.sampled_from([b"", b"A ", b"A B", b'"A, B" ', b'"\\"<sip:x@1.1.1.1>,"', b"\r\n ", b"\xff "])
_uri_tails = st.sampled_from([b"", b";lr", b";a=b?c=d", b"?c=d,e", b";transport=tcp"])
_field_tails = st.sampled_from([b"", b";q=1", b' ; x="a,b\\"" ', b";expires=60", b"\r\n ", b";<x>"])


@given(st.lists(st.tuples(_names, _users, _hosts, _ports, _uri_tails, _field_tails), min_size=1, max_size=5))
def test_generated_lists_are_read_whole(entries: list[tuple[bytes, ...]]) -> None:
    value = b",".join(
        name + b"<sip:" + user + host + port + uri_tail + b">" + field_tail
        for name, user, host, port, uri_tail, field_tail in entries
    )
    assert texts(value) == [host + port for _, _, host, port, _, _ in entries]
