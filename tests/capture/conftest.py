"""Packets to try the router on, built from texts like `192.168.33.10:5060`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from sipalg.codec.datagram import fill_checksums, host_bytes

Build = Callable[..., bytes]


def _ip(protocol: int, source: str, destination: str, body: bytes) -> bytes:
    hosts = host_bytes(source.split(":")[0]) + host_bytes(destination.split(":")[0])
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, 64, protocol, 0) + hosts + body


def _ports(source: str, destination: str) -> bytes:
    return struct.pack("!HH", int(source.split(":")[1]), int(destination.split(":")[1]))


@pytest.fixture(scope="session")
def udp() -> Build:
    """udp(source, destination, payload): a UDP packet with right checksums."""

    def build(source: str, destination: str, payload: bytes = b"x") -> bytes:
        body = _ports(source, destination) + struct.pack("!HH", 8 + len(payload), 0) + payload
        return fill_checksums(_ip(17, source, destination, body))

    return build


@pytest.fixture(scope="session")
def tcp() -> Build:
    """tcp(source, destination, payload): a TCP segment with right checksums."""

    def build(source: str, destination: str, payload: bytes = b"") -> bytes:
        body = _ports(source, destination) + struct.pack("!IIBBHHH", 1, 2, 0x50, 0x18, 1000, 0, 0) + payload
        return fill_checksums(_ip(6, source, destination, body))

    return build


@pytest.fixture(scope="session")
def ping() -> Build:
    """ping(source, destination, identifier, reply=False): an ICMP echo."""

    def build(source: str, destination: str, identifier: int, *, reply: bool = False) -> bytes:
        body = struct.pack("!BBHHH", 0 if reply else 8, 0, 0, identifier, 1) + b"ping!"
        return fill_checksums(_ip(1, source, destination, body))

    return build


@pytest.fixture(scope="session")
def unreachable() -> Build:
    """unreachable(source, destination, about, kind=3): an ICMP error that quotes `about`."""

    def build(source: str, destination: str, about: bytes, kind: int = 3) -> bytes:
        return fill_checksums(_ip(1, source, destination, struct.pack("!BBHI", kind, 3, 0, 0) + about))

    return build


@pytest.fixture(scope="session")
def fragmented() -> Callable[[bytes, int], list[bytes]]:
    """fragmented(packet, size): its fragments of `size` bytes of body each, `size` a multiple of 8."""

    def build(packet: bytes, size: int) -> list[bytes]:
        body = packet[20:]
        return [
            fill_checksums(
                packet[:2]
                + struct.pack(
                    "!HHH", 20 + len(body[at : at + size]), 99, at // 8 | (0x2000 if at + size < len(body) else 0)
                )
                + packet[8:20]
                + body[at : at + size]
            )
            for at in range(0, len(body), size)
        ]

    return build


@pytest.fixture
def shared_folder() -> Path:
    """The folder with the lecture's messages and the public captures, which isn't part of the project."""
    folder = Path(__file__).parents[2] / "../shared"
    if not folder.is_dir():
        pytest.skip("the shared folder with captures and messages isn't beside the checkout")
    return folder.resolve()
