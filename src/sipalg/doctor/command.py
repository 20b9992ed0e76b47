"""`sipalg doctor`: says in one line each what stands in the way of SIP on this router, and what to do about it.

Facts come from `gather`, what they mean from the checks; here is what people read, or a program as JSON. Changes
nothing. On a packet's way this is beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from sipalg.capture import arguments
from sipalg.control.settings import values
from sipalg.control.settings.file import DEFAULT_FILE, FILE_VARIABLE, settings_path
from sipalg.control.settings.model import Settings, contradiction, incomplete
from sipalg.control.socket.client import SOCKET_HELP, socket_path
from sipalg.datapath.preflight import Finding
from sipalg.doctor import router_checks, traffic_checks
from sipalg.doctor.facts import Facts
from sipalg.doctor.gather import ask_daemon, gather, look_at_file

CHECKS: Final = (*router_checks.CHECKS, *traffic_checks.CHECKS)

#: Severity → what people read, the exit code that it makes, worst first.
_SEVERITIES: Final = {"error": ("error", 2), "warning": ("warning", 1), "advice": ("note", 0)}

_NARROWEST: Final = 40
_INDENT: Final = "    "


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--json", action="store_true", help="print what was found as one JSON object")
    interface = values.argument(values.interface)
    add("--inside", action="append", type=interface, metavar="NAME", help="an interface with phones")
    add("--outside", type=interface, metavar="NAME", help="the interface towards the SIP servers")
    add("--ports", type=arguments.ports, help="the SIP servers' ports")
    exempt = "a remote network that isn't NATed"
    add("--except", action="append", dest="exempt", type=arguments.network, metavar="CIDR", help=exempt)
    add("--config", metavar="PATH", help=f"the settings file (default: ${FILE_VARIABLE} or {DEFAULT_FILE})")
    add("--socket", metavar="PATH", help=SOCKET_HELP)


def main(args: argparse.Namespace) -> int:
    """Look, print, and return 0 where all is well, 1 for warnings, 2 for what stops calls or can't be begun."""
    known = look_at_file(ask_daemon(socket_path(args.socket)), settings_path(args.config))
    known = with_arguments(known, args)
    wrong = incomplete(known.settings) or contradiction(known.settings)
    if wrong:
        why = "; ".join(text for text in (known.file_problem, known.daemon_says) if text)
        why = f" ({why})" if why else ""
        sys.stderr.write(f"sipalg doctor: --{wrong[0]} {wrong[1]}{why}\n")
        return 2
    facts = gather(known)
    findings = judge(facts)
    if args.json:
        sys.stdout.write(json.dumps(as_json(facts, findings), indent=2) + "\n")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.writelines(f"{line}\n" for line in lines(facts, findings, width))
    return exit_code(findings)


def with_arguments(known: Facts, args: argparse.Namespace) -> Facts:
    """Return the facts with the settings that the command line names in the place of others."""
    given: dict[str, Any] = {
        "inside": tuple(dict.fromkeys(args.inside)) if args.inside else None,
        "outside": args.outside,
        "ports": args.ports,
        "exempt": tuple(args.exempt) if args.exempt else None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return known
    settings: Settings = replace(known.settings, **changes)
    source = "the command line" if known.settings == Settings() else f"{known.source} and the command line"
    return replace(known, settings=settings, source=source)


def judge(facts: Facts) -> list[Finding]:
    """Return everything that the checks find, worst first, each text once."""
    found: dict[str, Finding] = {}
    for check in CHECKS:
        for finding in check(facts):
            found.setdefault(finding.text, finding)
    order = list(_SEVERITIES)
    return sorted(found.values(), key=lambda finding: order.index(finding.severity))


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 2 where something stops calls, 1 where there are warnings, else 0."""
    return max((_SEVERITIES[finding.severity][1] for finding in findings), default=0)


def lines(facts: Facts, findings: list[Finding], width: int | None = None) -> Iterator[str]:
    """Yield what people read, wrapped for a terminal of that width; a pipe (None) gets each finding in one line."""
    for line in _told(facts, findings):
        if width is None:
            yield line
        else:
            width = max(width, _NARROWEST)
            # No word is cut: an option or an address is to be found and copied whole.
            yield from textwrap.wrap(
                line, width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
            )


def _told(facts: Facts, findings: list[Finding]) -> Iterator[str]:
    yield f"settings are those of {facts.source}"
    for finding in findings:
        yield f"{_SEVERITIES[finding.severity][0]}: {finding.text}"
    for what, why in facts.unseen:
        yield f"not looked at: {what}: {why}"
    if not exit_code(findings):
        yield "nothing that was looked at stands in the way" if facts.unseen else "all well: nothing stands in the way"


def as_json(facts: Facts, findings: Iterable[Finding]) -> dict[str, Any]:
    """Return what programs read; `verdict` is the exit code."""
    found = list(findings)
    return {
        "verdict": exit_code(found),
        "settings_of": facts.source,
        "findings": [finding._asdict() for finding in found],
        "not_looked_at": [unseen._asdict() for unseen in facts.unseen],
    }
