from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, sdp

from sipalg.engine.policy import EARLY_S, LINGER_S
from sipalg.engine.verdict import Endpoint

P, N = "192.168.33.10", "203.0.113.1"
FLOWS = {(f"{P}:1000{step}", f"{N}:1000{step}", f"203.0.113.60:3000{step}") for step in (0, 1)}
OTHER = Endpoint("203.0.113.61", 40000)
OTHER_FLOWS = {(f"{P}:1000{step}", f"{N}:1000{step}", f"203.0.113.61:4000{step}") for step in (0, 1)}


def stage() -> tuple[Ladder, Outgoing]:
    ladder = Ladder()
    return ladder, Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))


def tags(ladder: Ladder) -> set[tuple[bytes, bytes]]:
    """The inside's tag and the outside's of each dialog."""
    return {(key[2], key[3]) for key in ladder.dialogs}


def test_the_first_answers_dialog_is_the_one_that_waited() -> None:
    ladder, call = stage()
    call.invite()
    (waiting,) = ladder.alg.calls.dialogs.values()
    call.ok(status=180)
    assert list(ladder.alg.calls.dialogs.values()) == [waiting]
    assert tags(ladder) == {(b"a", b"b")}


@pytest.mark.parametrize("status", [183, 200])
def test_an_invite_that_comes_again_after_an_answer_begins_nothing(status: int) -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=status)
    call.invite()
    assert tags(ladder) == {(b"a", b"b")}
    assert ladder.flows == FLOWS


def test_an_invite_that_comes_again_gives_others_as_long_to_answer_again() -> None:
    ladder, call = stage()
    call.invite()
    ladder.wait(EARLY_S - 1)
    call.ok(status=183, tag="x")
    call.invite()
    ladder.wait(EARLY_S - 2)
    call.ok(OTHER, status=183, tag="y")
    assert tags(ladder) == {(b"a", b"x"), (b"a", b"y")}
    call.is_answered(486)
    ladder.finish()


def test_nobody_forks_when_that_takes_too_long() -> None:
    ladder, call = stage()
    call.invite()
    ladder.wait(EARLY_S - 1)
    call.ok(status=183, tag="x")
    ladder.wait(2)
    call.ok(OTHER, status=183, tag="y")
    assert tags(ladder) == {(b"a", b"x")}


def test_another_answer_begins_with_the_offer_though_the_first_has_changed_it() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    call.tag, call.number = "x", 2
    call.asks("UPDATE", to_tag="x", body=sdp(P, audio(10010)))
    call.is_answered(200, "UPDATE", body=sdp(M.host, audio(M.port)))
    ladder.wait(100)
    call.ok(OTHER, tag="y")
    assert ladder.flows >= OTHER_FLOWS
    call.tag, call.number = "y", 1
    call.ack()
    call.hangs_up()
    ladder.wait(EARLY_S)
    assert ladder.flows == set()
    ladder.finish()


def test_one_that_is_hung_up_before_it_has_answered_leaves_the_others() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    call.tag = "x"
    call.hangs_up()
    assert tags(ladder) == {(b"a", b"")}
    assert ladder.flows == set()
    call.ok(OTHER, tag="y")
    assert tags(ladder) == {(b"a", b"y")}
    assert ladder.flows == OTHER_FLOWS
    call.tag = "y"
    call.hangs_up()
    ladder.finish()


def test_of_two_that_ring_one_is_hung_up_and_nothing_waits_beside_the_other() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    call.ok(OTHER, status=183, tag="y")
    call.tag = "x"
    call.hangs_up()
    assert tags(ladder) == {(b"a", b"y")}
    assert ladder.flows == OTHER_FLOWS
    call.is_answered(486)
    ladder.finish()


def test_one_that_rings_is_hung_up_when_nobody_else_may_answer_any_more() -> None:
    ladder, call = stage()
    call.invite()
    ladder.wait(EARLY_S - 1)
    call.ok(status=183)
    ladder.wait(2)
    call.hangs_up()
    assert tags(ladder) == set()
    ladder.finish()


def test_one_that_rings_is_hung_up_while_a_later_invite_waits() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    call.number = 2
    call.invite()
    call.tag, call.number = "x", 3
    call.hangs_up()
    assert tags(ladder) == {(b"a", b"")}
    call.tag, call.number = "y", 2
    call.ok(OTHER, status=183, tag="y")
    assert ladder.flows == OTHER_FLOWS
    call.is_answered(486)
    ladder.finish()


def test_one_that_rings_and_answers_no_bye_leaves_the_others() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    call.tag = "x"
    call.bye()
    ladder.wait(LINGER_S + 1)
    assert tags(ladder) == {(b"a", b"")}
    call.tag = "y"
    call.ok(OTHER, tag="y")
    assert ladder.flows == OTHER_FLOWS
    call.hangs_up()
    ladder.finish()


def test_a_2xx_that_comes_again_after_its_bye_revives_nothing_though_another_fork_stands() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(tag="x")
    call.ok(OTHER, tag="y")
    call.tag = "x"
    call.ack()
    call.hangs_up()
    call.ok(tag="x")
    assert tags(ladder) == {(b"a", b"y")}
    assert ladder.flows == OTHER_FLOWS


@pytest.mark.parametrize(("seconds", "forked"), [(31, True), (33, False)])
def test_others_may_answer_for_32_seconds_after_the_first_2xx(seconds: float, forked: bool) -> None:
    ladder, call = stage()
    call.stands()
    ladder.wait(seconds)
    call.ok(OTHER, tag="y")
    assert ladder.flows == FLOWS | (OTHER_FLOWS if forked else set())


def test_a_call_from_outside_is_answered_twice_and_one_that_rings_is_hung_up() -> None:
    ladder, call = stage()
    call.asks("OPTIONS")
    call.own_tag = ""
    call.is_asked("INVITE", body=sdp(M.host, audio(M.port)))
    call.own_tag = "a"
    call.answers(183, "INVITE", body=sdp(P, audio(10000)))
    call.is_hung_up()
    assert tags(ladder) == {(b"", b"b")}
    call.answers(183, "INVITE", body=sdp(P, audio(10000)))
    call.own_tag = "q"
    call.answers(200, "INVITE", body=sdp(P, audio(10010)))
    assert tags(ladder) == {(b"a", b"b"), (b"q", b"b")}
    call.is_hung_up()
    assert tags(ladder) == set()
    ladder.finish()


def test_an_invite_without_an_offer_forks_too() -> None:
    ladder, call = stage()
    call.asks("INVITE")
    call.ok(status=183, tag="x")
    call.ok(OTHER, tag="y")
    assert tags(ladder) == {(b"a", b"x"), (b"a", b"y")}
    call.is_answered(486)
    assert tags(ladder) == {(b"a", b"y")}


def test_after_a_restart_others_may_answer_still() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    ladder.restart()
    call.ok(OTHER, tag="y")
    assert ladder.flows == FLOWS | OTHER_FLOWS


def test_what_the_kernel_refuses_leaves_the_dialog_that_waits() -> None:
    ladder, call = stage()
    call.invite()
    before = ladder.dialogs
    ladder.kernel.refuse = lambda _: "not-natted"
    call.ok()
    assert ladder.dialogs == before
    ladder.kernel.refuse = lambda _: ""
    call.ok()
    assert ladder.flows == FLOWS
