from __future__ import annotations

import pytest

from sipalg.engine import dialogs
from sipalg.engine.dialogs import Dialog, Offer, Step, answers, offer_of
from sipalg.engine.media import NO_END, MediaEnd
from sipalg.engine.verdict import UDP, Endpoint, Flow

KEY = (UDP, Endpoint("192.168.33.10", 5060))
RTP = (UDP, Endpoint("192.168.33.10", 10000))
FLOW = Flow(UDP, RTP[1], Endpoint("203.0.113.1", 20000), Endpoint("203.0.113.60", 30000))


def step(method: bytes, status: int, number: int, *, inside: bool) -> Step:
    asked_inside = inside if status == 0 else not inside
    return Step(method, status, number, inside, (), KEY, "203.0.113.50", 0.0, asked_inside)


def offer(*, inside: bool, in_request: bool, asked_inside: bool, number: int = 7) -> Offer:
    return Offer(inside, in_request, asked_inside, number, (), answered=False)


EMPTY = Dialog((), (), ((), ()), None, (), (), (KEY,), False, 100.0, 0.0, 1, peer="203.0.113.50")
ENDS = (MediaEnd(Endpoint("192.168.33.10", 10000), Endpoint("192.168.33.10", 10001), mux=False, on_hold=False),)
FULL = Dialog(
    ENDS, ENDS, (ENDS, ()), Offer(True, True, True, 1, ENDS, False), (FLOW,), (FLOW,), (KEY, RTP), True, 5.0, 9.0, 3,
    True, True, "203.0.113.51", ("203.0.113.60",),
)  # fmt: skip
OFFER = Offer(False, False, True, 2, (), True)


@pytest.mark.parametrize("dialog", [EMPTY, FULL])
def test_a_dialog_with_other_values_is_what_replace_makes(dialog: Dialog) -> None:
    assert dialogs.with_media(dialog, (), ENDS, OFFER, (), (FLOW,)) == dialog._replace(
        local=(), remote=ENDS, offer=OFFER, flows=(), retiring=(FLOW,)
    )
    assert dialogs.with_settled(dialog) == dialog._replace(retiring=(), settled=(dialog.local, dialog.remote))
    assert dialogs.with_offer(dialog, OFFER) == dialog._replace(offer=OFFER)
    assert dialogs.with_keys(dialog, (RTP,)) == dialog._replace(keys=(RTP,))
    assert dialogs.with_confirmation(dialog) == dialog._replace(confirmed=True)
    assert dialogs.with_end(dialog, 7.0) == dialog._replace(expires_at=7.0, hanging_up=False)
    assert dialogs.with_end(dialog, 7.0, hanging_up=True) == dialog._replace(expires_at=7.0, hanging_up=True)
    assert dialogs.with_acknowledgement(dialog) == dialog._replace(acknowledged=True)
    assert dialogs.with_sources(dialog, ("203.0.113.9",)) == dialog._replace(sources=("203.0.113.9",))
    assert type(dialogs.with_end(dialog, 7.0)) is Dialog


def test_a_dialog_holds_what_its_descriptions_and_flows_need_as_far_as_it_is_there() -> None:
    rtcp = (UDP, Endpoint("192.168.33.10", 10001))
    there = {KEY: 1, RTP: 1, rtcp: 1}
    assert dialogs.keys_wanted(EMPTY, there) == (KEY,)
    assert dialogs.keys_wanted(FULL, there) == (KEY, RTP, rtcp)
    assert dialogs.keys_wanted(FULL, {RTP: 1}) == (KEY, RTP)
    assert dialogs.keys_wanted(EMPTY._replace(offer=FULL.offer), there) == (KEY, RTP, rtcp)
    assert dialogs.keys_wanted(EMPTY._replace(offer=OFFER._replace(inside=True, ends=ENDS)), there) == (KEY,)
    assert dialogs.keys_wanted(EMPTY._replace(flows=(FLOW,)), there) == (KEY, RTP)
    assert dialogs.keys_wanted(EMPTY._replace(flows=(FLOW,)), {}) == (KEY,)
    assert dialogs.keys_wanted(EMPTY._replace(local=(NO_END,)), there) == (KEY,)


def test_the_hosts_of_a_description_come_once_each_rtcp_elsewhere_too() -> None:
    one, other = Endpoint("203.0.113.60", 30000), Endpoint("203.0.113.61", 30001)
    ends = (MediaEnd(one, other, mux=False, on_hold=False), NO_END, MediaEnd(one, one, mux=False, on_hold=False))
    assert dialogs.media_hosts(ends) == (one.host, other.host)
    assert dialogs.more_sources((other.host,), ends) == (other.host, one.host)
    assert dialogs.more_sources((one.host, other.host), ends) == (one.host, other.host)


def test_an_offer_is_what_its_message_says() -> None:
    asked = offer_of(step(b"INVITE", 0, 7, inside=True))
    assert asked == Offer(True, True, True, 7, (), False)
    assert asked.inside is True
    assert offer_of(step(b"INVITE", 200, 7, inside=False)) == Offer(False, False, True, 7, (), False)


@pytest.mark.parametrize(
    ("waiting", "message", "is_answer"),
    [
        pytest.param(
            offer(inside=True, in_request=True, asked_inside=True), step(b"INVITE", 200, 7, inside=False), True,
            id="200 to the INVITE that offered",
        ),
        pytest.param(
            offer(inside=True, in_request=True, asked_inside=True), step(b"INVITE", 200, 8, inside=False), False,
            id="200 to another INVITE",
        ),
        pytest.param(
            offer(inside=False, in_request=False, asked_inside=True), step(b"INVITE", 200, 7, inside=False), False,
            id="the 200's own offer again",
        ),
        pytest.param(
            offer(inside=False, in_request=False, asked_inside=True), step(b"ACK", 0, 7, inside=True), True,
            id="ACK to the 200 that offered",
        ),
        pytest.param(
            offer(inside=False, in_request=False, asked_inside=True), step(b"ACK", 0, 6, inside=True), False,
            id="a late ACK",
        ),
        pytest.param(
            offer(inside=False, in_request=False, asked_inside=True), step(b"PRACK", 0, 8, inside=True), True,
            id="PRACK to the 183 that offered",
        ),
        pytest.param(
            offer(inside=True, in_request=True, asked_inside=True), step(b"PRACK", 0, 8, inside=True), False,
            id="PRACK that offers",
        ),
        pytest.param(
            offer(inside=False, in_request=False, asked_inside=True), step(b"UPDATE", 0, 8, inside=True), False,
            id="UPDATE that offers",
        ),
    ],
)
def test_answer_or_offer(waiting: Offer, message: Step, is_answer: bool) -> None:
    assert answers(waiting, message) is is_answer
