"""Cases 22 and 23: two phones on one RTP port; a media server of its own that speaks first."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, sdp

from sipalg.engine.verdict import Endpoint

N = "203.0.113.1"


def test_case_22_both_invites_pass_with_two_public_ports() -> None:
    ladder = Ladder()
    server = ladder.server("203.0.113.50")
    first = Outgoing(ladder.phone("192.168.33.10"), server, call="c1")
    second = Outgoing(ladder.phone("192.168.33.11"), server, call="c2")
    assert b"m=audio 10000 " in first.invite()
    assert b"m=audio 16386 " in second.invite()
    first.ok()
    second.ok()
    assert ladder.media_leaves(Endpoint("192.168.33.10", 10000), M) == Endpoint(N, 10000)
    assert ladder.media_leaves(Endpoint("192.168.33.11", 10000), M) == Endpoint(N, 16386)
    assert ladder.media_leaves(Endpoint("192.168.33.11", 10001), M) == Endpoint(N, 16387)
    assert ladder.media_enters(M, Endpoint(N, 10000)) == Endpoint("192.168.33.10", 10000)
    assert ladder.media_enters(M, Endpoint(N, 16386)) == Endpoint("192.168.33.11", 10000)
    first.hangs_up()
    assert ladder.media_enters(M, Endpoint(N, 10000)) is None
    assert ladder.media_enters(M, Endpoint(N, 16386)) == Endpoint("192.168.33.11", 10000)
    second.hangs_up()
    ladder.finish()


def test_case_23_the_media_server_is_heard_before_the_phone_has_sent_any() -> None:
    ladder = Ladder(10000)
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))
    call.invite()
    assert ladder.media_enters(M, Endpoint(N, 16384)) is None
    assert ladder.media_enters(M, Endpoint(N, 16384), strict=False) == Endpoint("192.168.33.10", 10000), "early"
    call.ok()
    assert ladder.media_enters(M, Endpoint(N, 16384)) == Endpoint("192.168.33.10", 10000)
    assert ladder.media_leaves(Endpoint("192.168.33.10", 10000), M) == Endpoint(N, 16384)
    call.hangs_up()
    ladder.finish()


def test_case_23_early_media() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))
    call.invite()
    call.ok(status=183)
    assert ladder.media_enters(M, Endpoint(N, 10000)) == Endpoint("192.168.33.10", 10000)
    flows = ladder.flows
    call.ok()
    assert ladder.flows == flows
    call.ack()
    ladder.wait(3600)
    assert ladder.media_enters(M, Endpoint(N, 10000)) == Endpoint("192.168.33.10", 10000), "silence for an hour"
    call.is_hung_up()
    ladder.finish()


def test_case_23_a_call_from_outside_has_media_when_the_phone_answers() -> None:
    ladder = Ladder(10000)
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    call = Outgoing(phone, server, own_tag="")
    call.asks("OPTIONS")
    call.is_asked("INVITE", body=sdp(M.host, audio(M.port)))
    call.own_tag = "a"
    answer = call.answers(200, "INVITE", body=sdp("192.168.33.10", audio(10000)))
    assert b"c=IN IP4 203.0.113.1\r\n" in answer
    assert b"m=audio 16384 " in answer
    assert ladder.media_enters(M, Endpoint(N, 16384)) == Endpoint("192.168.33.10", 10000)
    call.is_asked("ACK")
    call.hangs_up()
    assert ladder.flows == set()
    ladder.finish()


def test_case_23_the_offer_comes_with_the_answer() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))
    call.asks("INVITE")
    call.ok()
    assert ladder.flows == set()
    call.asks("ACK", to_tag="b", body=sdp("192.168.33.10", audio(10000)))
    assert len(ladder.flows) == 2
    call.hangs_up()
    ladder.finish()
