"""What the forward chain asks: media are known by its first rule, and what there is one of needs no look-up."""

from __future__ import annotations

import pytest
from tests.datapath.test_nft_rules import ALL, NONE, SETTINGS, names

from sipalg.codec.message import NOT_SIP, parse
from sipalg.datapath import nft_codec, nft_rules
from sipalg.datapath.nft_family import IPV4, IPV6, Family
from sipalg.datapath.nft_features import Features
from sipalg.datapath.nft_forward import FLOWING_MEDIA, is_one_of


@pytest.mark.parametrize("features", [ALL, NONE])
@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_media_that_flow_leave_the_chain_by_its_first_rule(features: Features, family: Family) -> None:
    first = next(rule for rule in nft_rules.rules(SETTINGS, features, family) if rule.chain == "forward")
    kinds = [name for name, _ in names(first.expressions)]
    assert kinds == ["meta", "cmp", "payload", "bitwise", "cmp", "ct", "cmp", "immediate"]
    assert first.expressions == (*FLOWING_MEDIA, nft_codec.accept())


def test_no_set_is_asked_for_a_packet_of_media() -> None:
    assert "lookup" not in {name for name, _ in names(FLOWING_MEDIA)}


@pytest.mark.parametrize("first", range(0x80, 0xC0))
def test_what_is_taken_for_media_is_nothing_that_the_engine_would_read(first: int) -> None:
    for rest in (b"", b"\r\n\r\n", b"REGISTER sip:example.com SIP/2.0\r\n\r\n", bytes(160)):
        assert parse(bytes((first,)) + rest) == NOT_SIP


@pytest.mark.parametrize("invert", [False, True])
def test_one_value_is_compared_and_several_are_looked_up(invert: bool) -> None:
    load = nft_codec.load_meta(16)
    compare = nft_codec.is_not_equal if invert else nft_codec.is_equal
    assert is_one_of(load, [b"x"], "all", invert=invert) == (load, compare(b"x"))
    for values in ([], [b"x", b"y"]):
        assert is_one_of(load, values, "all", invert=invert) == (load, nft_codec.is_in("all", invert=invert))
