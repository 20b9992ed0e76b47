from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import netlink, nft_codec
from sipalg.datapath.nft_elements import Listed, read, read_each


def element(one: Listed, more: bytes = b"") -> bytes:
    key, data, left_s, user_data = one
    parts = netlink.nested(nft_codec.ELEMENT_KEY, netlink.attribute(nft_codec.DATA_VALUE, key))
    if data:
        parts += netlink.nested(nft_codec.ELEMENT_DATA, netlink.attribute(nft_codec.DATA_VALUE, data))
    if left_s < math.inf:
        parts += netlink.attribute(4, (7200_000).to_bytes(8, "big"))
        parts += netlink.attribute(nft_codec.ELEMENT_EXPIRATION, round(left_s * 1000).to_bytes(8, "big"))
    if user_data:
        parts += netlink.attribute(nft_codec.ELEMENT_USER_DATA, user_data)
    return netlink.nested(1, parts + more)


def texts(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


ELEMENTS = st.tuples(
    texts(12),
    st.sampled_from((b"", b"\x0a\x00\x00\x01\x13\xc4\x00\x00")),
    st.integers(0, 7200),
    st.sampled_from((b"", b"S\2\0\0")),
)
ALIKE = st.lists(st.tuples(texts(12), texts(8), st.integers(0, 7200).map(float), texts(4)), max_size=20)


@given(ALIKE)
def test_elements_that_look_alike(elements: list[Listed]) -> None:
    assert read(b"".join(map(element, elements))) == elements


@given(st.lists(ELEMENTS, max_size=8))
def test_elements_of_all_kinds(elements: list[Listed]) -> None:
    assert read(b"".join(map(element, elements))) == elements


@pytest.mark.parametrize(
    "elements",
    [
        [(b"key4", b"", math.inf, b"")],
        [(b"key4", b"", 5.0, b""), (b"key4", b"", math.inf, b"")],
        [(b"key4", b"", 5.0, b""), (b"key4", b"", 5.0, b"user")],
        [(b"key", b"", 5.0, b""), (b"longer-key", b"data", 5.0, b"")],
        [(b"odd", b"odd", 5.0, b"odd"), (b"ODD", b"ODD", 6.0, b"ODD")],
    ],
)
def test_elements_of_other_forms(elements: list[Listed]) -> None:
    assert read(b"".join(map(element, elements))) == elements


def test_one_of_the_same_size_with_other_attributes() -> None:
    first = element((b"key4", b"", 5.0, b""), netlink.attribute(9, b"1234"))
    second = element((b"key4", b"", 6.0, b""), netlink.attribute(10, b"1234"))
    assert read(first + second) == [(b"key4", b"", 5.0, b""), (b"key4", b"", 6.0, b"")]


@given(st.binary(max_size=80), ALIKE)
def test_damaged_lists_are_read_as_far_as_they_can_be(damage: bytes, elements: list[Listed]) -> None:
    whole = b"".join(map(element, elements))
    for members in (damage, whole + damage, whole[:-3], damage + whole):
        assert read(members) == list(read_each(members))
