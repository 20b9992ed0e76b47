"""Nobody outside steers what is inside by guessing: forged answers, hang-ups and descriptions open and end nothing."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine.verdict import Endpoint

P, P2, S, STRANGER = "192.168.33.10", "192.168.33.11", "203.0.113.50", "198.51.100.66"
LAN = (IPv4Network("192.168.33.0/24"),)


def granted(ladder: Ladder, call: str, *, number: int = 1, expires: str = "604800") -> None:
    """An answer to a REGISTER of this Call-ID, from the server's own address."""
    answer = response(200, "REGISTER", call=call, number=number, contact=f"<sip:a@203.0.113.1>;expires={expires}")
    assert ladder.server(S).sends(answer) is not None


def contacts(ladder: Ladder) -> dict[str, float]:
    rows = ladder.alg.snapshot(ladder.now)["contacts"]
    assert isinstance(rows, list)
    return {row["private"]: row["kept_for_s"] for row in rows}


def test_a_grant_counts_only_for_a_register_of_the_phones() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(request("OPTIONS", call="hello"), server)
    granted(ladder, "guessed")
    assert contacts(ladder) == {}
    assert [event.name for event in ladder.alg.take_events()][-1] == "unasked-answer"
    phone.sends(request("REGISTER", call="r-a"), server)
    granted(ladder, "guessed")
    assert contacts(ladder) == {}
    granted(ladder, "r-a", expires="3600")
    assert contacts(ladder) == {f"{P}:5060": 3600.0}


def test_a_grant_comes_while_its_register_waits_for_it() -> None:
    ladder = Ladder()
    registers(ladder.phone(P), ladder.server(S))
    ladder.wait(33)
    before = contacts(ladder)
    granted(ladder, "r-a")
    assert contacts(ladder) == before


def test_an_unasked_answer_ends_no_registration() -> None:
    ladder = Ladder()
    registers(ladder.phone(P), ladder.server(S))
    before = contacts(ladder)
    for call, expires in (("guessed", "0"), ("r-a", "0")):
        granted(ladder, call, expires=expires)
        assert contacts(ladder) == before


def test_call_ids_are_remembered_within_limits() -> None:
    def asked() -> int:
        return len(alg.mappings.hosts[P.encode()].asked or ()) + 1

    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    alg = ladder.alg
    for number in range(5000):
        phone.sends(request("REGISTER", call=f"r-{number}"), server)
    assert asked() == 4096
    phone.sends(request("REGISTER", call="r" * 2000), server)
    assert asked() == 4096
    granted(ladder, "r-1")
    assert contacts(ladder) == {}
    granted(ladder, "r-4999")
    assert len(contacts(ladder)) == 1
    ladder.finish()
    assert alg.mappings.hosts == {}


def test_answers_in_flight_over_a_restart_count() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(request("REGISTER", call="r-a"), server)
    ladder.restart()
    granted(ladder, "r-a", expires="3600")
    assert len(contacts(ladder)) == 1
    ladder.restart()
    ladder.wait(33)
    granted(ladder, "guessed")
    assert contacts(ladder)[f"{P}:5060"] < 3600


@pytest.mark.parametrize(
    ("call", "tags"), [("c1", ("b", "guessed")), ("c1", ("guessed", "a")), ("guessed", ("b", "a")), ("", ("", ""))]
)
@pytest.mark.parametrize("method", ["BYE", "CANCEL", "INVITE", "UPDATE"])
def test_a_guess_of_a_dialog_changes_no_call(method: str, call: str, tags: tuple[str, str]) -> None:
    ladder = Ladder()
    outgoing = Outgoing(ladder.phone(P), ladder.server(S))
    outgoing.stands()
    flows, dialogs = ladder.flows, ladder.dialogs
    body = sdp(STRANGER, audio(6666)) if method in ("INVITE", "UPDATE") else ""
    forged = request(method, uri=f"sip:a@{outgoing.public}", via=S, call=call, number=9, tags=tags, body=body)
    ladder.server(S).sends(forged, outgoing.public)
    for status in (200, 481, 487):
        answer = response(status, method, call=call, number=9, tags=tags, body=body)
        ladder.server(S).sends(answer, outgoing.public)
    assert ladder.flows == flows
    assert dialogs.items() <= ladder.dialogs.items()


