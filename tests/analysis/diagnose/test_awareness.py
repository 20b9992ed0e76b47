"""What a phone knows of its NAT, and what left of its addresses, by the proofs alone."""

from __future__ import annotations

from typing import Any

import pytest

from sipalg.analysis.diagnose.awareness import (
    AWARE,
    HALF,
    NO_NAT,
    UNAWARE,
    UNTOLD,
    Leaving,
    awareness,
    does,
    is_untouched,
    leaving,
    listed,
    says,
    server_answers,
    wrong_port,
)
from sipalg.analysis.diagnose.facts import INSIDE, LOCAL, OUTSIDE, Facts, Phone, Proof

HOST = "192.168.20.100"


def proof(*numbers: int) -> Proof:
    made = Proof()
    for number in numbers:
        made.add(number)
    return made


def phone(view: str = INSIDE, **seen: Any) -> Phone:
    return Phone(HOST, view, named=HOST, sent=proof(1), **seen)


@pytest.mark.parametrize(
    ("view", "seen", "aware"),
    [
        (LOCAL, {"contact_private": 1}, NO_NAT),
        (INSIDE, {}, UNTOLD),
        (INSIDE, {"contact_private": 1}, UNAWARE),
        (INSIDE, {"contact_public": 1}, AWARE),
        (INSIDE, {"contact_public": 1, "media_private": 2}, HALF),
        (INSIDE, {"contact_private": 1, "contact_public": 2}, AWARE),
        (INSIDE, {"contact_private": 2, "contact_public": 1}, UNAWARE),
        (INSIDE, {"contact_public": 1, "media_private": 2, "ice": 2}, AWARE),
        (OUTSIDE, {"contact_public": 1}, UNTOLD),
        (OUTSIDE, {"contact_public": 1, "another_nat": 2}, UNAWARE),
        (OUTSIDE, {"contact_private": 1}, UNAWARE),
        (OUTSIDE, {"contact_private": 1, "proxied": 1}, UNTOLD),
    ],
)
def test_what_a_phone_knows_of_its_nat(view: str, seen: dict[str, int], aware: str) -> None:
    assert awareness(phone(view, **{name: proof(number) for name, number in seen.items()})) == aware


def test_what_left_is_told_place_by_place() -> None:
    inside = phone(via_private=proof(1), contact_private=proof(1), media_private=proof(3))
    assert leaving(inside) is None
    via, contact, media = proof(2), proof(2), proof(4)
    inside.outside["75.142.151.49:1024"] = phone(OUTSIDE, via_public=via, contact_private=contact, media_private=media)
    assert leaving(inside) == Leaving(("Via",), ("Contact", "SDP"), (contact, media), (via,))
    inside.candidates = proof(3)
    assert leaving(inside) == Leaving(("Via",), ("Contact",), (contact,), (via,))
    assert not is_untouched(inside)
    inside.outside["75.142.151.49:1024"].via_public = Proof()
    assert is_untouched(inside)


def test_where_only_one_side_was_captured_the_server_s_received_tells_whether_the_via_was_changed() -> None:
    assert is_untouched(phone(OUTSIDE))
    assert not is_untouched(phone())
    assert is_untouched(phone(seen_elsewhere=proof(2)))
    assert not is_untouched(phone(seen_elsewhere=proof(2), put_back=proof(2)))


def test_where_a_server_sends() -> None:
    reached, missed, elsewhere = proof(4), proof(5), proof(2)
    assert server_answers(phone()) == (UNTOLD, ())
    assert server_answers(phone(reached=reached)) == (UNTOLD, ())
    assert server_answers(phone(reached=reached, seen_elsewhere=elsewhere)) == ("source", (reached, elsewhere))
    assert server_answers(phone(reached=reached, missed=missed)) == ("named address", (missed,))


def test_a_contact_s_port_is_wrong_only_where_something_tells_of_a_nat_and_nobody_answers_there() -> None:
    end = "75.142.151.49:1030"
    one = phone(OUTSIDE, via_private=proof(1), port_wrong=proof(1), port_named=end)
    assert wrong_port(Facts(), one)
    assert not wrong_port(Facts(), phone(OUTSIDE, via_private=proof(1)))
    assert not wrong_port(Facts(), phone(OUTSIDE, port_wrong=proof(1), port_named=end))
    assert wrong_port(Facts(), phone(OUTSIDE, port_wrong=proof(1), port_named=end, twin=HOST))
    answering = Facts(phones={end: phone(OUTSIDE)})
    assert not wrong_port(answering, one)
    answering.phones[end].registrars.add("207.252.1.148")
    assert wrong_port(answering, one)


def test_what_it_says_names_the_places_and_their_packets() -> None:
    half = phone(via_private=proof(1), contact_public=proof(1), media_private=proof(7))
    said = says(half, HALF)
    assert said.text == f"names the private address {HOST} in Via and SDP, and public ones in Contact"
    assert said.packets == (1, 7)
    assert says(phone(contact_public=proof(1)), AWARE).text == "names public addresses in Contact"
    assert says(phone(), UNTOLD).text == "names no address in a Contact or an SDP here"
    assert "are on the same side of the NAT" in says(phone(), NO_NAT).text
    assert "through a SIP proxy" in says(phone(proxied=proof(1)), UNTOLD).text


def test_what_it_does_about_its_nat() -> None:
    assert does(phone()).text == "no rport, STUN or ICE candidates from outside"
    used = does(phone(rport=proof(1), stun=proof(2)))
    assert used.text == "uses rport and STUN, but no ICE candidates from outside"
    assert used.packets == (1, 2)


@pytest.mark.parametrize(
    ("names", "text"), [([], "nothing"), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_listed_as_people_do(names: list[str], text: str) -> None:
    assert listed(names) == text
