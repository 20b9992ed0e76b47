"""Frames by their facts."""

from __future__ import annotations

import struct
from ipaddress import ip_address


def udp(source: str, source_port: int, destination: str, destination_port: int, payload: bytes = b"x") -> bytes:
    return transport(17, struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload,
                     source, destination)  # fmt: skip


def tcp(ends: tuple[str, int, str, int], sequence: int, payload: bytes = b"", options: bytes = b"") -> bytes:
    source, source_port, destination, destination_port = ends
    offset = (20 + len(options)) // 4 << 4
    head = struct.pack("!HHIIBBHHH", source_port, destination_port, sequence, 0, offset, 0x10, 1024, 0, 0)
    return transport(6, head + options + payload, source, destination)


def transport(protocol: int, content: bytes, source: str, destination: str, fragment: int = 0) -> bytes:
    """An IP packet; `fragment` is the field with flags and offset."""
    ends = [ip_address(one) for one in (source, destination)]
    if ends[0].version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(content), protocol, 64)
        return head + b"".join(one.packed for one in ends) + content
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), 7, fragment, 64, protocol, 0)
    return head + b"".join(one.packed for one in ends) + content


def ethernet(packet: bytes, *, vlan: int | None = None, source: str = "02:00:00:00:00:01",
             destination: str = "02:00:00:00:00:02", kind: int | None = None) -> bytes:  # fmt: skip
    """An Ethernet frame, with a tag in it if there is a VLAN."""
    if kind is None:
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    stations = b"".join(bytes.fromhex(one.replace(":", "")) for one in (destination, source))
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return stations + tag + struct.pack("!H", kind) + packet
