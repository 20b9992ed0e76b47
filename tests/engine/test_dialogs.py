from __future__ import annotations

import pytest

from sipalg.engine.dialogs import Offer, Step, answers, offer_of
from sipalg.engine.verdict import UDP, Endpoint

KEY = (UDP, Endpoint("192.168.33.10", 5060))


def step(method: bytes, status: int, number: int, *, inside: bool) -> Step:
    return Step(method, status, number, inside, (), KEY, "203.0.113.50")


def offer(*, inside: bool, in_request: bool, asked_inside: bool, number: int = 7) -> Offer:
    return Offer(inside, in_request, asked_inside, number, (), answered=False)


def test_who_asked_is_told_by_direction_and_kind() -> None:
    assert step(b"INVITE", 0, 1, inside=True).asked_inside
    assert not step(b"INVITE", 200, 1, inside=True).asked_inside
    assert step(b"INVITE", 200, 1, inside=False).asked_inside


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
