from __future__ import annotations

from typing import Any

import pytest

from sipalg.engine import dialogs
from sipalg.engine.dialogs import FIELDS, Dialog, Offer, Step, answers, call_end, keys_wanted, offer_of
from sipalg.engine.media import NO_END, MediaEnd
from sipalg.engine.policy import EARLY_S, LINGER_S
from sipalg.engine.verdict import UDP, Endpoint, Flow

KEY = (UDP, Endpoint("192.168.33.10", 5060))
RTP = (UDP, Endpoint("192.168.33.10", 10000))
FLOW = Flow(UDP, RTP[1], Endpoint("203.0.113.1", 20000), Endpoint("203.0.113.60", 30000))


def step(method: bytes, status: int, number: int, *, inside: bool) -> Step:
    return Step(method, status, number, (), KEY, "203.0.113.50", 0.0, from_inside=inside)


def offer(*, inside: bool, in_request: bool, asked_inside: bool, number: int = 7) -> Offer:
    return Offer(inside, in_request, asked_inside, number, (), answered=False)


ENDS = (MediaEnd(Endpoint("192.168.33.10", 10000), Endpoint("192.168.33.10", 10001), mux=False, on_hold=False),)
OFFERED = Offer(True, True, True, 1, ENDS, False)
ANSWERED = Offer(True, True, True, 2, ENDS, True)


def dialog(**values: Any) -> Dialog:
    made = Dialog(("192.168.33.10", b"c", b"a", b"b"), (KEY,), 100.0, 1, "203.0.113.50")
    for name, value in values.items():
        setattr(made, name, value)
    return made


def full() -> Dialog:
    return dialog(
        local=ENDS, remote=ENDS, settled=(ENDS, ()), offer=OFFERED, flows=(FLOW,), retiring=(FLOW,), keys=(KEY, RTP),
        confirmed=True, expires_at=5.0, session_s=9.0, invite=3, hanging_up=True, acknowledged=True,
        peer="203.0.113.51", sources=("203.0.113.60",), asked=OFFERED, asked_inside=True, forks_until=7.0,
    )  # fmt: skip


def test_a_dialog_goes_back_to_what_it_was() -> None:
    changed, before = dialog(), dialog().state()
    assert not changed.is_news(before, 0.0, 0)
    changed.go_back(full().state())
    assert changed.state() == full().state()
    assert changed.is_news(before, 0.0, 0)
    changed.go_back(before)
    assert changed.state() == before


def test_a_dialog_is_news_once_until_the_records_are_taken() -> None:
    one = dialog()
    before = one.state()
    assert not one.is_news(before, 0.0, 7)
    one.hanging_up = True
    assert one.is_news(before, 0.0, 7)
    assert not one.is_news(before, 0.0, 7)
    assert one.is_news(before, 0.0, 8)


def test_a_dialogs_values_have_their_names() -> None:
    one = full()
    assert one.values() == {name: getattr(one, name) for name in FIELDS}
    assert one.record() == ("dialog", one.key)


def test_a_dialog_ends_when_nothing_more_is_heard() -> None:
    assert call_end(dialog(), 10.0, 1000.0) == 10.0 + EARLY_S
    assert call_end(dialog(confirmed=True), 10.0, 1000.0) == 1010.0
    assert call_end(dialog(confirmed=True, session_s=90.0), 10.0, 1000.0) == 100.0 + LINGER_S


def test_a_dialog_holds_what_its_descriptions_and_flows_need_as_far_as_it_is_there() -> None:
    rtcp = (UDP, Endpoint("192.168.33.10", 10001))
    there = {KEY: 1, RTP: 1, rtcp: 1}
    assert keys_wanted(dialog(), there) == (KEY,)
    assert keys_wanted(full(), there) == (KEY, RTP, rtcp)
    assert keys_wanted(full(), {RTP: 1}) == (KEY, RTP)
    assert keys_wanted(dialog(offer=OFFERED), there) == (KEY, RTP, rtcp)
    assert keys_wanted(dialog(offer=ANSWERED), there) == (KEY,)
    assert keys_wanted(dialog(asked=OFFERED), there) == (KEY, RTP, rtcp)
    assert keys_wanted(dialog(asked=OFFERED, confirmed=True), there) == (KEY,)
    assert keys_wanted(dialog(asked=OFFERED._replace(inside=False)), there) == (KEY,)
    assert keys_wanted(dialog(flows=(FLOW,)), there) == (KEY, RTP)
    assert keys_wanted(dialog(flows=(FLOW,)), {}) == (KEY,)
    assert keys_wanted(dialog(local=(NO_END,)), there) == (KEY,)


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
