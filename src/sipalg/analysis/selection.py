"""The calls of some captures, one of them chosen: its messages, and its packets and media in a file of their own.

The table of all conversations is one reading of the files and keeps no message. What is chosen is read again: so a
capture of any size can be looked through. Behind `sipalg calls` with files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from sipalg.analysis.dialogs import Conversation, Conversations, name_of
from sipalg.analysis.files import Captures
from sipalg.analysis.ladder import printable
from sipalg.analysis.messages import SipMessage, is_sip
from sipalg.analysis.rtp import media_ends
from sipalg.capture.decode import Decoder
from sipalg.capture.pcap import CaptureError, CaptureWriter, is_pcapng
from sipalg.capture.reading import Frame
from sipalg.codec.datagram import UDP
from sipalg.engine.verdict import Endpoint

_NS_PER_S: Final = 1_000_000_000
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class UnknownCallError(Exception):
    """No conversation is called so; the text is one line that says what would be right."""


class Packets(NamedTuple):
    """Which packets belong to some conversations: numbers of frames, a set for each file, and the ends of media."""

    numbers: tuple[set[int], ...]
    media: frozenset[Endpoint]


def conversations(captures: Captures) -> list[Conversation]:
    """Read the files and return their conversations in the order in which they began."""
    found = Conversations()
    for _, message in captures.messages():
        found.add(message)
    return list(found.by_call_id.values())


def choose(found: Sequence[Conversation], wanted: str) -> Conversation:
    """Return the conversation with this number, counted from 1, this Call-ID, or the only one that begins so.

    Raises UnknownCallError.
    """
    # Thousands of digits are no number that int() takes.
    if _NUMBER.fullmatch(wanted) and 1 <= int(wanted) <= len(found):
        return found[int(wanted) - 1]
    same = [one for one in found if one.call_id == wanted]
    same = same or [one for one in found if wanted and one.call_id.startswith(wanted)]
    if len(same) == 1:
        return same[0]
    if same:
        raise UnknownCallError(f"--call {wanted}: {len(same)} Call-IDs begin so; give more of it, or the number")
    right = f"a number from 1 to {len(found)}, or a Call-ID" if found else "there is no call at all"
    raise UnknownCallError(f"--call {wanted}: there is no such call; {right}")


def read_messages(captures: Captures, call_ids: frozenset[str]) -> dict[str, list[SipMessage]]:
    """Read the files again for the messages of some conversations, in order, by Call-ID."""
    found: dict[str, list[SipMessage]] = {call_id: [] for call_id in call_ids}
    for _, message in captures.messages():
        if name_of(message) in found:
            found[name_of(message)].append(message)
    return found


def find_packets(captures: Captures, call_ids: frozenset[str]) -> Packets:
    """Read the files again for which packets some conversations and their media have."""
    media: set[Endpoint] = set()
    numbers: tuple[set[int], ...] = tuple(set() for _ in captures.paths)
    for file, message in captures.messages():
        if name_of(message) in call_ids:
            numbers[file].update(message.frames)
            media.update(media_ends(message))
    return Packets(numbers, frozenset(media))


def as_row(number: int, one: Conversation) -> dict[str, Any]:
    """Return a conversation as a row of facts: `number` counts from 1."""
    return {
        "number": number,
        "kind": one.kind,
        "from": one.caller,
        "to": one.callee,
        "source": str(one.source),
        "destination": str(one.destination),
        "state": one.state,
        "failure": one.failure,
        "sip_packets": one.packets,
        "private_addresses": sorted(one.private),
        "call_id": one.call_id,
    }


def title_of_call(row: Mapping[str, Any]) -> str:
    """Return a line about the conversation in a row."""
    failure = f", {row['failure']}" if row["failure"] else ""
    what = f"{row['kind']} {row['number']}, {row['from'] or '?'} → {row['to'] or '?'}"
    return printable(f"{what}: {row['state']}{failure}, Call-ID {row['call_id']}")


def as_facts(number: int, message: SipMessage) -> dict[str, Any]:
    """Return a message as facts: `number` counts from 1 in its conversation."""
    seconds, rest_ns = divmod(message.time_ns, _NS_PER_S)
    return {
        "number": number,
        "packet": message.number,
        "origin": message.origin,
        "time": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest_ns:09}Z",
        "protocol": "udp" if message.protocol == UDP else "tcp",
        "source": str(message.source),
        "destination": str(message.destination),
        "name": message.name,
        "problem": message.problem,
        "text": message.data.decode("utf-8", "backslashreplace"),
    }


def export(captures: Captures, call_ids: frozenset[str], path: Path) -> int:
    """Write the packets of some conversations and of their media to a capture; return how many there were.

    It is pcapng if its name ends so, else pcap. The packets of several files come one file after the other, each as it
    is. CaptureError if it can't be written, or if the packets have different link types and it is pcap.
    """
    if any(path.resolve() == source.resolve() for source in captures.paths):
        raise CaptureError(f"{path}: is read from; give the name of another file to write")
    packets = find_packets(captures, call_ids)
    frames = (
        (file, frame)
        for file, numbers in enumerate(packets.numbers)
        for frame in _frames(captures.frames(file), numbers, packets.media)
    )
    first = next(frames, None)
    if first is None:
        raise CaptureError(f"{path}: not written, since there is no packet to write")
    link_type, count = first[1].link_type, 0
    with CaptureWriter(path, link_type, nanoseconds=True) as writer:
        for file, frame in chain((first,), frames):
            if frame.link_type != link_type and not is_pcapng(path):
                what = f"link types {link_type} and {frame.link_type}"
                raise CaptureError(f"{path}: the packets have {what}, and pcap holds one; write a file named ….pcapng")
            interface = captures.interface_name(file, frame.interface)
            writer.write(frame.time_ns, frame.data, frame.wire_bytes, interface=interface, link_type=frame.link_type)
            count += 1
        writer.commit()
    return count


def _frames(frames: Iterator[Frame], numbers: set[int], media: frozenset[Endpoint]) -> Iterator[Frame]:
    """Yield the frames with these numbers, and those whose datagram comes from or goes to an end of media."""
    decoder = Decoder()
    for frame in frames:
        if frame.number in numbers:
            yield frame
            continue
        for segment in decoder.segments((frame,)):
            is_media = segment.source in media or segment.destination in media
            if is_media and segment.protocol == UDP and not is_sip(segment.payload):
                yield frame
