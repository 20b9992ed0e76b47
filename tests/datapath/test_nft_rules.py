from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from sipalg.datapath import netlink, nft_codec, nft_rules
from sipalg.datapath.netlink import Message
from sipalg.datapath.nft_family import IPV4, IPV6
from sipalg.datapath.nft_features import Features
from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.reply import MARK

SETTINGS = TableSettings("wan0", ("lan0", "lan1"), name="mine", queue_number=77)
ALL = Features(
    owner_persist=True, queue_expression=True, ct_timeout=True, route_ipsec=True, secpath=True, timeout_update=True
)
NONE = Features(*[False] * len(ALL))


def names(expressions: tuple[bytes, ...]) -> list[tuple[str, str]]:
    """Give each expression's name, and what set, object or chain it refers to."""
    found = []
    for data in expressions:
        parts = netlink.attributes(next(netlink.each_attribute(data))[1])
        name, values = netlink.string(parts[1]), netlink.attributes(parts[2])
        subject = b""
        if name == "lookup":
            subject = values[1]
        elif name == "objref":
            subject = values[2]
        elif name == "immediate":
            subject = netlink.attributes(netlink.attributes(values[2]).get(2, b"")).get(2, b"")
        found.append((name, netlink.string(subject)))
    return found


def of_kind(messages: list[Message], kind: int) -> list[dict[int, bytes]]:
    return [netlink.attributes(message.body, 4) for message in messages if message.kind & 0xFF == kind]


@pytest.mark.parametrize("features", [ALL, NONE])
def test_rules_refer_only_to_what_the_table_has(features: Features) -> None:
    messages = nft_rules.structure(SETTINGS, features)
    sets = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.NEW_SET)}
    objects = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.NEW_OBJECT)}
    chains = {netlink.string(one[3]) for one in of_kind(messages, nft_codec.NEW_CHAIN)}
    flushed = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.DELETE_RULE)}
    assert flushed == chains
    rules = nft_rules.rules(SETTINGS, features)
    assert len(of_kind(messages, nft_codec.NEW_RULE)) == len(rules)
    for rule in rules:
        assert rule.chain in chains
        assert 0 < len(rule.comment) <= 120
        for name, subject in names(rule.expressions):
            known = {"lookup": sets, "objref": objects, "immediate": chains | {""}}.get(name, {""})
            assert subject in known


def test_what_a_kernel_lacks_is_left_out() -> None:
    def used(features: Features) -> set[str]:
        return {name for rule in nft_rules.rules(SETTINGS, features) for name, _ in names(rule.expressions)}

    assert used(ALL) - used(NONE) == {"queue", "rt"}
    assert used(NONE) - used(ALL) == {"target"}
    (flags,) = [one[2] for one in of_kind(nft_rules.structure(SETTINGS, ALL), nft_codec.NEW_TABLE)]
    assert flags == struct.pack("!I", nft_codec.OWNER | nft_codec.PERSIST)
    (flags,) = [one[2] for one in of_kind(nft_rules.structure(SETTINGS, NONE), nft_codec.NEW_TABLE)]
    assert flags == bytes(4)
    assert len(of_kind(nft_rules.structure(SETTINGS, NONE), nft_codec.NEW_OBJECT)) == 2


def test_nothing_is_queued_before_the_exempt_networks_were_asked() -> None:
    for chain in ("outbound", "inbound"):
        settings = replace(SETTINGS, exempt=(IPv4Network("10.0.0.0/8"),))
        first, *others = [rule for rule in nft_rules.rules(settings, ALL) if rule.chain == chain]
        assert ("lookup", "except") in names(first.expressions)
        assert all(("immediate", "to_alg") in names(rule.expressions) for rule in others)
        for family, asked in ((IPV4, 1), (IPV6, 0)):
            rules = [rule for rule in nft_rules.rules(settings, ALL, family) if rule.chain == chain]
            assert len(rules) - len(others) == asked, "no packet is compared with an empty set"


