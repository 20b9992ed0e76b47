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
from pathlib import Path
from typing import Any, Final

from sipalg.capture import arguments
from sipalg.capture.link import find_packet
from sipalg.capture.nat import Nat
from sipalg.capture.offline import Rewriter, Summary
from sipalg.capture.pcap import CaptureError, CaptureReader, CaptureWriter, Packet
from sipalg.capture.reasons import sentence
from sipalg.capture.router import INSIDE, Router
from sipalg.capture.senders import Senders
from sipalg.codec.address import in_networks
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import Mapping

#: Below this a progress bar would only flicker.
_LARGE_FILE_BYTES: Final = 8_000_000
#: What a packet has in the file beside its bytes.
_RECORD_BYTES: Final = 16

_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp"}
_DEFAULTS: Final = Settings(frozenset(), "", "")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("capture", type=Path, metavar="IN.pcap", help="the capture to read, pcap or pcapng")
    parser.add_argument("result", type=Path, metavar="OUT.pcap", help="the pcap file to write")
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
        summary, mappings, senders = _rewrite(args)
    except CaptureError as error:
        sys.stderr.write(f"sipalg rewrite: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"sipalg rewrite: {args.result}: {error.strerror}; nothing was written\n")
        return 2
    if args.json:
        sys.stdout.write(json.dumps(_as_json(summary, mappings), indent=2) + "\n")
    else:
        sys.stderr.write("".join(line + "\n" for line in _as_text(args.result, summary, mappings)))
    if not senders.from_inside:
        sys.stderr.write(f"sipalg rewrite: {senders.advice()}\n")
    if summary.damage:
        sys.stderr.write(
            f"sipalg rewrite: {summary.damage}; the {summary.packets} packets before it are in {args.result}\n"
        )
        return 1
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what is no file or would destroy the input, and networks that make no sense together."""
    if "-" in map(str, (args.capture, args.result)):
        raise CaptureError("-: captures are files here, not standard input or output; give two files' names")
    if args.result.exists() and args.capture.exists() and args.result.samefile(args.capture):
        raise CaptureError(f"{args.result}: is the capture itself; give another file to write")
    for network in args.inside:
        if in_networks(args.public, (network,)):
            raise CaptureError(
                f"--public {args.public}: is in the inside network {network}; give the address that the outside sees"
            )


def _rewrite(args: argparse.Namespace) -> tuple[Summary, list[Mapping], Senders]:
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
    with (
        CaptureReader(args.capture) as reader,
        CaptureWriter(args.result, reader.link_type, nanoseconds=reader.nanoseconds) as writer,
    ):
        rewriter = Rewriter(router, reader.link_type)
        for packet in rewriter.rewrite(_noted(_shown(reader, args.capture), reader.link_type, senders)):
            writer.write(packet.time_ns, packet.frame, packet.wire_bytes)
        writer.commit()
    return rewriter.summary, nat.history(), senders


def _noted(packets: Iterable[Packet], link_type: int, senders: Senders) -> Iterator[Packet]:
    """Yield the packets, with their senders counted."""
    for packet in packets:
        span = find_packet(link_type, packet.frame)
        if span is not None:
            senders.count(packet.frame[span.start : span.end])
        yield packet


def _shown(packets: Iterable[Packet], path: Path) -> Iterator[Packet]:
    """Yield the packets, with a progress bar on stderr if that is a terminal and the file is large."""
    size_bytes = path.stat().st_size
    if size_bytes < _LARGE_FILE_BYTES or not sys.stderr.isatty():
        yield from packets
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(path.name, total=size_bytes)
        for packet in packets:
            yield packet
            progress.advance(task, len(packet.frame) + _RECORD_BYTES)


def _as_json(summary: Summary, mappings: list[Mapping]) -> dict[str, Any]:
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
            for mapping in mappings
        ],
        "damage": summary.damage,
    }


def _as_text(result: Path, summary: Summary, mappings: list[Mapping]) -> Iterator[str]:
    yield f"{result}: {summary.packets} packets, {summary.translated} of them translated"
    yield f"SIP: {summary.sip_edited} messages edited, {_reasons('passed as they came', summary.sip_passed)}"
    yield from _meanings(summary.sip_passed)
    yield f"{_reasons('packets left as they were', summary.untouched)}"
    yield from _meanings(summary.untouched)
    if summary.cut:
        yield f"{summary.cut} packets are cut short in the capture: only their headers were translated"
    for mapping in mappings:
        protocol = _PROTOCOLS.get(mapping.protocol, str(mapping.protocol))
        yield f"mapping: {mapping.private} ↔ {mapping.public} {protocol}, {mapping.purpose}"


def _meanings(counter: Counter[str]) -> Iterator[str]:
    """Yield what each reason means."""
    yield from (f"  {reason}: {sentence(reason)}" for reason, _ in counter.most_common())


def _reasons(what: str, counter: Counter[str]) -> str:
    """Return `3 packets left as they were (not-ipv4 2, exempt 1)`."""
    listed = ", ".join(f"{reason} {count}" for reason, count in counter.most_common())
    return f"{counter.total()} {what}" + (f" ({listed})" if listed else "")
