"""The page: a section is replaced alone, and the first table is that of all sections."""

from __future__ import annotations

from bench.page import Claim, Section, sections_of, with_section

ORDER = ["engine", "calls", "media"]


def _section(name: str, text: str, met: bool | None = True) -> Section:
    return Section(name, f"The {name}", [text], [Claim(f"{name}'s goal", "≥ 1", text, met)])


def test_sections_stand_in_their_order_and_are_replaced_alone() -> None:
    page = ""
    for section in (_section("media", "3.0"), _section("engine", "1.0"), _section("media", "4.0", met=False)):
        page = with_section(page, section, ORDER)
    assert list(sections_of(page)) == ["engine", "media"]
    assert "\n4.0\n" in page
    assert "3.0" not in page
    assert page.count("## The engine") == 1
    assert with_section(page, _section("engine", "1.0"), ORDER) == page


def test_the_first_table_holds_all_goals() -> None:
    page = with_section(with_section("", _section("engine", "1.0"), ORDER), _section("calls", "2.0", met=None), ORDER)
    head = page.partition("<!-- section")[0]
    assert head.splitlines()[2:] == [
        "## Wanted, measured, met",
        "",
        "| what | wanted | measured | met |",
        "|---|---|---|---|",
        "| engine's goal | ≥ 1 | 1.0 | yes |",
        "| calls's goal | ≥ 1 | 2.0 |  |",
        "",
    ]


def test_an_older_page_is_replaced() -> None:
    page = with_section("# Results\n\n## The engine alone\n\n| old |\n", _section("engine", "1.0"), ORDER)
    assert "old" not in page