def test_what_there_is_one_of_is_compared_without_a_look_up() -> None:
    def looked_up(settings: TableSettings) -> list[str]:
        rules = [rule for rule in nft_rules.rules(settings, ALL) if rule.chain == "forward"]
        return [subject for rule in rules for name, subject in names(rule.expressions) if name == "lookup"]

    one = replace(SETTINGS, inside=("lan0",))
    assert looked_up(one) == ["inside_ifaces"] * 2, "between phones, which is seldom"
    assert looked_up(replace(SETTINGS, protocols=(17, 6))) == ["protocols", *["inside_ifaces"] * 4]
    for comment in ("from phones", "to phones"):
        (rule,) = [rule for rule in nft_rules.rules(one, ALL) if rule.comment == comment]
        assert nft_codec.is_equal(nft_rules.interface_name("lan0")) in rule.expressions


def test_flows_get_the_timeouts_of_the_side_that_opens_them() -> None:
    inside, outside = (name for name, *_ in nft_rules.timeout_policies(SETTINGS))
    by_chain = {
        chain: {
            subject
            for rule in nft_rules.rules(SETTINGS, ALL)
            if rule.chain == chain
            for name, subject in names(rule.expressions)
            if name == "objref"
        }
        for chain in ("outbound", "inbound", "hairpin", "to_alg")
    }
    assert by_chain == {"outbound": {inside}, "inbound": {outside}, "hairpin": {inside}, "to_alg": {"to_queue"}}


def test_timeout_policies_are_named_by_their_values() -> None:
    settings = replace(SETTINGS, sip_timeout_s=600.0, unreplied_timeout_s=30.0)
    assert nft_rules.timeout_policies(settings) == (("sip-600-600", 600.0, 600.0), ("sip-30-600", 30.0, 600.0))


def test_equal_timeouts_are_one_policy() -> None:
    settings = replace(SETTINGS, sip_timeout_s=30.0, unreplied_timeout_s=30.0)
    objects = of_kind(nft_rules.structure(settings, ALL), nft_codec.NEW_OBJECT)
    assert {netlink.string(one[2]) for one in objects} == {"to_queue", "from_strangers", "sip-30-30"}


def test_stale_timeouts_go_after_the_rules_that_used_them() -> None:
    messages = nft_rules.structure(SETTINGS, ALL, ((IPV4, "sip-9-9"),))
    kinds = [message.kind & 0xFF for message in messages]
    place = kinds.index(nft_codec.DELETE_OBJECT)
    assert netlink.attributes(messages[place].body, 4)[2] == b"sip-9-9\0"
    assert place > max(index for index, kind in enumerate(kinds) if kind == nft_codec.DELETE_RULE)
    assert place < kinds.index(nft_codec.NEW_RULE)


def test_mappings_and_peers_are_never_flushed() -> None:
    messages = nft_rules.structure(SETTINGS, ALL)
    flushed = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.DELETE_ELEMENT)}
    assert flushed == {"protocols", "sip_ports", "inside_ifaces", "except", "trusted_peers", "served"}
    # Not flushed, but begun anew.
    assert members(messages, "served") == [b"\x11"] * 2
    mappings = {"snat_map", "dnat_map", "media_map", "sip_private", "sip_public", "direct_media"}
    assert set(nft_rules.frames("mine")) == {*mappings, "sip_peers"}


def test_no_chain_is_called_by_a_word_of_nfts_language() -> None:
    chains = {netlink.string(one[3]) for one in of_kind(nft_rules.structure(SETTINGS, ALL), nft_codec.NEW_CHAIN)}
    assert chains.isdisjoint({"queue", "counter", "drop", "accept", "map", "set", "hook", "log", "limit", "reply"})


