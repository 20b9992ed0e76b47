"""Each of the thirty-two cases has a test: a function named after it, one in its own file, or a row that names it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
CASES = range(1, 33)
_OF_A_FILE = re.compile(r"test_case_(\d+)_")
_OF_A_TEST = re.compile(r"test_cases?_(\d+(?:_and_\d+)*)_")
_OF_A_ROW = re.compile(r"case (\d+)\b")


def cases_of(name: str, source: str) -> set[int]:
    """The cases that a file's test functions are of: by their names, their rows' ids, or as all of a file of one."""
    found: set[int] = set()
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        of_file = _OF_A_FILE.match(name)
        if of_file:
            found.add(int(of_file[1]))
        of_test = _OF_A_TEST.match(node.name)
        if of_test:
            found |= {int(number) for number in of_test[1].split("_and_")}
        for part in [part for decorator in node.decorator_list for part in ast.walk(decorator)]:
            if isinstance(part, ast.keyword) and part.arg == "id" and isinstance(part.value, ast.Constant):
                found |= {int(number) for number in _OF_A_ROW.findall(str(part.value.value))}
    return found


def test_a_file_without_its_tests_counts_for_nothing() -> None:
    assert cases_of("test_case_01_invite", "def invites(): ...\n") == set()
    assert cases_of("test_cases_04_05_lists", "def test_lists(): ...\n") == set()
    assert cases_of("test_case_01_invite", "def test_invite(): ...\n") == {1}
    assert cases_of("test_lists", "@rows([row(1, id='case 4: three')])\ndef test_lists(): ...\n") == {4}
    assert cases_of("test_both", "def test_cases_7_and_9_together(): ...\n") == {7, 9}


def test_every_case_has_its_test() -> None:
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        found |= cases_of(path.stem if path.parent == TESTS / "cases" else "", path.read_text(encoding="utf-8"))
    assert sorted(set(CASES) - found) == []
