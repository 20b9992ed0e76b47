"""The answers that need arithmetic: what passed unseen, and what people should know."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipalg.control.options import Options, configure, read
from sipalg.control.report import Report
from sipalg.control.service import Service as RealService
from sipalg.datapath.nfqueue import QueueStatistics
from sipalg.datapath.nft_rules import Features
from sipalg.engine.alg import Alg


class Table:
    features = Features(True, False, True, True, True, True)

    def __init__(self) -> None:
        self.queued = 100
        self.there = True

    def exists(self) -> bool:
        return self.there

    def packets_to_queue(self) -> int:
        return self.queued


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
        parser = argparse.ArgumentParser()
        configure(parser)
        self.options: Options = read(parser.parse_args(["--inside", "lan0", "--outside", "wan0"]))
        self.alg = Alg(self.options.engine_settings("203.0.113.1", 120.0), lambda *_: False)
        self.table = Table()
        self.queue = Queue()
        log = SimpleNamespace(total=0)
        self.loop = SimpleNamespace(log=log)
        self.driver = SimpleNamespace(
            packets=Counter(replaced=5), not_asked=Counter(fragment=1), commands_failed=Counter(), log=log
        )
        self.warnings = ["known from the start"]


@pytest.fixture
def service() -> Service:
    return Service()


def report_on(service: Service) -> Report:
    return Report(cast("RealService", service))


def status(report: Report) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(json.dumps(report.answers()["status"]()))
    return answer


def unseen(report: Report) -> int:
    count: int = status(report)["counters"]["queue"]["passed_unseen"]
    return count


def test_packets_that_never_came_are_counted_from_the_start_of_this_process(service: Service) -> None:
    report = report_on(service)
    assert unseen(report) == 0
    service.table.queued = 150
    service.queue.received = 30
    service.queue.kernel = QueueStatistics(15, 0, 0, 45)
    assert unseen(report) == 5
    assert "5 packets found the queue full and passed as plain NAT, unchanged" in status(report)["warnings"]


def test_a_table_that_was_made_anew_counts_from_zero(service: Service) -> None:
    report = report_on(service)
    service.table.queued = 20
    service.queue.received = 20
    assert unseen(report) == 0
    service.table.there = False
    assert unseen(report) == 0


def test_warnings_are_those_of_the_start_and_faults(service: Service) -> None:
    report = report_on(service)
    assert status(report)["warnings"] == ["known from the start"]
    service.driver.log.total = 2
    assert status(report)["warnings"][1].startswith("4 faults of sipalg itself")


def test_the_facts(service: Service) -> None:
    facts = status(report_on(service))["status"]
    assert facts["mode"] == "enforce"
    assert facts["kernel"] == ["table with owner", "xt NFQUEUE", "ct timeout"]
    assert facts["mappings"] == 0
    answers = report_on(service).answers()
    assert answers["mappings"]() == {"mappings": []}
    assert answers["calls"]() == {"calls": []}
