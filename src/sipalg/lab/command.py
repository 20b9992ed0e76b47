"""`sipalg lab`: the scenarios in network namespaces, without an ALG, with Linux's own helper and with sipalg.

As root it works as it is; as anybody else it starts itself once more in a user namespace of its own, where the
system allows that. On a packet's way this is the command that lets one see the whole of it on one machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, TextIO

from sipalg.lab.firewall import load, rules
from sipalg.lab.programs import missing_packages
from sipalg.lab.runner import LABS_AT_ONCE, Run, all_as_expected, plan, run_all
from sipalg.lab.scenario import Outcome
from sipalg.lab.scenarios import SCENARIOS
from sipalg.lab.stage import MODES, Mode
from sipalg.lab.table import columns, list_entry, print_table, progress_line, to_json
from sipalg.lab.topology import LabError, Topology, may_administer, mount_own_run, namespaces_refused

#: Set in the copy of itself that runs in a user namespace, so that there is only one.
_INSIDE: Final = "SIPALG_LAB_USER_NAMESPACE"
#: What ends a lab early; a supervisor's SIGTERM as Ctrl-C does.
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--net", "--mount")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `sipalg lab`."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="only this scenario, or those whose names begin so or match (hair*)"
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="the same as NAME (repeatable)")
    parser.add_argument("--mode", action="append", choices=MODES, default=[], help="only this mode (repeatable)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and where each one has to fail")
    parser.add_argument("--json", action="store_true", help="the results as JSON on standard output")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep captures and logs in DIR, a folder a run")
    parser.add_argument(
        "--at-once", type=int, default=LABS_AT_ONCE, metavar="N", help=f"labs side by side ({LABS_AT_ONCE})"
    )


def main(args: argparse.Namespace) -> int:
    """Run what was asked for.

    0: all is ok with sipalg, and failed where it has to fail · 1: something wasn't as declared · 2: can't be run here.
    """
    try:
        runs = plan(SCENARIOS, args.mode or MODES, args.names + args.only)
    except ValueError as error:
        return _refuse(str(error))
    if args.list:
        _list(runs)
        return 0
    if args.at_once < 1:
        return _refuse("--at-once has to be 1 or more")
    missing = missing_packages()
    if missing:
        return _refuse(f"programs are missing; install them with: apt-get install {' '.join(missing)}")
    if not may_administer() and _INSIDE not in os.environ:
        return _again_in_user_namespace()
    try:
        if _INSIDE in os.environ:
            mount_own_run()
        refused = namespaces_refused()
    except LabError as error:
        refused = str(error)
    if refused:
        return _refuse(refused)
    unfit = _unfit(args.keep) if args.keep is not None else ""
    if unfit:
        return _refuse(f"--keep {args.keep}: {unfit}; name a directory that can be written to, such as /var/tmp/lab")
    if any(run.mode == "kernel" for run in runs) and (without := _kernel_helper_refused()):
        _say(sys.stderr, f"sipalg lab: left out: Linux's own SIP helper, which this kernel doesn't give: {without}")
        runs = [run for run in runs if run.mode != "kernel"]
    return _run(runs, args)


def _run(runs: list[Run], args: argparse.Namespace) -> int:
    progress = sys.stderr if args.json else sys.stdout
    outcomes: list[Outcome] = []
    caught: list[int] = []
    before = {number: signal.signal(number, lambda number, _: caught.append(number)) for number in _ENDING}
    try:
        side_by_side = f", {args.at_once} at a time" if len(runs) > 1 else ""
        _say(progress, _runs(len(runs)) + side_by_side)
        for outcome in run_all(runs, args.keep, args.at_once, asked_to_end=lambda: bool(caught)):
            outcomes.append(outcome)
            _say(progress, progress_line(len(outcomes), len(runs), outcome, columns(progress)))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    ladder = next((outcome.ladder for outcome in outcomes if outcome.ladder), "")
    good = all_as_expected(outcomes)
    if args.json:
        print(to_json(SCENARIOS, outcomes, ladder, good))
        return 0 if good else 1
    print_table(SCENARIOS, outcomes, sys.stdout, columns(sys.stdout))
    if ladder:
        print(f"One call through sipalg, seen on both sides of the router\n\n{ladder}\n")
    print(_summary(outcomes))
    return 0 if good else 1


def _summary(outcomes: list[Outcome]) -> str:
    wrong = [outcome for outcome in outcomes if not outcome.expected]
    if not wrong:
        failed = sum(not outcome.ok for outcome in outcomes)
        if len(outcomes) == 1:
            return f"The run came out as declared{': it had to fail and did' if failed else ''}."
        return f"All {len(outcomes)} runs came out as declared; {failed} of them had to fail and did."
    names = ", ".join(f"{outcome.scenario} ({outcome.mode})" for outcome in wrong)
    return f"{len(wrong)} of {_runs(len(outcomes))} did not come out as declared: {names}"


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _list(runs: list[Run]) -> None:
    modes: dict[str, list[Mode]] = {}
    for run in runs:
        modes.setdefault(run.scenario.name, []).append(run.mode)
    for scenario in SCENARIOS:
        if scenario.name in modes:
            fails = ", ".join(mode for mode in modes[scenario.name] if mode in scenario.fails_in)
            print(list_entry(scenario, fails, columns(sys.stdout)))


def _again_in_user_namespace() -> int:
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode:
        return _refuse("needs root, since this system allows no unprivileged user namespaces")
    argv = [*_UNSHARE, sys.executable, "-m", "sipalg", *sys.argv[1:]]
    return subprocess.run(argv, env=os.environ | {_INSIDE: "1"}, check=False).returncode


def _unfit(directory: Path) -> str:
    """Make the directory if there is none; return why nothing can be kept there, "" if it can."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _kernel_helper_refused() -> str:
    """Say why Linux's own SIP helper can't be had here, "" if it can."""
    try:
        with Topology(("phone1",)) as net:
            load(net, rules(kernel_helper=True))
    except LabError as error:
        return str(error)
    return ""


def _refuse(reason: str) -> int:
    print(f"sipalg lab: {reason}", file=sys.stderr)
    return 2


def _say(file: TextIO, line: str) -> None:
    print(line, file=file, flush=True)
