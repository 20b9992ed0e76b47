"""The answers: counters, facts, and what people should know."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipalg.control.service.parts import engine_settings
from sipalg.control.service.report import Report
from sipalg.control.service.running import Service as RealService
from sipalg.control.service.unseen import Unseen
from sipalg.control.settings.model import Settings
from sipalg.control.settings.options import Options
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.nfqueue import QueueStatistics
from sipalg.datapath.nft_features import Features
from sipalg.engine.alg import Alg
from sipalg.engine.verdict import Datagram, Endpoint

VPN, SITE = IPv4Network("10.1.0.0/16"), IPv4Network("10.8.0.0/24")


class Table:
    features = Features(True, False, True, True, True, True)

    def __init__(self) -> None:
        self.queued = 100
        self.strangers = 0
        self.there = True

    def exists(self) -> bool:
        return self.there

    def packets_to_queue(self) -> int:
        return self.queued

    def packets_from_strangers(self) -> int:
        return self.strangers


class Queue:
    received = 0
    refused = 3

    def __init__(self) -> None:
        self.kernel = QueueStatistics(0, 0, 0, 0)

    def statistics(self) -> QueueStatistics:
        return self.kernel


class Service:
    """As much of a service as its report reads."""

    def __init__(self) -> None:
        settings = Settings(inside=("lan0",), outside="wan0")
        self.options = Options(settings, Path("/run/sock"), Path("/etc/file"), {"ports": "5060,5061"})
        self.alg = Alg(engine_settings(settings, "203.0.113.1", 120.0), lambda *_: False)
        self.table = Table()
        self.queue = Queue()
        log = SimpleNamespace(total=0)
        self.loop = SimpleNamespace(log=log, longest_turn_s=0.0125)
        self.driver = SimpleNamespace(
            packets=Counter(replaced=5),
            not_asked=Counter(fragment=1),
            commands_failed=Counter(),
            events=Counter({"registered": 2}),
            packets_s=0.25,
            commands_s=0.125,
            log=log,
        )
        self.warnings = ["known from the start"]
        self.nat_address = "203.0.113.1"
        self.unseen = Unseen(self.table, self.queue)
        self.inherited: list[int] = []
        self.journal = SimpleNamespace(failed=False)
        self.ports = SimpleNamespace(log=log)
        self.tcp = SimpleNamespace(
            relay=None,
            warnings=[],
            facts=lambda: {"tcp": "relay", "tcp_connections": 2},
            counters=lambda: {"tcp_connections": {"accepted": 3}},
        )

    @property
    def settings(self) -> Settings:
        return self.options.settings


@pytest.fixture
def service() -> Service:
    return Service()


def report_on(service: Service) -> Report:
    return Report(cast("RealService", service))


def status(report: Report) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(json.dumps(report.answers()["status"]()))
    return answer


def test_packets_that_passed_unseen_are_counted_and_warned_of(service: Service) -> None:
    report = report_on(service)
    service.table.queued = 150
    service.queue.received = 30
    service.queue.kernel = QueueStatistics(15, 0, 0, 45)
    answer = status(report)
    assert answer["counters"]["queue"]["passed_unseen"] == 5
    told = "5 packets passed as plain NAT, unchanged: the queue was full, or nobody took them"
    assert told in answer["warnings"]


def test_warnings_are_those_of_the_start_and_faults(service: Service) -> None:
    report = report_on(service)
    assert status(report)["warnings"] == ["known from the start"]
    service.driver.log.total = 2
    assert status(report)["warnings"][1].startswith("6 faults of sipalg itself")


def test_what_is_kept_of_earlier_calls_is_told_with_what_is_not(service: Service) -> None:
    service.inherited = [1, 2]
    (told,) = status(report_on(service))["warnings"][1:]
    assert told.startswith("2 media flows of calls that began before this start, kept open")
    assert "those calls aren't in `calls`" in told


def test_a_journal_that_can_not_be_written_is_warned_of(service: Service) -> None:
    service.journal.failed = True
    (told,) = status(report_on(service))["warnings"][1:]
    assert told.startswith("the journal beside the control socket can't be written")


def test_without_an_outside_address_it_says_so(service: Service) -> None:
    service.nat_address = ""
    (told,) = status(report_on(service))["warnings"][1:]
    assert told.startswith("wan0 has no IPv4 address")


def test_one_packet_is_one(service: Service) -> None:
    service.table.strangers = 1
    (note,) = status(report_on(service))["notes"]
    assert note.startswith("1 packet came to")


def test_an_observer_has_no_less_of_a_kernel(service: Service) -> None:
    service.options = replace(service.options, settings=replace(service.settings, mode="observe"))
    assert status(report_on(service))["status"]["kernel"][-1] == "ct timeout unused while observing"


def test_packets_from_unknown_peers_are_counted_with_what_to_do(service: Service) -> None:
    assert status(report_on(service))["notes"] == []
    service.table.strangers = 4
    answer = status(report_on(service))
    assert answer["counters"]["packets_not_let_in"] == {"from_unknown_peers": 4}
    (note,) = answer["notes"]
    assert note.startswith("4 packets came to phones' public SIP ports from unknown peers")
    assert "--trusted-peers" in note
    service.table.there = False
    assert status(report_on(service))["notes"] == []


def test_exemptions_are_told_by_whose_they_are(service: Service) -> None:
    settings = replace(service.settings, exempt=(VPN,), reserved_ports=(PortRange(7, 7), PortRange(8, 9)))
    service.options = replace(service.options, settings=settings)
    service.alg.change_settings(replace(service.alg.settings, exempt=(VPN, SITE)), 0.0)
    facts = status(report_on(service))["status"]
    assert (facts["except"], facts["except_by_the_rules"]) == (["10.1.0.0/16"], ["10.8.0.0/24"])
    assert facts["reserved_ports"] == ["7", "8-9"]


def test_the_facts(service: Service) -> None:
    facts = status(report_on(service))["status"]
    assert facts["mode"] == "enforce"
    assert (facts["disabled"], facts["sip_direct_media"]) == (False, True)
    assert (facts["settings_file"], facts["set_by_the_command_line"]) == ("/etc/file", ["ports"])
    assert facts["kernel"] == ["table with owner", "xt NFQUEUE", "ct timeout"]
    assert facts["mappings"] == 0
    answers = report_on(service).answers()
    assert answers["mappings"]() == {"mode": "enforce", "mappings": []}
    assert answers["calls"]() == {"mode": "enforce", "calls": []}


def test_why_tcp_is_not_translated_is_a_warning(service: Service) -> None:
    answer = status(report_on(service))
    assert (answer["status"]["tcp"], answer["status"]["tcp_connections"]) == ("relay", 2)
    assert answer["counters"]["tcp_connections"] == {"accepted": 3}
    service.tcp.warnings = ["SIP over TCP isn't translated: no room"]
    service.tcp.relay = SimpleNamespace(log=SimpleNamespace(total=2))
    answer = status(report_on(service))
    assert service.tcp.warnings[0] in answer["warnings"]
    assert answer["status"]["faults"] == 2


def test_metrics_are_the_numbers_of_status_without_its_lists(service: Service) -> None:
    service.driver.log.total = 1
    report = report_on(service)
    answer = json.loads(json.dumps(report.answers()["metrics"]()))
    whole = status(report)
    for changing in ("uptime_s", "processor_s"):
        assert answer["status"].pop(changing) <= whole["status"].pop(changing)
    assert answer == {"status": whole["status"], "counters": whole["counters"]}
    assert answer["counters"]["events"] == {"registered": 2}
    assert answer["status"]["packets_s"] == 0.25
    assert answer["status"]["faults"] == 3


def test_a_sip_timeout_that_is_too_short_is_warned_of_for_each_phone(service: Service) -> None:
    alg = service.alg
    phone, server = Endpoint("192.168.20.10", 5060), Endpoint("203.0.113.50", 5060)
    head = "Via: SIP/2.0/UDP {0};branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: c\r\n"
    tail = "CSeq: 1 REGISTER\r\nContact: <sip:a@{0}>;expires=3600\r\nContent-Length: 0\r\n\r\n"
    asked = ("REGISTER sip:x SIP/2.0\r\n" + head + tail).format(phone)
    alg.commands_done(alg.receive_datagram(Datagram(asked.encode(), phone, server, 17, "lan0"), 1.0).token, 1.0)
    granted = ("SIP/2.0 200 OK\r\n" + head + tail).format("203.0.113.1:5060")
    alg.receive_datagram(Datagram(granted.encode(), server, phone, 17, "wan0"), 1.0)
    answer = status(report_on(service))
    (told,) = answer["warnings"][1:]
    assert told.startswith("192.168.20.10:5060 is registered at 203.0.113.50 for 1h, and sip-timeout is 1h: ")
    assert [row["sip_timeout_needed_s"] for row in answer["phones"]] == [5400]


def test_interfaces_that_are_gone_are_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.if_nameindex", lambda: [(1, "lo"), (2, "wan0")])
    assert status(report_on(service))["status"]["missing_interfaces"] == ["lan0"]
    monkeypatch.setattr("socket.if_nameindex", lambda: [(2, "wan0"), (3, "lan0")])
    assert status(report_on(service))["status"]["missing_interfaces"] == []
