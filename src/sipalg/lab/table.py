"""The lab's output for people and for programs: progress lines, the table, JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from textwrap import wrap
from typing import Final, TextIO

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from sipalg.lab.scenario import Outcome, Scenario
from sipalg.lab.stage import Mode

TITLES: Final[dict[Mode, str]] = {"none": "no ALG", "kernel": "kernel's helper", "sipalg": "sipalg"}
#: Fewer columns than this make a table's cells too narrow to read; then each run has a line of its own.
NARROWEST: Final = 100
#: Where nothing says how wide the reader's lines are.
_USUAL: Final = 110


_Row = tuple[Scenario, Sequence[Outcome | None]]


def verdict(outcome: Outcome) -> str:
    """Say in a few words what came of a run, and whether that's against what is declared."""
    if outcome.broken:
        return f"lab broken: {outcome.why}"
    if outcome.ok:
        if not outcome.expected:
            return "OK, but has to fail: the scenario shows nothing"
        return f"ok: {outcome.why}" if outcome.why else "ok"
    return f"fails: {outcome.why}" if outcome.expected else f"FAILS: {outcome.why}"


def progress_line(number: int, total: int, outcome: Outcome, width: int = 0) -> str:
    """One line about a run that has just ended, cut to `width` columns unless that is 0."""
    mark = " " if outcome.expected else "!"
    name = f"{outcome.scenario} · {TITLES[outcome.mode]}"
    line = f"{mark} {number:2}/{total}  {outcome.seconds:5.1f} s  {name:42} {verdict(outcome)}"
    return f"{line[: width - 1]}…" if 0 < width < len(line) else line


def list_entry(scenario: Scenario, fails: str, width: int = 0) -> str:
    """What `--list` says of a scenario: one line, or with `width` columns as many as it takes.

    `fails` are the modes that it has to fail in, "" for none.
    """
    text = f"{scenario.name:24} {scenario.shows}{f' (has to fail: {fails})' if fails else ''}"
    return "\n".join(wrap(text, max(width, 40), subsequent_indent=" " * 25, break_on_hyphens=False)) if width else text


def columns(file: TextIO) -> int:
    """How many columns a terminal has, 0 if `file` is none."""
    return shutil.get_terminal_size().columns if file.isatty() else 0


def print_table(
    scenarios: Sequence[Scenario], outcomes: Sequence[Outcome], file: TextIO, width: int = 0
) -> None:
    """Print what came of each scenario in each mode: a row a scenario that was run, a column a mode that was run.

    `width` is the reader's columns, 0 if unknown; where they are few, a scenario's modes stand below each other.
    """
    modes = [mode for mode in TITLES if any(outcome.mode == mode for outcome in outcomes)]
    cells = {(outcome.scenario, outcome.mode): outcome for outcome in outcomes}
    rows = [(scenario, [cells.get((scenario.name, mode)) for mode in modes]) for scenario in scenarios]
    rows = [(scenario, row) for scenario, row in rows if any(row)]
    narrow = 0 < width < NARROWEST
    console = Console(file=file, width=width or _USUAL, highlight=False)
    console.print(_list(modes, rows) if narrow else _table(modes, rows))


def _table(modes: Sequence[Mode], rows: Sequence[_Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)
    for title in ("scenario", *(TITLES[mode] for mode in modes)):
        table.add_column(title, ratio=1)
    for scenario, row in rows:
        table.add_row(_name(scenario), *(_cell(outcome) for outcome in row))
    return table


def _list(modes: Sequence[Mode], rows: Sequence[_Row]) -> Group:
    shown: list[Text | Table] = []
    for scenario, row in rows:
        below = Table.grid(padding=(0, 2, 0, 0))
        for mode, outcome in zip(modes, row, strict=True):
            if outcome is not None:
                below.add_row(Text(f"  {TITLES[mode]}"), _cell(outcome))
        shown += [_name(scenario), below, Text()]
    return Group(*shown)


def to_json(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome], ladder: str, as_expected: bool) -> str:
    """Write everything as JSON; the runs are in the order in which they ended."""
    shows = {scenario.name: scenario.shows for scenario in scenarios}
    runs = [
        {
            "scenario": outcome.scenario,
            "shows": shows[outcome.scenario],
            "mode": outcome.mode,
            "ok": outcome.ok,
            "why": outcome.why,
            "as_expected": outcome.expected,
            "lab_broken": outcome.broken,
            "seconds": round(outcome.seconds, 2),
        }
        for outcome in outcomes
    ]
    return json.dumps({"as_expected": as_expected, "runs": runs, "ladder": ladder}, indent=2)


def _name(scenario: Scenario) -> Text:
    return Text.assemble((scenario.name, "bold"), "\n", (scenario.shows, "dim"))


def _cell(outcome: Outcome | None) -> Text:
    if outcome is None:
        return Text("–", "dim")
    words = verdict(outcome)
    return Text(words, "bold red" if not outcome.expected else "green" if outcome.ok else "")
