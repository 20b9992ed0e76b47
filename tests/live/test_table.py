"""Our table in a real kernel: what it lets in and where packets leave from, who can take it away, what it keeps."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network

import pytest
from tests.live.tables import installed

from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_rules import RelayRules, TableSettings
from sipalg.datapath.nft_table import NftTable
from sipalg.engine.verdict import (
    ANYBODY_IPV4,
    UDP,
    AdmitPeer,
    CloseMapping,
    DismissPeer,
    Endpoint,
    Mapping,
    OpenMapping,
    RefreshMapping,
)
from sipalg.lab.topology import ADDRESS, OTHER_PUBLIC_ADDRESS, PUBLIC_ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

#: An observer's, since here is no process that packets could wait for.
SETTINGS = TableSettings("wan0", ("lan0", "lan1"), observing=True)
PHONE = Endpoint(ADDRESS["phone1"], 5060)
SIP = Mapping(UDP, PHONE, Endpoint(PUBLIC_ADDRESS, 24680), "sip")
MEDIA = Mapping(UDP, Endpoint(ADDRESS["phone1"], 9000), Endpoint(PUBLIC_ADDRESS, 19032), "media")
ADOPTED = Mapping(UDP, Endpoint(ADDRESS["pbx"], 5060), Endpoint(PUBLIC_ADDRESS, 5099), "sip", adopted=True)

ADMIN = """
table ip admin {
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct status dnat accept
    iifname { lan0, lan1 } oifname wan0 accept
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    oifname wan0 masquerade
  }
}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology(("phone1", "phone2", "server", "far1")) as topology:
        topology.run("router", "nft", "-f", "-", text=ADMIN)
        yield topology


@pytest.fixture
def table(net: Topology) -> Iterator[NftTable]:
    with installed(net, SETTINGS) as made:
        yield made


@pytest.fixture
def unowned(net: Topology) -> Iterator[NftTable]:
    """Give a table as on a kernel without owners and without renewing by adding."""
    with_all = net.inside("router", lambda: NftTable(SETTINGS))
    features = with_all.features._replace(owner_persist=False, timeout_update=False)
    with_all.close()
    made = net.inside("router", lambda: NftTable(SETTINGS, features))
    made.install()
    try:
        yield made
    finally:
        made.remove()
        made.close()


@pytest.fixture(params=["newest kernel", "older kernel"])
def any_table(request: pytest.FixtureRequest) -> NftTable:
    chosen: NftTable = request.getfixturevalue("table" if request.param == "newest kernel" else "unowned")
    return chosen


def standing(table: NftTable) -> dict[Mapping, float]:
    return {one.mapping: one.timeout_s for one in table.elements().mappings}


def bound(net: Topology, host: str, port: int) -> socket.socket:
    made = net.socket(host)
    made.settimeout(2)
    made.bind(("", port))
    return made


def reaches(sender: socket.socket, receiver: socket.socket, target: Endpoint, wait_s: float = 3.0) -> bool:
    """Send a datagram to the target; does the receiver get it within `wait_s`?"""
    receiver.settimeout(wait_s)
    sender.sendto(b"hello", target)
    try:
        return receiver.recv(100) == b"hello"
    except TimeoutError:
        return False


def test_mappings_and_peers_are_read_back_as_they_were_opened(any_table: NftTable) -> None:
    table = any_table
    table.apply(
        [OpenMapping(SIP, 100), OpenMapping(MEDIA, 200), OpenMapping(ADOPTED, 300), AdmitPeer(SIP, "1.2.3.4", 50)]
    )
    assert standing(table) == {
        SIP: pytest.approx(100, abs=5),
        MEDIA: pytest.approx(200, abs=5),
        ADOPTED: pytest.approx(300, abs=5),
    }
    (peer,) = table.elements().peers
    assert peer[:3] == (UDP, SIP.public, "1.2.3.4")
    assert peer.timeout_s == pytest.approx(50, abs=5)


def test_what_stands_and_is_opened_for_something_else_says_so(net: Topology, any_table: NftTable) -> None:
    for mapping in (SIP, SIP._replace(adopted=True), SIP._replace(purpose="direct")):
        any_table.apply([OpenMapping(mapping, 100)])
        any_table.apply([RefreshMapping(mapping, 200)])
        assert standing(any_table) == {mapping: pytest.approx(200, abs=5)}
    listed = net.run("router", "nft", "list", "map", "ip", "sipalg", "snat_map")
    assert f"udp . {PHONE.host} . {PHONE.port}" in listed


