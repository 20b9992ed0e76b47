"""The bench of a start, as far as it needs no kernel; the start itself is in tests/live."""

from __future__ import annotations

import pytest
from bench.startup import main


def test_what_isnt_a_number_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["many"]) == 2
    assert capsys.readouterr().err == "phones: 'many' is no number; give a whole one, such as 100000\n"
