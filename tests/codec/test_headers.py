"""Via: sent-by, `received` and `rport`, in every form that RFC 3261 §20.42 and §25.1 and RFC 3581 allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.headers import ViaSpan, parse_via, received_and_rport, via_text


def read(text: bytes) -> ViaSpan:
    via = parse_via(text)
    assert via is not None
    return via


def received_of(value: bytes) -> tuple[bytes, bytes]:
    """The texts of `received` and `rport` of a value's first Via."""
    received, rport = received_and_rport(value, read(value).end, len(value))
    return value[slice(*received)], value[slice(*rport)]


def test_usual_via() -> None:
    value = b"SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK776;rport"
    via = read(value)
    assert (via.host, via.port, via.with_port) == (b"192.168.33.10", 5060, True)
    assert value[via.start : via.end] == b"192.168.33.10:5060"
    assert (via.default_port, via.over_stream, via.expires_s) == (5060, False, None)


def test_sent_by_without_a_port_means_5060() -> None:
    value = b"SIP/2.0/UDP 192.168.33.10;branch=z9hG4bK776"
    via = read(value)
    assert (via.port, via.with_port) == (5060, False)
    assert value[via.start : via.end] == b"192.168.33.10"


@pytest.mark.parametrize(
    ("value", "transport", "sent_by", "port"),
    [
        (b"SIP / 2.0 / UDP first.example.com: 4000;ttl=16", b"UDP", b"first.example.com: 4000", 4000),
        (b"SIP\r\n /2.0/ UDP\r\n\t192.0.2.2 :\r\n 5060\r\n ;branch=1", b"UDP", b"192.0.2.2 :\r\n 5060", 5060),
        (b"\r\n sip/2.0/udp\t1.2.3.4", b"UDP", b"1.2.3.4", 5060),
        (b"SIP/2.0/TCP 1.2.3.4:5070", b"TCP", b"1.2.3.4:5070", 5070),
        (b"SIP/2.0/TLS-SCTP [2001:db8::9:1]:5061;branch=1", b"TLS-SCTP", b"[2001:db8::9:1]:5061", 5061),
        (b"SIP/2.0/UDP [2001:db8::9:1]", b"UDP", b"[2001:db8::9:1]", 5060),
        (b"SIP/2.0/UDP a.example,SIP/2.0/UDP b.example", b"UDP", b"a.example", 5060),
        (b"SIP/2.0/UDP a.example:1 , SIP/2.0/UDP b.example:2", b"UDP", b"a.example:1", 1),
        (b"SIP/2.0/UDP 1.2.3.4:00080;x", b"UDP", b"1.2.3.4:00080", 80),
        (b"SIP/2.0/UDP 1.2.3.4 ", b"UDP", b"1.2.3.4", 5060),
    ],
)
def test_forms(value: bytes, transport: bytes, sent_by: bytes, port: int) -> None:
    via = read(value)
    assert (via.over_stream, via.port) == (transport != b"UDP", port)
    assert value[via.start : via.end] == sent_by
    assert sent_by.startswith(via.host)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"UDP 1.2.3.4",
        b"SIP/2.0 UDP 1.2.3.4",
        b"SIP/3.0/UDP 1.2.3.4",
        b"HTTP/2.0/UDP 1.2.3.4",
        b"SIP/2.0/UDP1.2.3.4",
        b"SIP/2.0/UDP ;branch=1",
        b"SIP/2.0/UDP 1.2.3.4:;branch=1",
        b"SIP/2.0/UDP 1.2.3.4:x",
        b"SIP/2.0/UDP 1.2.3.4:123456",
        b"SIP/2.0/UDP 1.2.3.4 :123456;branch=1",
        b"SIP/2.0/UDP 1.2.3.4\0:5060",
        b"SIP/2.0/UDP 2001:db8::9:1;branch=1",
        b"SIP/2.0/UDP <1.2.3.4>",
        b"SIP/2.0/UDP a@1.2.3.4",
        b"SIP/2.0/\xff 1.2.3.4",
    ],
)
def test_what_is_no_via(value: bytes) -> None:
    assert parse_via(value) is None


