"""`sipalg rewrite`: a capture through the router and the ALG, offline, with as many packets out as in.

The command: what it is asked, the files, the progress bar and the summary. The result appears under its name only when
it is whole; a capture that is damaged is rewritten up to there. On a packet's way this is the disk at both ends.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from sipalg.capture import arguments
from sipalg.capture.link import find_packet
from sipalg.capture.nat import Nat
from sipalg.capture.offline import Rewriter, Summary
from sipalg.capture.pcap import CaptureError, CaptureWriter, is_pcapng
from sipalg.capture.progress import with_bar
from sipalg.capture.reading import CaptureSource, Frame, open_capture, unknown_links
from sipalg.capture.reasons import sentence
from sipalg.capture.router import INSIDE, Router
from sipalg.capture.senders import Senders
from sipalg.codec.address import in_networks
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import Mapping

#: A clock's units per second that a pcap file keeps without asking for more.
_MICROSECONDS: Final = 1_000_000

_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp"}
_DEFAULTS: Final = Settings(frozenset(), "", "")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "capture",
        type=Path,
        metavar="IN.pcap",
        help="the capture to read, pcap or pcapng, compressed or not; - is standard input",
    )
    parser.add_argument("result", type=Path, metavar="OUT.pcap", help="the file to write; pcapng if it is so called")
    parser.add_argument(
        "--inside",
        type=arguments.network,
        action="append",
        required=True,
        metavar="CIDR",
        help="a network behind the NAT (repeatable)",
    )
    parser.add_argument(
        "--public", type=arguments.address, required=True, metavar="ADDRESS", help="the router's outside address"
    )
    parser.add_argument(
        "--ports",
        type=arguments.ports,
        default=_DEFAULTS.ports,
        metavar="PORT,…",
        help="the SIP servers' ports (default: 5060,5061)",
    )
    parser.add_argument(
        "--media-ports",
        type=arguments.port_range,
        default=_DEFAULTS.media_ports,
        metavar="LOW-HIGH",
        help="public ports to take where a phone's own isn't free (default: 16384-32767)",
    )
    parser.add_argument(
        "--except",
        type=arguments.network,
        action="append",
        default=[],
        dest="exempt",
        metavar="CIDR",
        help="a remote network that isn't translated (repeatable)",
    )
    parser.add_argument(
        "--sip-direct-media",
        type=arguments.yes_or_no,
        default=_DEFAULTS.direct_media,
        metavar="yes|no",
        help="may media go straight to another inside device? (default: yes)",
    )
    parser.add_argument(
        "--inside-servers",
        type=arguments.network,
        action="append",
        default=[],
        metavar="CIDR",
        help="a network of inside proxies that name a phone's media in a call's first offer (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="write the summary as JSON to stdout")


def main(args: argparse.Namespace) -> int:
    """Rewrite the capture; 0 if all of it, 1 if it was damaged and ended early, 2 if nothing was written."""
    try:
        _check(args)
        done = _rewrite(args)
    except CaptureError as error:
        sys.stderr.write(f"sipalg rewrite: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"sipalg rewrite: {args.result}: {error.strerror}; nothing was written\n")
        return 2
    if args.json:
        sys.stdout.write(json.dumps(_as_json(done), indent=2) + "\n")
    else:
        sys.stderr.write("".join(line + "\n" for line in _as_text(args.result, done)))
    if done.damage:
        sys.stderr.write(f"sipalg rewrite: {done.damage}\n")
    return 1 if done.damage or done.summary.cut else 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what is no file or would destroy the input, and networks that make no sense together."""
    if str(args.result) == "-":
        raise CaptureError("-: what is written appears when it is whole, in a file; give a file's name")
    if args.result.exists() and args.capture.exists() and args.result.samefile(args.capture):
        raise CaptureError(f"{args.result}: is the capture itself; give another file to write")
    for network in args.inside:
        if in_networks(args.public, (network,)):
            raise CaptureError(
                f"--public {args.public}: is in the inside network {network}; give the address that the outside sees"
            )


class Rewritten(NamedTuple):
    """What was done, and in a line why not all of the capture was, "" if it was."""

    summary: Summary
    mappings: list[Mapping]
    damage: str


