"""The rules for TCP: they refer only to what the table has, judge what is new, and leave little at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.datapath.test_nft_rules import ALL, NONE, SETTINGS, names, of_kind

from sipalg.datapath import netlink, nft_codec, nft_relay, nft_rules
from sipalg.datapath.nft_family import IPV4, IPV6, Family
from sipalg.datapath.nft_features import Features
from sipalg.datapath.nft_rules import RelayRules

RELAY = replace(SETTINGS, relay=RelayRules(4000, 0x02000000))


@pytest.mark.parametrize("features", [ALL, NONE])
@pytest.mark.parametrize("open_to", [(True, True), (True, False), (False, True), (False, False)])
def test_rules_refer_only_to_what_the_table_has(features: Features, open_to: tuple[bool, bool]) -> None:
    settings = replace(RELAY, relay=RelayRules(4000, 0x02000000, *open_to))
    messages = nft_rules.structure(settings, features) + nft_relay.structure(settings, features)
    sets = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.NEW_SET)}
    identities = [one[10] for one in of_kind(messages, nft_codec.NEW_SET)]
    objects = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.NEW_OBJECT)}
    chains = {netlink.string(one[3]) for one in of_kind(messages, nft_codec.NEW_CHAIN)}
    assert len(set(identities)) == len(identities)
    for rule in nft_relay.rules(settings, features):
        assert rule.chain in chains
        assert 0 < len(rule.comment) <= 120
        for name, subject in names(rule.expressions):
            if name in ("lookup", "objref"):
                assert subject in sets | objects


def test_without_a_relay_the_chains_are_empty() -> None:
    assert nft_relay.rules(SETTINGS, ALL) == ()
    assert of_kind(nft_relay.structure(SETTINGS, ALL), nft_codec.NEW_RULE) == []
    assert of_kind(nft_relay.without_relay(SETTINGS, ALL), nft_codec.NEW_RULE) == []


def comments(messages: list[netlink.Message]) -> list[str]:
    return [netlink.string(one[7][2:]) for one in of_kind(messages, nft_codec.NEW_RULE)]


def test_a_relay_that_takes_nothing_new_keeps_what_stands() -> None:
    def told(outward: bool, inward: bool) -> set[str]:
        settings = replace(RELAY, relay=RelayRules(4000, 0x02000000, outward, inward))
        return set(comments(nft_relay.structure(settings, ALL))) & {
            "the relay's connections",
            "to SIP servers",
            "to a phone's SIP port",
        }

    assert told(False, False) == {"the relay's connections"}
    assert told(True, False) == {"the relay's connections", "to SIP servers"}
    assert told(False, True) == {"the relay's connections", "to a phone's SIP port"}
    assert len(told(True, True)) == 3


def test_when_it_ends_new_connections_wait_for_the_next_and_old_ones_are_reset() -> None:
    told = comments(nft_relay.without_relay(RELAY, ALL))
    assert told.index("of a relay that is gone") < told.index("anew") < told.index("not a first packet")
    assert "to the next ALG, if it comes soon" in told
    assert "let by: to the relay" not in told
    quiet = comments(nft_relay.without_relay(replace(RELAY, observing=True), ALL))
    assert "to the next ALG, if it comes soon" not in quiet


def hooked(messages: list[netlink.Message]) -> set[str]:
    """Give the base chains that stand after these messages."""
    made = {netlink.string(one[3]) for one in of_kind(messages, nft_codec.NEW_CHAIN) if 4 in one}
    return made - {netlink.string(one[3]) for one in of_kind(messages, nft_codec.DELETE_CHAIN)}


def test_before_its_first_connection_only_the_forward_hook_looks_for_tcp() -> None:
    asleep = replace(RELAY, relay=RelayRules(4000, 0x02000000, in_use=False))
    assert hooked(nft_relay.structure(RELAY, ALL)) == {"tcp_relay", "tcp_input"}
    for settings in (asleep, SETTINGS):
        messages = nft_relay.structure(settings, ALL) + nft_relay.without_relay(settings, ALL)
        assert hooked(messages) == {"tcp_input"}
        written = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.NEW_RULE)}
        assert "tcp_relay" not in written
    assert "to SIP servers" in comments(nft_relay.structure(asleep, ALL)), "its first packet is noted"
    (judge,) = [rule for rule in nft_relay.rules(asleep, ALL) if rule.chain == "tcp_judge"]
    assert ("objref", nft_relay.NOTED_NAME) in names(judge.expressions)


def test_other_packets_are_asked_once_whether_they_are_tcp() -> None:
    def of_tcp(settings: nft_rules.TableSettings, family: Family) -> list[str]:
        rules = nft_rules.rules(settings, ALL, family)
        return [rule.chain for rule in rules if ("immediate", nft_rules.TCP_CHAIN) in names(rule.expressions)]

    assert of_tcp(RELAY, IPV4) == ["forward"]
    assert of_tcp(RELAY, IPV6) == of_tcp(SETTINGS, IPV4) == []


def test_tls_is_left_alone() -> None:
    def ports(settings: nft_rules.TableSettings) -> list[bytes]:
        messages = nft_relay.structure(settings, ALL)
        found = []
        for one in of_kind(messages, nft_codec.NEW_ELEMENT):
            for _, member in netlink.each_attribute(one[nft_codec.LIST_ELEMENTS]):
                key = netlink.attributes(member)[nft_codec.ELEMENT_KEY]
                found.append(netlink.attributes(key)[nft_codec.DATA_VALUE])
        return found

    assert ports(RELAY) == [(5060).to_bytes(2, "big")]
    assert ports(replace(RELAY, ports=(5061,))) == []
    assert ports(replace(RELAY, ports=(5061, 5080, 5060))) == [b"\x13\xc4", b"\x13\xd8"]


def test_a_process_serves_tcp_as_well() -> None:
    def served(settings: nft_rules.TableSettings) -> int:
        return len(of_kind(nft_rules.served(settings), nft_codec.NEW_ELEMENT)[0][nft_codec.LIST_ELEMENTS])

    assert served(RELAY) == 2 * served(SETTINGS)
