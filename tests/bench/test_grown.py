"""Growth in the live process: a few phones, and more than have an address each, with every message right."""

from __future__ import annotations

import pytest
from bench.figures import Share
from bench.grown import Grown, measure, table
from tests.bench.test_loop import WHY_NOT


@pytest.mark.lab
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.parametrize("phones", [70, 1100])
def test_every_message_is_right(phones: int) -> None:
    found = measure(phones, 0.3)
    assert found.phones == phones
    assert found.checked >= 2 * phones
    assert found.own_us > 0


def test_the_table_has_each_size_s_middle_run() -> None:
    runs = [Grown(100, 9.0, Share(own, 2.0, 0.0, 40.0), 10) for own in (6.0, 2.0, 4.0)]
    rows = table([Grown(1000, 8.0, Share(10.0, 2.0, 0.0, 50.0), 1200), *runs])
    assert rows[2:] == [
        "| 100 | 9 | 3.0 | 2.0 | 1.0 | 1.00 | 20.0 | 10, all right |",
        "| 1,000 | 8 | 6.0 | 5.0 | 1.0 | 2.00 | 25.0 | 1,200, all right |",
    ]
