"""Who offers and who answers, in which message: RFC 3264, 3262, 3311, 3960, 6337. The flows follow the answer."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine.verdict import Endpoint

P, N = "192.168.33.10", "203.0.113.1"
M2 = Endpoint("203.0.113.61", 31000)


def calling(ladder: Ladder) -> Outgoing:
    return Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))


def own(port: int = 10000, *lines: str) -> str:
    return sdp(P, audio(port, *lines))


def theirs(media: Endpoint = M, *lines: str) -> str:
    return sdp(media.host, audio(media.port, *lines))


def rtp(ladder: Ladder) -> set[tuple[int, str]]:
    """The flows of RTP: the phone's port and the far end."""
    return {
        (int(private.partition(":")[2]), remote)
        for private, _, remote in ladder.flows
        if int(private.partition(":")[2]) % 2 == 0
    }


def ends(ladder: Ladder, call: Outgoing) -> None:
    call.hangs_up()
    assert ladder.flows == set()
    ladder.finish()


def test_an_answer_in_each_of_several_18x_of_one_fork_is_the_same() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.invite()
    for status in (183, 180, 183, 200):
        call.ok(status=status)
        assert rtp(ladder) == {(10000, str(M))}
    call.ack()
    ends(ladder, call)


def test_early_media_of_several_forks_each_from_its_own_address() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.invite()
    call.ok(M, status=183, tag="b")
    call.ok(M2, status=183, tag="c")
    assert rtp(ladder) == {(10000, str(M)), (10000, str(M2))}
    for media in (M, M2):
        assert ladder.media_enters(media, Endpoint(N, 10000)) == Endpoint(P, 10000)
    call.is_answered(200, tag="c")
    call.tag = "c"
    call.ack()
    ladder.wait(33)
    assert rtp(ladder) == {(10000, str(M2))}, "the fork that wasn't taken is over"
    ends(ladder, call)


def test_a_200_without_description_after_the_answer_in_a_183() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.invite()
    call.ok(status=183)
    call.is_answered(200)
    call.ack()
    assert rtp(ladder) == {(10000, str(M))}
    ladder.wait(3600)
    assert rtp(ladder) == {(10000, str(M))}
    ends(ladder, call)


def test_offer_in_a_reliable_183_and_answer_in_prack() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.asks("INVITE")
    call.is_answered(183, body=theirs())
    assert rtp(ladder) == set()
    call.number = 2
    call.asks("PRACK", to_tag="b", body=own())
    assert rtp(ladder) == {(10000, str(M))}
    call.is_answered(200, "PRACK")
    call.is_answered(200)
    call.number = 1
    call.ack()
    assert rtp(ladder) == {(10000, str(M))}
    call.number = 2
    ends(ladder, call)


def test_a_new_offer_in_prack_and_its_answer_in_the_200_to_it() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.invite()
    call.ok(status=183)
    call.number = 2
    call.asks("PRACK", to_tag="b", body=own(10010))
    assert rtp(ladder) == {(10000, str(M))}
    call.is_answered(200, "PRACK", body=theirs(M2))
    assert rtp(ladder) == {(10010, str(M2))}
    call.is_answered(200)
    ends(ladder, call)


@pytest.mark.parametrize("early", [True, False])
def test_update_from_either_side_before_and_after_the_call_stands(early: bool) -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.invite()
    call.ok(status=183 if early else 200)
    call.number = 2
    call.asks("UPDATE", to_tag="b", body=own(10010))
    call.is_answered(200, "UPDATE", body=theirs())
    assert rtp(ladder) == {(10010, str(M))}
    call.is_asked("UPDATE", 5, body=theirs(M2))
    call.answers(200, "UPDATE", 5, body=own(10010))
    assert rtp(ladder) == {(10010, str(M2))}
    if early:
        call.is_answered(200)
    assert rtp(ladder) == {(10010, str(M2))}
    ends(ladder, call)


def test_a_delayed_offer_with_early_media_goes_on_with_the_ack() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.own_tag = ""
    call.asks("OPTIONS")
    call.own_tag = "a"
    # The far end calls without an offer; the phone offers in its 200.
    message = request("INVITE", uri=f"sip:a@{call.public}", via="203.0.113.50", tags=("b", ""), contact="<sip:b@h>")
    assert call.server.sends(message, call.public)
    offer = call.answers(200, "INVITE", body=own())
    assert b"c=IN IP4 203.0.113.1\r\n" in offer
    assert rtp(ladder) == set()
    assert ladder.media_enters(M, Endpoint(N, 10000), strict=False) == Endpoint(P, 10000)
    call.is_asked("ACK", body=theirs())
    assert rtp(ladder) == {(10000, str(M))}
    ends(ladder, call)


def test_a_re_invite_without_offer_asks_the_other_side_for_one() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.stands()
    call.number = 2
    call.asks("INVITE", to_tag="b", number=2)
    call.is_answered(200, body=theirs(M2))
    assert rtp(ladder) == {(10000, str(M))}, "until the ACK"
    call.asks("ACK", to_tag="b", number=2, body=own())
    assert rtp(ladder) == {(10000, str(M2))}
    ends(ladder, call)


def test_two_re_invites_at_once_and_both_are_refused() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.stands()
    call.number, call.port = 2, 10010
    call.invite(to_tag="b")
    call.is_asked("INVITE", 7, body=theirs(M2))
    call.answers(491, "INVITE", 7)
    call.is_answered(491)
    assert rtp(ladder) == {(10000, str(M))}
    ends(ladder, call)


HOLDS = {
    "zero": (sdp(".".join("0000"), audio(10000), origin=P), True),
    "sendonly": (own(10000, "a=sendonly"), True),
    "inactive": (own(10000, "a=inactive"), True),
    "zero and inactive": (sdp(".".join("0000"), audio(10000, "a=inactive"), origin=P), True),
    "port 0": (sdp(P, audio(0)), False),
}