def _rewrite(args: argparse.Namespace) -> Rewritten:
    nat = Nat(args.public, direct_media=args.sip_direct_media)
    settings = Settings(
        inside_interfaces=frozenset((INSIDE,)),
        nat_address=args.public,
        advertised_address=args.public,
        ports=args.ports,
        media_ports=args.media_ports,
        exempt=tuple(args.exempt),
        direct_media=args.sip_direct_media,
        inside_servers=tuple(args.inside_servers),
    )
    alg = Alg(settings, nat.is_taken)
    alg.direct.set_inside(lambda host: in_networks(host, tuple(args.inside)))
    senders = Senders(tuple(args.inside))
    router = Router(alg, nat, tuple(args.inside), args.public, args.ports, tuple(args.exempt))
    with open_capture(args.capture) as source:
        rewriter = Rewriter(router)
        _write(args.result, rewriter.rewrite(_noted(with_bar(source), senders)), source, senders)
        damage = source.damage or unknown_links(source, "copied as they are")
        if source.damage:
            damage += f"; the {rewriter.summary.packets} packets before it are in {args.result}"
    return Rewritten(rewriter.summary, nat.history(), damage)


def _write(result: Path, frames: Iterator[Frame], source: CaptureSource, senders: Senders) -> None:
    """Write the frames; CaptureError, and nothing written, if there is nothing in the capture to translate."""
    first = next(frames, None)
    if first is None:
        raise CaptureError(source.damage or f"{source.path}: has no packet; capture with a phone's address as filter")
    interfaces = source.interfaces
    nanoseconds = any(interface.units_per_s > _MICROSECONDS for interface in interfaces)
    with CaptureWriter(result, first.link_type, nanoseconds=nanoseconds) as writer:
        for frame in chain((first,), frames):
            if frame.link_type != first.link_type and not is_pcapng(result):
                what = f"has packets of link types {first.link_type} and {frame.link_type}"
                raise CaptureError(f"{source.path}: {what}; write to a file that is called ….pcapng")
            name = interfaces[frame.interface].name
            writer.write(frame.time_ns, frame.data, frame.wire_bytes, interface=name, link_type=frame.link_type)
        unknown_links(source)
        if not senders.from_inside:
            raise CaptureError(f"{source.path}: {senders.advice()}")
        writer.commit()


def _noted(frames: Iterable[Frame], senders: Senders) -> Iterator[Frame]:
    """Yield the frames, with their senders counted."""
    for frame in frames:
        span = find_packet(frame.link_type, frame.data)
        if span is not None:
            senders.count(frame.data[span.start : span.end])
        yield frame


def _as_json(done: Rewritten) -> dict[str, Any]:
    summary = done.summary
    return {
        "packets": summary.packets,
        "translated": summary.translated,
        "untouched": dict(summary.untouched),
        "sip": {"edited": summary.sip_edited, "passed": dict(summary.sip_passed)},
        "cut": summary.cut,
        "mappings": [
            {
                "protocol": _PROTOCOLS.get(mapping.protocol, str(mapping.protocol)),
                "private": str(mapping.private),
                "public": str(mapping.public),
                "purpose": mapping.purpose,
            }
            for mapping in done.mappings
        ],
        "damage": done.damage,
    }


def _as_text(result: Path, done: Rewritten) -> Iterator[str]:
    summary = done.summary
    yield f"{result}: {summary.packets} packets, {summary.translated} of them translated"
    yield f"SIP: {summary.sip_edited} messages edited, {_reasons('passed as they came', summary.sip_passed)}"
    yield from _meanings(summary.sip_passed)
    yield f"{_reasons('packets left as they were', summary.untouched)}"
    yield from _meanings(summary.untouched)
    if summary.cut:
        packets = "1 packet is" if summary.cut == 1 else f"{summary.cut} packets are"
        yield f"{packets} cut short (snaplen), so only headers were translated there; capture with -s 0"
    for mapping in done.mappings:
        protocol = _PROTOCOLS.get(mapping.protocol, str(mapping.protocol))
        yield f"mapping: {mapping.private} ↔ {mapping.public} {protocol}, {mapping.purpose}"


def _meanings(counter: Counter[str]) -> Iterator[str]:
    """Yield what each reason means."""
    yield from (f"  {reason}: {sentence(reason)}" for reason, _ in counter.most_common())


def _reasons(what: str, counter: Counter[str]) -> str:
    """Return `3 packets left as they were (not-ipv4 2, exempt 1)`."""
    listed = ", ".join(f"{reason} {count}" for reason, count in counter.most_common())
    return f"{counter.total()} {what}" + (f" ({listed})" if listed else "")
