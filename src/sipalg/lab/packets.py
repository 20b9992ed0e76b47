"""What the captures hold: SIP messages and RTP packets, with their times and addresses.

The captures are read while tcpdump still writes them, so an unfinished last packet is the end. On a packet's way this
is the same packet before and after the router: the judge believes no program's word, only what was on the wire.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sipalg.analysis.messages import sip_messages
from sipalg.capture.decode import decode
from sipalg.capture.link import find_ip
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import open_capture
from sipalg.codec.datagram import TCP, UdpPacket, parse_udp
from sipalg.engine.verdict import Endpoint

RTP_HEADER_BYTES: Final = 12
PCMU: Final = 0
_START_LINE: Final = re.compile(rb"^(?:SIP/2\.0 \d{3} |[A-Z]+ sips?:\S+ SIP/2\.0)")


class Wire(NamedTuple):
    """One UDP packet on a wire; `time_s` is seconds since 1970."""

    time_s: float
    source: Endpoint
    destination: Endpoint
    payload: bytes


class Message(NamedTuple):
    """One SIP message on a wire."""

    wire: Wire
    text: str

    @property
    def start_line(self) -> str:
        """The request line or status line."""
        return self.text.partition("\r\n")[0]

    @property
    def name(self) -> str:
        """What a ladder shows: `INVITE`, or `200 OK (INVITE)`."""
        line = self.start_line
        if not line.startswith("SIP/2.0 "):
            return line.partition(" ")[0]
        method = self.header("CSeq").rpartition(" ")[2]
        return f"{line.partition(' ')[2]} ({method})"

    @property
    def key(self) -> tuple[str, str, str]:
        """What the ALG never changes and what tells messages apart: Call-ID, CSeq, method or status."""
        return (self.header("Call-ID"), self.header("CSeq"), self.name)

    def header(self, name: str) -> str:
        """The value of the first header of that name, "" if there is none."""
        found = re.search(rf"^{name}\s*:\s*(.*?)\r?$", self.text, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else ""

    def media(self) -> Endpoint | None:
        """Where its SDP wants the first media line's packets; None without SDP."""
        address = re.search(r"^c=IN IP[46] (\S+)", self.text, re.MULTILINE)
        port = re.search(r"^m=\w+ (\d+) ", self.text, re.MULTILINE)
        return Endpoint(address[1], int(port[1])) if address and port else None


def read_capture(path: Path) -> Iterator[Wire]:
    """Yield the UDP packets of a capture, oldest first; an unfinished or damaged packet is the end."""
    try:
        with open_capture(path) as capture:
            for frame in capture:
                span = find_ip(frame.link_type, frame.data)
                parsed = parse_udp(frame.data[span.start : span.end]) if span else "no packet"
                if isinstance(parsed, UdpPacket):
                    source, destination = Endpoint(*parsed.source), Endpoint(*parsed.destination)
                    yield Wire(frame.time_ns / 1e9, source, destination, parsed.payload)
    except CaptureError:
        return


def read_streams(path: Path) -> Iterator[Wire]:
    """Yield the SIP messages over TCP of a capture as if each were a packet, at the time of its last segment."""
    try:
        with open_capture(path) as capture:
            for message in sip_messages(decode(capture)):
                if message.protocol == TCP and not message.problem:
                    yield Wire(message.time_ns / 1e9, message.source, message.destination, message.data)
    except CaptureError:
        return


def messages(packets: Iterable[Wire]) -> list[Message]:
    """Give the SIP messages among the packets; text that isn't UTF-8 is shown with replacement characters."""
    return [
        Message(packet, packet.payload.decode(errors="replace"))
        for packet in packets
        if _START_LINE.match(packet.payload)
    ]


def is_rtp(payload: bytes) -> bool:
    """Whether a payload looks like an RTP packet of version 2 that carries PCMU (RFC 3550, section 5.1)."""
    return len(payload) > RTP_HEADER_BYTES and payload[0] >> 6 == 2 and payload[1] & 0x7F == PCMU


def streams(packets: Iterable[Wire]) -> Counter[tuple[Endpoint, Endpoint]]:
    """Count the RTP packets of PCMU by source and destination."""
    return Counter((packet.source, packet.destination) for packet in rtp(packets))


def rtp(packets: Iterable[Wire], wanted: Callable[[Wire], bool] = lambda _: True) -> list[Wire]:
    """Give the RTP packets of PCMU that `wanted` accepts."""
    return [packet for packet in packets if is_rtp(packet.payload) and wanted(packet)]
