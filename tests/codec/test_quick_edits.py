"""Machine code's edits against what the codec's readers find: the same, or none; and some where messages are usual."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.codec.lines import framed_by_machine, texts, torn

from sipalg import builds
from sipalg.codec import fields, headers, message
from sipalg.codec.fields import edits_of_recipient, edits_of_sender
from sipalg.codec.message import CONTACT, FIELD_NAMES, VIA, Message, read_frame

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

Edits = list[tuple[int, int, bytes, str]]


def sender_edits(framed: Message, own: bytes, port: int) -> tuple[Edits, list[int | None]] | None:
    """What `quick_edits.of_sender` may find with the text b"text": None where an address isn't plain."""
    edits: Edits = []
    lifetimes = []
    for begin, places in fields.read_fields_with(framed, own):
        for kind, host, its_port, start, end, with_port, _, over_stream, lifetime_s in places:
            if host == own and not (kind == VIA and framed.status):
                if its_port != port or over_stream or not with_port or kind not in (VIA, CONTACT) or len(places) > 1:
                    return None
                edits.append((begin + start, end - start, b"text", FIELD_NAMES[kind]))
                lifetimes += [lifetime_s] if kind == CONTACT else []
    return sorted(edits), lifetimes


def recipient_edits(framed: Message, public: bytes, port: int) -> tuple[Edits, list[int | None]] | None:
    """The same of `quick_edits.of_recipient`, with the text b"host:port"."""
    edits: Edits = []
    lifetimes = []
    for begin, places in fields.read_fields_with(framed, public):
        for kind, host, its_port, start, end, with_port, _, over_stream, lifetime_s in places:
            if kind == VIA and not framed.status:
                continue
            if host == public and (its_port != port or not with_port or (over_stream and kind != VIA)):
                return None
            if host == public:
                edits.append((begin + start, end - start, b"host:port", FIELD_NAMES[kind]))
                lifetimes += [lifetime_s] if kind == CONTACT else []
            if kind == VIA:
                behind = begin + end
                line_end = message.value_end(framed.data, behind, framed.head_end)
                (first, last), rport = headers.read_received_and_rport(framed.data, behind, line_end)
                if host != public or (last and framed.data[first:last] != public):
                    return None
                edits += [(first, last - first, b"host", "via-received")] if last else []
                if rport[1] and int(framed.data[slice(*rport)]) != port:
                    return None
                edits += [(rport[0], rport[1] - rport[0], b"port", "via-rport")] if rport[1] else []
    return sorted(edits), lifetimes


def compare(data: bytes) -> None:
    """Both readers, on one payload."""
    found = framed_by_machine(data)
    if found is None:
        return
    assert edits_of_sender
    assert edits_of_recipient
    for port in (5060, 77):
        for own in (b"192.168.33.10", b"203.0.113.1", b"x"):
            edits = edits_of_sender(found, own, port, b"text")
            assert edits is None or (sorted(edits[0]), edits[1]) == sender_edits(found, own, port)
            edits = edits_of_recipient(found, own, port, b"host:port", None)
            assert edits is None or (sorted(edits[0]), [lifetime_s for _, lifetime_s in edits[1]]) == recipient_edits(
                found, own, port
            )


@given(texts())
@settings(max_examples=600)
def test_edits_are_the_same(data: bytes) -> None:
    compare(data)


def test_torture() -> None:
    for data in torn():
        compare(data)


HEADER = (
    b"Via: SIP/2.0/UDP %b;rport=5060;received=1.2.3.4\r\nMax-Forwards: 70\r\nRoute: <sip:b@5.6.7.8;lr>\r\n"
    b'Contact: "a" <sip:a@%b;transport=udp>;+sip.instance="<urn:x>";expires=60\r\nContent-Length: 0\r\n\r\n'
)


def test_what_is_usual_is_edited() -> None:
    assert edits_of_sender
    assert edits_of_recipient
    asked = framed_by_machine(b"REGISTER sip:x SIP/2.0\r\n" + HEADER % (b"10.0.0.1:77", b"10.0.0.1:77"))
    edits, lifetimes = edits_of_sender(asked, b"10.0.0.1", 77, b"new")
    assert ([edit[2:] for edit in edits], lifetimes) == ([(b"new", "via"), (b"new", "contact")], [60])
    answer = framed_by_machine(b"SIP/2.0 200 OK\r\n" + HEADER % (b"1.2.3.4:5060", b"1.2.3.4:5060"))
    edits, lifetimes = edits_of_recipient(answer, b"1.2.3.4", 5060, b"host:port", None)
    expected = [(b"host:port", "via"), (b"port", "via-rport"), (b"host", "via-received"), (b"host:port", "contact")]
    assert ([edit[2:] for edit in edits], lifetimes) == (expected, [(None, 60)])


def test_what_another_framed_and_ipv6_is_left_to_the_codec() -> None:
    assert edits_of_sender
    data = b"REGISTER sip:x SIP/2.0\r\n" + HEADER % (b"10.0.0.1:77", b"10.0.0.1:77")
    assert edits_of_sender(read_frame(data), b"10.0.0.1", 77, b"") is None
    assert edits_of_sender(framed_by_machine(data), b"[2001:db8::1]", 77, b"") is None
