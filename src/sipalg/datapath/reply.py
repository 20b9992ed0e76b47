"""Datagrams that the router sends in another host's name: the answer to a request that it doesn't let out.

At the end of a packet's way, in place of the packet: the phone or PBX inside gets a response from the very address
that it wrote to. A raw socket writes it with its IP header. It carries a mark by which a rule of our table keeps the
connection tracker away: tracked, it would be a new flow with a source that is none of ours, and be given another port.
Source: raw(7), IP_HDRINCL.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from types import TracebackType
from typing import Final, Self

from sipalg.codec.datagram import fill_checksums, host_bytes
from sipalg.engine.verdict import UDP, Reply

#: The mark of these packets. Nothing else uses it: the bits that Kubernetes, Tailscale and mwan3 look at are 0.
MARK: Final = 0x05000000

_HEADERS: Final = struct.Struct("!BBHHHBBH4s4sHHHH")
_HEADERS_BYTES: Final = _HEADERS.size
_TTL: Final = 64
_LARGEST_PACKET_BYTES: Final = 65535


class Replies:
    """Sends replies. Without the right to, making it works, and each `send` fails."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, reply: Reply) -> None:
        """Send one. Raises OSError: EPERM where the router's own filter drops it, or without CAP_NET_RAW."""
        sender = self._socket or self._open()
        sender.sendto(packet_of(reply), (reply.destination.host, 0))

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        except OSError:
            made.close()
            raise
        self._socket = made
        return made


def packet_of(reply: Reply) -> bytes:
    """Return the reply as an IPv4 packet. Raises OSError EMSGSIZE if none can hold it."""
    payload, source, destination = reply
    if ":" in source.host:
        raise OSError(errno.EAFNOSUPPORT, "no reply is made over IPv6")
    total_bytes = _HEADERS_BYTES + len(payload)
    if total_bytes > _LARGEST_PACKET_BYTES:
        raise OSError(errno.EMSGSIZE, f"a reply of {len(payload)} bytes fits no packet")
    ip = (0x45, 0, total_bytes, 0, 0, _TTL, UDP, 0, host_bytes(source.host), host_bytes(destination.host))
    udp = (source.port, destination.port, total_bytes - 20, 0)
    return fill_checksums(_HEADERS.pack(*ip, *udp) + payload)
