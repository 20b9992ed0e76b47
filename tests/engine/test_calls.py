from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, response, sdp

from sipalg.engine import policy
from sipalg.engine.verdict import EndFlow, Endpoint, EstablishFlow, Flow

P, N = "192.168.33.10", "203.0.113.1"
FLOWS = {(f"{P}:1000{step}", f"{N}:1000{step}", f"203.0.113.60:3000{step}") for step in (0, 1)}
OTHER = Endpoint("203.0.113.61", 40000)
OTHER_FLOWS = {(f"{P}:1000{step}", f"{N}:1000{step}", f"203.0.113.61:4000{step}") for step in (0, 1)}


def stage(**settings: float) -> tuple[Ladder, Outgoing]:
    ladder = Ladder(**settings)
    return ladder, Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))


def dialogs(ladder: Ladder) -> dict[tuple[bytes, bytes], bool]:
    """Whether each dialog is confirmed, by the inside's tag and the outside's."""
    return {key[2:]: dialog.confirmed for key, dialog in ladder.alg.calls.dialogs.items()}


def test_a_call_from_offer_to_bye() -> None:
    ladder, call = stage()
    call.invite()
    assert dialogs(ladder) == {(b"a", b""): False}
    call.ok(status=180)
    assert dialogs(ladder) == {(b"a", b"b"): False}
    call.ok()
    call.ack()
    assert dialogs(ladder)[b"a", b"b"]
    assert ladder.flows == FLOWS
    call.bye()
    assert ladder.flows == FLOWS, "until it is answered"
    call.is_answered(200, "BYE")
    assert ladder.flows == set()
    assert [type(command) for command in ladder.commands] == [EndFlow, EndFlow]
    assert [event.name for event in ladder.alg.take_events()][-2:] == ["call-established", "call-ended"]
    ladder.finish()


@pytest.mark.parametrize("status", [200, 481, 408, 500])
def test_a_bye_that_is_answered_ends_the_call(status: int) -> None:
    ladder, call = stage()
    call.stands()
    call.bye()
    call.is_answered(status, "BYE")
    assert ladder.flows == set()
    call.is_answered(status, "BYE")
    ladder.finish()


def test_a_bye_that_nobody_answers_ends_the_call_in_32_seconds() -> None:
    ladder, call = stage()
    call.stands()
    call.bye()
    ladder.wait(31)
    assert ladder.flows == FLOWS
    ladder.wait(2)
    assert ladder.flows == set()


@pytest.mark.parametrize("status", [401, 407])
def test_a_bye_that_needs_credentials_ends_nothing(status: int) -> None:
    ladder, call = stage()
    call.stands()
    call.bye()
    call.is_answered(status, "BYE")
    ladder.wait(1000)
    assert ladder.flows == FLOWS
    call.hangs_up()
    assert ladder.flows == set()


def test_a_provisional_answer_to_a_bye_ends_nothing() -> None:
    ladder, call = stage()
    call.stands()
    call.bye()
    call.is_answered(180, "BYE")
    assert ladder.flows == FLOWS


def test_answers_to_unknown_calls_change_nothing() -> None:
    ladder, call = stage()
    call.asks("OPTIONS")
    call.ok()
    call.is_answered(200, "BYE")
    call.is_answered(481, "BYE")
    call.is_answered(486)
    call.is_answered(200, "UPDATE", body=sdp(M.host, audio(M.port)))
    call.ack()
    call.bye()
    call.asks("INVITE", to_tag="b", body=sdp(P, audio(10000)))
    assert dialogs(ladder) == {}, "a re-INVITE of a call that began before sipalg brings no dialog"
    ladder.finish()


def test_a_session_timer_ends_a_call_that_isnt_refreshed() -> None:
    ladder, call = stage()
    call.invite()
    body = sdp(M.host, audio(M.port))
    call.server.sends(response(200, "INVITE", more="Session-Expires: 90\n", body=body))
    call.ack()
    assert ladder.flows == FLOWS
    ladder.wait(121)
    assert ladder.flows == FLOWS, "90 s and a little"
    ladder.wait(2)
    assert ladder.flows == set()
    ladder.finish()


def test_a_call_without_session_timer_ends_after_call_timeout() -> None:
    ladder, call = stage(call_timeout_s=1000.0)
    call.stands()
    ladder.wait(500)
    call.is_asked("UPDATE", 3)
    call.answers(200, "UPDATE", 3)
    ladder.wait(999)
    assert ladder.flows == FLOWS
    ladder.wait(2)
    assert ladder.flows == set()
    ladder.finish()


def test_flows_are_looked_at_while_the_call_stands() -> None:
    ladder, call = stage(flow_check_s=50.0)
    call.stands()
    ladder.wait(49)
    assert ladder.checks == []
    ladder.wait(1)
    assert [timeout_s for _, timeout_s in ladder.checks] == [150.0, 150.0]
    ladder.wait(500)
    assert len(ladder.checks) == 20


