"""Spans replaced, and every other byte as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.changes import Changes, edit_by_parts, edited, replace_by_parts, replaced
from sipalg.engine.verdict import REPLACE, Verdict

DATA = b"0123456789"


def by_parts(data: bytes, changes: Changes) -> bytes:
    return edit_by_parts(data, changes, {})


@pytest.mark.parametrize("edit", [edited, by_parts])
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ([], DATA),
        ([(0, 0, b"a", "")], b"a0123456789"),
        ([(0, 1, b"", ""), (3, 2, b"abc", ""), (9, 1, b"z", "")], b"12abc5678z"),
        ([(2, 3, b"x", ""), (5, 0, b"y", "")], b"01xy56789"),
        ([(10, 0, b"end", "")], b"0123456789end"),
        # Two that overlap, which nobody makes.
        ([(2, 4, b"x", ""), (3, 1, b"y", "")], b"01xy456789"),
        ([(8, 5, b"x", "")], b"01234567x"),
    ],
)
def test_changes(edit: object, changes: list[tuple[int, int, bytes, str]], text: bytes) -> None:
    assert callable(edit)
    assert edit(DATA, changes) == text


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.binary(max_size=9))))
def test_any_in_order(data: bytes, steps: list[tuple[int, int, bytes]]) -> None:
    changes = []
    expected = b""
    position = 0
    for gap, length, replacement in steps:
        offset = position + gap
        if offset + length > len(data):
            break
        changes.append((offset, length, replacement, "rule"))
        expected += data[position:offset] + replacement
        position = offset + length
    assert edited(data, changes) == by_parts(data, changes) == expected + data[position:]


@pytest.mark.parametrize("make", [replaced, replace_by_parts])
def test_a_verdict_is_made_and_its_rules_are_counted(make: object) -> None:
    assert callable(make)
    changes = [(8, 1, b"x", "contact"), (1, 2, b"ab", "via"), (4, 0, b"", "via")]
    counts = {"via": 1}
    verdict = make(Verdict, DATA, changes, counts)
    assert isinstance(verdict, Verdict)
    assert verdict == Verdict(REPLACE, b"0ab34567x9", tuple(sorted(changes)), (), "", 0)
    assert counts == {"via": 3, "contact": 1}
