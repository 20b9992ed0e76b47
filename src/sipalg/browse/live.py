"""Calls as they happen: captured frames in, conversations with their messages kept within a bound.

Where there are too many, the call that was silent longest goes; of one that never ends, its oldest messages. The
packets of what is kept are kept too, so that they can be saved; media isn't. On a packet's way a copy is read here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from sipalg.analysis.dialogs import Conversation, begin, name_of
from sipalg.analysis.messages import Messages, SipMessage
from sipalg.analysis.selection import as_row
from sipalg.browse.sources import MESSAGE_BYTES, Row
from sipalg.capture.decode import Decoder
from sipalg.capture.link import ETHERNET
from sipalg.capture.pcap import CaptureError, CaptureWriter
from sipalg.capture.reading import Frame
from sipalg.capture.records import Captured

#: How many calls are kept, how many messages of one, and how much of all.
MOST_CALLS: Final = 5000
MOST_MESSAGES: Final = 2000
MOST_BYTES: Final = 64 << 20
#: How many frames are remembered for the message that a later one completes, and how much of them.
_MOST_RECENT: Final = 4096
_MOST_RECENT_BYTES: Final = 8 << 20


class _Heard(NamedTuple):
    """A message and its packets by number."""

    message: SipMessage
    packets: dict[int, Captured]

    @property
    def size_bytes(self) -> int:
        return MESSAGE_BYTES + len(self.message.data) + sum(len(packet.frame) for packet in self.packets.values())


@dataclass(slots=True)
class _Call:
    number: int
    conversation: Conversation
    heard: deque[_Heard] = field(default_factory=deque)
    size_bytes: int = 0

    def add(self, heard: _Heard) -> None:
        self.conversation.add(heard.message)
        self.heard.append(heard)
        self.size_bytes += heard.size_bytes
        if len(self.heard) > MOST_MESSAGES:
            self.size_bytes -= self.heard.popleft().size_bytes


class _Side:
    """What belongs to an interface alone: the same fragments and connections may pass another one too."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.decoder = Decoder()
        self.messages = Messages()


class LiveCalls:
    """The calls of some interfaces, in the shape of a `sources.Source`."""

    def __init__(self, interfaces: str, most_bytes: int = MOST_BYTES) -> None:
        self._interfaces = interfaces
        self._most_bytes = most_bytes
        self.version = 0
        #: How many packets were lost before they came here.
        self.dropped = 0
        self._packets = 0
        self._begun = 0
        self._bytes = 0
        self._sides: dict[str, _Side] = {}
        self._recent: dict[int, Captured] = {}
        self._recent_bytes = 0
        #: As of which version.
        self._rows: tuple[int, list[Row]] = (0, [])
        #: By Call-ID; the one that was silent longest is first.
        self._calls: dict[str, _Call] = {}

    @property
    def name(self) -> str:
        """The interfaces, and what was lost."""
        lost = f" ({self.dropped} packets lost)" if self.dropped else ""
        return f"{self._interfaces}, live{lost}"

    def take(self, packet: Captured) -> None:
        """Read one frame."""
        self._packets += 1
        self._remember(packet)
        side = self._sides.get(packet.interface)
        if side is None:
            side = self._sides[packet.interface] = _Side(len(self._sides))
        frame = Frame(self._packets, packet.time_ns, packet.frame, packet.wire_bytes, ETHERNET, side.number)
        for segment in side.decoder.segments((frame,)):
            for message in side.messages.take(segment):
                self._keep(message._replace(origin=packet.interface))

    def rows(self) -> list[Row]:
        """Return the calls in the order in which they began."""
        if self._rows[0] != self.version:
            calls = sorted(self._calls.values(), key=lambda call: call.number)
            self._rows = (self.version, [as_row(call.number, call.conversation) for call in calls])
        return self._rows[1]

    def methods(self) -> dict[str, str]:
        """Return each call's methods in one text, by Call-ID."""
        return {name: " ".join(sorted(call.conversation.methods)) for name, call in self._calls.items()}

    def messages(self, call_ids: frozenset[str]) -> list[SipMessage]:
        """Return what is kept of some calls, in the order of time."""
        found = [heard.message for call in self._chosen(call_ids) for heard in call.heard]
        return sorted(found, key=lambda message: (message.time_ns, message.number))

    def save(self, call_ids: frozenset[str], path: Path) -> int:
        """Write the packets of the messages that are kept of some calls. Raises CaptureError."""
        packets = {
            number: packet
            for call in self._chosen(call_ids)
            for heard in call.heard
            for number, packet in heard.packets.items()
        }
        if not packets:
            raise CaptureError(f"{path}: not written, since there is no packet to write")
        with CaptureWriter(path, ETHERNET, nanoseconds=True) as writer:
            for _, packet in sorted(packets.items()):
                writer.write(packet.time_ns, packet.frame, packet.wire_bytes, interface=packet.interface)
            writer.commit()
        return len(packets)

    def _chosen(self, call_ids: frozenset[str]) -> list[_Call]:
        return [call for call_id, call in self._calls.items() if call_id in call_ids]

    def _remember(self, packet: Captured) -> None:
        self._recent[self._packets] = packet
        self._recent_bytes += len(packet.frame)
        while len(self._recent) > _MOST_RECENT or self._recent_bytes > _MOST_RECENT_BYTES:
            self._recent_bytes -= len(self._recent.pop(next(iter(self._recent))).frame)

    def _keep(self, message: SipMessage) -> None:
        self.version += 1
        name = name_of(message)
        call = self._calls.pop(name, None)
        if call is None:
            self._begun += 1
            call = _Call(self._begun, begin(message))
        self._bytes -= call.size_bytes
        call.add(
            _Heard(message, {number: self._recent[number] for number in message.frames if number in self._recent})
        )
        self._bytes += call.size_bytes
        self._calls[name] = call
        while len(self._calls) > 1 and (len(self._calls) > MOST_CALLS or self._bytes > self._most_bytes):
            self._bytes -= self._calls.pop(next(iter(self._calls))).size_bytes
