"""What is taken over at the start, and what is left alone."""

from __future__ import annotations

import math
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from sipalg.control.service.takeover import (
    InsideNetworks,
    PublicEnd,
    StandingFlow,
    admitted,
    closing,
    exempt_networks,
    forwards,
    keepable,
    media_flows,
    peers_of,
    restored,
    signalling_flows,
    stranded,
)
from sipalg.datapath.addresses import Address, Interface
from sipalg.datapath.admin_rules import AdminRules, Exemption, PortForward
from sipalg.datapath.ctnetlink import DESTINATION_NAT, SOURCE_NAT, Tracked
from sipalg.datapath.nft_elements import Elements, StandingMapping, StandingPeer
from sipalg.engine.existing import Restored
from sipalg.engine.settings import Ipv6, Settings
from sipalg.engine.verdict import TCP, UDP, CloseMapping, DismissPeer, Endpoint, Flow, Mapping

ROUTER = "203.0.113.1"
PHONE = Endpoint("192.168.33.10", 5060)
SERVER = Endpoint("203.0.113.50", 5060)
PORTS = (5060, 5061)
SETTINGS = Settings(frozenset({"lan0"}), ROUTER, ROUTER)


def test_an_address_is_behind_the_interface_with_the_narrowest_network() -> None:
    interfaces = [Interface(1, "lo", True, 65536), Interface(2, "lan0", True, 1500), Interface(3, "lan1", True, 1500)]
    addresses = [
        Address(1, "127.0.0.1", 8, False, 254),
        Address(2, "192.168.0.1", 16, False, 0),
        Address(3, "192.168.34.1", 24, False, 0),
        Address(9, "10.0.0.1", 8, False, 0),
    ]
    inside = InsideNetworks(("lan0", "lan1"), interfaces, addresses)
    hosts = ("192.168.33.10", "192.168.34.10", "127.0.0.1", "10.0.0.5")
    assert [inside.interface_of(host) for host in hosts] == ["lan0", "lan1", "", ""]


@pytest.mark.parametrize(
    ("protocol", "public", "private", "purpose"),
    [
        (UDP, Endpoint("", 5060), Endpoint("192.168.33.20", 5060), "sip"),
        (UDP, Endpoint(ROUTER, 15060), Endpoint("192.168.33.20", 5060), "sip"),
        (UDP, Endpoint(ROUTER, 5060), Endpoint("192.168.33.20", 15060), "sip"),
        (UDP, Endpoint("", 10000), Endpoint("192.168.33.20", 10000), "media"),
        (UDP, Endpoint("203.0.113.9", 5060), Endpoint("192.168.33.20", 5060), None),
        (TCP, Endpoint("", 5060), Endpoint("192.168.33.20", 5060), "sip"),
        (TCP, Endpoint("", 5070), Endpoint("192.168.33.20", 5060), "sip"),
        (TCP, Endpoint("", 443), Endpoint("192.168.33.20", 443), None),
        (132, Endpoint("", 5060), Endpoint("192.168.33.20", 5060), None),
    ],
)
def test_port_forwards(protocol: int, public: Endpoint, private: Endpoint, purpose: str | None) -> None:
    rules = AdminRules(forwards=(PortForward(protocol, public, private, "a rule"),))
    found = list(forwards(rules, ROUTER, PORTS))
    if purpose is None:
        assert found == []
    else:
        assert [(one.protocol, one.private, one.public, one.purpose, one.adopted) for one in found] == [
            (protocol, private, Endpoint(ROUTER, public.port), purpose, True)
        ]


def test_the_first_forward_of_a_port_and_of_a_host_counts() -> None:
    pbx, other = Endpoint("192.168.33.20", 5060), Endpoint("192.168.33.21", 5060)
    pairs = [(5060, pbx), (5060, other), (5070, pbx), (5071, other)]
    rules = AdminRules(forwards=tuple(PortForward(UDP, Endpoint("", port), host, "x") for port, host in pairs))
    found = [(one.public.port, one.private) for one in forwards(rules, ROUTER, PORTS)]
    assert found == [(5060, pbx), (5071, other)]
    assert list(forwards(rules, "", PORTS)) == []


def test_the_same_port_of_udp_and_of_tcp_are_two_forwards() -> None:
    pairs = [(UDP, 5060), (TCP, 5070), (TCP, 5071)]
    rules = AdminRules(
        forwards=tuple(PortForward(protocol, Endpoint("", port), PHONE, "x") for protocol, port in pairs)
    )
    found = list(forwards(rules, ROUTER, PORTS))
    assert [(one.protocol, one.public.port) for one in found] == [(UDP, 5060), (TCP, 5070)]
    standing = Elements(tuple(StandingMapping(one, 60.0) for one in found), ())
    assert [one.mapping for one in keepable(standing, SETTINGS, found[:1])] == found[:1]


