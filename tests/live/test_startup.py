"""A start with an earlier process's state: what is left behind is what the start finds."""

from __future__ import annotations

import pytest
from bench.startup import measure

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]


def test_a_few_phones_go_on() -> None:
    found = measure(20)
    assert (found.phones, found.mappings, found.contacts) == (20, 20, 20)
    assert found.cpu_s > 0
    assert found.ready_s > 0
