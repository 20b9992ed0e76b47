"""The tables of what is done, and of what is kept out, name tests and lab scenarios: each of them has to exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipalg.lab import scenarios

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
TABLE = (DOCS / "rfc-compliance.md").read_text(encoding="utf-8")
SECURITY = (DOCS / "security.md").read_text(encoding="utf-8")
_NAMED = re.findall(r"`([\w/]*test_\w+\.py)(?:::(\w+))?`", TABLE + SECURITY)
NAMED = sorted(set(_NAMED))


def test_the_table_names_tests() -> None:
    assert len(NAMED) > 50


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_named_test_exists(file: str, test: str) -> None:
    text = (TESTS / file).read_text(encoding="utf-8")
    assert re.search(rf"def {test or 'test_'}\b" if test else r"def test_|class Test|TestCase", text)


def test_named_scenarios_exist() -> None:
    named = set(re.findall(r"lab `([\w-]+)`", TABLE + SECURITY))
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(scenarios.__path__[0]).glob("*.py"))
    assert named
    assert [name for name in named if f'"{name}"' not in sources] == []


def test_every_line_has_a_state() -> None:
    rows = [line.split(" | ") for line in TABLE.splitlines() if line.startswith("| ") and " | what | " not in line]
    assert {row[2] for row in rows} == {"done", "part", "not", "leaves"}


def test_every_line_of_security_has_a_test() -> None:
    rows = [line.split(" | ") for line in SECURITY.splitlines() if line.startswith("| ") and "`" in line]
    lines = [row for row in rows if not row[-1].startswith("test")]
    assert len(lines) > 40
    assert [row[0] for row in lines if not re.search(r"`[\w/]+\.py|lab `|the same", row[-1])] == []


def test_every_limit_in_policy_is_listed() -> None:
    policy = (TESTS.parent / "src/sipalg/engine/policy.py").read_text(encoding="utf-8")
    limits = re.findall(r"(?m)^(MAX_\w+): Final", policy)
    assert limits
    assert [limit for limit in limits if f"`{limit}`" not in SECURITY] == []
