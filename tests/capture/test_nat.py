from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sipalg.capture.nat as nat_module
from sipalg.capture.nat import NOT_ADMITTED, NOT_MAPPED, Nat
from sipalg.engine.verdict import (
    TCP,
    UDP,
    AdmitPeer,
    CheckFlow,
    CloseMapping,
    DismissPeer,
    EndFlow,
    Endpoint,
    EstablishFlow,
    Flow,
    Mapping,
    OpenMapping,
    RefreshMapping,
)

N = "203.0.113.1"
P = Endpoint("192.168.33.10", 5060)
P2 = Endpoint("192.168.33.11", 5060)
S = Endpoint("203.0.113.50", 5060)
M = Endpoint("203.0.113.60", 4000)
SIP = Mapping(UDP, P, Endpoint(N, 1024), "sip")
RTP = Mapping(UDP, Endpoint(P.host, 10000), Endpoint(N, 20000), "media")


@pytest.fixture
def nat() -> Nat:
    return Nat(N)


def test_plain_nat_keeps_the_port_where_it_is_free(nat: Nat) -> None:
    assert nat.outbound(UDP, P, S, 0.0) == Endpoint(N, 5060)
    assert nat.outbound(UDP, P2, S, 0.0) == Endpoint(N, 5061)
    assert nat.outbound(TCP, P2, S, 0.0) == Endpoint(N, 5060), "TCP's ports are others than UDP's"


def test_plain_nat_is_endpoint_independent(nat: Nat) -> None:
    assert nat.outbound(UDP, P, S, 0.0) == nat.outbound(UDP, P, M, 1.0)
    assert nat.inbound(UDP, Endpoint(N, 5060), Endpoint("198.51.100.7", 9), 2.0) == P


def test_plain_nat_takes_no_privileged_port_but_the_phones_own(nat: Nat) -> None:
    assert nat.outbound(UDP, Endpoint(P.host, 123), S, 0.0) == Endpoint(N, 123)
    assert nat.outbound(UDP, Endpoint(P2.host, 123), S, 0.0) == Endpoint(N, 1024)
    assert nat.outbound(UDP, Endpoint(P.host, 65535), S, 0.0) == Endpoint(N, 65535)
    assert nat.outbound(UDP, Endpoint(P2.host, 65535), S, 0.0) == Endpoint(N, 1025)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from((80, 65000, 65001, 65003, 65535))), max_size=60))
