"""Every limit has its reason or event, and what is beyond it passes as it came: nothing raises, nothing grows."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.wire import audio, request, response, sdp

from sipalg.codec.message import MAX_MESSAGE_BYTES
from sipalg.engine import policy
from sipalg.engine.verdict import UDP, Datagram, Endpoint

P, S = "192.168.33.10", "203.0.113.50"
PHONE, SERVER = Endpoint(P, 5060), Endpoint(S, 5060)
LONG = "x" * policy.MAX_NAME_BYTES


def passes(ladder: Ladder, message: bytes, reason: str) -> None:
    assert ladder.phone(P).sends(message, ladder.server(S)) == message
    assert ladder.reason == reason
    assert ladder.alg.counts()["passes"][reason] > 0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (request("OPTIONS") + b"x" * MAX_MESSAGE_BYTES, "message-too-long"),
        (request("OPTIONS", more="X-A: 1\n" * policy.MAX_HEADER_LINES), "too-many-header-lines"),
        (request("OPTIONS", more="X-A:\n  1\n" * policy.MAX_HEADER_LINES), "too-many-header-lines"),
        (request("OPTIONS", more=f"Route: <sip:{P}>\n" * policy.MAX_ADDRESSES), "too-many-addresses"),
        (request("REGISTER", contact=", ".join([f"<sip:{P}>"] * 65)), "too-many-addresses"),
        (
            request("REGISTER", contact=", ".join(f"<sip:{P}:{port}>" for port in range(2000, 2070))),
            "too-many-addresses",
        ),
        (request("INVITE", call=LONG, body=sdp(P, audio(10000))), "name-too-long"),
        (request("INVITE", tags=(LONG, ""), body=sdp(P, audio(10000))), "name-too-long"),
        (request("BYE", tags=("a", LONG)), "name-too-long"),
        (request("INVITE", body=sdp(P, *[audio(10000)] * 33)), "sdp-too-many-sections"),
        (request("INVITE", body=sdp(P, "m=audio 10000/9 RTP/AVP 0")), "sdp-port-privileged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_message_beyond_a_limit_passes_and_opens_nothing(message: bytes, reason: str) -> None:
    ladder = Ladder()
    passes(ladder, message, reason)
    assert (ladder.mapped, ladder.flows, ladder.alg.calls.dialogs) == ({}, set(), {})
    ladder.finish()


@pytest.mark.parametrize("what", ["lines", "addresses"])
def test_what_is_just_within_a_limit_is_translated(what: str) -> None:
    ladder = Ladder()
    whole = request("OPTIONS").count(b"\n")
    more = "X-A: 1\n" * (policy.MAX_HEADER_LINES + 1 - whole)
    if what == "addresses":
        more = f"Route: <sip:{P}>\n" * (policy.MAX_ADDRESSES - 2)
    assert P.encode() not in ladder.phone(P).sends(request("OPTIONS", more=more), ladder.server(S))


def test_an_inbound_message_with_names_too_long_passes() -> None:
    ladder = Ladder()
    ladder.phone(P).sends(request("OPTIONS", call="hello"), ladder.server(S))
    message = request("INVITE", uri="sip:a@203.0.113.1", via=S, call=LONG, body=sdp("203.0.113.60", audio(30000)))
    assert ladder.server(S).sends(message) == message
    assert ladder.reason == "name-too-long"


def test_mappings_of_one_phone_are_limited() -> None:
    """A phone that asks for more gets none, another phone does, and the first again when its own have ended."""
    ladder = Ladder()
    alg, now = ladder.alg, ladder.now
    first = 2000
    for number in range(policy.MAX_MAPPINGS_PER_HOST // 64):
        ports = range(first + 64 * number, first + 64 * number + 64)
        message = request("OPTIONS", contact=", ".join(f"<sip:{P}:{port}>" for port in ports), via="phone.lan")
        verdict = alg.receive_datagram(Datagram(message, Endpoint(P, ports[0]), SERVER, UDP, "lan0"), now)
        assert verdict.edits
        alg.commands_done(verdict.token, now)
    assert len(alg.mappings.entries) == policy.MAX_MAPPINGS_PER_HOST
    message = request("OPTIONS", contact=f"<sip:{P}:9000>")
    assert alg.receive_datagram(Datagram(message, Endpoint(P, 9000), SERVER, UDP, "lan0"), now).reason == (
        "too-many-mappings"
    )
    other = request("OPTIONS", via="192.168.33.11", contact="<sip:a@192.168.33.11>")
    verdict = alg.receive_datagram(Datagram(other, Endpoint("192.168.33.11", 5060), SERVER, UDP, "lan0"), now)
    assert verdict.edits
    alg.commands_done(verdict.token, now)
    while (due := alg.next_timer()) is not None:
        alg.handle_timer(due)
    assert alg.mappings.entries == {}


def test_removals_are_limited() -> None:
    ladder = Ladder()
    alg, now = ladder.alg, ladder.now
    for number in range(policy.MAX_REMOVALS + 100):
        message = request("REGISTER", call=f"r{number}", contact=f"<sip:a@{P}>;expires=0")
        verdict = alg.receive_datagram(Datagram(message, PHONE, SERVER, UDP, "lan0"), now)
        alg.commands_done(verdict.token, now)
    assert len(alg.contacts.leaving) == policy.MAX_REMOVALS
    assert alg.take_events()[-1].name == "too-many-removals"
    ladder.kernel.run(alg.handle_timer(now + 40))
    assert alg.contacts.leaving == {}


def test_addresses_of_record_are_limited_in_length() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    for number, user in enumerate(("a", LONG), 1):
        to = f"To: <sip:{user}@example.org>".encode()
        phone.sends(request("REGISTER", call="r").replace(b"To: <sip:b@example.org>", to), server)
        answer = response(200, "REGISTER", call="r", number=number, contact="<sip:a@203.0.113.1>;expires=3600")
        server.sends(answer.replace(b"To: <sip:b@example.org>", to))
    assert len(list(ladder.alg.contacts.all())) == 1
    assert ladder.alg.take_events()[-1].name == "too-many-contacts"
