"""`sipalg compare`: two captures, one of each side of a device, and the verdict on what stands between them.

Reads both, has them judged and shows it: each pair side by side, the findings with their packets and with what breaks
in practice, and the result. On a packet's way this has both ends in hand.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sipalg.analysis.beside import side_by_side
from sipalg.analysis.compare_apart import are_apart
from sipalg.analysis.files import Captures
from sipalg.analysis.judgement import Finding, Judgement, Side, judge
from sipalg.analysis.marks import text_of
from sipalg.analysis.messages import Messages
from sipalg.analysis.pairing import Pair
from sipalg.analysis.rtp import media_ends
from sipalg.analysis.said import Said, hear
from sipalg.capture.decode import decode
from sipalg.capture.pcap import CaptureError
from sipalg.capture.piped import STANDARD_INPUT
from sipalg.capture.reading import Frame
from sipalg.codec.datagram import UDP

#: For files and pipes, where a terminal's width isn't known.
_WIDTH: Final = 160
#: How many packets a finding names before it only counts the rest.
_PACKETS_NAMED: Final = 6
#: So many pairs show what a good ALG does: all are alike.
_FEW_PAIRS: Final = 2
_INDENT: Final = " " * 6
_RESULTS: Final = {"none": "no ALG", "good": "good ALG", "poor": "poor ALG"}
_BOLD: Final = {"none": "\x1b[1m", "good": "\x1b[1;32m", "poor": "\x1b[1;31m"}
_PLAIN: Final = "\x1b[0m"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("before", type=Path, metavar="BEFORE", help="the capture on the phones' side of the device")
    parser.add_argument("after", type=Path, metavar="AFTER", help="the capture on the server's side of it")
    parser.add_argument(
        "--show",
        choices=("changed", "all", "none"),
        help="which pairs to show side by side (default: those that differ, of a good ALG the first few)",
    )
    parser.add_argument("--json", action="store_true", help="write the judgement and the pairs as JSON")


def main(args: argparse.Namespace) -> int:
    """Compare; 0: no ALG or a good one, 1: a poor one or a damaged file, 2: the captures say nothing, in one line."""
    if args.before == args.after == STANDARD_INPUT:
        return _refuse("-: standard input can be one of the two captures; give a file for the other")
    try:
        before, damage = load(args.before)
        after, other_damage = load(args.after)
    except CaptureError as error:
        return _refuse(str(error))
    for text in (damage, other_damage):
        if text:
            sys.stderr.write(f"sipalg compare: {text}; what could be read is compared\n")
    for path, side in ((args.before, before), (args.after, after)):
        if not side.messages:
            return _refuse(f"{path}: has no SIP message; capture with the whole packets and without a filter by port")
    judgement = judge(before, after)
    paths = args.before, args.after
    if not judgement.pairing.pairs:
        return _refuse(
            f"{args.before}, {args.after}: {_nothing_common(before, after, damaged=bool(damage or other_damage))}"
        )
    near, far = reversed(paths) if judgement.swapped else paths
    if args.json:
        names = {"before": str(near), "after": str(far)}
        sys.stdout.write(json.dumps({"files": names, **as_json(judgement)}, indent=2) + "\n")
    else:
        if judgement.swapped:
            sys.stdout.write(f"{near} is of the inside: it is taken as BEFORE, and {far} as AFTER\n\n")
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = shutil.get_terminal_size((_WIDTH, 24)).columns
        for line in as_text(judgement, args.show, width, coloured=coloured):
            sys.stdout.write(line + "\n")
    return 1 if judgement.result == "poor" or damage or other_damage else 0


def _nothing_common(before: Side, after: Side, *, damaged: bool) -> str:
    """Say why two captures have no message in common, and what would be right."""
    if damaged:
        return "what could be read of the two has no message in common; capture both sides anew, whole"
    if are_apart((before.span, after.span)):
        return (
            "by their clocks the one ended before the other began, and no message nor phone's registration is in "
            "both; capture both sides at the same time"
        )
    return (
        "no message of the one is in the other; give two captures of the same time, one of each side of one device "
        "(a device that makes new messages of its own, as a PBX does, can't be judged)"
    )


def load(path: Path) -> tuple[Side, str]:
    """Read one side's capture, and what is wrong with the file, "" if nothing is; CaptureError if it is none."""
    side = Side()
    first = last = 0
    captures = Captures([path])

    def noted() -> Iterator[Frame]:
        nonlocal first, last
        for frame in captures.frames(0, side.media.tallies):
            first, last = first or frame.time_ns, max(last, frame.time_ns)
            yield frame

    messages = Messages()
    for segment in decode(noted()):
        if segment.protocol == UDP and side.media.take(segment):
            continue
        for message in messages.take(segment):
            side.messages.append(hear(message))
            for end in media_ends(message):
                side.media.announce(end)
    # Most of the voice was counted by the reader, and not given.
    side.span = (first, max((last, *(stream.tally.last_ns for stream in side.media.all))))
    return side, captures.damage.get(path, "")


