"""Cases 4, 5 and 6: every Contact that is ours changes, in every form, and nothing but its address."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.wire import sip

REGISTER = """
    REGISTER sip:203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:a@203.0.113.50>
    Call-ID: r1
    CSeq: 1 REGISTER
    {contact}
    Content-Length: 0
    """
OUTSIDE = """
    REGISTER sip:203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:a@203.0.113.50>
    Call-ID: r1
    CSeq: 1 REGISTER
    {contact}
    Content-Length: 0
    """
P = "192.168.33.10"
N = "203.0.113.1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            f"Contact: <sip:a@{P}:5060>, <sip:b@{P}:5060>;q=0.5, sip:c@{P}",
            f"Contact: <sip:a@{N}:5060>, <sip:b@{N}:5060>;q=0.5, sip:c@{N}",
            id="case 4: three in one list",
        ),
        pytest.param(
            f"Contact: <sip:a@phone.lan>, <sip:b@{P}>",
            f"Contact: <sip:a@phone.lan>, <sip:b@{N}>",
            id="case 5: a host name beside an address",
        ),
        pytest.param(
            f'Contact: "A, B" <sip:a@{P}>;expires=60',
            f'Contact: "A, B" <sip:a@{N}>;expires=60',
            id="case 6: a quoted comma",
        ),
        pytest.param(
            f'Contact: "A, B" <sip:a@{P}>;expires=60,\n     <sip:b@{P}:5060>\n\t;expires=30',
            f'Contact: "A, B" <sip:a@{N}>;expires=60,\n     <sip:b@{N}:5060>\n\t;expires=30',
            id="case 6: folded",
        ),
        pytest.param(f"m:<sip:a@{P}>", f"m:<sip:a@{N}>", id="case 6: compact"),
        pytest.param(f"M : sip:a@{P}:5060;q=1", f"M : sip:a@{N}:5060;q=1", id="case 6: compact, without brackets"),
        pytest.param(
            f'cOnTaCt:\t"\\"<{P}>," <sip:{P}@{P};x={P}?y={P}>;z="{P}"',
            f'cOnTaCt:\t"\\"<{P}>," <sip:{P}@{N};x={P}?y={P}>;z="{P}"',
            id="case 6: the address where it is none",
        ),
        pytest.param(
            f"Contact: <mailto:a@{P}>, <sip:a@{P}>, *", f"Contact: <mailto:a@{P}>, <sip:a@{N}>, *", id="other schemes"
        ),
        pytest.param(
            f"Contact: <sip:a@{P}>\nContact: <sip:b@{P}>",
            f"Contact: <sip:a@{N}>\nContact: <sip:b@{N}>",
            id="two fields",
        ),
    ],
)
def test_contacts(before: str, after: str) -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    assert phone.sends(sip(REGISTER, contact=before), server) == sip(OUTSIDE, contact=after)


def test_case_6_the_list_comes_back_in_the_answer() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    phone.sends(sip(REGISTER, contact=f'Contact: "A, B" <sip:a@{P}>;expires=60'), server)
    answer = """
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK-1;received={host}
        From: <sip:a@203.0.113.50>;tag=a
        To: <sip:a@203.0.113.50>;tag=r
        Call-ID: r1
        CSeq: 1 REGISTER
        Contact: "A, B" <sip:a@{host}>;expires=60, <sip:other@198.51.100.9:5060>;expires=10
        Content-Length: 0
        """
    assert server.sends(sip(answer, host=N)) == sip(answer, host=P)
