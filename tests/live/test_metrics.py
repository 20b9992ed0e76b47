"""`sipalg metrics` of a running ALG."""

from __future__ import annotations

import socket
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.live.router import Router, exchange, register

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]


def test_a_registration_is_counted(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    exchange(phone, server, register())
    text = router.net.run("router", sys.executable, "-m", "sipalg", "metrics", "--socket", router.socket)
    found = {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["sipalg_up", ""] == 1
    assert found["sipalg_requests_total", "REGISTER"] == 1
    assert found["sipalg_packets_total", "replaced"] == 1
    assert found["sipalg_events_total", "mapping-opened"] == 1
    assert found["sipalg_mappings", ""] == 1
    assert 0 < found["sipalg_commands_seconds_total", ""] < found["sipalg_packet_handling_seconds_total", ""]
    assert 0 < found["sipalg_packet_handling_seconds_total", ""] < found["sipalg_uptime_seconds", ""]
    assert found["sipalg_cpu_seconds_total", ""] > 0
