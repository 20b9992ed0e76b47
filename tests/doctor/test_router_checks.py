"""Each check of the router, for well and for ill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from sipalg.control.settings.model import Settings
from sipalg.datapath.addresses import Interface
from sipalg.datapath.admin_conclusions import AdminRules, Exemption, SipHelper
from sipalg.datapath.admin_model import FlowTable, PortRange
from sipalg.datapath.admin_outbound import ClosedWay
from sipalg.datapath.nat_address import NatAddress
from sipalg.datapath.preflight import Finding
from sipalg.doctor import router_checks
from sipalg.doctor.facts import Facts

SETTINGS = Settings(inside=("lan0",), outside="wan0")
RULES = AdminRules(source_nat=("masquerade",))
WELL = Facts(
    SETTINGS,
    interfaces={name: Interface(number, name, True, 1500) for number, name in enumerate(("lan0", "wan0", "wan1"))},
    nat=NatAddress("203.0.113.1"),
    default_routes=("wan0",),
    reverse_path_filter=1,
    local_ports=PortRange(32768, 60999),
    conntrack={"udp_timeout": 30, "udp_timeout_stream": 120, "count": 10, "max": 1000},
    helped_flows=0,
    rules=RULES,
    flows=(),
)
EXEMPTION = Exemption(IPv4Network("10.9.0.0/16"), (IPv4Network("192.168.33.0/24"),), "chain postrouting")


def found(check: Callable[[Facts], Iterator[Finding]], facts: Facts) -> list[tuple[str, str]]:
    findings = list(check(facts))
    assert all("\n" not in finding.text for finding in findings)
    return [(finding.severity, finding.code) for finding in findings]


@pytest.mark.parametrize("check", router_checks.CHECKS, ids=lambda check: str(check.__name__))
def test_where_all_is_well_nothing_is_said(check: Callable[[Facts], Iterator[Finding]]) -> None:
    assert found(check, WELL) == []


@pytest.mark.parametrize("check", router_checks.CHECKS, ids=lambda check: str(check.__name__))
def test_what_nobody_could_look_at_isnt_judged(check: Callable[[Facts], Iterator[Finding]]) -> None:
    assert found(check, Facts(SETTINGS, interfaces=WELL.interfaces, nat=NatAddress("203.0.113.1"))) == []


@pytest.mark.parametrize(
    ("check", "ill", "findings"),
    [
        ("settings_file", {"file_problem": "x: line 3"}, [("error", "settings-file")]),
        ("settings_file", {"file_problem": "x: line 3", "daemon": "running"}, [("warning", "settings-file")]),
        ("interfaces", {"settings": replace(SETTINGS, inside=("lan7",))}, [("error", "no-interface")]),
        ("interfaces", {"nat": NatAddress("")}, [("error", "no-address")]),
        ("interfaces", {"default_routes": ("wan1",)}, [("warning", "default-route-elsewhere")]),
        ("forwarding", {"forwarding_off": ("lan0", "wan0")}, [("error", "forwarding-off")]),
        ("kernel", {"kernel": (Finding("error", "no-conntrack", "x"),)}, [("error", "no-conntrack")]),
        ("rules", {"rules": AdminRules()}, [("warning", "no-source-nat")]),
        (
            "rules",
            {"rules": replace(RULES, dnat_accepted="no", closed_chains=(("ip", "f", "forward"),))},
            [("advice", "dnat-not-accepted")],
        ),
        (
            "rules",
            {"rules": replace(RULES, closed_ways=(ClosedWay("lan0", ("ip", "f", "forward")),))},
            [("error", "forward-closed")],
        ),
        ("rules", {"rules": replace(RULES, sip_helpers=(SipHelper((), "chain raw"),))}, [("error", "kernel-helper")]),
        (
            "rules",
            {"rules": replace(RULES, flow_tables=(FlowTable("f", ("wan0",), used=True),))},
            [("error", "flow-table")],
        ),
        ("rules", {"rules": replace(RULES, exemptions=(EXEMPTION,))}, [("warning", "exemption")]),
        ("kernel_helper", {"helped_flows": 2}, [("error", "helped-flows")]),
        ("kernel_helper", {"helper_loaded": True, "rules": None}, [("warning", "helper-loaded")]),
        ("double_nat", {"nat": NatAddress("192.168.1.2")}, [("warning", "double-nat")]),
        ("double_nat", {"nat": NatAddress("100.72.0.1")}, [("warning", "carrier-nat")]),
        ("double_nat", {"settings": replace(SETTINGS, public="10.0.0.1")}, [("warning", "double-nat")]),
        ("reverse_path", {"default_routes": ("wan0", "wan1")}, [("warning", "reverse-path-filter")]),
        ("media_ports", {"local_ports": PortRange(1024, 60999)}, [("error", "media-ports-local")]),
        ("media_ports", {"local_ports": PortRange(32000, 60999)}, [("warning", "media-ports-overlap")]),
        ("timeouts", {"conntrack": {"udp_timeout": 4}}, [("warning", "conntrack-timeout")]),
        ("timeouts", {"conntrack": {"udp_timeout_stream": 10}}, [("warning", "conntrack-timeout")]),
        ("conntrack_table", {"conntrack": {"count": 901, "max": 1000}}, [("warning", "conntrack-full")]),
        ("conntrack_table", {"conntrack": {"count": 1000, "max": 1000}}, [("error", "conntrack-full")]),
    ],
)
def test_what_is_ill_is_said(check: str, ill: dict[str, Any], findings: list[tuple[str, str]]) -> None:
    assert found(getattr(router_checks, check), replace(WELL, **ill)) == findings


@pytest.mark.parametrize(
    ("daemon", "said"), [("none", "sipalg doesn't start"), ("running", "SIP passes untranslated")]
)
def test_without_an_outside_address_it_depends_on_whether_one_runs(daemon: Any, said: str) -> None:
    (finding,) = router_checks.interfaces(replace(WELL, nat=NatAddress(""), daemon=daemon))
    assert finding.text.startswith(f"wan0 has no IPv4 address: {said}")


def test_a_helper_that_a_rule_names_is_said_once() -> None:
    rules = replace(RULES, sip_helpers=(SipHelper((), "chain raw"),))
    assert found(router_checks.kernel_helper, replace(WELL, rules=rules, helped_flows=4, helper_loaded=True)) == []


def test_a_public_address_makes_a_private_one_right() -> None:
    settings = replace(SETTINGS, public="203.0.113.9")
    assert found(router_checks.double_nat, replace(WELL, settings=settings, nat=NatAddress("192.168.1.2"))) == []


@pytest.mark.parametrize(
    ("registrars", "findings"),
    [
        (["10.1.1.1", "100.64.3.4"], []),
        (["10.1.1.1", "198.51.100.9"], [("warning", "double-nat")]),
        ([], [("warning", "double-nat")]),
    ],
)
def test_servers_on_this_side_of_the_other_nat_are_reached(registrars: list[str], findings: list[Any]) -> None:
    status = {"contacts": [{"registrar": host} for host in registrars]}
    assert found(router_checks.double_nat, replace(WELL, nat=NatAddress("10.2.0.1"), status=status)) == findings


def test_the_remedy_names_what_is_to_be_done() -> None:
    (finding,) = router_checks.timeouts(replace(WELL, conntrack={"udp_timeout_stream": 5}))
    assert finding.text.endswith("sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=120")