@pytest.mark.parametrize(
    ("value", "received", "rport"),
    [
        (b"SIP/2.0/UDP a;branch=1", b"", b""),
        (b"SIP/2.0/UDP a;rport;branch=1", b"", b""),
        (b"SIP/2.0/UDP a;rport=;branch=1", b"", b""),
        (b"SIP/2.0/UDP a;received=192.0.2.1;rport=9988", b"192.0.2.1", b"9988"),
        (b"SIP/2.0/UDP a:5070;RPort=1 ; Received = 192.0.2.1", b"192.0.2.1", b"1"),
        (b"SIP/2.0/UDP a ;\r\n received=\r\n\t192.0.2.1\r\n ;rport\r\n = 1024", b"192.0.2.1", b"1024"),
        (b"SIP/2.0/UDP a;received=[2001:db8::9];rport=1", b"[2001:db8::9]", b"1"),
        (b"SIP/2.0/UDP a;received=2001:db8::9:255;rport=1", b"2001:db8::9:255", b"1"),
        (b"SIP/2.0/UDP a;received=::1;rport=1", b"::1", b"1"),
        (b"SIP/2.0/UDP a;received=fe80::;rport=1", b"fe80::", b"1"),
        (b"SIP/2.0/UDP a;received=;rport=1", b"", b"1"),
        (b"SIP/2.0/UDP a;received=192.0.2.1:5060;rport=1", b"192.0.2.1", b"1"),
        (b"SIP/2.0/UDP a;rport=123456", b"", b""),
        (b"SIP/2.0/UDP a;xrport=1;x-received=1.2.3.4", b"", b""),
        (b"SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;received=192.0.2.1;rport=1", b"", b""),
        (b"SIP/2.0/UDP a, SIP/2.0/UDP b;received=192.0.2.1;rport=1", b"", b""),
        (b"SIP/2.0/UDP a;received=1.2.3.4,SIP/2.0/UDP b;rport=1", b"1.2.3.4", b""),
        (b'SIP/2.0/UDP a;rport=7;x="a,SIP/2.0/UDP b;received=1.2.3.4', b"", b"7"),
        (b'SIP/2.0/UDP a;x=";rport=1";rport=7;rport=8', b"", b"7"),
        (b'SIP/2.0/UDP a;x="a,\\"b,\\\\";rport=7,SIP/2.0/UDP b;received=1.2.3.4', b"", b"7"),
    ],
)
def test_received_and_rport_of_the_first_via(value: bytes, received: bytes, rport: bytes) -> None:
    assert received_of(value) == (received, rport)


def test_an_ipv6_reference_is_read_in_its_canonical_text() -> None:
    value = b"SIP/2.0/UDP [2001:DB8:0::9:01]:5070;branch=1"
    via = read(value)
    assert (via.host, via.port) == (b"[2001:db8::9:1]", 5070)
    assert value[via.start : via.end] == b"[2001:DB8:0::9:01]:5070"


def test_missing_parameters_have_no_span() -> None:
    value = b"SIP/2.0/UDP a"
    assert received_and_rport(value, read(value).end, len(value)) == ((0, 0), (0, 0))


def test_parameters_behind_the_value_are_not_its_own() -> None:
    value = b"SIP/2.0/UDP a;branch=1"
    data = value + b";rport=7;received=1.2.3.4"
    assert received_and_rport(data, read(value).end, len(value)) == ((0, 0), (0, 0))


def test_text_that_is_read_ends_at_the_first_parameter() -> None:
    data = b"Via: SIP/2.0/UDP a:1;branch=2;rport\r\n"
    assert via_text(data, 4, 35) == b" SIP/2.0/UDP a:1"
    assert via_text(data, 4, 20) == b" SIP/2.0/UDP a:1"
    assert via_text(data, 4, 10) == b" SIP/2"


_pieces = st.lists(
    st.sampled_from(
        b'SIP|/|2.0|UDP|tcp| |\r\n |1.2.3.4|[::1]|:|5060|;|,|=|"|received|rport|branch|\\|\0|\xff|;rport=1|99999'
        b"|SIP/2.0/UDP 10.0.0.1:5060".split(b"|")
    ),
    max_size=25,
)


@given(st.one_of(_pieces.map(b"".join), st.binary(max_size=100)), st.sampled_from([b"", b"SIP/2.0/UDP 10.0.0.1"]))
def test_spans_say_what_they_name(tail: bytes, head: bytes) -> None:
    value = head + tail
    via = parse_via(value)
    if via is None:
        return
    text = value[via.start : via.end]
    assert text.startswith(via.host)
    if via.with_port:
        assert text[len(via.host) :].strip(b": \t\r\n\v\f").isdigit()
        assert int(text.rpartition(b":")[2]) == via.port
    else:
        assert text == via.host
    # What is handed to the reader ends before the parameters: nothing may be lost by that.
    assert parse_via(via_text(value, 0, len(value))) == via
    received, rport = received_and_rport(value, via.end, len(value))
    for start, end in (received, rport):
        assert (start, end) == (0, 0) or via.end < start < end <= len(value)
    assert not rport[1] or value[slice(*rport)].isdigit()


_parameters = b";received=1.2.3.4|;Received = a|;rport=7|;RPORT\r\n =8|;rport|;branch=z|;x=y| |=|9".split(b"|")


@given(st.lists(st.sampled_from(_parameters)))
def test_what_stands_in_a_via_is_found_with_and_without_a_comma_behind_it(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    assert received_and_rport(text, 0, len(text)) == received_and_rport(text + b",", 0, len(text) + 1)
