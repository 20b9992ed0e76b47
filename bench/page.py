"""The page of results, bench/RESULTS.md: sections that are measured and replaced one by one, and a first table.

A section carries its claims (what was wanted, what was measured, whether that is met) as comments that nobody sees;
the page's first table is made of those of all sections, so that one section can be measured again and the table stays
true. The end of the benchmarks' way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_TITLE: Final = "# Results"
_SUMMARY: Final = "## Wanted, measured, met"
_BEGIN: Final = re.compile(r"^<!-- section (\w+) -->$", re.MULTILINE)
_CLAIM: Final = re.compile(r"^<!-- claim \|(.*)\| -->$", re.MULTILINE)
_MET: Final = {True: "yes", False: "**no**", None: ""}


class Claim(NamedTuple):
    """What is wanted of a figure and what it was; `met` is None where nothing is wanted."""

    what: str
    wanted: str
    measured: str
    met: bool | None


class Section(NamedTuple):
    """A part of the page: its name (`--only`), its heading, its lines of Markdown, and what it says of the goals."""

    name: str
    heading: str
    lines: Sequence[str]
    claims: Sequence[Claim]


def text_of(section: Section) -> str:
    """Return a section as it stands on the page."""
    hidden = [f"<!-- claim | {' | '.join((*one[:3], _MET[one.met]))} | -->" for one in section.claims]
    lines = (f"<!-- section {section.name} -->", *hidden, f"## {section.heading}", "", *section.lines)
    return "\n".join(lines).rstrip("\n") + "\n"


def with_section(page: str, section: Section, order: Sequence[str]) -> str:
    """Return the page with this section in its place by `order`, the others as they were, and the first table anew.

    A page without sections (an older one, or none) is replaced.
    """
    parts = sections_of(page)
    parts[section.name] = text_of(section)
    kept = [parts[name] for name in (*order, *(name for name in parts if name not in order)) if name in parts]
    return "\n".join([_TITLE, "", *summary("\n".join(kept)), "", *kept])


def sections_of(page: str) -> dict[str, str]:
    """Return the page's sections by their names, each with its comments."""
    starts = list(_BEGIN.finditer(page))
    ends = [*(start.start() for start in starts), len(page)][1:]
    return {start[1]: page[start.start() : end].rstrip("\n") + "\n"
            for start, end in zip(starts, ends, strict=bool(starts))}  # fmt: skip


def summary(text: str) -> list[str]:
    """Return the first table's lines, from the claims in a text."""
    rows = [f"|{claim[1]}|" for claim in _CLAIM.finditer(text)]
    return [_SUMMARY, "", "| what | wanted | measured | met |", "|---|---|---|---|", *rows]
