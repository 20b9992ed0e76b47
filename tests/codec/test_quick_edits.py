"""Machine code's edits against what the codec's readers find: the same, or none; and some where messages are usual."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.codec.lines import framed_by_machine, recipient_edits, sender_edits, texts, torn

from sipalg import builds
from sipalg.codec.message import read_frame
from sipalg.codec.plain_edits import edits_of_recipient, edits_of_sender

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

def compare(data: bytes) -> None:
    """Both readers, on one payload."""
    found = framed_by_machine(data)
    if found is None:
        return
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
    asked = framed_by_machine(b"REGISTER sip:x SIP/2.0\r\n" + HEADER % (b"10.0.0.1:77", b"10.0.0.1:77"))
    edits, lifetimes = edits_of_sender(asked, b"10.0.0.1", 77, b"new")
    assert ([edit[2:] for edit in edits], lifetimes) == ([(b"new", "via"), (b"new", "contact")], [60])
    answer = framed_by_machine(b"SIP/2.0 200 OK\r\n" + HEADER % (b"1.2.3.4:5060", b"1.2.3.4:5060"))
    edits, lifetimes = edits_of_recipient(answer, b"1.2.3.4", 5060, b"host:port", None)
    expected = [(b"host:port", "via"), (b"port", "via-rport"), (b"host", "via-received"), (b"host:port", "contact")]
    assert ([edit[2:] for edit in edits], lifetimes) == (expected, [(None, 60)])


def test_what_another_framed_and_ipv6_is_left_to_the_codec() -> None:
    data = b"REGISTER sip:x SIP/2.0\r\n" + HEADER % (b"10.0.0.1:77", b"10.0.0.1:77")
    assert edits_of_sender(read_frame(data), b"10.0.0.1", 77, b"") is None
    assert edits_of_sender(framed_by_machine(data), b"[2001:db8::1]", 77, b"") is None
