"""How media are known by the forward chain: its rule is the first, and asks in this order."""

from __future__ import annotations

import pytest
from tests.datapath.test_nft_rules import ALL, NONE, SETTINGS, names

from sipalg.codec.message import NOT_SIP, parse
from sipalg.datapath import nft_codec, nft_rules
from sipalg.datapath.nft_family import IPV4, IPV6, Family
from sipalg.datapath.nft_features import Features
from sipalg.datapath.nft_media import FLOWING_MEDIA


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
