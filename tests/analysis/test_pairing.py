from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.exchange import NAT, PHONE, SERVER, heard

from sipalg.analysis.pairing import BY_BRANCH, BY_CALL_ID, BY_ORDER, is_private, is_swapped, pair_up
from sipalg.analysis.said import Said


def request(
    call: str = "c", number: int = 1, branch: str = "b", tag: str = "t", source: str = PHONE, target: str = SERVER
) -> Said:
    via = f"Via: SIP/2.0/UDP {source};branch={branch}\r\n" if branch else ""
    names = f"From: <sip:a>;tag={tag}\r\nCall-ID: {call}\r\nCSeq: {number} OPTIONS\r\n\r\n"
    return heard(f"OPTIONS sip:x SIP/2.0\r\n{via}{names}".encode(), source, target, number)


def test_pairs_by_call_id_whatever_the_order() -> None:
    before = [request(number=n) for n in range(5)]
    after = [request(number=n, source=NAT) for n in reversed(range(5))]
    pairing = pair_up(before, after)
    assert [(p.before.cseq, p.by) for p in pairing.pairs] == [((n, "OPTIONS"), BY_CALL_ID) for n in range(5)]
    assert all(p.before.cseq == p.after.cseq and p.outward and p.forward for p in pairing.pairs)
    assert pairing.only_before == pairing.only_after == ()


@pytest.mark.parametrize(("branch", "by"), [("b", BY_BRANCH), ("", BY_ORDER)])
def test_a_rewritten_call_id_is_found_by_other_things(branch: str, by: str) -> None:
    pairing = pair_up([request("a", branch=branch)], [request("z", branch=branch, source=NAT)])
    assert [pair.by for pair in pairing.pairs] == [by]


def test_without_branch_and_tag_nothing_is_guessed() -> None:
    pairing = pair_up([request("a", branch="", tag="")], [request("z", branch="", tag="")])
    assert pairing.pairs == ()
    assert (len(pairing.only_before), len(pairing.only_after)) == (1, 1)


def test_a_call_id_that_both_sides_know_was_not_rewritten() -> None:
    """Phones that use the same tag in all calls: what was lost of one call isn't found in another."""
    before = [request("a", branch="1"), request("b", number=2, branch="2")]
    after = [request("a", number=2, branch="3", source=NAT), request("b", branch="4", source=NAT)]
    assert pair_up(before, after).pairs == ()


def test_of_several_the_nearest_branches_are_one() -> None:
    """A message forked, or twice through the same device: Call-ID and CSeq are the same in all."""
    before = [request(branch="one"), request(branch="two")]
    after = [request(branch="two", source=NAT), request(branch="one", source=NAT)]
    assert all(pair.before.branches == pair.after.branches for pair in pair_up(before, after).pairs)


def test_copies_are_one_message_and_two_answers_to_a_copy_are_two_pairs() -> None:
    after = [request(source=NAT), request(source=NAT)]
    assert len(pair_up([request()] * 3, after).pairs) == 1
    other = request(source="75.142.151.50")
    assert len(pair_up([request()], [request(source=NAT), other]).pairs) == 2


@pytest.mark.parametrize(
    ("before", "after", "outward", "forward"),
    [
        ((PHONE, SERVER), (NAT, SERVER), True, True),
        ((SERVER, PHONE), (SERVER, NAT), False, False),
        # All that the device was given in BEFORE, all that it made in AFTER: an offline rewriter's files.
        ((SERVER, NAT), (SERVER, PHONE), False, True),
        # The two files the wrong way round.
        ((NAT, SERVER), (PHONE, SERVER), True, False),
        # No NAT.
        ((PHONE, SERVER), (PHONE, SERVER), True, True),
        ((SERVER, PHONE), (SERVER, PHONE), False, False),
    ],
)
def test_the_direction(before: tuple[str, str], after: tuple[str, str], outward: bool, forward: bool) -> None:
    left, right = (request(source=source, target=target) for source, target in (before, after))
    (pair,) = pair_up([left], [right]).pairs
    assert (pair.outward, pair.forward) == (outward, forward)
    assert pair.given is (left if forward else right)
    assert pair.made is (right if forward else left)


def test_which_of_the_two_is_of_the_inside() -> None:
    """What goes out tells it; what comes in is the same in a rewriter's files as in two that are swapped."""
    near, far = request(), request(source=NAT)
    assert not is_swapped(pair_up([near], [far]).pairs)
    assert is_swapped(pair_up([far], [near]).pairs)
    came, went = request(source=SERVER, target=NAT), request(source=SERVER, target=PHONE)
    assert not is_swapped(pair_up([came], [went]).pairs)
    assert not is_swapped(pair_up([near], [near]).pairs)


def test_a_proxys_via_tells_the_direction() -> None:
    longer = heard(request().data.replace(b"\r\nVia", b"\r\nVia: SIP/2.0/UDP k;branch=k\r\nVia"), NAT, SERVER)
    assert [pair.forward for pair in pair_up([request()], [longer]).pairs] == [True]
    assert [pair.forward for pair in pair_up([longer], [request()]).pairs] == [False]


@pytest.mark.parametrize(
    ("host", "private"),
    [("10.1.2.3", True), ("172.31.0.1", True), ("172.32.0.1", False), ("192.168.0.1", True), ("100.64.0.1", True),
     ("203.0.113.1", False), ("2001:db8::1", False)],
)
def test_what_is_private(host: str, private: bool) -> None:
    assert is_private(host) is private


MESSAGES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")))


@given(MESSAGES, MESSAGES)
def test_each_message_is_in_a_pair_or_left_and_never_both(
    left: list[tuple[int, str]], right: list[tuple[int, str]]
) -> None:
    before = [request(number=n, branch=b) for n, b in left]
    after = [request(number=n, branch=b, source=NAT) for n, b in right]
    pairing = pair_up(before, after)
    for messages, only, halves in (
        (before, pairing.only_before, [pair.before for pair in pairing.pairs]),
        (after, pairing.only_after, [pair.after for pair in pairing.pairs]),
    ):
        paired = {said.data for said in halves}
        alone = {said.data for said in only}
        assert paired | alone == {said.data for said in messages}
        assert not paired & alone