@pytest.mark.parametrize("kind", ["200", "183", "BYE", "REGISTER"])
def test_strangers_reach_nobody(kind: str) -> None:
    ladder = Ladder()
    outgoing = Outgoing(ladder.phone(P), ladder.server(S))
    outgoing.stands()
    if kind.isdigit():
        message = response(int(kind), "INVITE", body=sdp(STRANGER, audio(6666)))
    else:
        message = request(kind, uri=f"sip:a@{outgoing.public}", via=STRANGER, tags=("b", "a"))
    assert ladder.server(STRANGER).sends(message, outgoing.public) is None


@pytest.mark.parametrize("host", [P2, "192.168.33.200", "203.0.113.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
@pytest.mark.parametrize("where", ["c", "rtcp"])
def test_an_outside_description_opens_no_way_to_an_inside_host(host: str, where: str) -> None:
    ladder = Ladder(inside_networks=LAN)
    outgoing = Outgoing(ladder.phone(P), ladder.server(S))
    outgoing.invite()
    media = audio(30000) if where == "c" else audio(30000, f"a=rtcp:30001 IN IP4 {host}")
    outgoing.is_answered(200, body=sdp(host if where == "c" else "203.0.113.60", media))
    outgoing.ack()
    assert [flow for flow in ladder.flows if flow[2].startswith(f"{host}:")] == []


def test_an_outside_address_is_asked_about_only_now_and_then() -> None:
    ladder = Ladder(inside_networks=LAN)
    asked: list[str] = []

    def is_inside(host: str) -> bool:
        asked.append(host)
        return False

    ladder.alg.direct.set_inside(is_inside)
    outgoing = Outgoing(ladder.phone(P), ladder.server(S))
    outgoing.invite()
    for _ in range(3):
        outgoing.ok()
    assert asked == ["203.0.113.60"]
    ladder.wait(11)
    outgoing.ok()
    assert asked == ["203.0.113.60"] * 2
    for number in range(5000):
        address = f"198.51.{number // 250}.{number % 250 + 1}".encode()
        assert not ladder.alg.direct.is_inside_lately(address, ladder.now)
    assert len(asked) == 5002
    assert len(ladder.alg.direct._outside) <= 4096


def test_an_answer_from_where_nobody_was_asked_opens_nothing() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(request("OPTIONS", call="hello"), server)
    for status in (180, 183, 200):
        server.sends(response(status, "INVITE", call="never-begun", body=sdp("203.0.113.60", audio(30000))))
    assert ladder.flows == set()
    assert ladder.alg.calls.dialogs == {}
    assert ladder.alg.public_of(17, Endpoint(P, 30000)) is None


@pytest.mark.parametrize(
    "host",
    ["[\xc9::1]", "[2001:zz", "[2001:db8::1]x", "[", "[]", "[1.2.3.4]", "[fe80::1%lan0]", "\xff", "[" + "x" * 500],
)
@pytest.mark.parametrize("where", ["c=IN IP4 {}", "c=IN IP6 {}", "a=rtcp:30001 IN IP6 {}"])
def test_hosts_that_are_none_raise_nothing_either_way(host: str, where: str) -> None:
    asked: list[str] = []

    def is_inside(host: str) -> bool:
        asked.append(host)
        return False

    line = where.format(host)
    for session in (sdp("203.0.113.60", audio(30000, line)), sdp(P, audio(10000, line))):
        ladder = Ladder()
        ladder.alg.direct.set_inside(is_inside)
        outgoing = Outgoing(ladder.phone(P), ladder.server(S))
        outgoing.invite()
        outgoing.is_answered(200, body=session)
        outgoing.asks("INVITE", to_tag="b", body=session)
        assert [flow for flow in ladder.flows if not flow[2].startswith("203.0.113.60:")] == []
    assert set(asked) <= {"203.0.113.60", P}, "only addresses are asked about"
