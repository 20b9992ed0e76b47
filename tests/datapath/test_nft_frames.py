from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import nft_codec
from sipalg.datapath.nft_frames import ElementFrame


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=8, max_size=8), st.integers(1, 10**6))
def test_a_frame_gives_the_same_bytes_as_building_from_attributes(key: bytes, data: bytes, seconds: int) -> None:
    for name, value, user_data in (("snat_map", data, b"user"), ("map", data, b""), ("set", b"", b"")):
        frame = ElementFrame("sipalg", name, 12, len(value), user_bytes=len(user_data))
        member = nft_codec.element(key, value or None, seconds, user_data=user_data)
        slow = nft_codec.elements(nft_codec.NEW_ELEMENT, 0, "sipalg", name, [member])
        assert frame.body(key, value, seconds, user_data) == slow.body


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(-5.0, 1), (0.0, 1), (0.0004, 1), (2.0, 2000), (math.inf, 10**12)]
)
def test_a_mapping_that_is_about_to_end_does_not_live_for_good(seconds: float, milliseconds: int) -> None:
    body = ElementFrame("t", "s", 4).body(b"key!", b"", seconds)
    assert body[-8:] == struct.pack("!Q", milliseconds)