@pytest.mark.parametrize("features", [ALL, NONE])
def test_without_queue_only_nat_is_left_and_what_waits_for_the_next_process(features: Features) -> None:
    messages = nft_rules.without_queue(SETTINGS, features)
    flushed = {netlink.string(one[2]) for one in of_kind(messages, nft_codec.DELETE_RULE)}
    rest = {rule.chain for rule in nft_rules.rules(SETTINGS, ALL)} - flushed
    assert rest == {"prerouting", "postrouting", "answers"}
    written = of_kind(messages, nft_codec.NEW_RULE)
    assert {netlink.string(one[2]) for one in written} == flushed - {nft_rules.TCP_CHAIN}
    (waiting,) = [one[4] for one in written if one[2] == b"to_alg\0"]
    assert names(tuple(data for data in split(waiting))) == [("meta", ""), ("lookup", "served"), ("immediate", "")]
    used = {name for one in written for name, _ in names(tuple(split(one[4])))}
    assert used.isdisjoint({"queue", "target", "objref"})


def split(expressions: bytes) -> list[bytes]:
    """Give a rule's expressions one by one."""
    return [netlink.nested(kind, data) for kind, data in netlink.each_attribute(expressions)]


@pytest.mark.parametrize("features", [ALL, NONE])
@pytest.mark.parametrize("observing", [False, True])
def test_packets_go_to_the_queue_only_while_they_are_served(features: Features, observing: bool) -> None:
    settings = replace(SETTINGS, observing=observing, queues=8)
    first, second = [rule for rule in nft_rules.rules(settings, features) if rule.chain == "to_alg"]
    assert ("lookup", "served") in names(first.expressions)
    queue = nft_codec.queue if features.queue_expression else nft_codec.xt_queue
    # Without an observer packets go on.
    assert first.expressions[-1] == queue(77, 8, bypass=observing)
    assert names(second.expressions) == [("objref", "to_queue")]


def test_an_observer_that_ends_drops_nothing() -> None:
    messages = nft_rules.without_queue(replace(SETTINGS, observing=True), ALL)
    assert not [one for one in of_kind(messages, nft_codec.NEW_RULE) if one[2] == b"to_alg\0"]


def test_serving_gives_its_element_the_whole_time_anew() -> None:
    messages = nft_rules.served(replace(SETTINGS, protocols=(17, 6)))
    assert [message.kind & 0xFF for message in messages] == [
        nft_codec.NEW_ELEMENT, nft_codec.DELETE_ELEMENT, nft_codec.NEW_ELEMENT
    ]  # fmt: skip
    assert members(messages, "served") == [b"\6", b"\x11"] * 2


def test_without_direct_media_only_a_calls_own_addresses_are_let_in() -> None:
    def media_rules(*, direct_media: bool, media_filter: bool = False) -> list[list[tuple[str, str]]]:
        settings = replace(SETTINGS, direct_media=direct_media, media_filter=media_filter)
        rules = nft_rules.rules(settings, ALL)
        found = [names(rule.expressions) for rule in rules if rule.comment.startswith("media of a call")]
        return [[name for name in rule if name[0] == "lookup"] for rule in found]

    assert media_rules(direct_media=True) == [[("lookup", "media_map")]]
    from_peers = [("lookup", "sip_peers"), ("lookup", "media_map")]
    assert media_rules(direct_media=False) == [from_peers]
    assert media_rules(direct_media=True, media_filter=True) == [from_peers, from_peers]


def test_a_calls_media_come_from_anybody_before_its_answer_where_a_peer_says_so() -> None:
    rules = nft_rules.rules(replace(SETTINGS, media_filter=True), ALL)
    (rule,) = [rule for rule in rules if rule.comment == "media of a call before its answer, from anybody"]
    kinds = [name for name, _ in names(rule.expressions)]
    key = ["meta", "payload", "payload"]
    assert kinds == ["meta", "cmp", *key, "immediate", "lookup", *key, "lookup", "nat"]
    assert nft_codec.load_value(bytes(4), 3) in rule.expressions


