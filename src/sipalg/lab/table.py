"""The lab's output for people and for programs: progress lines, the table, JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sipalg.lab.scenario import Outcome, Scenario
from sipalg.lab.stage import Mode

TITLES: Final[dict[Mode, str]] = {"none": "no ALG", "kernel": "kernel's helper", "sipalg": "sipalg"}
_NARROWEST: Final = 110


def verdict(outcome: Outcome) -> str:
    """Say in a few words what came of a run, and whether that's against what is declared."""
    if outcome.broken:
        return f"lab broken: {outcome.why}"
    if outcome.ok:
        if not outcome.expected:
            return "OK, but has to fail: the scenario shows nothing"
        return f"ok: {outcome.why}" if outcome.why else "ok"
    return f"fails: {outcome.why}" if outcome.expected else f"FAILS: {outcome.why}"


def progress_line(number: int, total: int, outcome: Outcome) -> str:
    """One line about a run that has just ended."""
    mark = " " if outcome.expected else "!"
    name = f"{outcome.scenario} · {TITLES[outcome.mode]}"
    return f"{mark} {number:2}/{total}  {outcome.seconds:5.1f} s  {name:42} {verdict(outcome)}"


def print_table(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome], file: TextIO) -> None:
    """Print scenario × mode: a row a scenario that was run, a column a mode that was run."""
    modes = [mode for mode in TITLES if any(outcome.mode == mode for outcome in outcomes)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)
    table.add_column("scenario", ratio=4)
    for mode in modes:
        table.add_column(TITLES[mode], ratio=4)
    cells = {(outcome.scenario, outcome.mode): outcome for outcome in outcomes}
    for scenario in scenarios:
        row = [cells.get((scenario.name, mode)) for mode in modes]
        if any(row):
            table.add_row(_name(scenario), *(_cell(outcome) for outcome in row))
    width = max(_NARROWEST, shutil.get_terminal_size((_NARROWEST, 25)).columns)
    Console(file=file, width=width, highlight=False).print(table)


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
