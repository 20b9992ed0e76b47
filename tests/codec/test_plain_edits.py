"""The interpreted build's edits in one pass against what the codec's readers find: the same, or none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.codec.lines import doubled, recipient_edits, sender_edits, texts, torn

from sipalg.codec.message import Message, read_frame
from sipalg.codec.plain_edits import of_recipient, of_sender

OWN = b"192.168.33.10"
PUBLIC = b"203.0.113.1"
REGISTER = b"REGISTER sip:x SIP/2.0\r\n"
OK = b"SIP/2.0 200 OK\r\n"
VIA = b"Via: SIP/2.0/UDP %b;branch=z9\r\n"


def compare(data: bytes) -> None:
    """Both readers, on one payload."""
    found = read_frame(data)
    if isinstance(found, str):
        return
    for port in (5060, 77):
        for own in (OWN, PUBLIC, b"x"):
            sent = of_sender(found, own, port, b"text")
            assert sent is None or (sorted(sent[0]), sent[1]) == sender_edits(found, own, port)
            got = of_recipient(found, own, port, b"host:port", None)
            assert got is None or (sorted(got[0]), [lifetime_s for _, lifetime_s in got[1]]) == recipient_edits(
                found, own, port
            )


@given(texts())
@settings(max_examples=400)
def test_edits_are_the_same(data: bytes) -> None:
    compare(data)


@given(doubled())
@settings(max_examples=200)
def test_of_fields_that_are_there_twice_too(data: bytes) -> None:
    compare(data)


def test_torture() -> None:
    for data in torn():
        compare(data)


def framed(start: bytes, *lines: bytes) -> Message:
    message = read_frame(start + b"".join(lines) + b"Content-Length: 0\r\n\r\n")
    assert isinstance(message, Message), message
    return message


def sent(*lines: bytes, start: bytes = REGISTER) -> list[str] | None:
    """The rules of a sender's edits, and its Contacts' lifetimes; None where others have to look."""
    found = of_sender(framed(start, *lines), OWN, 5060, b"new")
    return None if found is None else [*(edit[3] for edit in found[0]), *map(str, found[1])]


def got(*lines: bytes, start: bytes = OK) -> list[bytes] | None:
    """What a recipient's edits replace by what, in order; None where others have to look."""
    message = framed(start, *lines)
    found = of_recipient(message, PUBLIC, 5060, b"10.0.0.9:77", "its mapping")
    if found is None:
        return None
    assert all(mapping == "its mapping" for mapping, _ in found[1])
    return [message.data[offset : offset + length] + b">" + text for offset, length, text, _ in found[0]]


AT_OWN = OWN + b":5060"
CONTACT = b"Contact: <sip:a@192.168.33.10:5060;ob>;expires=60\r\n"


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_a_sender_that_writes_as_nearly_all_do(line_end: bytes) -> None:
    lines = (VIA % AT_OWN + b"Call-ID: a@" + OWN + b"\r\nTo: <sip:b@x>\r\n" + CONTACT).replace(b"\r\n", line_end)
    assert sent(lines) == ["via", "contact", "60"]
    assert sent(CONTACT, b"v : sip / 2.0/udp  " + AT_OWN + line_end) == ["contact", "via", "60"]
    assert sent(VIA % AT_OWN, b"m:<sip:a@x>, <sip:192.168.33.10:5060>\r\n") == ["via", "contact", "None"]
    assert sent(b"Path: <sip:192.168.33.10:5060>\r\n") == ["path"]
    assert sent(b"Contact: <sip:a@192.168.33.101:5060>\r\n") == []


def test_vias_that_are_not_the_senders() -> None:
    assert sent(VIA % AT_OWN, VIA % AT_OWN) == ["via"]
    assert sent(VIA % AT_OWN, start=OK) == []
    for other in (VIA, b"v: x\r\n"):
        assert sent(other.replace(b"%b", b"10.0.0.1"), VIA % AT_OWN) is None


