"""What the shortest way reads of a start line and writes of numbers, by messages that hinge on it."""

from __future__ import annotations

import pytest
from tests.engine.refreshes import CHALLENGE, OPTIONS, REGISTER
from tests.engine.test_express import known_phone, quick_count, receive

from sipalg import builds
from sipalg.engine.verdict import REPLACE

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")


@pytest.mark.parametrize(
    ("line", "usual"),
    [
        (b"SIP/2.0 401 Unauthorized, try again", True),
        (b"SIP/2.0 401", True),
        (b"SIP/2.0 699 x", True),
        (b"SIP/2.0 401 a\rb", False),
        (b"SIP/2.0 4010 x", False),
        (b"SIP/2.0 40x x", False),
        (b"SIP/2.0 701 x", False),
        (b"sip/2.0 401 x", False),
        (b"\r\nSIP/2.0 401 x", False),
    ],
)
def test_status_lines(line: bytes, usual: bool) -> None:
    message = CHALLENGE.replace(b"SIP/2.0 401 Text", line)
    assert quick_count(known_phone(), (message, False), 1060.0) == usual


@pytest.mark.parametrize(
    ("line", "usual"),
    [
        (b"REGISTER sip:example.org SIP/2.0", True),
        (b"REGISTER tel:1 SIP/2.0", True),
        (b"REGISTER sip:\xff SIP/2.0", True),
        (b"REGISTER  SIP/2.0", False),
        (b"REGISTER SIP/2.0", False),
        (b"REGISTER a b SIP/2.0", False),
        (b"REGISTER a\tb SIP/2.0", False),
        (b"REGISTER sip:a SIP/3.0", False),
        (b"register sip:a SIP/2.0", False),
        (b"PUBLISH sip:a SIP/2.0", False),
    ],
)
def test_request_lines(line: bytes, usual: bool) -> None:
    message = REGISTER.replace(b"REGISTER sip:example.org SIP/2.0", line)
    assert quick_count(known_phone(), (message, True), 1060.0) == usual


def test_texts_that_grow_and_shrink_leave_the_rest_as_it_was() -> None:
    alg = known_phone()
    for message, before, after in (
        ((OPTIONS, True), b"192.168.33.10:5060", b"203.0.113.1:5060"),
        ((CHALLENGE, False), b"203.0.113.1", b"192.168.33.10"),
    ):
        verdict = receive(alg, message, 1060.0)
        assert verdict.action == REPLACE
        assert verdict.payload == message[0].replace(before, after)
