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
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final, NamedTuple

from sipalg.analysis.ends import Ends, UnknownEndError, assumed_public, find_ends
from sipalg.analysis.left import notes_on_left
from sipalg.analysis.marks import COLOURED, PLAIN, diff_lines, marked_lines, text_of
from sipalg.capture import arguments, reasons
from sipalg.capture.router import LOCAL
from sipalg.codec.address import MAX_PORT, in_networks
from sipalg.codec.message import identify, parse
from sipalg.engine.alg import Alg
from sipalg.engine.policy import NOTHING_TO_EDIT, SDP_OF_ANOTHER
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import (
    ACCEPT,
    DROP,
    UDP,
    AdmitPeer,
    Command,
    Datagram,
    Endpoint,
    EstablishFlow,
    Mapping,
    OpenMapping,
    Reply,
    Verdict,
)

_INSIDE: Final = "inside"
_OUTSIDE: Final = "outside"
#: How pcap begins, in either byte order, with micro- or nanoseconds, and how pcapng does.
_CAPTURES: Final = tuple(map(bytes.fromhex, ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a")))
#: How gzip, xz and Zstandard begin.
_COMPRESSED: Final = tuple(map(bytes.fromhex, ("1f8b", "fd377a585a00", "28b52ffd")))
#: What is shown of something that is no message.
_LINES_OF_NO_MESSAGE: Final = 3
_LONGEST_LINE: Final = 100

#: The most that a UDP datagram over IPv4 holds.
_LARGEST_PAYLOAD_BYTES: Final = 65507


class Explanation(NamedTuple):
    """A message, its ends, the ALG's verdict, and the mappings that stood before because the options name them.

    `ends` is None for what can't be read as a message: it passes from wherever it came.
    """

    message: bytes
    ends: Ends | None
    verdict: Verdict
    public_host: str
    given: tuple[Mapping, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", metavar="FILE.sip", help="the message as it is on the wire; - reads stdin")
    parser.add_argument(
        "--inside",
        type=arguments.network,
        action="append",
        metavar="CIDR",
        help="a network behind the NAT (repeatable; default: the private networks of RFC 1918)",
    )
    parser.add_argument(
        "--public",
        type=arguments.endpoint_or_address,
        required=True,
        metavar="ADDRESS[:PORT]",
        help="the router's outside address, and the public port of the phone's mapping (default: the phone's own, or "
        "the one that a message from outside came to)",
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
    parser.add_argument(
        "--sip-direct-media",
        type=arguments.yes_or_no,
        default=True,
        metavar="yes|no",
        help="may media go straight to another inside device? (default: yes)",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--raw", action="store_true", help="write just the bytes that would be sent on")
    shape.add_argument("--diff", action="store_true", help="write the message with - and + before the edited lines")
    shape.add_argument("--json", action="store_true", help="write the explanation as JSON")


def main(args: argparse.Namespace) -> int:
    """Explain the message; 0, or 2 with one line on stderr if it can't be read or its ends aren't known."""
    try:
        message = _read(args.file)
        wrong = _wrong_with(message)
        if wrong:
            return _refuse(f"{args.file}: {wrong}")
        explanation = _explained(message, args)
    except OSError as error:
        return _refuse(f"{args.file}: {error.strerror}; give a file with one SIP message, or - for stdin")
    except UnknownEndError as error:
        return _refuse(f"{args.file}: {error}")
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if args.raw and explanation.verdict.action == DROP:
        sys.stderr.write(f"sipalg explain: nothing is sent on: {_fate(explanation.verdict)}\n")
    elif args.raw:
        sys.stdout.buffer.write(explanation.verdict.payload)
        sys.stdout.buffer.flush()
    elif args.json:
        sys.stdout.write(json.dumps(as_json(explanation), indent=2) + "\n")
    elif args.diff:
        if explanation.verdict.reason:
            sys.stderr.write(f"sipalg explain: {_fate(explanation.verdict)}\n")
        lines = diff_lines(message, explanation.verdict.edits, coloured=coloured)
        sys.stdout.write("".join(line + "\n" for line in lines))
    else:
        sys.stdout.write("".join(line + "\n" for line in as_text(explanation, coloured=coloured)))
    return 0


def _wrong_with(content: bytes) -> str:
    """Say why a file's content can't be one message, "" if it can."""
    if not content:
        return "is empty; give a file with one SIP message"
    if content.startswith(_CAPTURES):
        return "is a capture; use sipalg rewrite"
    if content.startswith(_COMPRESSED):
        return "is compressed; give one SIP message as it is on the wire, or use sipalg rewrite for a capture"
    if len(content) > _LARGEST_PAYLOAD_BYTES:
        return f"too long; give one message of at most {_LARGEST_PAYLOAD_BYTES} bytes"
    return ""


def _explained(message: bytes, args: argparse.Namespace) -> Explanation:
    """Work out what the options leave open, and explain; UnknownEndError where that can't be."""
    unreadable = parse(message)
    if isinstance(unreadable, str):
        return passes(message, None, unreadable, args.public.host)
    inside = tuple(args.inside or arguments.PRIVATE_NETWORKS)
    public = args.public
    ends = find_ends(message, inside, public.host, args.source, args.destination)
    notes = list(ends.notes)
    if not ends.outbound and not public.port and not in_networks(ends.source.host, inside):
        public = assumed_public(message, ends, public.host)
        notes.append(f"public {public}: the {'Request-URI' if unreadable.method else 'topmost Via'} names it")
    if args.inside is None:
        notes.insert(0, f"inside {', '.join(map(str, inside))}: as --inside isn't given")
        if args.raw:
            sys.stderr.write(f"sipalg explain: assumed {notes[0]}\n")
    ends = ends._replace(notes=tuple(notes))
    return explain(message, ends, inside, public, args.media_port, direct_media=args.sip_direct_media)


def passes(message: bytes, ends: Ends | None, reason: str, public_host: str) -> Explanation:
    """Return the explanation of what the engine needn't be asked about."""
    return Explanation(message, ends, Verdict(ACCEPT, message, (), (), reason, 0), public_host, ())


def explain(
    message: bytes,
    ends: Ends,
    inside: tuple[IPv4Network, ...],
    public: Endpoint,
    media_port: int | None,
    *,
    direct_media: bool = True,
) -> Explanation:
    """Ask an engine that knows nothing but the mappings that the options name, and no call.

    `public` with port 0 leaves the choice of the phone's port to the engine, `media_port` None that of the media's.
    """
    if in_networks(ends.source.host, inside) and in_networks(ends.destination.host, inside):
        return passes(message, ends, LOCAL, public.host)
    phone = ends.source if ends.outbound else ends.destination
    given = [Mapping(UDP, phone, public, "sip")] if public.port else []
    settings = Settings(frozenset((_INSIDE,)), public.host, public.host, direct_media=direct_media)
    verdict = _ask(message, ends, settings, inside, given)
    if verdict.reason == SDP_OF_ANOTHER and direct_media and _changes_a_call(message):
        # What a standing call allows this sender, an inside server may at all times.
        settings = replace(settings, inside_servers=(IPv4Network(ends.source.host),))
        ends = ends._replace(notes=(*ends.notes, "the call that it changes stands: it had its 2xx and ACK"))
        verdict = _ask(message, ends, settings, inside, given)
    if media_port is not None:
        # The engine itself says which private ports the message names; then it is asked again with those given.
        opened = [command.mapping for command in verdict.commands if isinstance(command, OpenMapping)]
        given += _media_given([mapping for mapping in opened if mapping.purpose != "sip"], public.host, media_port)
        verdict = _ask(message, ends, settings, inside, given)
    edits = tuple(edit for edit in verdict.edits if edit.replacement != message[edit.offset :][: edit.length])
    verdict = verdict._replace(changes=edits, reason=verdict.reason or ("" if edits else NOTHING_TO_EDIT))
    return Explanation(message, ends, verdict, public.host, tuple(given))


def _changes_a_call(data: bytes) -> bool:
    """Return whether a message offers other media in a call that has begun: a re-INVITE or an UPDATE."""
    message = parse(data)
    if isinstance(message, str) or message.method not in (b"INVITE", b"UPDATE"):
        return False
    return identify(message).to_tag != b""


def _ask(
    message: bytes, ends: Ends, settings: Settings, inside: tuple[IPv4Network, ...], given: Iterable[Mapping]
) -> Verdict:
    alg = Alg(settings, lambda _protocol, _port: False)
    alg.direct.set_inside(lambda host: in_networks(host, inside))
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
    message, ends, verdict, public_host, given = explanation
    notes: dict[int, str] = {}
    if ends is not None:
        direction = "outbound (inside → outside)" if ends.outbound else "inbound (outside → inside)"
        source, destination = (str(end) if end else "not known" for end in _shown_ends(ends))
        yield f"{direction}: {source} → {destination}, UDP"
        yield from (f"assumed: {note}" for note in ends.notes)
        opened = [command for command in _opened(verdict, given) if ends.far_known or isinstance(command, OpenMapping)]
        lines = [f"mapping given: {_mapping_text(mapping)}" for mapping in given]
        lines += [_command_text(command) for command in opened]
        yield from filter(None, dict.fromkeys(lines))
        notes = _notes(message, verdict, ends, public_host)
    if verdict.edits:
        yield f"edits: {len(verdict.edits)}, {len(message)} → {len(verdict.payload)} bytes"
    else:
        yield _fate(verdict)
    yield ""
    if ends is None:
        yield from _beginning(message)
    else:
        yield from marked_lines(message, verdict.edits, COLOURED if coloured else PLAIN, notes)


def _opened(verdict: Verdict, given: Iterable[Mapping]) -> list[Command]:
    """Return the commands without those that open what was there before."""
    known = set(given)
    return [
        command
        for command in verdict.commands
        if not (isinstance(command, OpenMapping) and command.mapping in known)
    ]


def _shown_ends(ends: Ends) -> tuple[Endpoint | None, Endpoint | None]:
    """Return source and destination, None for the outside one where nothing names it."""
    if ends.far_known:
        return ends.source, ends.destination
    return (ends.source, None) if ends.outbound else (None, ends.destination)


def _notes(data: bytes, verdict: Verdict, ends: Ends, public_host: str) -> dict[int, str]:
    """Return the notes on what was left alone; none where the whole message passes for a reason of its own."""
    message = parse(data)
    if isinstance(message, str) or verdict.reason not in ("", NOTHING_TO_EDIT):
        return {}
    phone = ends.source if ends.outbound else ends.destination
    return notes_on_left(message, verdict.edits, phone.host, public_host, outbound=ends.outbound)


def _beginning(data: bytes) -> Iterator[str]:
    """Yield the first lines of what is no message, shortened."""
    lines = data.split(b"\n", _LINES_OF_NO_MESSAGE)
    for line in lines[:_LINES_OF_NO_MESSAGE]:
        text = text_of(line.removesuffix(b"\r")[: _LONGEST_LINE + 1])
        yield text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"
    if any(lines[_LINES_OF_NO_MESSAGE:]):
        yield f"… {len(data)} bytes in all"


def _fate(verdict: Verdict) -> str:
    """Say what becomes of a message without edits, and why."""
    fate = "passes as it came"
    for reply in _replies(verdict):
        status = reply.payload.partition(b"\r\n")[0].decode("ascii").partition(" ")[2]
        fate = f"doesn't leave; {reply.destination} gets {status} from {reply.source}"
    return f"{fate}: {_reason_text(verdict.reason)}"


def _replies(verdict: Verdict) -> list[Reply]:
    """Return what the ALG itself answers: nothing, or one reply."""
    return [command for command in verdict.commands if isinstance(command, Reply)]


def _reason_text(reason: str) -> str:
    """Return a reason with its sentence."""
    meaning = reasons.sentence(reason)
    return f"{reason}: {meaning}" if meaning else reason


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation as JSON's values; texts that aren't UTF-8 have their bytes as escapes."""
    message, ends, verdict, _, given = explanation
    source, destination = _shown_ends(ends) if ends else (None, None)
    far_known = ends is not None and ends.far_known
    commands = list(dict.fromkeys(_opened(verdict, given)))
    mappings = [*given, *(command.mapping for command in commands if isinstance(command, OpenMapping))]
    return {
        "direction": ("outbound" if ends.outbound else "inbound") if ends else None,
        "source": str(source) if source else None,
        "destination": str(destination) if destination else None,
        "assumed": list(ends.notes) if ends else [],
        "action": verdict.action,
        "reason": verdict.reason,
        "meaning": reasons.sentence(verdict.reason),
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
            for command in commands
            if far_known and isinstance(command, AdmitPeer)
        ],
        "flows": [
            {
                "private": str(command.flow.private),
                "public": str(command.flow.public),
                "remote": str(command.flow.remote),
            }
            for command in commands
            if far_known and isinstance(command, EstablishFlow)
        ],
        "reply": next((reply.payload.decode("utf-8", "backslashreplace") for reply in _replies(verdict)), None),
        "message": None if verdict.action == DROP else verdict.payload.decode("utf-8", "backslashreplace"),
    }


def _mapping_text(mapping: Mapping) -> str:
    return f"{mapping.private} ↔ {mapping.public}, {mapping.purpose}"


def _command_text(command: Command) -> str:
    """Say what a command would open; "" for those that only end or renew something."""
    match command:
        case OpenMapping(mapping, _):
            return f"mapping: {_mapping_text(mapping)}"
        case AdmitPeer(mapping, peer, _):
            what = "signal" if mapping.purpose == "sip" else "send media"
            return f"peer: {peer} may {what} to {mapping.public}"
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
