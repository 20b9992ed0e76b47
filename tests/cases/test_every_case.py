"""Each of the thirty-two cases has a test named after it."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
CASES = range(1, 33)
_OF_A_FILE = re.compile(r"test_cases?_([\d_]+(?:to_\d+)?)")
_OF_A_TEST = re.compile(r"def test_cases?_(\d+(?:_and_\d+)*)_")


def numbers(name: str) -> set[int]:
    """The numbers that a file's name says: `04_05_06`, or `11_to_15`."""
    if "_to_" in name:
        first, _, last = name.partition("_to_")
        return set(range(int(first), int(last) + 1))
    return {int(number) for number in name.strip("_").split("_")}


def test_every_case_has_its_test() -> None:
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        of_file = _OF_A_FILE.match(path.stem) if path.parent == TESTS / "cases" else None
        if of_file:
            found |= numbers(of_file[1])
        for of_test in _OF_A_TEST.findall(path.read_text(encoding="utf-8")):
            found |= {int(number) for number in of_test.split("_and_")}
    assert sorted(set(CASES) - found) == []