@pytest.mark.parametrize(
    "line",
    [
        b"Via: SIP/2.0/TCP 192.168.33.10:5060;branch=z9\r\n",
        b"Via: SIP/2.0/UDP 192.168.33.10\r\n",
        b"Via: SIP/2.0/UDP 192.168.33.10;branch=z9\r\n",
        b"Via: SIP/2.0/UDP 192.168.33.10:77;branch=z9\r\n",
        b"Via: SIP/2.0/UDP 192.168.33.10:5060 ;branch=z9\r\n",
        b"Via: SIP/2.0/UDP 192.168.33.101:5060;branch=z9\r\n",
        b"Via: SIP/2.0/UDP\r\n 192.168.33.10:5060\r\n",
        b"Via: SIP/2.0/UDP 192.168.33.10:5060\r\n ;branch=z9\r\n",
        b"Contact: <sip:a@192.168.33.10>\r\n",
        b"Contact: <sip:a@192.168.33.10:77>\r\n",
        b"Contact: <sip:a@192.168.33.10:5060;transport=tcp>\r\n",
        b"Contact: <sip:a@192.168.33.10:5060>" + b", <sip:b@x>" * 16 + b"\r\n",
        b"Contact: <sip:a@192.168.33.10:5060>\r\n" * 17,
    ],
)
def test_others_look_at_a_sender_that_writes_otherwise(line: bytes) -> None:
    assert sent(line) is None


def test_others_look_at_a_header_that_ends_amid_a_line_and_at_ipv6() -> None:
    message = framed(REGISTER, VIA % AT_OWN)
    torn_off = message._replace(head_end=message.head + 40)
    assert of_sender(torn_off, OWN, 5060, b"new") is None
    assert of_recipient(torn_off, OWN, 5060, b"a:1", None) is None
    assert of_sender(message, b"[2001:db8::1]", 5060, b"new") is None
    assert of_recipient(message, b"[2001:db8::1]", 5060, b"a:1", None) is None


def test_a_recipient_gets_its_own_back() -> None:
    via = b"Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9"
    back = b"203.0.113.1:5060>10.0.0.9:77"
    contacts = b"Contact: <sip:a@203.0.113.1:5060>;expires=5, <sip:a@x>\r\nRecord-Route: <sip:203.0.113.1:5060>\r\n"
    received = b"203.0.113.1>10.0.0.9"
    assert got(via + b"\r\n", contacts) == [back, back, back]
    assert got(contacts, start=b"INVITE sip:a@b SIP/2.0\r\n" + VIA % (PUBLIC + b":5060")) == [back, back]
    assert got(b"Via: SIP/2.0/UDP 203.0.113.1:5060\n") == [back]
    assert got(via + b";rport=5060;received=203.0.113.1\r\n", via + b"\r\n") == [back, b"5060>77", received]
    assert got(via + b";received=203.0.113.1;x;rport=5060;y=1\r\n") == [back, received, b"5060>77"]
    assert got(via + b";received=203.0.113.1\r\n") == [back, received]
    assert got(via + b";rport=5060\r\n") == [back, b"5060>77"]


@pytest.mark.parametrize(
    "line",
    [
        b";rport=5060;rport=5060",
        b";rport=77",
        b";received=203.0.113.1;rport=77",
        b";received=10.0.0.1",
        b";Received=203.0.113.1",
        b";rport",
        b";received=203.0.113.1;received=203.0.113.1",
        b';x=""',
        b", SIP/2.0/UDP a",
        b"; rport=77",
    ],
)
def test_others_look_where_a_via_says_something_else(line: bytes) -> None:
    assert got(b"Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9" + line + b"\r\n") is None
    assert got(b"Via: SIP/2.0/UDP 203.0.113.1:77;branch=z9\r\n") is None


def test_others_look_where_a_list_names_another_port() -> None:
    assert got(b"Contact: <sip:a@203.0.113.1:5060>, <sip:a@203.0.113.1:77>\r\n") is None
    assert got(b"Contact: <sip:a@203.0.113.1:5060>\r\n" * 17) is None
    assert got(b"Contact: <sip:a@203.0.113.1:5060>\r\n a\r\n") is None
    assert got(b" Contact: <sip:a@203.0.113.1:5060>\r\n") is None
