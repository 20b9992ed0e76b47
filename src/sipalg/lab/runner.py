"""Running the table: scenarios × modes, several at once, since most of their time is waiting.

On a packet's way this is above everything: it starts labs side by side, each with namespaces of its own, and collects
what came of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from sipalg.lab.gate import Gate
from sipalg.lab.ladder import draw_ladder
from sipalg.lab.programs import interrupted
from sipalg.lab.scenario import Outcome, Scenario, run_scenario
from sipalg.lab.stage import Mode, Stage

#: Labs at once. More would make two cores late for 20 ms audio.
LABS_AT_ONCE: Final = 6
#: How often it is asked whether to end early.
LOOK_S: Final = 0.25
#: The scenario whose ladder is drawn, in sipalg's mode, if more than one is run.
LADDER_OF: Final = "call-out"
_GATE: Final = Gate()


class Run(NamedTuple):
    """One cell of the table: a scenario in a mode."""

    scenario: Scenario
    mode: Mode


def plan(scenarios: Sequence[Scenario], modes: Sequence[Mode], only: Sequence[str] = ()) -> list[Run]:
    """List what is to be run, in the table's order; `only` are as :func:`named` reads them, none means all.

    Raises ValueError with one line if one of `only` names no scenario.
    """
    names = [scenario.name for scenario in scenarios]
    wanted = {name for word in only for name in named(word, names)} if only else set(names)
    return [
        Run(scenario, mode)
        for scenario in scenarios
        if scenario.name in wanted
        for mode in modes
        if mode in scenario.modes
    ]


def named(word: str, names: Sequence[str]) -> list[str]:
    """Say which names a word stands for: the one that it is, else those that begin with it or match its wildcards.

    Raises ValueError with one line if there are none.
    """
    found = [word] if word in names else [name for name in names if fnmatchcase(name, f"{word}*")]
    if not found:
        raise ValueError(f"no scenario is called {word}; there are: {', '.join(names)}")
    return found


def run_all(
    runs: Sequence[Run],
    keep: Path | None = None,
    labs_at_once: int = LABS_AT_ONCE,
    play: Callable[..., Outcome] = run_scenario,
    asked_to_end: Callable[[], bool] = lambda: False,
) -> Generator[Outcome, None, None]:
    """Run everything and yield each outcome as it comes; leaving the iterator early ends what is still running.

    `keep` is a directory that gets one folder of captures and logs a run; `play` is what runs one of them. Raises
    KeyboardInterrupt soon after `asked_to_end` says so. A signal's handler must not raise it here: waiting for
    several futures locks them one after the other, and between two of them an exception would leave a lock held.
    """
    interrupted.clear()
    with ThreadPoolExecutor(labs_at_once) as pool:
        try:
            names = {run.scenario.name for run in runs}
            ladder_of = LADDER_OF if len(names) > 1 else "".join(names)
            # Those that have to be alone last: whoever waits at the gate is in the way of those behind.
            in_order = sorted(runs, key=lambda run: run.scenario.alone)
            left = {submit(pool, run, keep, play, ladder_of) for run in in_order}
            while left:
                done, left = wait(left, LOOK_S, FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                if asked_to_end():
                    raise KeyboardInterrupt
        except BaseException:
            interrupted.set()
            pool.shutdown(cancel_futures=True)
            raise


def submit(
    pool: ThreadPoolExecutor,
    run: Run,
    keep: Path | None = None,
    play: Callable[..., Outcome] = run_scenario,
    ladder_of: str = LADDER_OF,
) -> Future[Outcome]:
    """Hand one run to a pool; if it is sipalg's of the scenario `ladder_of`, its ladder is drawn."""
    directory = None if keep is None else keep / f"{run.scenario.name}-{run.mode}"
    draw = _draw if run.scenario.name == ladder_of and run.mode == "sipalg" else None
    return pool.submit(_play, play, run, directory, draw)


def _play(
    play: Callable[..., Outcome], run: Run, directory: Path | None, draw: Callable[[Stage], str] | None
) -> Outcome:
    with _GATE.enter(alone=run.scenario.alone):
        return play(run.scenario, run.mode, directory, draw)


def all_as_expected(outcomes: Sequence[Outcome]) -> bool:
    """Whether every run came out as declared: ok with sipalg, and failed in the controls where it has to fail."""
    return all(outcome.expected for outcome in outcomes)


def _draw(stage: Stage) -> str:
    return draw_ladder(stage.inside(), stage.outside())
