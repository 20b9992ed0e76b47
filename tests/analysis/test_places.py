from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.messages import SipMessage, read_message
from sipalg.analysis.places import INSIDE, OUTSIDE, ROUTER, is_private, places
from sipalg.analysis.streams import Framed
from sipalg.capture.decode import Segment
from sipalg.engine.verdict import Endpoint

PHONE, PUBLIC, SERVER = "192.168.33.10", "203.0.113.1", "203.0.113.50"
PHONE_6, PUBLIC_6, SERVER_6 = "fd00::10", "2001:db8::1", "2001:db8::50"


def message(source: str, destination: str, *, start: str = "INVITE sip:x SIP/2.0", branch: str = "1") -> SipMessage:
    via = f"Via: SIP/2.0/UDP x;branch=z9hG4bK{branch}\r\n" if branch else ""
    data = f"{start}\r\n{via}Call-ID: a\r\nCSeq: 1 INVITE\r\n\r\n".encode()
    ends = Endpoint(source, 5060), Endpoint(destination, 5060)
    return read_message(Segment(1, 1, 17, *ends, data, b"", 0, 0, True, (), 0), Framed(data, (1,), True))


@pytest.mark.parametrize(
    ("phone", "public", "server"),
    [
        (PHONE, PUBLIC, SERVER),
        (PHONE_6, PUBLIC_6, SERVER_6),
        ("192.168.33.10", "10.0.0.1", "10.0.0.9"),
        ("198.51.100.7", PUBLIC, SERVER),
    ],
)
def test_both_sides_tell_who_is_who(phone: str, public: str, server: str) -> None:
    found = {phone: INSIDE, public: ROUTER, server: OUTSIDE}
    assert places([message(phone, server), message(public, server)]) == found
    assert places([message(server, public), message(server, phone)]) == found
    # Sent again, it says nothing else.
    assert places([message(phone, server), message(public, server)] * 2) == found


def test_clocks_that_differ() -> None:
    found = {PHONE: INSIDE, PUBLIC: ROUTER, SERVER: OUTSIDE}
    assert places([message(PUBLIC, SERVER), message(PHONE, SERVER)]) == found
    assert places([message(SERVER, PHONE), message(SERVER, PUBLIC)]) == found


def test_one_side_alone_goes_by_addresses() -> None:
    assert places([message(SERVER, PHONE)]) == {PHONE: INSIDE, SERVER: OUTSIDE}
    assert places([message(SERVER, PUBLIC)]) == {PUBLIC: OUTSIDE, SERVER: OUTSIDE}
    assert places([]) == {}


def test_other_messages_are_no_pair() -> None:
    other = message(PUBLIC, SERVER, branch="2")
    for apart in (other, message(PUBLIC, SERVER, start="SIP/2.0 200 OK"), message(PUBLIC, SERVER, branch="")):
        assert places([message(PHONE, SERVER), apart])[PUBLIC] == OUTSIDE


def test_a_router_behind_a_router() -> None:
    hosts = (PHONE, "10.0.0.1", PUBLIC)
    found = places([message(host, SERVER) for host in hosts])
    assert found == {PHONE: INSIDE, "10.0.0.1": ROUTER, PUBLIC: ROUTER, SERVER: OUTSIDE}


@given(st.lists(st.tuples(*[st.sampled_from([PHONE, PUBLIC, SERVER, PHONE_6])] * 2)))
def test_every_host_has_its_place(ways: list[tuple[str, str]]) -> None:
    assert set(places([message(*way) for way in ways])) == {host for way in ways for host in way}


@pytest.mark.parametrize(
    ("host", "private"),
    [("10.9.9.9", True), ("172.31.0.1", True), ("172.32.0.1", False), ("100.64.0.1", True), ("fe80::1", True)],
)
def test_private_addresses(host: str, private: bool) -> None:
    assert is_private(host) == private