def test_exemptions_for_everybody_count() -> None:
    site, vpn, lan = (IPv4Network(text) for text in ("10.8.0.0/24", "10.9.0.0/24", "192.168.33.0/24"))
    every = (Exemption(site, (), "x"), Exemption(vpn, (lan,), "x"), Exemption(site, (), "y"))
    assert exempt_networks(AdminRules(exemptions=every)) == (site,)


def test_of_ipv6_what_leaves_as_it_does_is_kept() -> None:
    own, translated = Endpoint("2001:db8:1::10", 5060), Endpoint("2001:db8::1", 5060)
    as_it_is, before = Mapping(UDP, own, own, "sip"), Mapping(UDP, own, translated, "sip")
    standing = Elements((StandingMapping(as_it_is, 60.0), StandingMapping(before, 60.0)), ())
    for ipv6, kept in ((None, []), (Ipv6(), [as_it_is]), (Ipv6("2001:db8::1", "2001:db8::1"), [before])):
        assert [one.mapping for one in keepable(standing, replace(SETTINGS, ipv6=ipv6), ())] == kept


def test_of_what_stands_only_the_true_is_kept() -> None:
    ours = Mapping(UDP, PHONE, Endpoint(ROUTER, 5060), "sip")
    former = Mapping(UDP, PHONE, Endpoint("203.0.113.9", 5060), "sip")
    forwarded = Mapping(UDP, Endpoint("192.168.33.20", 5060), Endpoint(ROUTER, 5062), "media", adopted=True)
    no_longer = Mapping(UDP, Endpoint("192.168.33.21", 5060), Endpoint(ROUTER, 5063), "sip", adopted=True)
    every = (ours, former, forwarded, no_longer)
    strange = StandingMapping(ours._replace(private=PHONE._replace(port=9)), math.inf)
    standing = Elements((*(StandingMapping(mapping, 60.0) for mapping in every), strange), ())
    kept = keepable(standing, SETTINGS, [forwarded._replace(purpose="sip")])
    assert [one.mapping for one in kept] == [ours, forwarded]
    assert closing(standing, kept) == [CloseMapping(former), CloseMapping(no_longer), CloseMapping(strange.mapping)]


def test_what_goes_takes_its_peers_along() -> None:
    goes = Mapping(UDP, PHONE, Endpoint("203.0.113.9", 1024), "sip")
    stays = Mapping(UDP, Endpoint("192.168.33.11", 5060), Endpoint(ROUTER, 1024), "sip")
    peers = (
        StandingPeer(UDP, goes.public, "203.0.113.50", 60.0),
        StandingPeer(UDP, goes.public, "203.0.113.51", 60.0),
        StandingPeer(UDP, stays.public, "203.0.113.50", 60.0),
    )
    standing = Elements((StandingMapping(goes, 60.0), StandingMapping(stays, 60.0)), peers)
    assert closing(standing, [StandingMapping(stays, 60.0)]) == [
        DismissPeer(goes, "203.0.113.50"),
        DismissPeer(goes, "203.0.113.51"),
        CloseMapping(goes),
    ]
    assert peers_of(standing.peers)[UDP, stays.public] == ("203.0.113.50",)


def test_peers_of_what_is_kept_stay_for_as_long_as_they_have() -> None:
    stays = Mapping(UDP, PHONE, Endpoint(ROUTER, 1024), "sip")
    peers = [StandingPeer(UDP, Endpoint(ROUTER, port), "203.0.113.50", 60.0) for port in (1024, 1025)]
    assert admitted(peers, [StandingMapping(stays, 50.0)]) == {(stays, "203.0.113.50"): 60.0}


def test_what_is_restored_lives_until_its_element_ends_or_nobody_uses_it() -> None:
    public = Endpoint(ROUTER, 1024)
    sip, media = Mapping(UDP, PHONE, public, "sip"), Mapping(UDP, PHONE, public, "media")
    inside = InsideNetworks(("lan0",), [Interface(2, "lan0", True, 1500)], [Address(2, "192.168.33.1", 24, False, 0)])
    let_in: dict[PublicEnd, tuple[str, ...]] = {(UDP, public): ("203.0.113.50",)}
    for mapping, left_s, used, lives_s in (
        (sip, 900.0, (), 300.0),
        (sip, 200.0, (), 200.0),
        (media, 900.0, (), 600.0),
        (media, 900.0, (PHONE,), 900.0),
    ):
        found = restored([StandingMapping(mapping, left_s)], let_in, used, inside, 300.0)
        assert list(found) == [Restored(mapping, lives_s, "lan0", ("203.0.113.50",))]


