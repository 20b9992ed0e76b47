"""The fields that hold an address: found by the address, in every style of writing a header (RFC 3261 §7.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.address import NO_PORT
from sipalg.codec.fields import fields_with, read
from sipalg.codec.message import FIELD_NAMES, VIA, Message, parse
from sipalg.codec.uri import UriSpan

P = b"192.168.33.10"
START = b"INVITE sip:bob@192.168.33.10 SIP/2.0\r\n"


def frame(*lines: bytes, line_end: bytes = b"\r\n", body: bytes = b"") -> Message:
    message = parse((START + b"\r\n".join((*lines, b"", b""))).replace(b"\r\n", line_end) + body)
    assert isinstance(message, Message), message
    return message


def found(message: Message, text: bytes = P) -> list[tuple[str, list[bytes]]]:
    """Each field's name, with what stands at the spans of its addresses."""
    data = message.data
    return [
        (FIELD_NAMES[places[0][0]], [data[begin + start : begin + end] for _, _, _, start, end, *_ in places])
        for begin, places in fields_with(message, text)
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"Contact:", "contact"),
        (b"m:", "contact"),
        (b"M : ", "contact"),
        (b"CONTACT \t:\t", "contact"),
        (b"cOnTaCt:\r\n ", "contact"),
        (b"m\t:\r\n\t", "contact"),
        (b"Route: ", "route"),
        (b"Record-Route: ", "record-route"),
        (b"RECORD-ROUTE:", "record-route"),
        (b"Path: ", "path"),
        (b"Service-Route: ", "service-route"),
        (b"Refer-To: ", "refer-to"),
        (b"r:", "refer-to"),
        (b"Referred-By: ", "referred-by"),
        (b"b: ", "referred-by"),
    ],
)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_names(name: bytes, kind: str, line_end: bytes) -> None:
    message = frame(b"Max-Forwards: 70", name + b"<sip:a@192.168.33.10:5060>", b"X: y", line_end=line_end)
    assert found(message) == [(kind, [b"192.168.33.10:5060"])]


@pytest.mark.parametrize("name", [b"Via:", b"v:", b"V : ", b"VIA:\r\n ", b"vIa :\r\n\t"])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_via_names(name: bytes, line_end: bytes) -> None:
    message = frame(name + b"SIP/2.0/UDP 192.168.33.10:5060;branch=1", b"X: y", line_end=line_end)
    assert found(message) == [("via", [b"192.168.33.10:5060"])]


@pytest.mark.parametrize(
    "line",
    [
        b"Call-ID: 1@192.168.33.10",
        b"i:1@192.168.33.10",
        b"From: <sip:a@192.168.33.10>;tag=1",
        b"To: <sip:a@192.168.33.10>",
        b"f:<sip:a@192.168.33.10>",
        b"CSeq: 1 192.168.33.10",
        b'Authorization: Digest uri="sip:192.168.33.10"',
        b"User-Agent: x\r\n Contact: <sip:a@192.168.33.10>",
        b"Warning: 399 192.168.33.10 x",
        b"Replaces: 1@192.168.33.10;from-tag=1",
        b"P-Asserted-Identity: <sip:a@192.168.33.10>",
        b"X-Contact: <sip:a@192.168.33.10>",
        b"Contacts: <sip:a@192.168.33.10>",
        b"vv: SIP/2.0/UDP 192.168.33.10",
        b"Victim: 192.168.33.10",
        b"192.168.33.10",
        b"192.168.33.10: x",
        b" : <sip:a@192.168.33.10>",
        b": <sip:a@192.168.33.10>",
        b"",
    ],
)
def test_nothing_else_is_touched(line: bytes) -> None:
    contact = b"Contact: <sip:a@192.168.33.10>"
    lines = (line,) if line else ()
    assert found(frame(*lines)) == []
    assert found(frame(*lines, contact)) == found(frame(b"X: y", contact, *lines)) == [("contact", [P])]


def test_start_line_and_body_are_no_fields() -> None:
    assert found(frame(b"X: y", body=b"Contact: <sip:a@192.168.33.10>\r\n")) == []


def test_every_address_of_a_field_comes_with_it() -> None:
    message = frame(
        b'Contact: "A, B" <sip:a@192.168.33.10>;expires=60,\r\n <sip:b@phone.lan>\r\n\t, sip:c@192.168.33.10:5070;q=1',
        b"m: <sip:d@10.0.0.1>",
        b"Contact:\r\n <tel:1>,\r\n  <sip:e@192.168.33.10>",
    )
    assert found(message) == [
        ("contact", [P, b"phone.lan", b"192.168.33.10:5070"]),
        ("contact", [P]),
    ]


def test_list_that_cannot_be_read_has_no_addresses() -> None:
    assert found(frame(b'Contact: <sip:a@192.168.33.10>, "<sip:a@192.168.33.10>')) == []
    assert found(frame(b"Via: SIP/2.0/UDP 192.168.33.10:x")) == []


@pytest.mark.parametrize(
    "vias",
    [
        [b"Via: SIP/2.0/UDP 192.168.33.10:1", b"Via: SIP/2.0/UDP 192.168.33.10:2"],
        [b"Via: SIP/2.0/UDP 192.168.33.10:1, SIP/2.0/UDP 192.168.33.10:2"],
        [b"v:SIP/2.0/UDP\r\n 192.168.33.10:1;x,\r\n SIP/2.0/UDP 192.168.33.10:2", b"V: SIP/2.0/UDP 192.168.33.10:3"],
        [b"X: y", b"Via: SIP/2.0/UDP 192.168.33.10:1;branch=192.168.33.10", b"Via: SIP/2.0/UDP 192.168.33.10:2"],
        [b"Xvia: SIP/2.0/UDP h", b"Via: SIP/2.0/UDP 192.168.33.10:1"],
    ],
)
def test_only_the_topmost_via_is_the_senders(vias: list[bytes]) -> None:
    assert found(frame(*vias)) == [("via", [b"192.168.33.10:1"])]


