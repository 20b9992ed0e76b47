"""`sipalg follow`: one UDP stream of a capture as a conversation, with Wireshark's numbers and counts.

What Wireshark's Follow UDP Stream shows, without Wireshark: who said what in turn, and how often. Packets are written
as they are read, so the memory doesn't grow with the file. On a packet's way offline this reads them out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from sipalg.analysis.files import Captures
from sipalg.analysis.marks import text_of
from sipalg.analysis.udp_streams import UdpStream, UdpStreams, as_ascii
from sipalg.capture.decode import Segment
from sipalg.capture.pcap import CaptureError
from sipalg.capture.records import NS_PER_S
from sipalg.codec.datagram import UDP

#: Wireshark's colours: the client red, the server blue.
_COLOURS: Final = ("\x1b[31m", "\x1b[34m")
_DIM: Final = "\x1b[2m"
_END: Final = "\x1b[0m"
_FIRST_LINE: Final = 50


class Said(NamedTuple):
    """One packet of the stream that is followed."""

    stream: UdpStream
    segment: Segment
    from_server: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the capture, pcap or pcapng, compressed or not")
    parser.add_argument(
        "--stream", type=_number, metavar="N", help="the stream, udp.stream in Wireshark (default: list them)"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--raw", action="store_true", help="write just the payloads' bytes")
    shape.add_argument("--json", action="store_true", help="write the stream, or the list, as JSON")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no stream's number; the first one is 0")
    return int(text)


def main(args: argparse.Namespace) -> int:
    """Follow a stream; 0, 1 where the file is damaged and its end is missing, 2 if there is nothing to follow."""
    if args.raw and args.stream is None:
        return _refuse("--raw needs a stream; name one with --stream N")
    try:
        return _run(Captures([args.file]), args)
    except CaptureError as error:
        return _refuse(str(error))


def _run(captures: Captures, args: argparse.Namespace) -> int:
    streams = UdpStreams()
    followed = _followed(captures, streams, args.stream)
    if args.stream is None:
        for _ in followed:
            pass
        _write_list(streams.all(), as_json=args.json)
    elif args.json:
        _write_json(followed)
    elif args.raw:
        for said in followed:
            sys.stdout.buffer.write(said.segment.payload)
        sys.stdout.buffer.flush()
    else:
        _write_text(followed, coloured=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    known = len(streams.all())
    damage = captures.damage.get(args.file)
    if not known:
        return _refuse(damage or f"{args.file}: has no UDP packet; capture with the phone's address as filter")
    if args.stream is not None and args.stream >= known:
        missing = f"no UDP stream {args.stream}; give a number from 0 to {known - 1}"
        return _refuse(f"{damage}; before that it has {missing}" if damage else f"{args.file}: has {missing}")
    if damage:
        _refuse(damage)
    return 1 if damage else 0


def _followed(captures: Captures, streams: UdpStreams, wanted: int | None) -> Iterator[Said]:
    """Yield the packets of the stream that is wanted, and count those of all."""
    for segment in captures.segments(0):
        if segment.protocol == UDP:
            stream, from_server = streams.take(segment)
            if stream.number == wanted:
                yield Said(stream, segment, from_server)


def _write_text(followed: Iterator[Said], *, coloured: bool) -> None:
    stream = None
    for said in followed:
        if stream is None:
            stream = said.stream
            sys.stdout.write(f"Stream {stream.number}: client {stream.client}, server {stream.server}\n")
        colour, dim, end = (_COLOURS[said.from_server], _DIM, _END) if coloured else ("", "", "")
        who = "server" if said.from_server else "client"
        sys.stdout.write(f"{dim}#{said.segment.number} {who}, {len(said.segment.payload)} bytes{end}\n")
        text = as_ascii(said.segment.payload).replace("\r\n", "\n").replace("\r", ".")
        sys.stdout.write(colour + text + end + ("" if text.endswith("\n") else "\n"))
    if stream is not None:
        sys.stdout.write(f"{stream.counts()}\n")


def _write_json(followed: Iterator[Said]) -> None:
    """Write the packets one by one and the counts, which are known at the end, behind them."""
    stream = None
    for said in followed:
        if stream is None:
            stream = said.stream
            ends = {"stream": stream.number, "client": str(stream.client), "server": str(stream.server)}
            sys.stdout.write(json.dumps(ends)[:-1] + ', "packets": [\n')
        else:
            sys.stdout.write(",\n")
        packet = {
            "packet": said.segment.number,
            "time_s": said.segment.time_ns / NS_PER_S,
            "from": "server" if said.from_server else "client",
            "bytes": len(said.segment.payload),
            "text": as_ascii(said.segment.payload),
        }
        sys.stdout.write(json.dumps(packet))
    if stream is not None:
        sys.stdout.write(f"\n], {json.dumps(_counts(stream))[1:]}\n")


def _counts(stream: UdpStream) -> dict[str, Any]:
    return {
        "client_packets": stream.client_packets,
        "server_packets": stream.server_packets,
        "turns": stream.turns,
    }


def _write_list(streams: list[UdpStream], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"stream": stream.number, "client": str(stream.client), "server": str(stream.server), **_counts(stream)}
            for stream in streams
        ]
        sys.stdout.write(json.dumps({"streams": rows}, indent=2) + "\n")
        return
    rows_of_text = [
        (str(one.number), str(one.client), str(one.server), one.counts().rstrip("."), _begins(one.first))
        for one in streams
    ]
    heads = ("Stream", "Client", "Server", "Packets", "Begins with")
    widths = [max(map(len, column)) for column in zip(heads, *rows_of_text, strict=True)]
    for row in (heads, *rows_of_text):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _begins(payload: bytes) -> str:
    return text_of(as_ascii(payload.lstrip(b"\r\n").split(b"\r\n")[0][:_FIRST_LINE]).encode())


def _refuse(what: str) -> int:
    sys.stderr.write(f"sipalg follow: {what}\n")
    return 2