def test_the_far_end_moves_its_media() -> None:
    ladder, call = stage()
    call.stands()
    call.is_asked("INVITE", 3, body=sdp(OTHER.host, audio(OTHER.port)))
    assert ladder.flows == FLOWS
    call.answers(200, "INVITE", 3, body=sdp(P, audio(10000)))
    assert ladder.flows == FLOWS | OTHER_FLOWS
    assert {type(command) for command in ladder.commands} == {EstablishFlow}
    call.answers(200, "INVITE", 3, body=sdp(P, audio(10000)))
    assert ladder.commands == [], "a repetition"
    call.is_asked("ACK", 3)
    assert ladder.flows == OTHER_FLOWS
    call.hangs_up()
    ladder.finish()


def test_an_update_settles_with_its_answer() -> None:
    ladder, call = stage()
    call.stands()
    call.is_asked("UPDATE", 3, body=sdp(OTHER.host, audio(OTHER.port)))
    call.answers(200, "UPDATE", 3, body=sdp(P, audio(10000)))
    assert ladder.flows == OTHER_FLOWS


def test_a_refused_update_changes_nothing() -> None:
    ladder, call = stage()
    call.stands()
    call.is_asked("UPDATE", 3, body=sdp(OTHER.host, audio(OTHER.port)))
    call.answers(488, "UPDATE", 3)
    call.answers(488, "UPDATE", 3)
    assert ladder.flows == FLOWS
    call.number = 9
    call.is_answered(491, "UPDATE")
    assert ladder.flows == FLOWS


def test_a_refused_update_of_an_early_call_changes_nothing() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183)
    call.is_asked("UPDATE", 3, body=sdp(OTHER.host, audio(OTHER.port)))
    call.answers(488, "UPDATE", 3)
    assert ladder.flows == FLOWS
    call.ok()
    call.hangs_up()
    ladder.finish()


def test_prack_answers_an_offer_that_came_in_a_provisional_answer() -> None:
    ladder, call = stage()
    call.asks("INVITE")
    call.ok(status=183)
    assert ladder.flows == set()
    call.asks("PRACK", to_tag="b", number=2, body=sdp(P, audio(10000)))
    assert ladder.flows == FLOWS
    call.is_answered(200, "PRACK")
    call.ok(status=200)
    call.ack()
    assert ladder.flows == FLOWS
    call.hangs_up()
    ladder.finish()


def test_an_ack_to_another_invite_answers_nothing() -> None:
    ladder, call = stage()
    call.asks("INVITE")
    call.ok()
    call.asks("ACK", to_tag="b", number=7, body=sdp(P, audio(10000)))
    assert ladder.flows == set()


def test_forks_share_what_they_share() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    call.ok(status=183, tag="y")
    assert ladder.flows == FLOWS
    call.ok(OTHER, status=183, tag="z")
    assert ladder.flows == FLOWS | OTHER_FLOWS
    call.tag = "y"
    call.ok(tag="y")
    call.ack()
    ladder.wait(33)
    assert dialogs(ladder) == {(b"a", b"y"): True}
    assert ladder.flows == FLOWS
    call.hangs_up()
    ladder.finish()


def test_two_forks_answer_and_one_is_hung_up() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(tag="x")
    call.ok(OTHER, tag="y")
    assert ladder.flows == FLOWS | OTHER_FLOWS
    call.tag = "x"
    call.ack()
    call.hangs_up()
    assert ladder.flows == OTHER_FLOWS
    call.tag = "y"
    call.is_hung_up()
    ladder.finish()


def test_a_fork_behind_a_provisional_answer_without_tag() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="")
    assert ladder.flows == FLOWS
    call.ok()
    assert ladder.flows == FLOWS
    ladder.wait(33)
    assert ladder.flows == FLOWS, "the first dialog's end takes nothing away"
    call.hangs_up()
    ladder.finish()


def test_a_failure_of_one_callers_call_leaves_another_with_the_same_id() -> None:
    ladder, call = stage()
    call.invite()
    other = Outgoing(call.phone, call.server, own_tag="q", port=10010)
    other.invite()
    call.is_answered(486)
    assert dialogs(ladder) == {(b"q", b""): False}
    other.ok()
    other.ack()
    other.is_answered(486)
    assert dialogs(ladder)[b"q", b"b"], "a late refusal of another fork"


def test_the_callers_tag_counts_on_the_side_that_called() -> None:
    ladder, call = stage()
    call.asks("OPTIONS")
    call.own_tag = ""
    call.is_asked("INVITE", body=sdp(M.host, audio(M.port)))
    assert dialogs(ladder) == {(b"", b"b"): False}
    call.own_tag = "a"
    call.answers(180, "INVITE")
    call.answers(200, "INVITE", body=sdp(P, audio(10000)))
    assert ladder.flows == FLOWS
    ladder.wait(33)
    assert dialogs(ladder) == {(b"a", b"b"): True}
    call.is_hung_up()
    ladder.finish()


