"""Captures as libpcap reads them, to hold the project's own reader and writers against."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pcapy


class Packet(NamedTuple):
    """One packet as libpcap gives it: its clock has microseconds."""

    number: int
    time_us: int
    data: bytes
    wire_bytes: int


def read(path: Path) -> tuple[int, list[Packet]]:
    """Return the link type, as libpcap numbers it, and the packets; pcapy.PcapError if something isn't right."""
    reader = pcapy.open_offline(str(path))
    packets: list[Packet] = []
    while True:
        header, data = reader.next()
        if header is None:
            return reader.datalink(), packets
        seconds, microseconds = header.getts()
        packets.append(Packet(len(packets) + 1, seconds * 1_000_000 + microseconds, bytes(data), header.getlen()))
