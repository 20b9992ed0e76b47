"""Case 26: a call turns to fax: the image is open before the 200, audio stays until the ACK, or after a 488."""

from __future__ import annotations

from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, sdp

from sipalg.engine.verdict import Endpoint

N, P = "203.0.113.1", "192.168.33.10"
IMAGE = "m=image {} udptl t38"
FAX = Endpoint("203.0.113.60", 30010)


def call_that_asks_for_fax() -> tuple[Ladder, Outgoing]:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.stands()
    call.number = 2
    sent = call.asks("INVITE", to_tag="b", body=sdp(P, IMAGE.format(10010)))
    assert b"m=image 10010 udptl" in sent
    return ladder, call


def test_image_is_open_both_ways_before_the_200() -> None:
    ladder, _ = call_that_asks_for_fax()
    assert ladder.media_enters(FAX, Endpoint(N, 10010), strict=False) == Endpoint(P, 10010)
    assert ladder.media_leaves(Endpoint(P, 10010), FAX) == Endpoint(N, 10010)


def test_audio_is_kept_until_the_ack() -> None:
    ladder, call = call_that_asks_for_fax()
    call.is_answered(200, body=sdp(FAX.host, IMAGE.format(FAX.port)))
    assert ladder.media_enters(FAX, Endpoint(N, 10010)) == Endpoint(P, 10010)
    assert ladder.media_enters(M, Endpoint(N, 10000)) == Endpoint(P, 10000)
    call.ack()
    assert ladder.media_enters(FAX, Endpoint(N, 10010)) == Endpoint(P, 10010)
    assert ladder.media_enters(M, Endpoint(N, 10000)) is None
    ladder.wait(600)
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10010"}
    call.hangs_up()
    ladder.finish()


def test_audio_goes_on_after_a_488() -> None:
    ladder, call = call_that_asks_for_fax()
    flows = ladder.flows
    call.is_answered(488)
    call.ack()
    assert ladder.flows == flows
    ladder.wait(600)
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10000", f"{P}:10001"}
    assert ladder.media_enters(M, Endpoint(N, 10000)) == Endpoint(P, 10000)
    call.is_hung_up()
    ladder.finish()


def test_audio_comes_back_if_an_early_answer_is_followed_by_a_refusal() -> None:
    ladder, call = call_that_asks_for_fax()
    flows = ladder.flows
    call.is_answered(183, body=sdp(FAX.host, IMAGE.format(FAX.port)))
    assert len(ladder.flows) == 3
    call.is_answered(488)
    assert ladder.flows == flows
    ladder.wait(600)
    assert ladder.flows == flows
    assert f"{P}:10000" in ladder.mapped
    call.hangs_up()
    ladder.finish()


def test_the_far_end_asks_for_fax_and_for_audio_again() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.stands()
    call.is_asked("INVITE", 5, body=sdp(FAX.host, IMAGE.format(FAX.port)))
    assert b"m=image 10010 " in call.answers(200, "INVITE", 5, body=sdp(P, IMAGE.format(10010)))
    call.is_asked("ACK", 5)
    assert ladder.flows == {(f"{P}:10010", f"{N}:10010", str(FAX))}
    call.is_asked("INVITE", 6, body=sdp(M.host, audio(M.port)))
    assert b"m=audio 10000 " in call.answers(200, "INVITE", 6, body=sdp(P, audio(10000)))
    call.is_asked("ACK", 6)
    assert (f"{P}:10000", f"{N}:10000", str(M)) in ladder.flows
    assert len(ladder.flows) == 2
    call.hangs_up()
    ladder.finish()
