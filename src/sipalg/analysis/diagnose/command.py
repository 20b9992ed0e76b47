"""`sipalg diagnose`: what a capture says of phones, servers and the NAT between them, and whether an ALG is needed.

Facts come from one pass (`look`), what they mean from the checks and the verdict; here is what people read, or a
program as JSON. On a packet's way offline this is the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from sipalg.analysis.diagnose import call_checks, media_checks, server_checks, timing_checks
from sipalg.analysis.diagnose.facts import Facts
from sipalg.analysis.diagnose.findings import EXIT_CODES, NOTE, Finding, Wanted, counted, once_a_call, some_packets
from sipalg.analysis.diagnose.inputs import Input, Inputs, OverlapError
from sipalg.analysis.diagnose.look import look
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.diagnose.server_verdict import ServerVerdict, judge_servers
from sipalg.analysis.diagnose.verdict import PhoneVerdict, headline, judge, overall, worst_first
from sipalg.analysis.ladder import printable
from sipalg.analysis.rtp import Streams
from sipalg.capture import arguments
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import refuse_twice

CHECKS: Final = (*call_checks.CHECKS, *media_checks.CHECKS, *server_checks.CHECKS, *timing_checks.CHECKS)

_DEFAULT_PORTS: Final = (5060, 5061)
_DEFAULT_SIP_TIMEOUT_S: Final = 3600.0
#: So many findings of one kind, and phones, are shown in full; `--json` has all of them.
_MOST_ALIKE: Final = 10
#: Narrower terminals break lines by themselves.
_NARROWEST: Final = 40


class Diagnosis(NamedTuple):
    """What some files say, as one capture."""

    inputs: tuple[Input, ...]
    facts: Facts
    phones: list[PhoneVerdict]
    servers: list[ServerVerdict]
    findings: list[Finding]

    @property
    def says_nothing(self) -> bool:
        """Whether there is no SIP, and nothing wrong with media: that isn't the same as that all is well."""
        return not self.facts.messages and not self.findings

    @property
    def reasons(self) -> list[Finding]:
        """All that makes the exit code, worst first: what is said of phones, and findings, without notes."""
        of_phones = [
            why._replace(text=f"phone {phone.phone}: {why.text}")
            for phone in worst_first(self.phones)
            for why in phone.why
        ]
        weighty = (one for one in (*of_phones, *self.findings) if one.severity != NOTE)
        return sorted(weighty, key=lambda one: -EXIT_CODES[one.severity])

    @property
    def exit_code(self) -> int:
        """0 nothing wrong, 1 warnings or a damaged file, 2 calls break, or there is nothing to tell it by."""
        # What is behind the damage isn't known to be well.
        codes = [2 if one.error else 1 if one.damage else 0 for one in self.inputs]
        return 2 if self.says_nothing else max([*codes, *(EXIT_CODES[one.severity] for one in self.reasons)])


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="a capture: pcap or pcapng, also with gzip, xz or Zstandard")
    inside = "a network behind the NAT (repeatable; default: the private networks of RFC 1918)"
    add("--inside", action="append", type=arguments.network, metavar="CIDR", help=inside)
    ports = "the ports that the ALG looks at (default: 5060,5061)"
    add("--ports", type=arguments.ports, default=_DEFAULT_PORTS, metavar="PORT[,PORT…]", help=ports)
    timeout = "what the ALG's sip-timeout is, as RouterOS writes times (default: 1h)"
    add("--sip-timeout", type=arguments.duration, default=_DEFAULT_SIP_TIMEOUT_S, metavar="TIME", help=timeout)
    add("--json", action="store_true", help="print everything as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Diagnose the files as one; 0 nothing wrong, 1 warnings or damage, 2 calls break or nothing to go by."""
    wanted = Wanted(args.ports, args.sip_timeout, Networks(tuple(args.inside or ())))
    paths = [Path(name) for name in args.files]
    try:
        refuse_twice(paths)
    except CaptureError as error:
        sys.stderr.write(f"sipalg diagnose: {error}\n")
        return 2
    diagnosis = diagnose(paths, wanted)
    for one in diagnosis.inputs:
        if one.error or one.damage:
            sys.stderr.write(f"sipalg diagnose: {one.error or one.damage}\n")
    if args.json:
        # Thousands of phones and findings: indented, they would take longer to write than to find.
        sys.stdout.write(json.dumps(as_json(diagnosis)) + "\n")
    elif not all(one.error for one in diagnosis.inputs):
        # Phones' names and Call-IDs come from strangers: nothing of them may move the cursor.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in lines(diagnosis):
            sys.stdout.writelines(f"{part}\n" for part in _wrapped(printable(line), width))
    return diagnosis.exit_code


def diagnose(paths: Sequence[Path], wanted: Wanted) -> Diagnosis:
    """Read captures as one and return all that they say, findings worst first."""
    inputs, media = Inputs(paths), Streams()
    try:
        looking = look(inputs.frames(media.tallies), wanted, media)
    except OverlapError:
        media = Streams()
        looking = look(inputs.merged(), wanted, media)
    facts = looking.finish(inputs.packets, inputs.last_ns)
    found = [*once_a_call(finding for check in CHECKS for finding in check(facts, wanted))]
    return Diagnosis(tuple(inputs.all), facts, judge(facts, wanted), judge_servers(facts), found)


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what people read."""
    facts, phones = diagnosis.facts, diagnosis.phones
    yield from _file_lines(diagnosis)
    if not facts.messages:
        yield "no SIP is in this capture: check the interface and the filter that it was captured with"
    elif not phones:
        yield "no phone behind a NAT can be told: say with --inside which networks are behind it"
    else:
        yield f"verdict: {headline(phones)}"
    for phone in worst_first(phones)[:_MOST_ALIKE]:
        agent = f" ({phone.agent})" if phone.agent else ""
        seen = f", outside {', '.join(phone.seen_as)}" if phone.seen_as else ""
        yield f"phone {phone.phone}{seen}{agent}: {phone.aware}"
        for why in phone.why:
            yield from _finding_lines("  ", "" if why.severity == NOTE else f"{why.severity}: ", why)
    if len(phones) > _MOST_ALIKE:
        yield f"{len(phones) - _MOST_ALIKE} more phones; --json has them"
    for server in diagnosis.servers[:_MOST_ALIKE]:
        yield from _finding_lines("", f"server {server.server}: ", server.why)
    if len(diagnosis.servers) > _MOST_ALIKE:
        yield f"{len(diagnosis.servers) - _MOST_ALIKE} more servers; --json has them"
    for (severity, _), alike in groupby(diagnosis.findings, key=lambda finding: (finding.severity, finding.check)):
        group = list(alike)
        for finding in group[:_MOST_ALIKE]:
            yield from _finding_lines("", f"{severity}: ", finding)
        if len(group) > _MOST_ALIKE:
            yield f"{severity}: {len(group) - _MOST_ALIKE} more like that; --json has them"
    if facts.messages and not diagnosis.exit_code:
        unheard = any(finding.check == media_checks.NO_RTP for finding in diagnosis.findings)
        yield "nothing is wrong in this capture's signalling" if unheard else "nothing is wrong in this capture"


def _wrapped(line: str, width: int | None) -> list[str]:
    """Return a line in pieces of so many columns, what follows further to the right; whole where `width` is None."""
    if width is None or len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, max(width, _NARROWEST), subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def _file_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Say how much was read, and of several files which packets are in which."""
    facts, read = diagnosis.facts, [one for one in diagnosis.inputs if not one.error]
    what = read[0].path
    if len(read) > 1:
        for one in sorted(read, key=lambda one: one.first):
            numbers = f", {one.first} to {one.first + one.packets - 1}" if one.first and one.packets else ""
            yield f"{one.path}: {counted(one.packets, 'packet')}{numbers}"
        what = f"{len(read)} files as one, packets numbered as mergecap does"
    yield (
        f"{what}: {counted(facts.frames, 'packet')}, {counted(facts.messages, 'SIP message')}, "
        f"{counted(facts.call_count, 'call')}, {counted(facts.streams, 'RTP stream')}"
    )


def _finding_lines(indent: str, before: str, finding: Finding) -> Iterator[str]:
    proof = some_packets(finding.packets, finding.packet_count)
    yield f"{indent}{before}{finding.text}{f' ({proof})' if proof else ''}"
    if finding.advice:
        yield f"{indent}  {finding.advice}"


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what programs read."""
    facts = diagnosis.facts
    answers = {server.server: server.answers for server in diagnosis.servers}
    return {
        "exit_code": diagnosis.exit_code,
        "files": [
            {
                "file": one.path,
                "packets": one.packets,
                "first_packet": one.first,
                "damage": one.damage,
                "error": one.error,
            }
            for one in diagnosis.inputs
        ],
        "alg": overall(diagnosis.phones),
        "packets": facts.frames,
        "messages": facts.messages,
        "calls": facts.call_count,
        "rtp_streams": facts.streams,
        "rtp_packets": facts.media_packets,
        "rtcp_packets": facts.rtcp_packets,
        "phones": [{**phone._asdict(), "why": [why._asdict() for why in phone.why]} for phone in diagnosis.phones],
        "servers": [
            {
                "server": str(server.end),
                "answers": answers.get(str(server.end)),
                "requests": server.requests,
                "retransmissions": server.resent.count,
                "unanswered": server.unanswered.count,
            }
            for server in facts.servers.values()
        ],
        "findings": [finding._asdict() for finding in diagnosis.findings],
        "reasons": [finding._asdict() for finding in diagnosis.reasons],
    }
