"""The check before a start, on real routers: a clear way, and each thing that may stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from sipalg.datapath import preflight
from sipalg.datapath.addresses import AddressWatch, Change, interfaces, primary_address
from sipalg.datapath.admin_rules import evaluate, read_admin_rules
from sipalg.datapath.nfqueue import PacketQueue
from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.nft_table import NftTable
from sipalg.datapath.preflight import Plan
from sipalg.engine.verdict import UDP
from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, EXEMPT_NETWORK, PUBLIC_ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

PLAN = Plan(inside=("lan0", "lan1"), outside="wan0", queue_number=5999, exempt=(IPv4Network(EXEMPT_NETWORK),))


def codes(net: Topology, plan: Plan = PLAN) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in net.inside("router", lambda: preflight.check(plan))]


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology(("phone1",)) as topology:
        yield topology


@pytest.fixture(autouse=True)
def loose(net: Topology) -> None:
    firewall.load(net, firewall.rules("loose"))


def test_a_clear_way_and_nothing_changed(net: Topology) -> None:
    before = net.run("router", "nft", "list", "ruleset")
    assert codes(net) == []
    assert net.run("router", "nft", "list", "ruleset") == before


def test_what_the_rules_have_against_it(net: Topology) -> None:
    firewall.load(net, firewall.rules("strict", kernel_helper=True))
    assert codes(net, replace(PLAN, exempt=())) == [
        ("error", "kernel-helper"),
        ("advice", "dnat-not-accepted"),
    ]
    net.run("router", "nft", "flush", "ruleset")
    assert codes(net) == [("warning", "no-source-nat")]


def test_interfaces_and_forwarding(net: Topology) -> None:
    plan = Plan(inside=("lan0", "nolan"), outside="lan0", queue_number=5999)
    found = codes(net, plan)
    assert ("error", "no-interface") in found
    assert ("error", "same-interface") in found
    net.sysctl("router", "net.ipv4.ip_forward", 0)
    assert codes(net) == [("error", "forwarding-off")]
    net.sysctl("router", "net.ipv4.ip_forward", 1)
    net.run("router", "ip", "link", "add", "wan1", "type", "bridge")
    net.run("router", "ip", "link", "set", "wan1", "up")
    assert codes(net, replace(PLAN, outside="wan1"))[0] == ("error", "no-address")
    net.run("router", "ip", "link", "delete", "wan1")


def test_a_queue_that_somebody_has(net: Topology) -> None:
    queue = net.inside("router", lambda: PacketQueue(PLAN.queue_number))
    try:
        assert codes(net) == [("error", "queue-in-use")]
    finally:
        queue.close()
    assert codes(net) == []


def test_a_table_that_somebody_owns(net: Topology) -> None:
    table = net.inside("router", lambda: NftTable(TableSettings("wan0", ("lan0",))))
    if not table.features.owner_persist:
        pytest.skip("this kernel's tables have no owner that may leave (6.9)")
    table.install()
    try:
        assert codes(net) == [("error", "table-owned")]
    finally:
        table.remove()
        table.close()
    assert codes(net) == []


def test_rules_of_iptables_and_of_nft_together(net: Topology) -> None:
    firewall.load(net, firewall.rules("forward"))
    net.run("router", "iptables", "-t", "nat", "-A", "PREROUTING", "-i", "wan0", "-p", "udp", "--dport", "5090",
            "-j", "DNAT", "--to-destination", "192.168.33.20:5060")  # fmt: skip
    net.run("router", "iptables", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "--dport", "5062", "-j", "CT",
            "--helper", "sip")  # fmt: skip
    rules = net.inside("router", lambda: read_admin_rules("wan0", ("lan0",)))
    assert {(f.protocol, f.public.port, str(f.private)) for f in rules.forwards} == {
        (UDP, 5060, f"{ADDRESS['pbx']}:5060"),
        (UDP, 5090, "192.168.33.20:5060"),
    }
    assert [helper.ports for helper in rules.sip_helpers] == [((5062, 5062),)]
    assert rules.unevaluable == ()
    assert rules.dnat_accepted == "no"


SETS = """
table inet more {
    set many { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }
    map forwards { type inet_service : ipv4_addr; elements = { 5099 : 192.168.33.9 } }
    chain pre {
        type nat hook prerouting priority -90
        iifname "wan0" udp dport { 5070, 5080-5089 } dnat ip to 192.168.33.9
        ip saddr @many accept
        dnat ip to udp dport map @forwards
    }
    chain post {
        type nat hook postrouting priority 90
        ip daddr { 10.8.0.0/16, 10.9.0.0/24 } accept
    }
    chain filtered {
        type filter hook forward priority 10; policy drop
        ct state vmap { established : accept, related : accept, invalid : drop }
        ct status dnat accept
    }
}
"""


def test_what_named_sets_hold_changes_nothing_and_is_not_read(net: Topology) -> None:
    firewall.load(net, firewall.rules("forward"))
    net.run("router", "nft", "-f", "-", text=SETS)
    whole, terse = (net.run("router", "nft", "-j", *option, "list", "ruleset") for option in ((), ("-t",)))
    read = net.inside("router", lambda: read_admin_rules("wan0", ("lan0",)))
    assert read == evaluate(whole, "wan0", ("lan0",))
    assert {f.public.port for f in read.forwards} >= {5060, 5070}
    assert "5080" in str(read.taken)
    assert ("192.0.2.1" in whole, "192.0.2.1" in terse) == (True, False)


def test_addresses_and_their_changes(net: Topology) -> None:
    def look() -> tuple[str, str, set[str]]:
        return primary_address("wan0"), primary_address("none"), {i.name for i in interfaces().values()}

    assert net.inside("router", look) == (PUBLIC_ADDRESS, "", {"lo", "wan0", "lan0", "lan1", "phone1"})
    with ExitStack() as stack:
        watch = stack.enter_context(net.inside("router", AddressWatch))
        assert watch.read() == []
        net.run("router", "ip", "address", "add", "198.51.100.7/24", "dev", "wan0")
        net.run("router", "ip", "address", "delete", "198.51.100.7/24", "dev", "wan0")
        changes = watch.read()
        number = next(number for number, name in watch.names.items() if name == "wan0")
        assert changes == [
            Change("address-added", "wan0", number, "198.51.100.7"),
            Change("address-lost", "wan0", number, "198.51.100.7"),
        ]
        net.run("router", "ip", "link", "add", "new0", "type", "bridge")
        net.run("router", "ip", "link", "delete", "new0")
        kinds = [change.kind for change in watch.read() if change.interface == "new0"]
        assert (kinds[0], kinds[-1]) == ("link-changed", "link-gone")
        assert "new0" not in watch.names.values()
