"""The lecture's two messages: before and after, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.ladder import Ladder

from sipalg.engine.verdict import UDP, Endpoint, Mapping

DECK = Path(__file__).parents[2] / "../shared/deck"
PHONE = Endpoint("192.168.20.100", 5060)
PUBLIC = "75.142.151.49"


@pytest.mark.skipif(not DECK.is_dir(), reason="the lecture's messages aren't here (../shared/deck)")
@pytest.mark.parametrize("name", ["register", "invite"])
def test_before_becomes_after(name: str) -> None:
    ladder = Ladder(nat_address=PUBLIC, advertised_address=PUBLIC)
    signalling = Mapping(UDP, PHONE, Endpoint(PUBLIC, 1024), "sip")
    ladder.run(ladder.alg.adopt(signalling, ladder.now, "lan0"))
    for step in (0, 1):
        private, public = Endpoint(PHONE.host, 14254 + step), Endpoint(PUBLIC, 19032 + step)
        ladder.run(ladder.alg.adopt(Mapping(UDP, private, public, "media"), ladder.now, "lan0"))
    before = (DECK / f"{name}-before.sip").read_bytes()
    phone, server = ladder.phone(PHONE.host), ladder.server("207.252.1.148")
    assert phone.sends(before, server) == (DECK / f"{name}-after.sip").read_bytes()