@pytest.mark.interpreted
def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "MAX_DIALOGS_PER_HOST", 2)
    ladder, call = stage()
    second = Outgoing(call.phone, call.server, call="c2", port=10002)
    third = Outgoing(call.phone, call.server, call="c3", port=10004)
    call.invite()
    second.invite()
    assert b"m=audio 10004 " in third.invite(), "it passes translated, without flows"
    assert b"203.0.113.1" in third.invite()
    assert call.ok() is not None
    assert ladder.flows == FLOWS, "the first answer needs no room"
    assert call.ok(OTHER, tag="z") is not None
    assert ladder.flows == FLOWS
    assert "too-many-calls" in [event.name for event in ladder.alg.take_events()]
    monkeypatch.setattr(policy, "MAX_DIALOGS", 2)
    other = Outgoing(ladder.phone("192.168.33.11"), call.server, call="c4")
    other.invite()
    assert len(ladder.alg.calls.dialogs) == 2


def test_a_refused_flow_isnt_asked_for_by_the_next_fork() -> None:
    ladder, call = stage()
    call.invite()
    ladder.kernel.refuse = lambda command: "held" if isinstance(command, EstablishFlow) else ""
    call.ok(status=183, tag="x")
    assert ladder.flows == set()
    call.ok(status=183, tag="y")
    assert ladder.commands == []
    call.is_answered(486)
    ladder.finish()


def test_an_invite_with_credentials_whose_401_went_another_way() -> None:
    ladder, call = stage()
    call.invite()
    call.number = 2
    call.invite()
    assert dialogs(ladder) == {(b"a", b""): False}
    call.invited = 1
    call.is_answered(401)
    assert dialogs(ladder) == {(b"a", b""): False}, "the answer to an earlier INVITE ends nothing"
    call.invited = 2
    call.ok()
    call.ack()
    assert ladder.flows == FLOWS
    call.hangs_up()
    ladder.finish()


def test_a_call_that_turns_to_fax_lets_go_of_its_audio_ports() -> None:
    ladder, call = stage()
    call.stands()
    call.number = 2
    call.asks("INVITE", to_tag="b", body=sdp(P, "m=image 10010 udptl t38"))
    call.is_answered(200, body=sdp(OTHER.host, "m=image 40000 udptl t38"))
    fax = {(f"{P}:10010", f"{N}:10010", "203.0.113.61:40000")}
    assert ladder.flows == FLOWS | fax
    call.ack()
    assert ladder.flows == fax
    ladder.wait(65)
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10010"}
    call.hangs_up()
    ladder.finish()


def test_a_200_that_comes_again_after_the_call_revives_nothing() -> None:
    ladder, call = stage()
    call.stands()
    ladder.wait(5)
    call.hangs_up()
    call.ok()
    assert ladder.flows == set()
    assert dialogs(ladder) == {}


def test_what_comes_late_keeps_no_call_alive_that_is_being_hung_up() -> None:
    ladder, call = stage()
    call.stands()
    call.bye()
    call.number = 1
    call.ack()
    call.ok()
    call.is_asked("UPDATE", 3, body=sdp(OTHER.host, audio(OTHER.port)))
    for public in (10000, 10001):
        flow = Flow(17, Endpoint(P, public), Endpoint(N, public), Endpoint(M.host, public + 20000))
        ladder.alg.media_seen(flow, ladder.now)
    ladder.wait(33)
    assert ladder.flows == set()
    assert dialogs(ladder) == {}


def test_one_of_several_early_dialogs_is_hung_up() -> None:
    ladder, call = stage()
    call.invite()
    call.ok(status=183, tag="x")
    call.ok(OTHER, status=183, tag="y")
    call.tag = "x"
    call.hangs_up()
    assert ladder.flows == OTHER_FLOWS
    call.tag = "y"
    call.ok(OTHER)
    assert dialogs(ladder)[b"a", b"y"]
    ladder.wait(33)
    assert ladder.flows == OTHER_FLOWS
    call.hangs_up()
    ladder.finish()


def test_two_calls_of_two_callers_with_one_id() -> None:
    ladder, call = stage()
    other = Outgoing(call.phone, call.server, own_tag="q", tag="z", port=10010)
    call.stands()
    other.invite()
    call.hangs_up()
    assert dialogs(ladder) == {(b"q", b""): False}


def test_an_old_answer_that_comes_again_says_nothing_about_the_new_offer() -> None:
    ladder, call = stage()
    call.stands()
    call.port, call.number = 17000, 2
    call.invite(to_tag="b")
    call.invited = 1
    call.ok()
    call.invited = 2
    call.ok(Endpoint(M.host, 41000))
    call.ack()
    assert {flow for flow in ladder.flows if flow[0].endswith(":17000")} == {
        (f"{P}:17000", "203.0.113.1:17000", f"{M.host}:41000")
    }
    ladder.wait(80)
    assert f"{P}:17000" in ladder.mapped


def test_a_change_that_is_refused_after_an_early_answer_goes_back_to_what_was_settled() -> None:
    ladder, call = stage()
    call.stands()
    ladder.wait(100)
    call.port, call.number = 17000, 2
    call.invite(to_tag="b")
    call.ok(Endpoint(M.host, 41000), status=183)
    ladder.wait(60)
    call.is_answered(488)
    assert ladder.flows == FLOWS
    ladder.wait(100)
    assert ladder.flows == FLOWS
    call.hangs_up()
    ladder.finish()
