"""UDP streams as Wireshark counts them: a number for each pair of ends, packets of either side, and turns.

The client is who sent first. A turn is a change of direction. On a packet's way offline this stands behind the
decoding, and holds the counts of a stream, never its packets. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sipalg.capture.decode import Segment
from sipalg.engine.verdict import Endpoint

#: The bytes that are shown as they are: ASCII's printable ones and what ends or indents lines.
_SHOWN: Final = bytes(byte if 0x20 <= byte < 0x7F or byte in b"\r\n\t" else 0x2E for byte in range(256))


@dataclass(slots=True)
class UdpStream:
    """One stream: its number, its ends, and what was counted so far; `first` is the first payload's beginning."""

    number: int
    client: Endpoint
    server: Endpoint
    first: bytes
    client_packets: int = 0
    server_packets: int = 0
    turns: int = 0
    last_from_server: bool = False

    def count(self, source: Endpoint) -> bool:
        """Count a packet, and return whether it came from the server."""
        from_server = source != self.client
        if from_server:
            self.server_packets += 1
        else:
            self.client_packets += 1
        self.turns += from_server != self.last_from_server
        self.last_from_server = from_server
        return from_server

    def counts(self) -> str:
        """Return the counts in Wireshark's words."""
        numbers = ((self.client_packets, "client pkt"), (self.server_packets, "server pkt"), (self.turns, "turn"))
        return ", ".join(f"{number} {what}{'' if number == 1 else 's'}" for number, what in numbers) + "."


class UdpStreams:
    """All streams of a capture, in the order in which they began."""

    def __init__(self) -> None:
        self._by_ends: dict[tuple[Endpoint, Endpoint], UdpStream] = {}

    def take(self, segment: Segment) -> tuple[UdpStream, bool]:
        """Count a UDP segment; return its stream, and whether it came from the server."""
        source, destination = segment.source, segment.destination
        ends = (source, destination) if source <= destination else (destination, source)
        stream = self._by_ends.get(ends)
        if stream is None:
            number = len(self._by_ends)
            stream = self._by_ends[ends] = UdpStream(number, source, destination, segment.payload[:100])
        return stream, stream.count(source)

    def all(self) -> list[UdpStream]:
        """Return the streams in order."""
        return list(self._by_ends.values())


def as_ascii(payload: bytes) -> str:
    """Return a payload as Wireshark's ASCII shows it: line ends as they are, a dot for what can't be printed."""
    return payload.translate(_SHOWN).decode("ascii")