def test_another_value_fails_with_its_command_and_changes_nothing(any_table: NftTable) -> None:
    any_table.apply([OpenMapping(SIP, 100)])
    thief = SIP._replace(private=Endpoint(ADDRESS["phone2"], 5060))
    for command in (OpenMapping(thief, 100), RefreshMapping(thief, 100)):
        with pytest.raises(NetlinkError) as caught:
            any_table.apply([OpenMapping(MEDIA, 100), command])
        assert (caught.value.errno, caught.value.index) == (errno.EEXIST, 1)
    assert list(standing(any_table)) == [SIP]


def test_an_address_that_is_not_ipv4_fails_with_its_command(any_table: NftTable) -> None:
    with pytest.raises(NetlinkError, match="fe80::1") as caught:
        any_table.apply([OpenMapping(SIP, 100), AdmitPeer(SIP, "fe80::1", 100)])
    assert (caught.value.errno, caught.value.index) == (errno.EAFNOSUPPORT, 1)
    assert standing(any_table) == {}


def test_opening_again_refreshing_and_admitting_again_renew(any_table: NftTable) -> None:
    any_table.apply([OpenMapping(SIP, 10), OpenMapping(MEDIA, 10), AdmitPeer(SIP, "1.2.3.4", 10)])
    any_table.apply([OpenMapping(SIP, 500), RefreshMapping(MEDIA, 500), AdmitPeer(SIP, "1.2.3.4", 500)])
    assert min(standing(any_table).values()) > 400
    assert any_table.elements().peers[0].timeout_s > 400


def test_refreshing_what_has_run_out_opens_it(any_table: NftTable) -> None:
    any_table.apply([RefreshMapping(SIP, 500)])
    assert list(standing(any_table)) == [SIP]


def test_closing_and_dismissing_what_is_gone_is_no_error(any_table: NftTable) -> None:
    any_table.apply([OpenMapping(SIP, 100), AdmitPeer(SIP, "1.2.3.4", 100)])
    for _ in range(2):
        any_table.apply([CloseMapping(SIP), CloseMapping(MEDIA), DismissPeer(SIP, "1.2.3.4")])
        assert any_table.elements() == ((), ())


def test_closing_leaves_what_now_belongs_to_another(any_table: NftTable) -> None:
    any_table.apply([OpenMapping(SIP, 100)])
    former = SIP._replace(private=Endpoint(ADDRESS["phone2"], 5060))
    any_table.apply([CloseMapping(former), OpenMapping(MEDIA, 100)])
    assert set(standing(any_table)) == {SIP, MEDIA}


def test_close_and_open_elsewhere_in_one_transaction(any_table: NftTable) -> None:
    any_table.apply([OpenMapping(SIP, 100)])
    moved = SIP._replace(public=Endpoint(OTHER_PUBLIC_ADDRESS, 24680))
    any_table.apply([CloseMapping(SIP), OpenMapping(moved, 100)])
    assert list(standing(any_table)) == [moved]


def test_many_mappings_in_one_transaction(any_table: NftTable) -> None:
    many = [
        MEDIA._replace(private=Endpoint("192.168.33.10", port), public=Endpoint(PUBLIC_ADDRESS, port))
        for port in range(20000, 21000)
    ]
    any_table.apply([OpenMapping(one, 100) for one in many])
    assert set(standing(any_table)) == set(many)


def test_it_survives_flush_ruleset(net: Topology, table: NftTable) -> None:
    if not table.features.owner_persist:
        pytest.skip("this kernel's tables have no owner that may leave (6.9)")
    table.apply([OpenMapping(SIP, 100)])
    net.run("router", "nft", "flush", "ruleset")
    net.run("router", "nft", "-f", "-", text=ADMIN)
    assert list(standing(table)) == [SIP]
    assert "goto to_alg" in net.run("router", "nft", "list", "table", "ip", "sipalg")


def test_a_second_process_is_refused_and_changes_nothing(net: Topology, table: NftTable) -> None:
    if not table.features.owner_persist:
        pytest.skip("this kernel's tables have no owner that may leave (6.9)")
    table.apply([OpenMapping(SIP, 100)])
    second = net.inside("router", lambda: NftTable(replace(SETTINGS, ports=(5070,))))
    with pytest.raises(NetlinkError) as caught:
        second.install()
    second.close()
    assert (caught.value.errno, caught.value.index) == (errno.EPERM, -1)
    assert list(standing(table)) == [SIP]


