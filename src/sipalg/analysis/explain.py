"""`sipalg explain`: what the ALG would do to one message in a file, with every edit marked and its rule named.

The engine is the live one; only the packet around the message is made up. Nothing here needs root, and nothing is
changed. On a packet's way this is a rehearsal of one step.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final, NamedTuple

from sipalg.analysis.ends import Ends, UnknownEndError, find_ends
from sipalg.analysis.marks import COLOURED, PLAIN, marked_lines, text_of
from sipalg.capture import arguments
from sipalg.codec.address import MAX_PORT, in_networks
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import (
    ACCEPT,
    UDP,
    AdmitPeer,
    Command,
    Datagram,
    Endpoint,
    EstablishFlow,
    Mapping,
    OpenMapping,
    Verdict,
)

_INSIDE: Final = "inside"
_OUTSIDE: Final = "outside"
#: Both ends are inside: the router doesn't translate that, so the ALG never sees it.
LOCAL: Final = "inside-to-inside"

#: The most that a UDP datagram over IPv4 holds.
_LARGEST_PAYLOAD_BYTES: Final = 65507


class Explanation(NamedTuple):
    """A message, its ends, the ALG's verdict, and the mappings that stood before because the options name them."""

    message: bytes
    ends: Ends
    verdict: Verdict
    given: tuple[Mapping, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", metavar="FILE.sip", help="the message as it is on the wire; - reads stdin")
    parser.add_argument(
        "--inside",
        type=arguments.network,
        action="append",
        metavar="CIDR",
        help="a network behind the NAT; may be given several times (default: the private networks of RFC 1918)",
    )
    parser.add_argument(
        "--public",
        type=arguments.endpoint_or_address,
        required=True,
        metavar="ADDRESS[:PORT]",
        help="the router's outside address, and the public port of the phone's mapping",
    )
    parser.add_argument(
        "--source", type=arguments.endpoint, metavar="IP:PORT", help="who sent it (default: the topmost Via)"
    )
    parser.add_argument(
        "--destination", type=arguments.endpoint, metavar="IP:PORT", help="to whom; a phone by its private address"
    )
    parser.add_argument(
        "--media-port", type=arguments.port, metavar="PORT", help="the public port of the first media stream"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--raw", action="store_true", help="write just the bytes that would be sent on")
    shape.add_argument("--json", action="store_true", help="write the explanation as JSON")


def main(args: argparse.Namespace) -> int:
    """Explain the message; 0, or 2 with one line on stderr if it can't be read or its ends aren't known."""
    try:
        message = _read(args.file)
        if len(message) > _LARGEST_PAYLOAD_BYTES:
            return _refuse(f"{args.file}: too long; give one message of at most {_LARGEST_PAYLOAD_BYTES} bytes")
        inside = tuple(args.inside or arguments.PRIVATE_NETWORKS)
        ends = find_ends(message, inside, args.public.host, args.source, args.destination)
    except OSError as error:
        return _refuse(f"{args.file}: {error.strerror}; give a file with one SIP message, or - for stdin")
    except UnknownEndError as error:
        return _refuse(f"{args.file}: {error}")
    if args.inside is None:
        note = f"inside {', '.join(map(str, inside))}: as --inside isn't given"
        ends = ends._replace(notes=(note, *ends.notes))
        if args.raw:
            sys.stderr.write(f"sipalg explain: assumed {note}\n")
    explanation = explain(message, ends, inside, args.public, args.media_port)
    if args.raw:
        sys.stdout.buffer.write(explanation.verdict.payload)
        sys.stdout.buffer.flush()
    elif args.json:
        sys.stdout.write(json.dumps(as_json(explanation), indent=2) + "\n")
    else:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        sys.stdout.write("".join(line + "\n" for line in as_text(explanation, coloured=coloured)))
    return 0


def explain(
    message: bytes,
    ends: Ends,
    inside: tuple[IPv4Network, ...],
    public: Endpoint,
    media_port: int | None,
) -> Explanation:
    """Ask an engine that knows nothing but the mappings that the options name.

    `public` with port 0 leaves the choice of the phone's port to the engine, `media_port` None that of the media's.
    """
    if in_networks(ends.source.host, inside) and in_networks(ends.destination.host, inside):
        return Explanation(message, ends, Verdict(ACCEPT, message, (), (), LOCAL, 0), ())
    phone = ends.source if ends.outbound else ends.destination
    given = [Mapping(UDP, phone, public, "sip")] if public.port else []
    verdict = _ask(message, ends, public.host, given)
    if media_port is not None:
        # The engine itself says which private ports the message names; then it is asked again with those given.
        opened = [command.mapping for command in verdict.commands if isinstance(command, OpenMapping)]
        given += _media_given([mapping for mapping in opened if mapping.purpose == "media"], public.host, media_port)
        verdict = _ask(message, ends, public.host, given)
    return Explanation(message, ends, verdict, tuple(given))


def _ask(message: bytes, ends: Ends, public_host: str, given: Iterable[Mapping]) -> Verdict:
    settings = Settings(
        inside_interfaces=frozenset((_INSIDE,)), nat_address=public_host, advertised_address=public_host
    )
    alg = Alg(settings, lambda _protocol, _port: False)
    for mapping in given:
        alg.adopt(mapping, 0.0)
    interface = _INSIDE if ends.outbound else _OUTSIDE
    return alg.receive_datagram(Datagram(message, ends.source, ends.destination, UDP, interface), 0.0)


def _media_given(opened: list[Mapping], public_host: str, first_port: int) -> Iterator[Mapping]:
    """Yield the media mappings with public ports from `first_port` up: neighbours stay neighbours, RTP stays even."""
    port, previous = first_port, None
    for mapping in opened:
        if previous is not None:
            port += 1
            follows = mapping.private == (previous.private.host, previous.private.port + 1)
            port += 0 if follows else (port - first_port) % 2
        if port <= MAX_PORT:
            yield mapping._replace(public=Endpoint(public_host, port))
        previous = mapping


def as_text(explanation: Explanation, *, coloured: bool) -> Iterator[str]:
    """Yield the explanation's lines: who to whom, what would be opened, and the message with its edits."""
    message, ends, verdict, given = explanation
    direction = "outbound (inside → outside)" if ends.outbound else "inbound (outside → inside)"
    yield f"{direction}: {ends.source} → {ends.destination}, UDP"
    yield from (f"assumed: {note}" for note in ends.notes)
    yield from (f"mapping given: {_mapping_text(mapping)}" for mapping in given)
    yield from (text for command in verdict.commands if (text := _command_text(command)))
    if verdict.edits:
        yield f"edits: {len(verdict.edits)}, {len(message)} → {len(verdict.payload)} bytes"
    else:
        yield f"passes as it came: {verdict.reason}"
    yield ""
    yield from marked_lines(message, verdict.edits, COLOURED if coloured else PLAIN)


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation as JSON's values; texts that aren't UTF-8 have their bytes as escapes."""
    message, ends, verdict, given = explanation
    mappings = [*given, *(command.mapping for command in verdict.commands if isinstance(command, OpenMapping))]
    return {
        "direction": "outbound" if ends.outbound else "inbound",
        "source": str(ends.source),
        "destination": str(ends.destination),
        "assumed": list(ends.notes),
        "action": verdict.action,
        "reason": verdict.reason,
        "edits": [
            {
                "offset": edit.offset,
                "before": text_of(message[edit.offset : edit.offset + edit.length]),
                "after": text_of(edit.replacement),
                "rule": edit.rule,
            }
            for edit in verdict.edits
        ],
        "mappings": [
            {"private": str(mapping.private), "public": str(mapping.public), "purpose": mapping.purpose}
            for mapping in mappings
        ],
        "peers": [
            {"public": str(command.mapping.public), "peer": command.peer}
            for command in verdict.commands
            if isinstance(command, AdmitPeer)
        ],
        "flows": [
            {
                "private": str(command.flow.private),
                "public": str(command.flow.public),
                "remote": str(command.flow.remote),
            }
            for command in verdict.commands
            if isinstance(command, EstablishFlow)
        ],
        "message": verdict.payload.decode("utf-8", "backslashreplace"),
    }


def _mapping_text(mapping: Mapping) -> str:
    return f"{mapping.private} ↔ {mapping.public}, {mapping.purpose}"


def _command_text(command: Command) -> str:
    """Say what a command would open; "" for those that only end or renew something."""
    match command:
        case OpenMapping(mapping, _):
            return f"mapping: {_mapping_text(mapping)}"
        case AdmitPeer(mapping, peer, _):
            return f"peer: {peer} may signal to {mapping.public}"
        case EstablishFlow(flow, _):
            return f"flow: {flow.private} ↔ {flow.remote}, seen from there as {flow.public}"
    return ""


def _read(name: str) -> bytes:
    """Return what the file holds, at most one byte more than a datagram can."""
    if name == "-":
        return sys.stdin.buffer.read(_LARGEST_PAYLOAD_BYTES + 1)
    with Path(name).open("rb") as file:
        return file.read(_LARGEST_PAYLOAD_BYTES + 1)


def _refuse(what: str) -> int:
    sys.stderr.write(f"sipalg explain: {what}\n")
    return 2
