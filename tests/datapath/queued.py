"""What the tests of machine code for the queue share: the kernel's messages, and the verdicts that are to come."""

from __future__ import annotations

import struct
from importlib import import_module
from typing import TYPE_CHECKING

from sipalg.codec import datagram
from sipalg.datapath import netlink
from sipalg.datapath.nfqueue import verdict_prefix

if TYPE_CHECKING:
    from sipalg.datapath.batched import Machine

NUMBER = 77
ACCEPT, DROP = (verdict_prefix(NUMBER, decision=decision) for decision in (1, 0))


def batch_at(fd: int, drop: bytes = DROP, *, beside: bool = False) -> Machine:
    batch: Machine = import_module("sipalg.datapath.batch").Batch(fd, NUMBER, ACCEPT, drop, beside)
    return batch


def packet_of(payload: bytes, fragment: int = 0, udp_checksum: int = 1, first: int = 0x45) -> bytes:
    total = 28 + len(payload)
    header = struct.pack("!BBHHHBBH4s4s", first, 0, total, 7, fragment, 64, 17, 0, b"\xc0\xa8\1\2", b"\xcb\0\x71\5")
    return datagram.fill_checksums(header + struct.pack("!HHHH", 5060, 5060, 8 + len(payload), udp_checksum) + payload)


def packet_message(packet_id: int, packet: bytes, *, interfaces: bool = True, more: bytes = b"") -> bytes:
    """The kernel's message of a packet; its id has the queue above the kernel's own 32 bits."""
    body = struct.pack("!BBH", 2, 0, NUMBER + (packet_id >> 32))
    body += netlink.attribute(1, struct.pack("!IHB", packet_id & 0xFFFFFFFF, 0x0800, 2))
    if interfaces:
        body += netlink.u32(5, 3) + netlink.u32(6, 4)
    body += more + netlink.attribute(10, packet)
    return netlink.encode(netlink.Message(3 << 8, 0, body), 0)


def verdict_of(packet_id: int, packet: bytes | None) -> bytes:
    """The message that lets a packet go on, as it came or as this one."""
    body = struct.pack("!BBH", 0, 0, NUMBER + (packet_id >> 32))
    body += netlink.attribute(2, struct.pack("!II", 1, packet_id & 0xFFFFFFFF))
    size = 0 if packet is None else 4 + len(packet)
    body += b"" if packet is None else netlink.attribute(10, packet)
    return struct.pack("=IHHII", 32 + size, 3 << 8 | 1, 1, 0, 0) + body
