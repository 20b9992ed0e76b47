"""The captures of the tests of analysis, and a registration with a call on both sides of a router."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.conftest import Talk, Write, talk, write

from sipalg.analysis.files import Captures
from sipalg.browse.sources import CapturedCalls

__all__ = ["talk", "write"]


@pytest.fixture
def capture(talk: Talk, write: Write) -> Path:
    return write(talk)


@pytest.fixture
def calls(capture: Path) -> CapturedCalls:
    return CapturedCalls(Captures([capture]))
