from __future__ import annotations

from tests.analysis.exchange import INVITE, OFFER, message, pair_of

from sipalg.analysis.compare_places import NOTHING, Places, changed_places, places_in_order, replaced_places

NEAR, FAR = message(INVITE, OFFER)
ADDRESSES = frozenset(("Via", "Contact", "o=", "c=", "m="))


def test_addresses_and_the_length_that_follows() -> None:
    assert changed_places(pair_of(NEAR, FAR)) == (ADDRESSES, ("Content-Length",))
    assert changed_places(pair_of(NEAR, NEAR)) == NOTHING


def test_other_fields_are_named_as_they_are_written() -> None:
    made = NEAR.replace(b"Call-ID: 9", b"Call-ID: 8").replace(b"CSeq: 101", b"CSeq: 102")
    made = made.replace(b"sip:*98", b"sip:*9", 1)
    assert changed_places(pair_of(NEAR, made)) == (frozenset(), ("the first line", "Call-ID", "CSeq"))
    short = [text.replace(b"Supported: replaces", value) for text, value in ((NEAR, b"k: a"), (NEAR, b"k: b"))]
    assert changed_places(pair_of(*short)).others == ("Supported",)
    gone = NEAR.replace(b"Supported: replaces\r\n", b"")
    assert changed_places(pair_of(NEAR, gone)).others == ("Supported",)
    assert changed_places(pair_of(gone, NEAR)).others == ("Supported",)


def test_another_form_is_no_change_of_a_value() -> None:
    assert changed_places(pair_of(NEAR, NEAR.replace(b"\r\nCSeq: ", b"\r\ncseq:  "))) == NOTHING


def test_a_body_of_which_more_than_addresses_changed() -> None:
    made = FAR.replace(b"PCMU", b"PCMA")
    assert changed_places(pair_of(NEAR, made)) == (ADDRESSES, ("Content-Length", "the body"))
    cut = pair_of(NEAR, made)
    assert changed_places(cut._replace(after=cut.after._replace(whole=False))).others == ("Content-Length",)


def test_a_wrong_length_hides_nothing() -> None:
    made = FAR.replace(b"Content-Length: 1", b"Content-Length: 9")
    assert changed_places(pair_of(NEAR, made)) == (ADDRESSES, ("Content-Length",))


def test_rtcp_that_is_told() -> None:
    near, far = message(INVITE.replace("Content-Length", "X-Length"), OFFER + "a=rtcp:{rtcp}\n")
    assert changed_places(pair_of(near, far)).addresses == ADDRESSES | {"a=rtcp"}


def test_the_order_in_which_they_are_told() -> None:
    found = [Places(frozenset(("c=", "Via")), ("CSeq",)), Places(frozenset(("o=",)), ("Content-Length", "CSeq"))]
    assert places_in_order(found) == ("Via", "o=", "c=", "Content-Length", "CSeq")
    assert places_in_order([NOTHING]) == ()


def test_of_another_message_only_the_phones_own_address_counts() -> None:
    later = FAR.replace(b"CSeq: 101", b"CSeq: 7").replace(b"Call-ID: 9", b"Call-ID: 8")
    assert replaced_places(pair_of(NEAR, later)) == (frozenset(("Via", "Contact", "o=", "c=")), ())
    assert replaced_places(pair_of(NEAR, NEAR)) == NOTHING
    pair = pair_of(NEAR, later)
    assert replaced_places(pair._replace(after=pair.after._replace(source=pair.before.source))) == NOTHING
