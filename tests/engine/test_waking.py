from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import request

from sipalg.engine.dialogs import Dialog
from sipalg.engine.passage import Passage
from sipalg.engine.settings import Settings
from sipalg.engine.timers import Subject, Timed
from sipalg.engine.verdict import UDP, Endpoint
from sipalg.engine.waking import look_after

P, N = "192.168.33.10", "203.0.113.1"
SIP = (UDP, Endpoint(P, 5060))


@pytest.mark.parametrize(
    "subject",
    [
        Dialog((P, b"c1", b"a", b"b"), (SIP,), 100.0, 1, "203.0.113.50"),
        ("peers", SIP),
        ("refusal", (SIP[1], b"INVITE", b"z9hG4bK1", b"c1", 1)),
        ("lifetime", SIP, "203.0.113.50"),
        ("leaving", (P, b"r", 1)),
        Timed(),
    ],
)
def test_who_is_gone_finds_nothing_to_do(subject: Subject) -> None:
    passage = Passage(Settings(frozenset({"lan0"}), N, N), lambda _protocol, _port: False)
    look_after(passage, subject)
    transaction = passage.transaction
    assert (transaction.commands, transaction.log, transaction.events) == ([], [], [])
    assert transaction.next_due() is None


def test_everybody_is_woken_and_in_the_end_nobody_is_left() -> None:
    ladder = Ladder(sip_timeout_s=60.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    call = Outgoing(phone, server)
    call.stands()
    phone.sends(request("OPTIONS", via=f"{P}:5070", contact=f"<sip:a@{P}>", call="o"), server)
    phone.sends(request("REGISTER", call="r", number=3, contact="*", more="Expires: 0\n"), server)
    assert kinds(ladder) == {"mapping", "contact", "removal", "dialog"}
    ladder.wait(50)
    assert kinds(ladder) == {"mapping", "contact", "dialog"}
    ladder.wait(60)
    assert kinds(ladder) == {"mapping", "dialog"}
    ladder.finish()
    assert kinds(ladder) == set()


def kinds(ladder: Ladder) -> set[str]:
    return {kind for kind, _ in ladder.alg.records.all()}
