"""`sipalg diagnose`: what a capture says of phones, servers and the NAT between them, and whether an ALG is needed.

Facts come from one pass (`look`), what they mean from the checks and the verdict; here is what people read, or a
program as JSON. On a packet's way offline this is the end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from sipalg.analysis.diagnose import call_checks, media_checks, server_checks, timing_checks
from sipalg.analysis.diagnose.facts import Facts
from sipalg.analysis.diagnose.findings import EXIT_CODES, Finding, Wanted, once_a_call, some_packets
from sipalg.analysis.diagnose.look import look
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.diagnose.server_verdict import ServerVerdict, judge_servers
from sipalg.analysis.diagnose.verdict import PhoneVerdict, judge, overall
from sipalg.analysis.ladder import printable
from sipalg.analysis.rtp import Streams
from sipalg.capture import arguments
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import CaptureSource, open_capture, unknown_links

CHECKS: Final = (*call_checks.CHECKS, *media_checks.CHECKS, *server_checks.CHECKS, *timing_checks.CHECKS)

_DEFAULT_PORTS: Final = (5060, 5061)
_DEFAULT_SIP_TIMEOUT_S: Final = 3600.0
#: So many findings of one kind, and phones, are shown in full; `--json` has all of them.
_MOST_ALIKE: Final = 10


class Diagnosis(NamedTuple):
    """What one file says."""

    path: str
    facts: Facts
    phones: list[PhoneVerdict]
    servers: list[ServerVerdict]
    findings: list[Finding]
    damage: str

    @property
    def exit_code(self) -> int:
        """0 nothing wrong, 1 warnings, 2 calls break."""
        found = [*self.findings, *(why for phone in self.phones for why in phone.why)]
        return max((EXIT_CODES[one.severity] for one in found), default=0)


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
    """Diagnose each file; 0 nothing wrong, 1 warnings or a damaged file, 2 calls break or a file can't be read."""
    wanted = Wanted(args.ports, args.sip_timeout, Networks(tuple(args.inside or ())))
    worst, diagnoses = 0, []
    for name in args.files:
        try:
            with open_capture(Path(name)) as source:
                diagnosis = diagnose(source, wanted)
        except CaptureError as error:
            sys.stderr.write(f"sipalg diagnose: {error}\n")
            worst = 2
            continue
        if diagnosis.damage:
            # What is behind the damage isn't known to be well.
            sys.stderr.write(f"sipalg diagnose: {diagnosis.damage}\n")
            worst = max(worst, 1)
        worst = max(worst, diagnosis.exit_code)
        diagnoses.append(diagnosis)
        if not args.json:
            # Phones' names and Call-IDs come from strangers: nothing of them may move the cursor.
            sys.stdout.writelines(f"{printable(line)}\n" for line in lines(diagnosis))
    if args.json:
        found = {"exit_code": worst, "files": [as_json(diagnosis) for diagnosis in diagnoses]}
        # Thousands of phones and findings: indented, they would take longer to write than to find.
        sys.stdout.write(json.dumps(found) + "\n")
    return worst


def diagnose(source: CaptureSource, wanted: Wanted) -> Diagnosis:
    """Read a capture and return all that it says, findings worst first.

    CaptureError if none of its link types can be read.
    """
    media = Streams()
    source.tallies = media.tallies
    facts = look(source, wanted, media)
    found = [*once_a_call(finding for check in CHECKS for finding in check(facts, wanted))]
    damage = source.damage or unknown_links(source)
    return Diagnosis(str(source.path), facts, judge(facts, wanted), judge_servers(facts), found, damage)


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what people read."""
    facts, phones = diagnosis.facts, diagnosis.phones
    yield (
        f"{diagnosis.path}: {_counted(facts.frames, 'packet')}, {_counted(facts.messages, 'SIP message')}, "
        f"{_counted(facts.call_count, 'call')}, {_counted(facts.streams, 'RTP stream')}"
    )
    if not facts.messages:
        yield "no SIP is in this capture"
    elif not phones:
        yield "no phone behind a NAT can be told: say with --inside which networks are behind it"
    else:
        yield f"verdict: ALG {overall(phones)}"
    for phone in phones[:_MOST_ALIKE]:
        agent = f" ({phone.agent})" if phone.agent else ""
        seen = f", outside {', '.join(phone.seen_as)}" if phone.seen_as else ""
        yield f"phone {phone.phone}{seen}{agent}: {phone.aware}"
        for why in phone.why:
            yield from _finding_lines("  ", "", why)
    if len(phones) > _MOST_ALIKE:
        yield f"{len(phones) - _MOST_ALIKE} more phones; --json has them"
    for server in diagnosis.servers[:_MOST_ALIKE]:
        yield from _finding_lines("", f"server {server.server}: ", server.why)
    for (severity, _), alike in groupby(diagnosis.findings, key=lambda finding: (finding.severity, finding.check)):
        group = list(alike)
        for finding in group[:_MOST_ALIKE]:
            yield from _finding_lines("", f"{severity}: ", finding)
        if len(group) > _MOST_ALIKE:
            yield f"{severity}: {len(group) - _MOST_ALIKE} more like that; --json has them"
    if facts.messages and not diagnosis.exit_code:
        yield "nothing is wrong in this capture"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


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
        "file": diagnosis.path,
        "damage": diagnosis.damage,
        "exit_code": diagnosis.exit_code,
        "alg": overall(diagnosis.phones),
        "packets": facts.frames,
        "messages": facts.messages,
        "calls": facts.call_count,
        "rtp_streams": facts.streams,
        "rtp_packets": facts.media_packets,
        "rtcp_packets": facts.rtcp_packets,
        "phones": [
            {**phone._asdict(), "why": [why._asdict() for why in phone.why]} for phone in diagnosis.phones
        ],
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
    }
