"""What the facts say of themselves."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from sipalg.control.settings.model import Settings
from sipalg.doctor.facts import Facts, is_private


def test_the_plan_is_the_settings() -> None:
    exempt = (IPv4Network("10.0.0.0/8"),)
    plan = Facts(Settings(inside=("lan0",), outside="wan0", ports=(5070,), queue_number=7, exempt=exempt)).plan
    assert (plan.inside, plan.outside, plan.ports, plan.queue_number) == (("lan0",), "wan0", (5070,), 7)
    assert plan.exempt == exempt
    assert not plan.allow_offload
    assert Facts(Settings(mode="observe")).plan.allow_offload
    assert Facts(Settings(allow_offload=True)).plan.allow_offload


def test_a_status_that_looks_otherwise_has_nothing_in_it() -> None:
    facts = Facts(Settings(), status={"phones": [{"private": "x"}, 7], "counters": {"messages": {"200": 1}}, "x": 1})
    assert facts.rows("phones") == [{"private": "x"}]
    assert facts.rows("contacts") == facts.rows("x") == []
    assert facts.table("counters", "messages") == {"200": 1}
    assert facts.table("counters", "edits") == facts.table("x", "y") == {}


@pytest.mark.parametrize(
    ("host", "private"),
    [("10.0.0.1", True), ("172.31.255.1", True), ("192.168.0.1", True), ("172.32.0.1", False), ("100.64.0.1", False)],
)
def test_private_addresses(host: str, private: bool) -> None:
    assert is_private(host) == private
