"""Network interfaces as packets need them: by number, their name and the largest packet that they take.

The driver asks for each packet where it came in and where it goes out; what was looked up once is remembered until
something has changed.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final, NamedTuple

from sipalg.codec.datagram import DEFAULT_MTU_BYTES

_SIOCGIFMTU: Final = 0x8921


class Interface(NamedTuple):
    """A network interface as packets need it; a name of "" is one that is gone."""

    name: str
    mtu_bytes: int


class Interfaces:
    """Interfaces by their number, looked up once and remembered until `forget`."""

    def __init__(self) -> None:
        #: What was looked up so far; only for reading, and only because each packet pays for a call.
        self.known: dict[int, Interface] = {}

    def forget(self) -> None:
        """Look everything up anew: names and sizes change with links and addresses."""
        self.known.clear()

    def __getitem__(self, ifindex: int) -> Interface:
        known = self.known.get(ifindex)
        if known is None:
            known = self.known[ifindex] = _look_up(ifindex)
        return known


def _look_up(ifindex: int) -> Interface:
    try:
        name = socket.if_indextoname(ifindex)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asker:
            answer = fcntl.ioctl(asker, _SIOCGIFMTU, struct.pack("16s16x", name.encode()))
    except OSError:
        return Interface("", DEFAULT_MTU_BYTES)
    mtu_bytes: int = struct.unpack_from("i", answer, 16)[0]
    return Interface(name, mtu_bytes)
