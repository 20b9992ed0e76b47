"""What preflight concludes, for each thing that may be wrong; the real kernel is asked in tests/live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Self

import pytest

from sipalg.datapath import preflight
from sipalg.datapath.addresses import Interface
from sipalg.datapath.admin_conclusions import AdminRules, Exemption, SipHelper, TakenPorts
from sipalg.datapath.admin_model import ALL_PORTS, FlowTable, PortRange, Unevaluable
from sipalg.datapath.admin_outbound import ClosedWay
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_features import Features
from sipalg.datapath.preflight import Finding, Plan
from sipalg.engine.verdict import TCP, UDP

PLAN = Plan(inside=("lan0",), outside="wan0")
CLEAR = AdminRules(source_nat=("x",))
FEATURES = Features(True, True, True, True, True, True)


def brief(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    found = list(findings)
    assert all("\n" not in finding.text for finding in found)
    return [(finding.severity, finding.code) for finding in found]


def rules(plan: Plan = PLAN, **facts: Any) -> list[tuple[str, str]]:
    return brief(preflight.check_rules(plan, replace(CLEAR, **facts)))


def test_nothing_in_the_way() -> None:
    assert rules() == []


def test_another_helper_on_our_ports_only() -> None:
    assert rules(sip_helpers=(SipHelper((PortRange(5000, 5060),), "x"),)) == [("error", "kernel-helper")]
    assert rules(sip_helpers=(SipHelper((), "x"),)) == [("error", "kernel-helper")]
    assert rules(sip_helpers=(SipHelper((PortRange(5070, 5070),), "x"),)) == []


@pytest.mark.parametrize(
    ("where", "remedy"),
    [
        ("table ip h chain pre handle 3", "remove it with nft delete rule ip h pre handle 3"),
        ("/proc/sys/net/netfilter/x", "switch it off with sysctl -w net.netfilter.x=0"),
        ("iptables -t raw, line 4", "remove it"),
    ],
)
def test_how_the_other_helper_goes(where: str, remedy: str) -> None:
    (finding,) = preflight.check_rules(PLAN, replace(CLEAR, sip_helpers=(SipHelper((), where),)))
    assert finding.text == f"{where}: the kernel's own SIP helper has port 5060, 5061, and both would edit; {remedy}"


def test_flow_tables_in_use_on_our_interfaces() -> None:
    assert rules(flow_tables=(FlowTable("x", ("wan0", "eth7"), used=True),)) == [("error", "flow-table")]
    assert rules(flow_tables=(FlowTable("x", (), used=True),)) == [("error", "flow-table")]
    assert rules(flow_tables=(FlowTable("x", ("wan0",), used=False),)) == []
    assert rules(flow_tables=(FlowTable("x", ("eth7",), used=True),)) == []
    allowed = replace(PLAN, allow_offload=True)
    assert rules(allowed, flow_tables=(FlowTable("x", ("wan0",), used=True),)) == [("warning", "flow-table")]
    (finding,) = preflight.check_rules(PLAN, replace(CLEAR, flow_tables=(FlowTable("x", ("wan0",), used=True),)))
    assert "udp dport != { 5060, 5061 } udp sport != { 5060, 5061 }" in finding.text


def test_no_source_nat() -> None:
    assert rules(source_nat=()) == [("warning", "no-source-nat")]


def test_exemptions_that_the_plan_doesnt_have() -> None:
    vpn, lan = IPv4Network("10.1.2.0/24"), IPv4Network("192.168.122.0/24")
    # Without a source it is taken for --except, and nothing is to be said.
    assert rules(exemptions=(Exemption(vpn, (), "x"),)) == []
    exemption = (Exemption(vpn, (lan,), "x"),)
    assert rules(exemptions=exemption) == [("warning", "exemption")]
    assert rules(replace(PLAN, exempt=(IPv4Network("10.0.0.0/8"),)), exemptions=exemption) == []
    libvirt = ("224.0.0.0/24", "255.255.255.255/32", str(lan))
    assert rules(exemptions=tuple(Exemption(IPv4Network(text), (lan,), "x") for text in libvirt)) == []


def test_a_rule_that_translates_on_the_inside_hints_at_swapped_sides() -> None:
    (finding,) = preflight.check_rules(PLAN, AdminRules(inside_source_nat=("table ip nat chain x",)))
    assert finding.text == (
        "no rule translates what leaves through wan0, but table ip nat chain x what leaves through lan0: "
        "are --inside and --outside swapped?"
    )


def test_how_to_let_in_what_was_translated_is_said_for_each_chain() -> None:
    closed = (("inet", "fw", "forward"), ("iptables", "filter", "FORWARD"))
    found = replace(CLEAR, dnat_accepted="no", closed_chains=closed)
    (finding,) = preflight.check_rules(PLAN, found)
    assert "ordinary calls work as it is" in finding.text
    assert "table inet fw chain forward, iptables chain FORWARD keeps out" in finding.text
    assert finding.text.endswith(
        "nft insert rule inet fw forward iifname wan0 ct status dnat accept; "
        "iptables -I FORWARD -i wan0 -m conntrack --ctstate DNAT -j ACCEPT"
    )
    (finding,) = preflight.check_rules(PLAN, replace(found, dnat_accepted="unknown"))
    assert "perhaps keeps out" in finding.text


def test_a_forward_chain_that_lets_nothing_out_is_told_with_the_rule_that_does() -> None:
    nft, old = ("inet", "fw", "forward"), ("iptables", "filter", "FORWARD")
    ways = (ClosedWay("lan0", nft), ClosedWay("lan1", nft), ClosedWay("lan0", old))
    found = list(preflight.check_rules(PLAN, replace(CLEAR, closed_ways=ways)))
    assert [finding.text.partition(", so that phones can't register or call; ") for finding in found] == [
        (
            "table inet fw chain forward: the forward chain doesn't accept SIP from lan0, lan1 to wan0",
            ", so that phones can't register or call; ",
            "nft 'insert rule inet fw forward iifname lan0 oifname wan0 udp dport { 5060, 5061 } accept'; "
            "nft 'insert rule inet fw forward iifname lan1 oifname wan0 udp dport { 5060, 5061 } accept'",
        ),
        (
            "iptables chain FORWARD: the forward chain doesn't accept SIP from lan0 to wan0",
            ", so that phones can't register or call; ",
            "iptables -I FORWARD -i lan0 -o wan0 -p udp -m multiport --dports 5060,5061 -j ACCEPT",
        ),
    ]
    assert brief(found) == [("warning", "forward-closed")] * 2
    # Then ordinary calls don't work.
    both = replace(CLEAR, closed_ways=ways[:1], dnat_accepted="no", closed_chains=(nft,))
    assert "ordinary calls work" not in list(preflight.check_rules(PLAN, both))[1].text


@pytest.mark.parametrize(("answer", "found"), [("yes", []), ("no", ["advice"]), ("unknown", ["advice"])])
def test_what_the_forward_chain_lets_in(answer: str, found: list[str]) -> None:
    assert [severity for severity, _ in rules(dnat_accepted=answer)] == found


def test_forwards_that_leave_no_media_port() -> None:
    def taken(protocol: int, ports: PortRange) -> tuple[TakenPorts, ...]:
        return (TakenPorts(protocol, (), ports, "x"),)

    assert rules(taken=taken(UDP, ALL_PORTS)) == [("warning", "media-ports-forwarded")]
    assert rules(taken=taken(TCP, ALL_PORTS)) == []
    assert rules(taken=taken(UDP, PortRange(16384, 32766))) == []


def test_rules_that_arent_understood_are_named() -> None:
    (finding,) = preflight.check_rules(PLAN, replace(CLEAR, unevaluable=(Unevaluable("table ip t", "a map"),)))
    assert (finding.severity, finding.code) == ("warning", "rule-not-understood")
    assert finding.text == "table ip t: a map"


def test_interfaces() -> None:
    known = {"lan0": Interface(1, "lan0", True, 1500), "wan0": Interface(2, "wan0", False, 1500)}
    assert brief(preflight.check_interfaces(PLAN, known)) == [("warning", "interface-down")]
    assert brief(preflight.check_interfaces(replace(PLAN, inside=()), {"wan0": known["lan0"]})) == [
        ("error", "no-inside")
    ]
    (finding,) = preflight.check_interfaces(replace(PLAN, outside="lan0", inside=("lan0",)), known)
    assert finding.code == "same-interface"
    (finding,) = preflight.check_interfaces(replace(PLAN, inside=("lan9",), outside="lan0"), known)
    assert finding.text == "inside lan9: no such interface; there are: lan0, wan0"
    long = "a" * 16
    known[long] = known["lan0"]
    (finding,) = preflight.check_interfaces(replace(PLAN, inside=(long,), outside="lan0"), known)
    assert finding.text.startswith(f"inside {long}: is no interface name, which has at most 15 bytes")


def test_media_ports_and_the_local_range() -> None:
    usual = PortRange(32768, 60999)
    assert brief(preflight.check_local_ports(PLAN.media_ports, usual)) == []
    assert brief(preflight.check_local_ports(PortRange(30000, 40000), usual)) == [("warning", "media-ports-overlap")]
    assert brief(preflight.check_local_ports(PortRange(40000, 41000), usual)) == [("error", "media-ports-local")]


def test_capabilities() -> None:
    assert preflight.may_administer("Name:\tx\nCapEff:\t000001ffffffffff\n")
    assert preflight.may_administer("CapEff:\t0000000000001000\n")
    assert not preflight.may_administer("CapEff:\t0000000000000fff\n")
    assert not preflight.may_administer("")


def test_the_owner_of_a_queue() -> None:
    rest = "0 2 65531     0     0        0  1"
    listing = f" 5060   4711     {rest}\n    7  -1234     {rest}\n"
    assert preflight.queue_owner(listing, 5060) == 4711
    assert preflight.queue_owner(listing, 7) == -1234
    assert preflight.queue_owner(listing, 506) == 0


def test_whose_a_queue_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listing = tmp_path / "queues"
    sockets = tmp_path / "sockets"
    sockets.write_text("sk Eth Pid Groups Inode\n0 0 4711 0 7\n0 12 4711 0 8\n0 12 4294967295 0 9\n")
    monkeypatch.setattr(preflight, "_QUEUES", listing)
    monkeypatch.setattr(preflight, "_NETLINK_SOCKETS", sockets)
    monkeypatch.setattr(preflight, "_PROCESSES", tmp_path)
    descriptors = tmp_path / "88" / "fd"
    descriptors.mkdir(parents=True)
    for number, inode in ((1, 7), (2, 8)):
        (descriptors / str(number)).symlink_to(f"socket:[{inode}]")
    assert brief(preflight.look_at_queue(PLAN)) == []
    listing.write_text(" 5060   4711     0 2 65531     0     0        0  1\n")
    said = []
    for command in ("sh\0-c", "python3\0/usr/bin/sipalg\0run"):
        (tmp_path / "88" / "cmdline").write_text(command)
        (finding,) = preflight.look_at_queue(PLAN)
        said.append(finding.text.split(";")[0])
    assert said == [
        "queue 5060 belongs to another program",
        "queue 5060 belongs to another running sipalg (pid 88)",
    ]


def test_a_netlink_port_may_be_negative() -> None:
    assert preflight.socket_inode("0 12 4294967295 0 9\n", -1) == 9
    assert preflight.socket_inode("0 12 7 0 9\n\n", 8) == 0


def test_queues_that_only_root_may_see_are_nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert brief(preflight.look_at_queue(PLAN)) == []


def test_forwarding_that_is_off_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {number: Interface(number, name, True, 1500) for number, name in enumerate(("lan0", "lan1", "wan0"))}
    monkeypatch.setattr("sipalg.datapath.addresses.interfaces", lambda: known)
    monkeypatch.setattr("sipalg.datapath.addresses.primary_address", lambda _name: "203.0.113.1")
    monkeypatch.setattr(preflight, "_FORWARDING", f"{tmp_path}/{{}}")
    for name, value in (("lan0", "0"), ("lan1", "1"), ("wan0", "0")):
        (tmp_path / name).write_text(value + "\n")
    (finding,) = preflight._interfaces(replace(PLAN, inside=("lan0", "lan1")))
    assert finding.code == "forwarding-off"
    assert finding.text.startswith("IPv4 forwarding is off on lan0, wan0: ")


def test_without_the_right_nothing_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "may_administer", lambda _status: False)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert brief(preflight.check(PLAN)) == [("error", "not-privileged"), ("error", "no-nft")]


class Refusing:
    """A netlink socket whose kernel has none of the features."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def acknowledge(self, messages: list[object]) -> list[int]:
        return [22] * len(messages)


def test_a_kernel_that_lacks_things(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_socket: object) -> Features:
        raise NetlinkError(95)

    monkeypatch.setattr(preflight, "NetlinkSocket", Refusing)
    monkeypatch.setattr(preflight, "find_features", lacking)
    assert [code for _, code in brief(preflight.look_at_kernel())] == ["no-conntrack", "no-queue", "no-nftables"]
    monkeypatch.setattr(preflight, "find_features", lambda _socket: FEATURES._replace(ct_timeout=False))
    assert brief(preflight.look_at_kernel())[-1] == ("advice", "no-ct-timeout")