def as_text(judgement: Judgement, show: str | None, width: int, *, coloured: bool) -> Iterator[str]:
    """Yield the comparison as lines for people: the pairs, the findings, the result last; `show` may be left out."""
    pairs = judgement.pairing.pairs
    left = _FEW_PAIRS if show is None and judgement.result == "good" else len(pairs)
    more = 0
    for number, pair in enumerate(pairs, 1):
        differs = pair.before.data != pair.after.data
        if show == "none" or (show != "all" and not differs):
            continue
        if not left:
            more += 1
            continue
        left -= 1
        yield f"Pair {number}: {_heading(pair)}"
        yield from side_by_side(pair.before.data, pair.after.data, width, coloured=coloured)
        yield ""
    if more:
        yield f"{more} more pairs differ; --show changed has them"
    same = sum(pair.before.data == pair.after.data for pair in pairs)
    if judgement.apart:
        yield f"Pairs: {len(pairs)}, each of two messages of one phone, since no message is in both captures"
    else:
        yield f"Pairs: {len(pairs)}, of which {same} are the same byte for byte"
    if judgement.changed:
        yield f"Changed: {', '.join(judgement.changed)}"
    if not judgement.apart and not any(finding.rule == "call-id-changed" for finding in judgement.findings):
        yield "Call-ID: the same"
    if judgement.findings:
        yield ""
        yield from _table(judgement.findings, min(width, 120), coloured=coloured)
    yield ""
    result = _RESULTS[judgement.result] + (", by the addresses alone" if judgement.apart else "")
    yield f"Result: {_BOLD[judgement.result] + result + _PLAIN if coloured else result}. {judgement.why}"


def _heading(pair: Pair) -> str:
    way = "outward" if pair.outward else "inward"
    found = f"; paired by {pair.by}" if pair.before.call_id != pair.after.call_id else ""
    return f"{pair.before.kind}, {way}, before {_packet(pair.before)}, after {_packet(pair.after)}{found}"


def _packet(said: Said) -> str:
    return f"#{said.number} {said.source} → {said.destination}"


def _table(findings: tuple[Finding, ...], width: int, *, coloured: bool) -> Iterator[str]:
    """Yield the findings: level, rule and packets in a row, below it what was seen and what breaks."""
    widest = max(len(finding.rule) for finding in findings)
    yield f"{'':5} {'Rule':{widest}}  Packets"
    for finding in findings:
        level = f"{finding.level:5}"
        if coloured and finding.level == "poor":
            level = f"{_BOLD['poor']}{level}{_PLAIN}"
        yield f"{level} {finding.rule:{widest}}  {_packets(finding)}"
        # What was seen comes from messages: nothing of it may move the cursor.
        for text in (*(text_of(seen.encode()) for seen in (finding.detail, *finding.also)), finding.breaks):
            yield from textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _packets(finding: Finding) -> str:
    parts = [
        f"{name} {', '.join(f'#{number}' for number in numbers[:_PACKETS_NAMED])}"
        + (f" and {len(numbers) - _PACKETS_NAMED} more" if len(numbers) > _PACKETS_NAMED else "")
        for name, numbers in (("before", finding.before), ("after", finding.after))
        if numbers
    ]
    return "; ".join(parts)


def as_json(judgement: Judgement) -> dict[str, Any]:
    """Return the judgement as plain values."""
    return {
        "result": judgement.result,
        "why": judgement.why,
        "proxy": judgement.proxy,
        "swapped": judgement.swapped,
        "same_time": not judgement.apart,
        "changed": list(judgement.changed),
        "findings": [
            {
                "rule": finding.rule,
                "level": finding.level,
                "seen": finding.detail,
                "also_seen": list(finding.also),
                "times": finding.times,
                "packets": {"before": list(finding.before), "after": list(finding.after)},
                "breaks": finding.breaks,
            }
            for finding in judgement.findings
        ],
        "pairs": [
            {
                "message": pair.before.kind,
                "outward": pair.outward,
                "paired_by": pair.by,
                "before": _message(pair.before),
                "after": _message(pair.after),
            }
            for pair in judgement.pairing.pairs
        ],
        "only_before": [_message(said) for said in judgement.pairing.only_before],
        "only_after": [_message(said) for said in judgement.pairing.only_after],
    }


def _message(said: Said) -> dict[str, Any]:
    return {
        "packet": said.number,
        "source": str(said.source),
        "destination": str(said.destination),
        "call_id": said.call_id.decode("utf-8", "backslashreplace"),
        "text": said.data.decode("utf-8", "backslashreplace"),
    }


def _refuse(what: str) -> int:
    sys.stderr.write(f"sipalg compare: {what}\n")
    return 2
