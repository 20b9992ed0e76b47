"""Floods from inside and from outside: tables stay within their limits, and others are served as ever."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import Outgoing
from tests.engine.wire import audio, request, response, sdp

from sipalg.codec import fields, memory, message
from sipalg.engine import policy
from sipalg.engine.alg import Alg
from sipalg.engine.verdict import UDP, Datagram, Endpoint

P, P2, S = "192.168.33.10", "192.168.33.11", "203.0.113.50"
PHONE, SERVER = Endpoint(P, 5060), Endpoint(S, 5060)
FLOOD = 5000


def receive(alg: Alg, payload: bytes, now: float, *, inbound: bool = False, port: int = 5060) -> str:
    """Hand one message in and have its commands carried out; returns why it passed, "" if it was edited."""
    phone = Endpoint(P, port)
    source, destination = (SERVER, phone) if inbound else (phone, SERVER)
    verdict = alg.receive_datagram(Datagram(payload, source, destination, UDP, "wan0" if inbound else "lan0"), now)
    if verdict.commands:
        alg.commands_done(verdict.token, now)
    return verdict.reason


def calls_still(ladder: Ladder, host: str) -> None:
    """A phone calls, and its media have their way."""
    outgoing = Outgoing(ladder.phone(host), ladder.server(S), call="after-the-flood", port=30000)
    invite = request("INVITE", via=f"{host}:5060", contact=f"<sip:a@{host}>", call="x", body=sdp(host, audio(30000)))
    assert ladder.alg.receive_datagram(
        Datagram(invite, outgoing.phone.endpoint, SERVER, UDP, "lan0"), ladder.now
    ).edits
    ladder.alg.take_events()


def ended(alg: Alg) -> None:
    """Everything runs out."""
    while (due := alg.next_timer()) is not None:
        alg.handle_timer(due)
    for table in (alg.mappings.entries, alg.calls.dialogs, alg.calls.holders, alg.contacts.lines):
        assert table == {}
    assert alg.mappings.hosts == {}


def test_invites_with_a_million_call_ids_from_inside() -> None:
    ladder = Ladder()
    alg = ladder.alg
    for number in range(FLOOD):
        receive(alg, request("INVITE", call=f"c{number}", number=number + 1, body=sdp(P, audio(10000))), ladder.now)
    assert len(alg.calls.dialogs) == policy.MAX_DIALOGS_PER_HOST
    assert len(alg.mappings.entries) == 3
    assert alg.take_events()[-1].name == "too-many-calls"
    calls_still(ladder, P2)
    ended(alg)


def test_invites_from_outside_leave_room_for_the_phones_own() -> None:
    ladder = Ladder()
    alg = ladder.alg
    receive(alg, request("OPTIONS", call="hello"), ladder.now)
    for number in range(FLOOD):
        invite = request("INVITE", uri="sip:a@203.0.113.1", via=S, call=f"c{number}", contact=None,
                         body=sdp("203.0.113.60", audio(30000)))  # fmt: skip
        receive(alg, invite, ladder.now, inbound=True)
    assert len(alg.calls.dialogs) == policy.MAX_DIALOGS_PER_HOST // 2
    assert not alg.calls.holders
    receive(alg, request("INVITE", call="own", body=sdp(P, audio(10000))), ladder.now)
    assert (P, b"own") in alg.calls.by_call
    ended(alg)


def test_answers_that_fork_without_end() -> None:
    ladder = Ladder()
    alg = ladder.alg
    receive(alg, request("INVITE", body=sdp(P, audio(10000))), ladder.now)
    for number in range(FLOOD):
        answer = response(183, "INVITE", tags=("a", f"b{number}"), body=sdp("203.0.113.60", audio(30000)))
        receive(alg, answer, ladder.now, inbound=True)
    assert len(alg.calls.dialogs) == policy.MAX_DIALOGS_PER_CALL
    assert len(alg.calls.holders) == 2
    ended(alg)


@pytest.mark.parametrize("what", ["line", "call"])
def test_registrations_without_end(what: str) -> None:
    ladder = Ladder()
    alg = ladder.alg
    for number in range(FLOOD):
        call, to = (f"r{number}", "b") if what == "call" else ("r", f"b{number}")
        own = f"To: <sip:{to}@example.org>".encode()
        asked = request("REGISTER", call=call).replace(b"To: <sip:b@example.org>", own)
        receive(alg, asked, ladder.now)
        granted = response(200, "REGISTER", call=call, contact="<sip:a@203.0.113.1>;expires=60")
        receive(alg, granted.replace(b"To: <sip:b@example.org>", own), ladder.now, inbound=True)
    assert len(list(alg.contacts.all())) == (policy.MAX_CONTACTS_PER_MAPPING if what == "line" else 1)
    assert len(alg.mappings.hosts[P.encode()].asked or ()) < policy.MAX_REGISTERS_PER_HOST
    ended(alg)


def test_ports_and_contacts_without_end() -> None:
    ladder = Ladder()
    alg = ladder.alg
    reasons = set()
    for port in range(1024, 1024 + FLOOD):
        asked = request("OPTIONS", via=f"{P}:{port}", contact=f"<sip:a@{P}:{port}>")
        reasons.add(receive(alg, asked, ladder.now, port=port))
    assert reasons == {"", "too-many-mappings"}
    assert len(alg.mappings.entries) <= policy.MAX_MAPPINGS_PER_HOST
    calls_still(ladder, P2)
    ended(alg)


def test_texts_that_are_remembered_are_bounded() -> None:
    ladder = Ladder()
    memories: list[memory.Memory[Any]] = [
        *(fields.LINES, memory.SAME, message._STARTS, message._TAGS, message._URIS)
    ]
    for number in range(FLOOD * 4):
        host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        uri = f"sip:u{number}@{host}"
        receive(ladder.alg, request("OPTIONS", uri=uri, tags=(f"t{number}", ""), contact=f"<{uri}>"), ladder.now)
    for one in memories:
        assert len(one) <= one._size
        assert all(len(text) <= memory.LONGEST_REMEMBERED for text in one)