def unknown(_private: Endpoint, _public: Endpoint) -> bool:
    return False


def flow(**changes: Any) -> Tracked:
    entry = Tracked(
        protocol=UDP,
        original_source=PHONE,
        original_destination=SERVER,
        reply_source=SERVER,
        reply_destination=Endpoint(ROUTER, 1024),
        status=SOURCE_NAT,
        timeout_s=20,
        mark=0,
        identity=b"",
        packets=None,
    )
    return entry._replace(**changes)


def test_a_standing_flow_to_a_sip_port_is_its_phones_mapping() -> None:
    (found,) = signalling_flows([flow(timeout_s=77)], ROUTER, PORTS, (), unknown)
    assert found == StandingFlow(Mapping(UDP, PHONE, Endpoint(ROUTER, 1024), "sip"), SERVER, True, False, 77)


def test_flows_of_a_known_mapping_may_be_with_any_port_and_from_outside() -> None:
    public = Endpoint(ROUTER, 1024)
    to_another = flow(original_destination=SERVER._replace(port=7000))
    came = flow(
        original_source=SERVER,
        original_destination=public,
        reply_source=PHONE,
        reply_destination=SERVER,
        status=DESTINATION_NAT,
    )
    mapping = Mapping(UDP, PHONE, public, "sip")
    entries = [flow(), to_another, came]
    found = list(signalling_flows(entries, ROUTER, PORTS, (), lambda *ends: ends == (PHONE, public)))
    assert [one[:4] for one in found] == [
        (mapping, SERVER, True, True),
        (mapping, SERVER._replace(port=7000), False, True),
        (mapping, SERVER, False, True),
    ]
    assert list(signalling_flows([to_another, came], ROUTER, PORTS, (), unknown)) == []


@pytest.mark.parametrize(
    "other",
    [
        flow(protocol=TCP),
        flow(status=0),
        flow(status=SOURCE_NAT | DESTINATION_NAT),
        flow(reply_destination=Endpoint("203.0.113.9", 1024)),
        flow(original_source=Endpoint(ROUTER, 5060)),
        flow(original_destination=Endpoint("203.0.113.50", 53)),
        flow(original_destination=Endpoint("10.99.0.10", 5060)),
        flow(reply_destination=Endpoint(ROUTER, 1023)),
        flow(original_source=Endpoint(PHONE.host, 1023)),
    ],
)
def test_other_flows_are_left_alone(other: Tracked) -> None:
    assert list(signalling_flows([other], ROUTER, PORTS, (IPv4Network("10.99.0.0/24"),), unknown)) == []


# Flows of calls, and of an address that is gone

MEDIA = Mapping(UDP, PHONE._replace(port=10000), Endpoint(ROUTER, 10000), "media")
FAR_END = Endpoint("203.0.113.60", 4000)


def media(**changes: Any) -> Tracked:
    ends = {"original_source": MEDIA.private, "original_destination": FAR_END, "reply_source": FAR_END}
    return flow(**{**ends, "reply_destination": MEDIA.public, **changes})


def test_the_flows_of_media_mappings_are_the_calls_that_go_on() -> None:
    others = [flow(), media(status=DESTINATION_NAT), media(protocol=TCP), media(original_source=PHONE)]
    sip = Mapping(UDP, PHONE, Endpoint(ROUTER, 1024), "sip")
    kept = [StandingMapping(MEDIA, 60.0), StandingMapping(sip, 60.0)]
    assert media_flows([*others, media()], kept) == [Flow(UDP, MEDIA.private, MEDIA.public, FAR_END)]


def test_flows_of_an_address_that_was_lost_are_stranded() -> None:
    now = ("203.0.113.9", "192.168.33.1")
    let_in = flow(
        original_source=SERVER,
        original_destination=Endpoint(ROUTER, 1024),
        reply_source=PHONE,
        reply_destination=SERVER,
        status=DESTINATION_NAT,
    )
    lost = [flow(), let_in, media()]
    others = [
        flow(protocol=TCP),
        flow(status=0),
        flow(reply_destination=Endpoint("203.0.113.9", 1024)),
        flow(original_destination=Endpoint("203.0.113.50", 53)),
        let_in._replace(original_destination=Endpoint("192.168.33.1", 1024)),
    ]
    assert stranded([*lost, *others], now, PORTS, [MEDIA]) == lost
    assert stranded(lost, now, PORTS, []) == lost[:2]
    assert stranded(lost, (ROUTER,), PORTS, [MEDIA]) == []
