"""Where the time of the interpreted packet loop goes: each stage by hand, on the packets of a thousand phones.

Netlink message → packet → payload → datagram → (engine) → new packet → verdict, as the driver goes through them; the
engine's own figure is `engine`'s. A packet's way between the kernel's queue and back, without the kernel.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Final

from bench.corpus import Corpus, outside
from bench.phones import SERVER
from bench.template import SEQUENCE_FIRST
from sipalg.codec.datagram import UdpPacket, host_bytes, parse_udp, replace_payload
from sipalg.datapath.netlink import attribute
from sipalg.datapath.nfqueue import parse_packet
from sipalg.engine.verdict import REPLACE, UDP, Datagram, Endpoint, Verdict

_ROUNDS: Final = 15


def packet_of(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    """Return an IPv4 packet with this UDP payload; its UDP checksum isn't right, but isn't none either."""
    ip_header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 1, 0x4000, 64, UDP, 0, host_bytes(source[0]),
                            host_bytes(destination[0]))  # fmt: skip
    return ip_header + struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 1) + payload


def queue_message(packet: bytes, packet_id: int) -> bytes:
    """Return the netlink message by which the kernel hands over a packet (nfqnl_build_packet_message)."""
    body = (struct.pack("!BBH", 2, 0, 7) + attribute(1, struct.pack("!IHB", packet_id, 0x0800, 2))
            + attribute(5, struct.pack("!I", 2)) + attribute(6, struct.pack("!I", 3))
            + attribute(9, struct.pack("!HH8s", 6, 0, b"\2\0\0\0\0\1\0\0")) + attribute(10, packet))  # fmt: skip
    return struct.pack("=IHHII", 16 + len(body), 3 << 8, 0, 0, 0) + body


def stages(phones: int = 1000) -> list[tuple[str, float]]:
    """Return the stages of a REGISTER's way in order, each with its median µs over all phones."""
    corpus = Corpus(1, phones)
    before = [corpus.before(phone, "REGISTER auth", outside(0), SEQUENCE_FIRST) for phone in corpus.phones]
    after = [corpus.after(phone, "REGISTER auth", outside(20000 + phone.index), SEQUENCE_FIRST)
             for phone in corpus.phones]  # fmt: skip
    raw = [queue_message(packet_of(phone.private, (SERVER, 5060), payload), phone.index)
           for phone, payload in zip(corpus.phones, before, strict=True)]  # fmt: skip
    buffers = [bytearray(message) for message in raw]
    held = [packet for buffer in buffers if (packet := parse_packet(buffer, len(buffer), 0)) is not None]
    parsed = [udp for one in held if isinstance(udp := parse_udp(one.packet), UdpPacket)]
    assert len(parsed) == phones
    steps: list[tuple[str, Callable[[int], object]]] = [
        ("an empty step, part of all others", lambda _: None),
        ("netlink message to packet", lambda i: parse_packet(buffers[i], len(buffers[i]), 0)),
        ("packet to payload", lambda i: parse_udp(held[i].packet)),
        ("datagram", lambda i: _datagram(parsed[i])),
        ("verdict of the engine, made", lambda i: Verdict(REPLACE, after[i], (), (), "", 0)),
        ("new packet", lambda i: replace_payload(held[i].packet, after[i], 1500, 1)),
    ]
    return [(name, _median_us(step, phones)) for name, step in steps]


def _datagram(packet: UdpPacket) -> Datagram:
    source, destination, payload = packet
    return Datagram(payload, Endpoint(*source), Endpoint(*destination), UDP, "lan0")


def _median_us(step: Callable[[int], object], count: int) -> float:
    times = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter_ns()
        for index in range(count):
            step(index)
        times.append((time.perf_counter_ns() - begin) / count / 1000)
    return median(times)


def main() -> int:
    """Print the stages: `python -m bench.stages`."""
    for name, used_us in stages():
        print(f"{name:40} {used_us:6.2f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
