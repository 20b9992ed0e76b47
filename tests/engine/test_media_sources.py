"""`media-filter`: before the answer media come from anybody, after it from the answered addresses and the SIP peer."""

from __future__ import annotations

from tests.engine.ladder import Ladder, N
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, sdp

from sipalg.engine.verdict import AdmitPeer, DismissPeer, Endpoint

P, S = "192.168.33.10", "203.0.113.50"
M2 = Endpoint("203.0.113.61", 31000)
#: Somebody that no description has named.
ANYBODY = Endpoint("198.51.100.77", 4000)
RTP = Endpoint(N, 10000)
PHONE = Endpoint(P, 10000)


def call(ladder: Ladder, name: str = "c1") -> Outgoing:
    return Outgoing(ladder.phone(P), ladder.server(S), call=name)


def hears(ladder: Ladder, *remotes: Endpoint, public: Endpoint = RTP) -> list[bool]:
    """Whether new media from these arrive at the phone; no flow is left by trying."""
    before = dict(ladder.kernel.flows)
    heard = [ladder.media_enters(remote, public, strict=False) is not None for remote in remotes]
    ladder.kernel.flows = before
    return heard


def test_anybody_until_the_answer_and_then_its_addresses_and_the_sip_peer() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.invite()
    assert hears(ladder, ANYBODY, M) == [True, True]
    one.ok(status=183)
    assert hears(ladder, ANYBODY) == [True], "a provisional answer may be one fork's of many"
    one.ok()
    elsewhere = Endpoint(M.host, 9)
    assert hears(ladder, ANYBODY, M, elsewhere, Endpoint(S, 9)) == [False, True, True, True]
    commands = ladder.commands
    assert [command.peer for command in commands if isinstance(command, DismissPeer)] == ["0.0.0" + ".0"] * 2
    one.ack()
    one.hangs_up()
    ladder.finish()


def test_without_it_media_come_from_anybody() -> None:
    ladder = Ladder()
    one = call(ladder)
    one.stands()
    assert hears(ladder, ANYBODY) == [True]
    assert not [command for command in ladder.commands if isinstance(command, AdmitPeer)]


def test_a_call_from_outside_is_answered_at_once() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.own_tag = ""
    one.asks("OPTIONS")
    one.is_asked("INVITE", body=sdp(M.host, audio(M.port)))
    one.own_tag = "a"
    one.answers(183, "INVITE", body=sdp(P, audio(10000)))
    assert hears(ladder, ANYBODY) == [True]
    one.answers(200, "INVITE", body=sdp(P, audio(10000)))
    assert hears(ladder, ANYBODY, Endpoint(M.host, 5)) == [False, True]
    one.is_asked("ACK")
    one.hangs_up()
    ladder.finish()


def test_an_offer_in_the_200_is_answered_by_the_ack() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.asks("INVITE")
    one.ok()
    one.asks("ACK", to_tag="b", body=sdp(P, audio(10000)))
    assert hears(ladder, ANYBODY, Endpoint(M.host, 5)) == [False, True]
    one.hangs_up()
    ladder.finish()


def test_an_offer_from_outside_lets_its_address_in_before_the_phone_answers() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.stands()
    one.is_asked("INVITE", 2, body=sdp(M2.host, audio(M2.port)))
    assert hears(ladder, M2, Endpoint(M.host, 5), ANYBODY) == [True, True, False]
    one.answers(200, "INVITE", 2, body=sdp(P, audio(10000)))
    assert hears(ladder, M2, Endpoint(M.host, 5), ANYBODY) == [True, True, False]
    one.hangs_up()
    ladder.finish()


def test_an_early_offer_from_outside_is_let_in_beside_anybody() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.invite()
    one.ok(status=183)
    one.is_asked("UPDATE", 2, body=sdp(M2.host, audio(M2.port)))
    assert hears(ladder, M2, ANYBODY) == [True, True]
    one.ok()
    assert hears(ladder, ANYBODY) == [False]


def test_a_new_port_in_a_call_that_stands() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.stands()
    one.number, one.port = 2, 10010
    one.invite(to_tag="b")
    public = Endpoint(N, 10010)
    assert hears(ladder, ANYBODY, M2, public=public) == [False, False], "its far end is known"
    assert hears(ladder, Endpoint(M.host, 5), public=public) == [True]
    one.ok(M2)
    assert hears(ladder, ANYBODY, Endpoint(M2.host, 5), public=public) == [False, True]
    one.ack()
    one.hangs_up()
    ladder.finish()


def test_two_forks_that_both_answer() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.invite()
    one.ok(M, tag="b")
    one.ok(M2, tag="c")
    assert hears(ladder, Endpoint(M.host, 5), Endpoint(M2.host, 5), ANYBODY) == [True, True, False]
    one.hangs_up()
    one.tag = "c"
    one.hangs_up()
    ladder.finish()


def test_a_call_that_is_refused_leaves_nothing() -> None:
    ladder = Ladder(media_filter=True)
    one = call(ladder)
    one.invite()
    one.is_answered(486)
    ladder.finish()


def test_sip_direct_media_no_goes_first() -> None:
    ladder = Ladder(media_filter=True, direct_media=False)
    one = call(ladder)
    one.invite()
    assert hears(ladder, ANYBODY, Endpoint(S, 7)) == [False, True]
    one.ok(status=183)
    assert hears(ladder, ANYBODY, Endpoint(M.host, 5)) == [False, True]


def test_calls_that_stand_follow_when_it_is_switched_on_and_off() -> None:
    ladder = Ladder()
    ringing, standing = call(ladder), call(ladder, "c2")
    ringing.invite()
    standing.port = 10010
    standing.stands()
    ladder.changes(media_filter=True)
    assert hears(ladder, ANYBODY) == [True]
    public = Endpoint(N, 10010)
    assert hears(ladder, ANYBODY, Endpoint(M.host, 5), public=public) == [False, True]
    ladder.changes(media_filter=False)
    assert hears(ladder, ANYBODY, public=public) == [True]
    ladder.finish()


def test_a_message_of_no_call_admits_nobody() -> None:
    ladder = Ladder(media_filter=True)
    call(ladder).asks("ACK", to_tag="b", body=sdp(P, audio(10000)))
    assert [command.peer for command in ladder.commands if isinstance(command, AdmitPeer)] == [S]


def test_a_restart_keeps_who_is_let_in() -> None:
    ladder = Ladder(media_filter=True)
    ringing, standing = call(ladder), call(ladder, "c2")
    ringing.invite()
    standing.port = 10010
    standing.stands()
    ladder.restart()
    assert hears(ladder, ANYBODY) == [True]
    assert hears(ladder, ANYBODY, public=Endpoint(N, 10010)) == [False]
    ringing.ok()
    assert hears(ladder, ANYBODY) == [False]
    ladder.finish()
