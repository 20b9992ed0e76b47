from __future__ import annotations

import pytest
from tests.analysis.exchange import INVITE, NAT, OFFER, PHONE, REGISTER, REGISTERED, SERVER, heard, message

from sipalg.analysis.compare_apart import are_apart, pair_apart
from sipalg.analysis.pairing import BY_PHONE, is_swapped
from sipalg.analysis.said import Said

NEAR = [heard(message(REGISTER)[0]), heard(message(INVITE, OFFER)[0], number=2)]
FAR = [heard(message(REGISTER)[1], NAT), heard(message(INVITE, OFFER)[1], NAT, number=2)]


@pytest.mark.parametrize(
    ("other", "apart"),
    [((11, 20), True), ((0, 4), True), ((10, 20), False), ((0, 5), False), ((6, 7), False), ((0, 99), False)],
)
def test_whether_one_ended_before_the_other_began(other: tuple[int, int], apart: bool) -> None:
    assert are_apart(((5, 10), other)) is apart


def test_the_first_of_each_kind_of_each_phone() -> None:
    pairs = pair_apart([*NEAR, heard(NEAR[0].data, number=9)], FAR)
    assert [(pair.before.kind, pair.before.number, pair.by) for pair in pairs] == [
        ("REGISTER", 1, BY_PHONE), ("INVITE", 2, BY_PHONE),
    ]
    assert all(pair.outward and pair.forward for pair in pairs)
    assert not is_swapped(pairs)


def test_the_wrong_way_round() -> None:
    pairs = pair_apart(FAR, NEAR)
    assert [pair.forward for pair in pairs] == [False, False]
    assert is_swapped(pairs)


@pytest.mark.parametrize(
    "other",
    [
        [heard(FAR[0].data.replace(b"sip:525@", b"sip:526@"), NAT)],
        [heard(FAR[0].data.replace(b"SPA504G", b"SPA303"), NAT)],
        [heard(FAR[0].data.replace(b"sip:525@", b"tel:525;x="), NAT)],
        # A call says nothing where nobody registers, nor does an answer, nor what comes from elsewhere than the phone.
        FAR[1:],
        [heard(message(REGISTERED)[1], SERVER, NAT)],
    ],
    ids=["name", "User-Agent", "no SIP URI", "no registration", "answer"],
)
def test_who_isnt_the_same_phone(other: list[Said]) -> None:
    assert pair_apart(NEAR, other) == ()


def test_what_the_server_sends_on_from_the_phone_isnt_the_phones() -> None:
    forwarded = heard(NEAR[1].data, SERVER, "192.168.20.101", number=2)
    assert [pair.before.kind for pair in pair_apart([NEAR[0], forwarded], FAR)] == ["REGISTER"]
    assert heard(NEAR[0].data).source.host == PHONE
