"""Messages over TCP: the phone's address that a connection stands for, and the same edits as over UDP, TCP in them."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder, N

from sipalg.engine.streams import home_of
from sipalg.engine.verdict import ACCEPT, REPLACE, TCP, UDP, Datagram, Endpoint, EstablishFlow, Verdict

P = "192.168.33.10"
SOURCE = Endpoint(P, 49152)
HOME = Endpoint(P, 5060)
S = Endpoint("203.0.113.50", 5060)


def register(via: str = f"SIP/2.0/TCP {P}", contact: str = f"<sip:a@{P};transport=tcp>") -> bytes:
    lines = (
        "REGISTER sip:203.0.113.50 SIP/2.0",
        f"Via: {via};branch=z9hG4bK1;rport",
        "From: <sip:a@203.0.113.50>;tag=1",
        "To: <sip:a@203.0.113.50>",
        "Call-ID: one",
        "CSeq: 1 REGISTER",
        *([f"Contact: {contact}"] if contact else []),
        "Content-Length: 0",
    )
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.parametrize(
    ("payload", "home"),
    [
        (register(), HOME),
        (register(contact=f"<sip:a@{P}:5070;transport=tcp>"), Endpoint(P, 5070)),
        (register(via=f"SIP/2.0/TCP {P}:5080", contact=f"<sip:a@{P}:5070>"), Endpoint(P, 5080)),
        (register(via=f"SIP/2.0/TCP {P}:5080", contact=""), Endpoint(P, 5080)),
        (register(via=f"SIP/2.0/TCP {P}:22", contact=f"<sip:a@{P}:80;transport=tcp>"), SOURCE),
        (register(via="SIP/2.0/TCP 192.168.33.99", contact="<sip:a@192.168.33.99;transport=tcp>"), SOURCE),
        (register(via=f"SIP/2.0/TCP {P}\r\nPath: <sip:{P}:5090;transport=tcp>\r\nX: ", contact=""), HOME),
        (b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 192.168.33.10\r\nContent-Length: 0\r\n\r\n", SOURCE),
        (b"GET / HTTP/1.1\r\n\r\n", SOURCE),
    ],
)
def test_a_connection_stands_for_where_its_phone_listens(payload: bytes, home: Endpoint) -> None:
    assert home_of(payload, SOURCE) == home


def outward(ladder: Ladder, payload: bytes, source: Endpoint = HOME) -> Verdict:
    return decided(ladder, Datagram(payload, source, S, TCP, "lan0"))


def decided(ladder: Ladder, datagram: Datagram) -> Verdict:
    verdict = ladder.alg.receive_message(datagram, ladder.now)
    if verdict.commands:
        assert ladder.kernel.run(verdict.commands) is None
        ladder.alg.commands_done(verdict.token, ladder.now)
    return verdict


def test_via_and_contact_are_translated_there_and_back() -> None:
    ladder = Ladder()
    verdict = outward(ladder, register(via=f"SIP/2.0/TCP {P}:5060", contact=f"<sip:a@{P}:5060;transport=tcp>"))
    assert verdict.action == REPLACE
    expected = register(via=f"SIP/2.0/TCP {N}:5060", contact=f"<sip:a@{N}:5060;transport=tcp>")
    assert verdict.payload == expected
    assert ladder.alg.public_of(TCP, HOME) == Endpoint(N, 5060)
    assert ladder.alg.public_of(UDP, HOME) is None
    assert not any(isinstance(command, EstablishFlow) for command in verdict.commands), "the connection is the flow"
    answer = (
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP {0}:5060;branch=z9hG4bK1;received={0};rport={1}\r\n"
        "From: <sip:a@x>;tag=1\r\nTo: <sip:a@x>;tag=2\r\nCall-ID: one\r\nCSeq: 1 REGISTER\r\n"
        "Contact: <sip:a@{0}:5060;transport=tcp>;expires=60\r\nContent-Length: 0\r\n\r\n"
    )
    inward = Datagram(answer.format(N, 5060).encode(), S, HOME, TCP, "wan0")
    assert decided(ladder, inward).payload == answer.format(P, 5060).encode()
    assert ladder.alg.mappings.entries[TCP, HOME].uses == 1, "the contact holds the mapping"


def test_another_port_than_the_mappings_is_no_other_nat() -> None:
    ladder = Ladder()
    outward(ladder, register())
    answer = (
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP {N};branch=z9hG4bK1;rport=31000\r\nCSeq: 1 REGISTER\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    decided(ladder, Datagram(answer.encode(), S, HOME, TCP, "wan0"))
    assert ladder.alg.counts()["seen_as"] == {}


def test_a_contact_for_udp_gets_a_mapping_for_udp() -> None:
    ladder = Ladder()
    verdict = outward(ladder, register(contact=f"<sip:a@{P}:5060>"))
    assert verdict.action == REPLACE
    assert ladder.alg.public_of(UDP, HOME) == Endpoint(N, 5060)
    assert ladder.alg.public_of(TCP, HOME) == Endpoint(N, 5060)


def test_the_connections_own_port_is_where_the_phone_listens() -> None:
    ladder = Ladder()
    ladder.alg.mappings.aliases[TCP, SOURCE] = HOME
    verdict = outward(ladder, register(contact=f"<sip:a@{SOURCE};transport=tcp>"))
    assert f"Contact: <sip:a@{N}:5060;transport=tcp>".encode() in verdict.payload
    assert ladder.mapped == {str(HOME): f"{N}:5060"}


def test_a_via_of_another_transport_is_left_alone() -> None:
    verdict = outward(Ladder(), register(via=f"SIP/2.0/UDP {P}:5060"))
    assert f"Via: SIP/2.0/UDP {P}:5060;".encode() in verdict.payload


def test_a_segment_is_no_message() -> None:
    ladder = Ladder()
    verdict = ladder.alg.receive_datagram(Datagram(register(), SOURCE, S, TCP, "lan0"), ladder.now)
    assert (verdict.action, verdict.reason) == (ACCEPT, "stream-transport")
    assert not ladder.alg.mappings.entries
