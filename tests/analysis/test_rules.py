from __future__ import annotations

import re
from pathlib import Path

from sipalg.analysis import rules
from sipalg.analysis.rules import RULES

SOURCES = sorted(Path(rules.__file__).parent.glob("*.py"))


def test_every_rule_is_used_and_says_what_breaks() -> None:
    text = "".join(path.read_text() for path in SOURCES if path.name != "rules.py")
    # Those made of a field's name or of the change's kind.
    made = {"from-changed", "to-changed", "from-tag-changed", "to-tag-changed", "field-added", "field-removed"}
    assert {name for name in RULES if f'"{name}"' not in text} <= made
    assert all(rule.breaks.endswith(".") for rule in RULES.values())


def test_every_rule_named_like_one_is_in_the_table() -> None:
    text = "".join(path.read_text() for path in SOURCES)
    found = set(re.findall(r'Found\(\s*"([a-z-]+)"', text))
    assert found
    assert found <= set(RULES)