def test_answers_of_our_own_are_kept_from_the_connection_tracker() -> None:
    (rule,) = [rule for rule in nft_rules.rules(SETTINGS, ALL) if rule.chain == "answers"]
    assert [name for name, _ in names(rule.expressions)] == ["meta", "cmp", "notrack"]
    assert struct.pack("=I", MARK) in rule.expressions[1]


def members(messages: list[Message], name: str) -> list[bytes]:
    """Give the keys that a transaction puts into a set."""
    keys = []
    for one in of_kind(messages, nft_codec.NEW_ELEMENT):
        if netlink.string(one[2]) == name:
            for _, element in netlink.each_attribute(one[3]):
                keys.append(netlink.attributes(netlink.attributes(element)[1])[1])
    return keys


def test_settings_become_elements() -> None:
    messages = nft_rules.settings_elements(replace(SETTINGS, ports=(5080, 5060, 5060), protocols=(17, 6)))
    assert members(messages, "sip_ports") == [struct.pack("!H", 5060), struct.pack("!H", 5080)]
    assert members(messages, "protocols") == [b"\6", b"\x11"]
    assert members(messages, "inside_ifaces") == [b"lan0" + bytes(12), b"lan1" + bytes(12)]
    assert members(messages, "trusted_peers") == []


def test_direct_signalling_trusts_everybody() -> None:
    trusted = (IPv4Network("192.0.2.0/24"),)
    messages = nft_rules.settings_elements(replace(SETTINGS, trusted_peers=trusted, direct_signalling=True))
    assert members(messages, "trusted_peers") == [bytes(4)]


# IPv6

BOTH = replace(SETTINGS, ipv6="translated")
AS_IT_IS = replace(SETTINGS, ipv6="as-it-is")


def of_ipv6(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.body[0] == nft_codec.IPV6]


def test_ipv6_has_a_table_of_the_same_form() -> None:
    messages = nft_rules.structure(BOTH, ALL)
    four = [message for message in messages if message.body[0] == nft_codec.IPV4]
    six = of_ipv6(messages)
    assert len(four) + len(six) == len(messages)
    assert [message.kind for message in six] == [message.kind for message in four]
    assert four == nft_rules.structure(SETTINGS, ALL)
    keys = {netlink.string(one[2]): netlink.number(one[5]) for one in of_kind(six, nft_codec.NEW_SET)}
    assert (keys["snat_map"], keys["sip_peers"], keys["except"], keys["sip_ports"]) == (24, 40, 16, 2)


def test_what_leaves_as_it_is_meets_no_chain_of_nat() -> None:
    six = of_ipv6(nft_rules.structure(AS_IT_IS, ALL))
    made = {netlink.string(one[3]) for one in of_kind(six, nft_codec.NEW_CHAIN)}
    assert not made & {"prerouting", "postrouting"}
    ruled = {netlink.string(one[2]) for one in of_kind(six, nft_codec.NEW_RULE)}
    assert ruled == {"forward", "answers", "outbound", "inbound", "hairpin", "to_alg"}
    assert {rule.chain for rule in nft_rules.rules(AS_IT_IS, ALL, IPV6)} == ruled
    assert "prerouting" in {rule.chain for rule in nft_rules.rules(AS_IT_IS, ALL)}


def test_each_family_has_its_own_networks() -> None:
    networks = (IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8::/32"), IPv6Network("ffff::/16"))
    both = replace(BOTH, exempt=networks, trusted_peers=networks)
    for family, count in ((IPV4, 2), (IPV6, 3)):
        messages = nft_rules.settings_elements(both, family)
        assert {message.body[0] for message in messages} == {family.number}
        assert len(members(messages, "except")) == len(members(messages, "trusted_peers")) == count
    anybody = nft_rules.settings_elements(replace(both, direct_signalling=True), IPV6)
    assert members(anybody, "trusted_peers") == [bytes(16)]


def test_both_queues_end_and_are_served() -> None:
    for messages in (nft_rules.without_queue(BOTH, ALL), nft_rules.served(BOTH)):
        assert len(of_ipv6(messages)) * 2 == len(messages)
