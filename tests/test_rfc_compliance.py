"""The table of what is done names tests and lab scenarios: each of them has to exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipalg.lab import scenarios

TESTS = Path(__file__).parent
TABLE = (TESTS.parent / "docs" / "rfc-compliance.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", TABLE)))


def test_the_table_names_tests() -> None:
    assert len(NAMED) > 50


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_named_test_exists(file: str, test: str) -> None:
    text = (TESTS / file).read_text(encoding="utf-8")
    assert re.search(rf"def {test or 'test_'}\b" if test else r"def test_|class Test|TestCase", text)


def test_named_scenarios_exist() -> None:
    named = set(re.findall(r"lab `([\w-]+)`", TABLE))
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(scenarios.__path__[0]).glob("*.py"))
    assert named
    assert [name for name in named if f'"{name}"' not in sources] == []


def test_every_line_has_a_state() -> None:
    rows = [line.split(" | ") for line in TABLE.splitlines() if line.startswith("| ") and " | what | " not in line]
    assert {row[2] for row in rows} == {"done", "part", "not", "leaves"}