def test_the_next_process_goes_on_with_the_mappings(net: Topology) -> None:
    first = net.inside("router", lambda: NftTable(SETTINGS))
    first.install([OpenMapping(SIP, 1000), AdmitPeer(SIP, "1.2.3.4", 1000)])
    first.close()
    successor = net.inside("router", lambda: NftTable(replace(SETTINGS, ports=(5070,), sip_timeout_s=600)))
    try:
        assert standing(successor) == {SIP: pytest.approx(1000, abs=5)}
        successor.install([OpenMapping(MEDIA, 100)])
        assert set(standing(successor)) == {SIP, MEDIA}
        assert len(successor.elements().peers) == 1
        listing = net.run("router", "nft", "list", "table", "ip", "sipalg")
        assert 'set "sip-30-600"' in listing
        assert "-3600\" goto" not in listing
        assert "5070" in listing
        assert "5061" not in listing
        assert listing.count("known peers") == 1
    finally:
        successor.remove()
        successor.close()


@pytest.mark.parametrize("in_use", [True, False])
def test_the_next_process_hangs_the_relays_chains_where_it_needs_them(net: Topology, in_use: bool) -> None:
    first = net.inside("router", lambda: NftTable(SETTINGS))
    first.install([OpenMapping(SIP, 1000)])
    first.close()
    # As an earlier version had it.
    net.run("router", "nft", "add chain ip sipalg tcp_forward { type filter hook forward priority 200; }")
    for relay in (RelayRules(4000, 0x02000000, in_use=in_use), RelayRules(4000, 0x02000000, in_use=not in_use)):
        successor = net.inside("router", partial(NftTable, replace(SETTINGS, relay=relay)))
        try:
            successor.install()
            assert set(standing(successor)) == {SIP}
            assert not successor.tcp_noted()
            chains = net.run("router", "nft", "list", "table", "ip", "sipalg")
            assert ("chain tcp_relay" in chains) == relay.in_use
            assert "chain tcp_forward {" not in chains
        finally:
            successor.close()
    net.run("router", "nft", "delete", "table", "ip", "sipalg")


def test_a_conflict_at_a_restart_keeps_what_stands(table: NftTable) -> None:
    table.apply([OpenMapping(SIP, 100)])
    with pytest.raises(NetlinkError) as caught:
        table.install([OpenMapping(MEDIA, 100), OpenMapping(SIP._replace(private=MEDIA.private), 100)])
    assert (caught.value.errno, caught.value.index) == (errno.EEXIST, 1)
    assert list(standing(table)) == [SIP]


def test_the_guard_tells_what_others_do_and_the_table_comes_back(net: Topology, unowned: NftTable) -> None:
    guard = unowned.guard
    assert guard is not None
    guard.changed()
    unowned.apply([OpenMapping(SIP, 100)])
    net.run("router", "nft", "add", "table", "ip", "others")
    assert not guard.changed()
    net.run("router", "nft", "flush", "ruleset")
    assert guard.changed()
    assert not unowned.exists()
    assert unowned.elements() == ((), ())
    assert unowned.packets_to_queue() == 0
    with pytest.raises(NetlinkError) as caught:
        unowned.apply([OpenMapping(MEDIA, 100)])
    assert caught.value.errno == errno.ENOENT
    unowned.install([OpenMapping(SIP, 100)])
    net.run("router", "nft", "-f", "-", text=ADMIN)
    assert not guard.changed()
    assert list(standing(unowned)) == [SIP]


def test_a_table_of_another_layout_is_replaced(net: Topology) -> None:
    net.run("router", "nft", "add table ip sipalg; add map ip sipalg snat_map { type inet_service : mark; }")
    table = net.inside("router", lambda: NftTable(SETTINGS))
    try:
        table.install([OpenMapping(SIP, 100)])
        assert list(standing(table)) == [SIP]
    finally:
        table.remove()
        table.close()


def test_settings_change_while_mappings_stand(net: Topology, table: NftTable) -> None:
    table.apply([OpenMapping(SIP, 100)])
    other = replace(
        SETTINGS, inside=("lan0",), ports=(5070,), exempt=(IPv4Network("10.0.0.0/8"), IPv4Network("10.99.0.0/24"))
    )
    table.change(other)
    listing = net.run("router", "nft", "list", "table", "ip", "sipalg")
    assert "elements = { 5070 }" in listing
    assert "elements = { 10.0.0.0/8 }" in listing
    assert "lan1" not in listing
    assert list(standing(table)) == [SIP]


def test_a_change_that_the_kernel_refuses_leaves_all_as_it_was(net: Topology, table: NftTable) -> None:
    with pytest.raises(NetlinkError):
        table.change(replace(SETTINGS, outside="a-name-that-is-too-long", ports=(5070,)))
    assert table.settings == SETTINGS
    assert "5060" in net.run("router", "nft", "list", "set", "ip", "sipalg", "sip_ports")