def test_each_new_flow_gets_its_own_port_or_the_next_free_one(flows: list[tuple[int, int]]) -> None:
    """As if every port was looked at one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nat_module, "_LOWEST_FREE_PORT", 64990)
        nat, given_to = Nat(N), dict[Endpoint, int]()
        for host, port in flows:
            private = Endpoint(f"192.168.33.{host}", port)
            first = max(port, 64990)
            free = (one for one in (port, *range(first, 65536), *range(64990, first)) if one not in given_to.values())
            expected = given_to.setdefault(private, next(free, 0)) if private not in given_to else given_to[private]
            public = nat.outbound(UDP, private, S, 0.0)
            assert public == (Endpoint(N, expected) if expected else None)
            if not expected:
                del given_to[private]


def test_a_port_that_becomes_a_mapping_is_free_again_after_it(nat: Nat) -> None:
    for host in range(3):
        nat.outbound(UDP, Endpoint(f"192.168.34.{host}", 1024), S, 0.0)
    nat.run([OpenMapping(SIP, 60.0), CloseMapping(SIP)], 1.0)
    assert nat.outbound(UDP, Endpoint("192.168.34.9", 1024), S, 2.0) == Endpoint(N, 1024)


def test_ten_thousand_flows_from_one_port_are_told_apart(nat: Nat) -> None:
    publics = {nat.outbound(UDP, Endpoint(f"10.0.{i >> 8}.{i & 255}", 30000), S, 0.0) for i in range(10_000)}
    assert publics == {Endpoint(N, 30000 + i) for i in range(10_000)}


def test_when_all_ports_are_taken_there_is_none(nat: Nat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nat_module, "_LOWEST_FREE_PORT", 65000)
    for port in range(65000, 65536):
        assert nat.outbound(UDP, Endpoint(P.host, port), S, 0.0) == Endpoint(N, port)
    assert nat.outbound(UDP, Endpoint(P2.host, 65007), S, 0.0) is None


def test_mapping_wins_over_the_plain_nat(nat: Nat) -> None:
    assert nat.outbound(UDP, P, S, 0.0) == Endpoint(N, 5060)
    nat.run([OpenMapping(SIP, 60.0)], 1.0)
    assert nat.outbound(UDP, P, S, 1.0) == SIP.public
    assert nat.history() == [SIP]


def test_plain_nat_leaves_a_mappings_port_alone(nat: Nat) -> None:
    nat.run([OpenMapping(Mapping(UDP, P, Endpoint(N, 5060), "sip"), 60.0)], 0.0)
    assert nat.outbound(UDP, P2, S, 0.0) == Endpoint(N, 5061)


def test_mapping_ends_when_nobody_refreshes_it(nat: Nat) -> None:
    nat.run([OpenMapping(RTP, 60.0)], 0.0)
    assert nat.inbound(UDP, RTP.public, M, 59.0) == RTP.private
    assert nat.inbound(UDP, RTP.public, M, 60.0) == NOT_MAPPED
    nat.run([RefreshMapping(RTP, 60.0)], 60.0)
    assert nat.inbound(UDP, RTP.public, M, 119.0) == RTP.private
    nat.run([CloseMapping(RTP)], 119.0)
    nat.run([CloseMapping(RTP)], 119.0)
    assert nat.inbound(UDP, RTP.public, M, 119.0) == NOT_MAPPED


def test_closing_a_mapping_that_is_gone_is_no_error(nat: Nat) -> None:
    other = SIP._replace(private=P2)
    nat.run([CloseMapping(SIP), OpenMapping(other, 60.0), CloseMapping(SIP)], 0.0)
    nat.run([AdmitPeer(other, S.host, 60.0)], 0.0)
    assert nat.inbound(UDP, SIP.public, S, 0.0) == P2


def test_signalling_is_let_in_from_admitted_peers_only(nat: Nat) -> None:
    nat.run([OpenMapping(SIP, 60.0)], 0.0)
    assert nat.inbound(UDP, SIP.public, S, 0.0) == NOT_ADMITTED
    nat.run([AdmitPeer(SIP, S.host, 10.0)], 0.0)
    assert nat.inbound(UDP, SIP.public, S._replace(port=7), 9.0) == P
    assert nat.inbound(UDP, SIP.public, M, 9.0) == NOT_ADMITTED
    assert nat.inbound(UDP, SIP.public, S, 10.0) == NOT_ADMITTED
    nat.run([AdmitPeer(SIP, S.host, 10.0), DismissPeer(SIP, S.host)], 20.0)
    assert nat.inbound(UDP, SIP.public, S, 20.0) == NOT_ADMITTED


def test_answers_to_what_left_come_in_from_there_alone(nat: Nat) -> None:
    nat.run([OpenMapping(SIP, 60.0)], 0.0)
    nat.outbound(UDP, P, M, 0.0)
    assert nat.inbound(UDP, SIP.public, M, 0.0) == P
    assert nat.inbound(UDP, SIP.public, M._replace(port=1), 0.0) == NOT_ADMITTED


def test_flow_lets_its_remote_end_in_until_it_ends(nat: Nat) -> None:
    flow = Flow(UDP, P, SIP.public, M)
    nat.run([EstablishFlow(flow, 60.0)], 0.0)
    assert nat.inbound(UDP, SIP.public, M, 0.0) == P
    nat.run([EndFlow(flow), EndFlow(flow)], 0.0)
    assert nat.inbound(UDP, SIP.public, M, 0.0) == NOT_MAPPED
    nat.run([CheckFlow(flow, 60.0)], 0.0)
    assert nat.inbound(UDP, SIP.public, M, 0.0) == P


def test_port_that_changes_hands_takes_no_flow_along(nat: Nat) -> None:
    nat.run([OpenMapping(SIP, 60.0)], 0.0)
    nat.outbound(UDP, P, S, 0.0)
    nat.run([CloseMapping(SIP), OpenMapping(SIP._replace(private=P2), 60.0)], 1.0)
    assert nat.inbound(UDP, SIP.public, S, 1.0) == NOT_ADMITTED


def test_mapping_on_the_phones_plain_port_keeps_its_flows(nat: Nat) -> None:
    nat.outbound(UDP, P, M, 0.0)
    mapping = SIP._replace(public=Endpoint(N, 5060))
    nat.asking = P.host
    assert not nat.is_taken(UDP, 5060)
    nat.run([OpenMapping(mapping, 60.0)], 1.0)
    assert nat.inbound(UDP, mapping.public, M, 1.0) == P


def test_port_of_another_hosts_plain_flow_is_taken(nat: Nat) -> None:
    nat.outbound(UDP, P, S, 0.0)
    nat.outbound(UDP, Endpoint(P.host, 5061), S, 0.0)
    nat.asking = P2.host
    assert nat.is_taken(UDP, 5060)
    assert not nat.is_taken(TCP, 5060)
    assert not nat.is_taken(UDP, 5062)


def test_port_that_a_phone_holds_for_another_of_its_own_ports_is_taken(nat: Nat) -> None:
    nat.outbound(UDP, P, S, 0.0)
    nat.outbound(UDP, P2, S, 0.0)
    nat.asking = P2.host
    assert nat.is_taken(UDP, 5061), "P2's port 5060 has it"


def test_only_sip_mappings_signal(nat: Nat) -> None:
    nat.run([OpenMapping(SIP, 60.0), OpenMapping(RTP, 60.0)], 0.0)
    assert nat.is_signalling(UDP, P, 59.0)
    assert not nat.is_signalling(UDP, P, 60.0)
    assert not nat.is_signalling(TCP, P, 0.0)
    assert not nat.is_signalling(UDP, RTP.private, 0.0)


def test_without_direct_media_only_a_calls_own_addresses_are_let_in() -> None:
    nat = Nat(N, direct_media=False)
    nat.run((OpenMapping(RTP, 60.0), AdmitPeer(RTP, M.host, 60.0)), 0.0)
    assert nat.inbound(UDP, RTP.public, Endpoint(M.host, 9), 1.0) == RTP.private
    assert nat.inbound(UDP, RTP.public, S, 1.0) == NOT_ADMITTED


def test_direct_media_come_in_by_their_flow_only(nat: Nat) -> None:
    nat.run((OpenMapping(RTP._replace(purpose="direct"), 60.0), EstablishFlow(Flow(UDP, *RTP[1:3], M), 60.0)), 0.0)
    assert nat.inbound(UDP, RTP.public, M, 1.0) == RTP.private
    assert nat.inbound(UDP, RTP.public, Endpoint(M.host, 9), 1.0) == NOT_ADMITTED
    assert nat.outbound(UDP, RTP.private, S, 1.0) == RTP.public