@pytest.mark.parametrize(("body", "keeps"), HOLDS.values(), ids=HOLDS)
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_hold_and_resume(body: str, keeps: bool, method: str) -> None:
    ladder = Ladder(10000)
    call = calling(ladder)
    call.stands()
    mapped = dict(ladder.mapped)
    call.number = 2
    call.asks(method, to_tag="b", number=2, body=body)
    call.is_answered(200, method, body=theirs() if keeps else sdp(M.host, audio(0)))
    if method == "INVITE":
        call.asks("ACK", to_tag="b", number=2)
    assert bool(rtp(ladder)) == keeps
    ladder.wait(7200)
    assert (ladder.mapped == mapped) == keeps
    call.number = 3
    call.asks(method, to_tag="b", number=3, body=own())
    call.is_answered(200, method, body=theirs())
    assert rtp(ladder) == {(10000, str(M))}
    if keeps:
        assert ladder.mapped == mapped, "resumed at the same public port"
    ends(ladder, call)


@pytest.mark.parametrize(
    "body", [theirs(M, "a=sendonly"), sdp(".".join("0000"), audio(M.port)), theirs(M, "a=inactive")]
)
def test_the_far_end_holds_and_resumes(body: str) -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.stands()
    call.is_asked("INVITE", 5, body=body)
    call.answers(200, "INVITE", 5, body=own(10000, "a=recvonly"))
    call.is_asked("ACK", 5)
    ladder.wait(7200)
    assert rtp(ladder) == {(10000, str(M))}
    call.is_asked("INVITE", 6, body=theirs(M2))
    call.answers(200, "INVITE", 6, body=own())
    call.is_asked("ACK", 6)
    assert rtp(ladder) == {(10000, str(M2))}
    ends(ladder, call)


def test_a_line_is_added_switched_off_and_used_again() -> None:
    ladder = Ladder()
    call = calling(ladder)
    call.stands()
    for number, video, answered, flows in (
        (2, 10010, 30010, {(10000, str(M)), (10010, f"{M.host}:30010")}),
        (3, 0, 0, {(10000, str(M))}),
        (4, 10020, 30020, {(10000, str(M)), (10020, f"{M.host}:30020")}),
        (5, 10030, 0, {(10000, str(M))}),
    ):
        call.number = number
        call.asks("INVITE", to_tag="b", number=number, body=sdp(P, audio(10000), f"m=video {video} RTP/AVP 31"))
        call.is_answered(200, body=sdp(M.host, audio(M.port), f"m=video {answered} RTP/AVP 31"))
        call.asks("ACK", to_tag="b", number=number)
        assert rtp(ladder) == flows
    ends(ladder, call)


def test_transfer_to_another_phone_by_refer() -> None:
    """The far end refers the phone to itself at a port of its own; what the phone then sends is a call like any."""
    ladder = Ladder()
    call = calling(ladder)
    call.stands()
    refer = request(
        "REFER",
        uri=f"sip:a@{call.public}",
        via="203.0.113.50",
        tags=("b", "a"),
        number=5,
        contact="<sip:b@203.0.113.50>",
        more="Refer-To: <sip:a@{own};method=INVITE?Replaces=x%40203.0.113.1%3Bto-tag%3D1>\n"
        "Referred-By: <sip:a@{own}>\n"
        "Replaces: x@203.0.113.1;to-tag=1;from-tag=2\nTarget-Dialog: y@203.0.113.1\n",
    )
    arrived = call.server.sends(refer.replace(b"{own}", str(call.public).encode()), call.public)
    assert arrived is not None
    assert arrived == refer.replace(b"{own}", call.own.encode()).replace(
        f"REFER sip:a@{call.public}".encode(), f"REFER sip:a@{call.own}".encode()
    )
    accepted = call.phone.sends(
        response(202, "REFER", via="203.0.113.50:5060", tags=("b", "a"), number=5, contact=f"<sip:a@{call.own}>"),
        call.server,
    )
    assert f"Contact: <sip:a@{call.public}>".encode() in accepted
    told = request(
        "NOTIFY",
        via=call.own,
        tags=("a", "b"),
        number=3,
        contact=f"<sip:a@{call.own}>",
        more="Event: refer\nSubscription-State: active;expires=60\nContent-Type: message/sipfrag\n",
    ).replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 25\r\n\r\nSIP/2.0 200 192.168.33.10\n")
    sent = call.phone.sends(told, call.server)
    assert sent.endswith(b"Content-Length: 25\r\n\r\nSIP/2.0 200 192.168.33.10\n"), "a fragment is nobody's address"
    second = Outgoing(call.phone, call.server, call="x", port=10020, own_tag="z")
    second.stands(M2)
    assert rtp(ladder) == {(10000, str(M)), (10020, str(M2))}
    call.number = 3
    call.hangs_up()
    assert rtp(ladder) == {(10020, str(M2))}
    ends(ladder, second)


def test_a_subscription_is_notified_at_its_contact() -> None:
    ladder = Ladder(5060)
    call = calling(ladder)
    assert f"Contact: <sip:a@{N}:16384>".encode() in call.asks("SUBSCRIBE")
    call.is_answered(200, "SUBSCRIBE")
    ladder.wait(3000)
    arrived = call.is_asked("NOTIFY", 2)
    assert arrived is not None
    assert arrived.startswith(f"NOTIFY sip:a@{P}:5060 SIP/2.0".encode())
    call.answers(200, "NOTIFY", 2)
    ladder.wait(7300)
    assert ladder.mapped == {}, "nothing but its phone's packets keeps it"