def test_known_peers_reach_the_phone_and_strangers_do_not(net: Topology, table: NftTable) -> None:
    with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server, bound(net, "far1", 5060) as far:
        table.apply([OpenMapping(SIP, 100)])
        assert not reaches(server, phone, SIP.public, wait_s=0.3)
        table.apply([AdmitPeer(SIP, ADDRESS["server"], 100)])
        with bound(net, "server", 6000) as from_another_port:
            assert reaches(from_another_port, phone, SIP.public)
        assert not reaches(far, phone, SIP.public, wait_s=0.3)
        table.change(replace(SETTINGS, trusted_peers=(IPv4Network(f"{ADDRESS['far1']}/32"),)))
        with bound(net, "far1", 6000) as trusted:
            assert reaches(trusted, phone, SIP.public)


def test_direct_signalling_lets_everybody_in(net: Topology, table: NftTable) -> None:
    table.apply([OpenMapping(SIP, 100)])
    table.change(replace(SETTINGS, direct_signalling=True))
    with bound(net, "phone1", 5060) as phone, bound(net, "far1", 5060) as far:
        assert reaches(far, phone, SIP.public)


def test_media_is_let_in_from_anybody_until_it_is_closed(net: Topology, table: NftTable) -> None:
    table.apply([OpenMapping(MEDIA, 100)])
    with bound(net, "phone1", 9000) as phone, bound(net, "far1", 7000) as far, bound(net, "far1", 7002) as later:
        assert reaches(far, phone, MEDIA.public)
        table.apply([CloseMapping(MEDIA)])
        assert not reaches(later, phone, MEDIA.public, wait_s=0.3)


def test_media_filter_lets_anybody_in_until_the_answer_and_then_peers(net: Topology, table: NftTable) -> None:
    table.change(replace(SETTINGS, media_filter=True))
    table.apply([OpenMapping(MEDIA, 100)])
    with bound(net, "phone1", 9000) as phone, bound(net, "far1", 7000) as far, bound(net, "server", 7000) as server:
        assert not reaches(far, phone, MEDIA.public, wait_s=0.3)
        table.apply([AdmitPeer(MEDIA, ANYBODY_IPV4, 100)])
        with bound(net, "far1", 7002) as early:
            assert reaches(early, phone, MEDIA.public)
        table.apply([DismissPeer(MEDIA, ANYBODY_IPV4), AdmitPeer(MEDIA, ADDRESS["server"], 100)])
        with bound(net, "far1", 7004) as later:
            assert not reaches(later, phone, MEDIA.public, wait_s=0.3)
        assert reaches(server, phone, MEDIA.public)
    assert table.elements().peers[0].peer == ADDRESS["server"]


def test_what_a_mapping_covers_leaves_from_its_port(net: Topology, table: NftTable) -> None:
    table.apply([OpenMapping(SIP, 100), OpenMapping(MEDIA, 100), OpenMapping(ADOPTED, 100)])
    with bound(net, "server", 5060) as server:
        for mapping in (SIP, MEDIA):
            with bound(net, "phone1", mapping.private.port) as phone:
                phone.sendto(b"out", (ADDRESS["server"], 5060))
                assert server.recvfrom(100) == (b"out", mapping.public)
        with bound(net, "phone2", 5060) as other:
            other.sendto(b"out", (ADDRESS["server"], 5060))
            assert server.recvfrom(100)[1][1] == 5060


@pytest.mark.parametrize("exempt", [(), (IPv4Network("192.168.0.0/16"),)], ids=["", "exempt outside"])
def test_phones_reach_each_other_by_public_addresses(
    net: Topology, table: NftTable, exempt: tuple[IPv4Network, ...]
) -> None:
    table.change(replace(SETTINGS, exempt=exempt))
    theirs = Mapping(UDP, Endpoint(ADDRESS["phone2"], 5060), Endpoint(PUBLIC_ADDRESS, 24682), "sip")
    table.apply([OpenMapping(SIP, 100), OpenMapping(theirs, 100)])
    with bound(net, "phone1", 5060) as one, bound(net, "phone2", 5060) as two:
        one.sendto(b"there", theirs.public)
        assert two.recvfrom(100) == (b"there", SIP.public)
        two.sendto(b"back", SIP.public)
        assert one.recvfrom(100) == (b"back", theirs.public)


def test_a_removed_table_is_gone_and_removing_it_again_is_no_error(table: NftTable) -> None:
    assert table.exists()
    table.remove()
    assert not table.exists()
    table.remove()


def test_two_tables_stand_side_by_side(net: Topology, table: NftTable) -> None:
    other = net.inside("router", lambda: NftTable(replace(SETTINGS, name="another", queue_number=5070)))
    try:
        other.install([OpenMapping(MEDIA, 100)])
        table.apply([OpenMapping(SIP, 100)])
        assert (set(standing(table)), set(standing(other))) == ({SIP}, {MEDIA})
        table.remove()
        assert set(standing(other)) == {MEDIA}
    finally:
        other.remove()
        other.close()
