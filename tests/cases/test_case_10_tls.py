"""Case 10: TLS on port 5061 isn't parsed, touched or mapped; one counter."""

from __future__ import annotations

from tests.engine.ladder import Ladder

from sipalg.engine.verdict import ACCEPT, TCP, Datagram, Endpoint, Verdict

HELLO = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00192.168.33.10"


def test_tls_passes() -> None:
    ladder = Ladder()
    datagram = Datagram(HELLO, Endpoint("192.168.33.10", 40000), Endpoint("203.0.113.50", 5061), TCP, "lan0")
    assert ladder.receive(datagram) == Verdict(ACCEPT, HELLO, (), (), "stream-transport", 0)
    assert ladder.alg.reasons == {"stream-transport": 1}
    assert ladder.mapped == {}


def test_its_like_over_udp_passes() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50", 5061)
    assert phone.sends(HELLO, server) == HELLO
    assert ladder.alg.reasons == {"not-sip": 1}
    assert ladder.mapped == {}
