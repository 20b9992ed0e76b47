"""Cases 24 and 25: state goes by dialog: one call's end leaves others alone, repetitions and forks leak nothing."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing

from sipalg.engine.verdict import Endpoint

N = "203.0.113.1"


def test_case_24_calls_on_one_socket() -> None:
    ladder = Ladder()
    pbx, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    first, second, third = (
        Outgoing(pbx, server, call=f"c{place}", port=10000 + 2 * place, own_tag=f"a{place}") for place in (1, 2, 3)
    )
    first.stands()
    third.stands(Endpoint("203.0.113.61", 40000))
    mine = {flow for flow in ladder.flows if ":10002" in flow[0] or ":10003" in flow[0]}
    assert len(mine) == 2
    second.invite()
    third.bye()
    third.is_answered(200, "BYE")
    assert ladder.flows == mine
    second.is_answered(486)
    second.asks("ACK", to_tag="b", contact=False)
    ladder.wait(3600)
    assert ladder.flows == mine
    assert set(ladder.mapped) == {"192.168.33.10:5060", "192.168.33.10:10002", "192.168.33.10:10003"}
    assert ladder.media_enters(M, Endpoint(N, 10002)) == Endpoint("192.168.33.10", 10002)
    first.is_hung_up()
    assert ladder.flows == set()
    ladder.finish()


def test_case_25_the_same_ports_through_repetitions_credentials_and_forks() -> None:
    ladder = Ladder(10000)
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))
    sent = {call.invite() for _ in range(3)}
    assert len(sent) == 1
    call.is_answered(100, tag="")
    call.is_answered(401)
    call.asks("ACK", to_tag="b", contact=False)
    call.number = 2
    again = call.invite()
    assert b"m=audio 16384 " in again
    for tag in ("x", "y", "z"):
        call.ok(Endpoint("203.0.113.60", 30000 + 2 * ord(tag)), status=183, tag=tag)
    mapped = {"192.168.33.10:5060", "192.168.33.10:10000", "192.168.33.10:10001"}
    assert set(ladder.mapped) == mapped
    assert len(ladder.flows) == 6
    call.tag = "y"
    call.ok(Endpoint("203.0.113.60", 30000 + 2 * ord("y")))
    call.ack()
    ladder.wait(33)
    assert len(ladder.flows) == 2, "the other forks' early media ends"
    assert set(ladder.mapped) == mapped
    call.hangs_up()
    assert ladder.flows == set()
    ladder.finish()


@pytest.mark.parametrize("status", [486, 487, 603, 302])
def test_a_refused_call_leaves_nothing(status: int) -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))
    call.invite()
    call.ok(status=183)
    call.asks("CANCEL", contact=False)
    call.is_answered(200, "CANCEL")
    assert len(ladder.flows) == 2
    call.is_answered(status)
    call.asks("ACK", to_tag="b", contact=False)
    assert ladder.flows == set()
    ladder.wait(33)
    assert set(ladder.mapped) == {"192.168.33.10:5060"}
    ladder.finish()


def test_a_call_that_nobody_answers_runs_out() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))
    call.invite()
    ladder.wait(599)
    assert "192.168.33.10:10000" in ladder.mapped
    ladder.wait(40)
    assert set(ladder.mapped) == {"192.168.33.10:5060"}
    ladder.finish()
