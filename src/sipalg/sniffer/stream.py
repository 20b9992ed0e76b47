"""Captured packets sent on as TZSP, which Wireshark and RouterOS's users know: one UDP datagram a packet.

Nothing waits for the network: what the socket doesn't take is counted. On a packet's way a copy leaves here. Source:
the TaZmen Sniffer Protocol, as Wireshark reads it: version 1, type 0 (received packet), encapsulation 1 (Ethernet),
and one tag, which ends the tags.
"""

from __future__ import annotations

import socket
from typing import Final

#: Version, type, encapsulation, end of tags.
TZSP_HEADER: Final = bytes((1, 0, 0, 1, 1))
#: What fits a UDP datagram over IPv4, less the header.
_MOST_BYTES: Final = 65507 - len(TZSP_HEADER)


def datagram(frame: bytes) -> bytes:
    """Return what carries a frame."""
    return TZSP_HEADER + frame[:_MOST_BYTES]


class Stream:
    """Sends packets to one server; counts what went and what didn't."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.packets = 0
        self.failed = 0

    def send(self, frame: bytes) -> None:
        """Send one."""
        try:
            self._socket.sendto(datagram(frame), self._server)
        except OSError:
            self.failed += 1
        else:
            self.packets += 1

    def close(self) -> None:
        """Send no more."""
        self._socket.close()
