"""Each check of the traffic and of the running ALG, for well and for ill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from sipalg import __version__
from sipalg.control.settings.model import Settings
from sipalg.datapath.nat_address import NatAddress
from sipalg.datapath.preflight import Finding
from sipalg.doctor import traffic_checks
from sipalg.doctor.facts import Facts, SeenFlow
from sipalg.engine.verdict import TCP, UDP, Endpoint

SETTINGS = Settings(inside=("lan0",), outside="wan0")
PUBLIC = "203.0.113.1"
SERVER = Endpoint("203.0.113.50", 5060)
SILENT = {
    "private": "192.168.33.10:5060",
    "server": "203.0.113.50",
    "expected_s": 3600.0,
    "because": "registration",
    "sip_timeout_needed_s": 7200.0,
}
STATUS: dict[str, Any] = {
    "status": {"version": __version__, "uptime_s": 900.0},
    "counters": {"messages": {"REGISTER": 4}, "commands_that_the_kernel_refused": {}},
    "phones": [{"private": "192.168.33.10:5060", "sip_timeout_needed_s": None, "nat_aware": False}],
    "warnings": [],
    "notes": [],
}
WELL = Facts(
    SETTINGS,
    nat=NatAddress(PUBLIC),
    daemon="running",
    status=STATUS,
    mapped=frozenset({"192.168.33.10:5060"}),
    flows=(
        SeenFlow(UDP, Endpoint("192.168.33.10", 5060), SERVER, PUBLIC),
        SeenFlow(UDP, Endpoint("192.168.33.10", 40000), Endpoint("203.0.113.50", 53), PUBLIC),
        SeenFlow(UDP, Endpoint("192.168.33.10", 40000), Endpoint("203.0.113.50", 7000), PUBLIC),
        SeenFlow(TCP, Endpoint("192.168.33.10", 40000), Endpoint("203.0.113.50", 443), PUBLIC),
    ),
)


def flow(
    protocol: int, private: int, remote: int, host: str = "192.168.33.11", leaves_as: str = PUBLIC
) -> dict[str, Any]:
    return {"flows": (SeenFlow(protocol, Endpoint(host, private), SERVER._replace(port=remote), leaves_as),)}


def status(**changed: Any) -> dict[str, Any]:
    return {"status": {**STATUS, **changed}}


def found(check: Callable[[Facts], Iterator[Finding]], facts: Facts) -> list[tuple[str, str]]:
    findings = list(check(facts))
    assert all("\n" not in finding.text for finding in findings)
    return [(finding.severity, finding.code) for finding in findings]


@pytest.mark.parametrize("check", traffic_checks.CHECKS, ids=lambda check: str(check.__name__))
def test_where_all_is_well_nothing_is_said(check: Callable[[Facts], Iterator[Finding]]) -> None:
    assert found(check, WELL) == []


@pytest.mark.parametrize("check", traffic_checks.CHECKS, ids=lambda check: str(check.__name__))
def test_one_that_mayn_t_be_asked_isnt_judged(check: Callable[[Facts], Iterator[Finding]]) -> None:
    assert found(check, Facts(SETTINGS, daemon="unknown")) == []


@pytest.mark.parametrize(
    ("check", "ill", "findings"),
    [
        ("daemon", {"daemon": "silent", "daemon_says": "it holds the socket"}, [("error", "daemon-silent")]),
        ("daemon", {"daemon": "none", "status": {}}, [("warning", "not-running")]),
        ("daemon", {"settings": replace(SETTINGS, disabled=True)}, [("warning", "disabled")]),
        ("daemon", {"settings": replace(SETTINGS, mode="observe")}, [("warning", "observing")]),
        ("daemon", status(status={"version": "0.0.1"}), [("advice", "older-version")]),
        ("no_traffic", status(counters={"messages": {}}), [("warning", "no-traffic")]),
        ("other_ports", flow(UDP, 40000, 5080), [("warning", "other-port")]),
        ("other_ports", flow(UDP, 5060, 9999), [("warning", "other-port")]),
        ("elsewhere", flow(UDP, 5060, 5060, leaves_as="198.51.100.9"), [("warning", "leaves-elsewhere")]),
        ("elsewhere", flow(UDP, 5060, 5060, leaves_as="192.168.33.11"), [("warning", "leaves-untranslated")]),
        ("streams", flow(TCP, 40000, 5060), [("warning", "tcp")]),
        (
            "streams",
            flow(TCP, 40000, 5060) | {"settings": replace(SETTINGS, tcp="plain")},
            [("warning", "tcp")],
        ),
        ("streams", flow(TCP, 40000, 5061), [("advice", "tls")]),
        ("nat_ahead", status(counters={"seen_as": {"100.64.0.7": 2}}), [("warning", "nat-ahead")]),
        (
            "nat_ahead",
            status(counters={"seen_as": {"another port": 2, "100.64.0.7": 2}}),
            [("warning", "nat-ahead"), ("warning", "nat-ahead")],
        ),
        (
            "short_timeout",
            status(phones=[SILENT]),
            [("warning", "short-sip-timeout")],
        ),
        ("nat_aware", status(phones=[{"private": "x", "nat_aware": True}]), [("advice", "nat-aware")]),
        ("troubles", status(warnings=["w"], notes=["n"]), [("warning", "daemon-says"), ("advice", "daemon-says")]),
        (
            "troubles",
            status(counters={"commands_that_the_kernel_refused": {"kernel-error": 2}}),
            [("warning", "kernel-refused")],
        ),
    ],
)
def test_what_is_ill_is_said(check: str, ill: dict[str, Any], findings: list[tuple[str, str]]) -> None:
    assert found(getattr(traffic_checks, check), replace(WELL, **ill)) == findings


def test_silence_right_after_the_start_says_nothing() -> None:
    ill = status(counters={"messages": {}}, status={"uptime_s": 30.0})
    assert found(traffic_checks.no_traffic, replace(WELL, **ill)) == []


@pytest.mark.parametrize(
    "well",
    [
        # Of another service, of a phone that is served already, to a network that isn't translated, not by UDP.
        flow(UDP, 5060, 123),
        flow(UDP, 5060, 9999, host="192.168.33.10"),
        {**flow(UDP, 5060, 5080), "settings": replace(SETTINGS, exempt=(IPv4Network("203.0.113.0/24"),))},
        flow(TCP, 5060, 5080),
        flow(UDP, 5060, 5080, leaves_as="198.51.100.9"),
    ],
)
def test_what_isnt_sip_to_other_ports(well: dict[str, Any]) -> None:
    assert found(traffic_checks.other_ports, replace(WELL, **well)) == []


@pytest.mark.parametrize(
    "well",
    [
        flow(TCP, 5060, 5060, leaves_as="198.51.100.9"),
        flow(UDP, 5060, 5080, leaves_as="198.51.100.9"),
        {**flow(UDP, 5060, 5060, leaves_as="198.51.100.9"), "nat": NatAddress("")},
        {
            **flow(UDP, 5060, 5060, leaves_as="192.168.33.11"),
            "settings": replace(SETTINGS, exempt=(IPv4Network("203.0.113.0/24"),)),
        },
    ],
)
def test_what_may_leave_elsewhere(well: dict[str, Any]) -> None:
    assert found(traffic_checks.elsewhere, replace(WELL, **well)) == []


def test_the_remedy_names_the_ports() -> None:
    (finding,) = traffic_checks.other_ports(replace(WELL, **flow(UDP, 40000, 5080)))
    assert finding.text.startswith("port 5080/udp outside is used by 192.168.33.11 ")
    assert finding.text.endswith("set ports=5060,5061,5080")
    full = replace(SETTINGS, ports=tuple(range(6000, 6008)))
    (finding,) = traffic_checks.other_ports(replace(WELL, settings=full, **flow(UDP, 40000, 5080)))
    assert finding.text.endswith("in the place of another, 8 are possible")


def test_where_servers_see_the_phones_is_named() -> None:
    counters = {"seen_as": {"100.64.0.7": 1, "another port": 1}}
    ill = status(counters=counters, status={"advertised_address": "192.0.2.1"})
    address, port = traffic_checks.nat_ahead(replace(WELL, **ill))
    assert address.text.startswith("servers see address 100.64.0.7 (received, rport) instead of 192.0.2.1: ")
    assert port.text.startswith("servers see another port (received, rport) instead of 192.0.2.1: another NAT")


def test_of_many_phones_a_few_are_named() -> None:
    phones = [{"private": f"10.0.0.{number}:5060", "nat_aware": True} for number in range(1, 9)]
    (finding,) = traffic_checks.nat_aware(replace(WELL, **status(phones=phones)))
    assert "10.0.0.5:5060 and 3 more: they" in finding.text


def test_the_remedy_names_the_timeout_and_is_said_once() -> None:
    (finding,) = traffic_checks.short_timeout(replace(WELL, **status(phones=[SILENT])))
    assert finding.text.startswith("192.168.33.10:5060 is registered at 203.0.113.50 for 1h, and sip-timeout is 1h")
    assert finding.text.endswith("sip-timeout=2h would do")
    # The running ALG warns with the same words, of which the doctor keeps the first.
    ill = status(phones=[SILENT], warnings=[finding.text])
    assert [one.text for one in traffic_checks.troubles(replace(WELL, **ill))] == [finding.text]


def test_a_phone_of_another_version_s_status_is_left_out() -> None:
    ill = status(phones=[{"private": "x", "sip_timeout_needed_s": 7200.0}])
    assert found(traffic_checks.short_timeout, replace(WELL, **ill)) == []