@pytest.mark.parametrize("topmost", [b"Via: SIP/2.0/UDP 10.0.0.9", b"v:x", b"VIA :\r\n SIP/2.0/UDP h;branch=1\r\n ;x"])
def test_another_senders_via_hides_the_rest(topmost: bytes) -> None:
    assert found(frame(b"X: y", topmost, b"Via: SIP/2.0/UDP 192.168.33.10:1")) == []


def test_address_in_the_parameters_finds_its_via() -> None:
    message = frame(b"Via: SIP/2.0/UDP h;branch=1;received=192.168.33.10;rport=5")
    assert found(message) == [("via", [b"h"])]


def test_spans_count_from_the_field() -> None:
    message = frame(b"X: y", b"Contact : <sip:a@192.168.33.10:5070>")
    ((begin, (place,)),) = fields_with(message, P)
    kind, span = place[0], UriSpan(*place[1:])
    assert message.data[begin:].startswith(b"Contact : ")
    assert (FIELD_NAMES[kind], span.host, span.port, span.with_port) == ("contact", P, 5070, True)


def test_maddr_that_says_the_same_is_a_place_of_its_own() -> None:
    message = frame(b"m:<sip:a@192.168.33.10:5070;maddr=192.168.33.10>;expires=7, <sip:b@h;maddr=192.168.33.10>")
    ((begin, (uri, maddr, other)),) = fields_with(message, P)
    assert message.data[begin + maddr[3] :].startswith(P + b">;")
    assert maddr == (uri[0], P, 5070, maddr[3], maddr[3] + len(P), False, NO_PORT, False, 7)
    assert other[1] == b"h"


def test_last_line_without_a_blank_line() -> None:
    message = parse(START + b"Contact: <sip:a@192.168.33.10>\r\n X\r\n")
    assert isinstance(message, Message)
    assert found(message) == [("contact", [P])]


_names = st.sampled_from(
    b"Via|v|Contact|m|CONTACT|Route|Record-Route|Path|Service-Route|Refer-To|r|Referred-By|b|From|Call-ID|X".split(
        b"|"
    )
)
_values = st.sampled_from(
    b'SIP/2.0/UDP 10.0.0.1:5060;branch=1|SIP/2.0/UDP 10.0.0.2|<sip:a@10.0.0.1>|"A, B"<sip:10.0.0.1:1>,<sip:b@10.0.0.2>'
    b"|sip:10.0.0.1;x=y|<tel:1>|*|SIP/2.0/TCP 10.0.0.2;received=10.0.0.1|<sip:a@10.0.0.1|\0\xff|".split(b"|")
)
_blanks = st.sampled_from([b"", b" ", b"\t", b"\r\n ", b"\n\t ", b"\r\n \r\n "])
_fields = st.builds(
    lambda name, before, after, value, end: name + before + b":" + after + value + end,
    _names,
    st.sampled_from([b"", b" ", b" \t"]),
    _blanks,
    _values,
    st.sampled_from([b"\r\n", b"\n"]),
)


def by_lines(data: bytes, text: bytes) -> list[bytes]:
    """The names of the readable fields that hold a text, the long way: all fields, unfolded, one after the other."""
    fields: list[tuple[bytes, bytes]] = []
    for line in data.split(b"\n")[1:]:
        if not line.strip(b"\r"):
            break
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b" " + line)
        else:
            name, _, value = line.partition(b":")
            fields.append((name.strip().lower(), value))
    compact = {b"v": b"via", b"m": b"contact", b"r": b"refer-to", b"b": b"referred-by"}
    named = [(compact.get(name, name), value) for name, value in fields]
    first = next((at for at, (name, _) in enumerate(named) if name == b"via"), -1)
    kinds = {name.encode() for name in FIELD_NAMES.values()}
    return [
        name
        for at, (name, value) in enumerate(named)
        if name in kinds and text in value and (name != b"via" or at == first) and read(name + b":" + value)[1]
    ]


@given(st.lists(_fields, max_size=8), st.sampled_from([b"10.0.0.1", b"10.0.0.2"]))
def test_fields_are_those_that_reading_line_by_line_finds(fields: list[bytes], text: bytes) -> None:
    data = b"SIP/2.0 200 OK\r\n" + b"".join(fields) + b"\r\n"
    message = parse(data)
    assert isinstance(message, Message)
    assert [name.encode() for name, _ in found(message, text)] == by_lines(data, text)
    last = 0
    for begin, places in fields_with(message, text):
        for place in places:
            kind, span = place[0], UriSpan(*place[1:])
            assert kind != VIA or len(places) == 1
            assert last <= begin + span.start < begin + span.end <= message.head_end
            last = begin + span.end
            written = data[begin + span.start : begin + span.end]
            assert written == (b"%b:%d" % (span.host, span.port) if span.with_port else span.host)


def test_no_text_is_in_no_field() -> None:
    assert fields_with(frame(b"Contact: <sip:a@192.168.33.10>"), b"") == []
