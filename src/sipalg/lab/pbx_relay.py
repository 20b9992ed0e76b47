"""The PBX's own media: what comes to one leg's port leaves from the other's, RTP and RTCP, as it came.

This is the middle man that direct media cuts out. On a packet's way it stands between phone and media server for as
long as both know only the PBX's address.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final, Self

from sipalg.engine.verdict import Endpoint

#: RTP and, beside it, RTCP.
COMPONENTS: Final = (0, 1)


class _Port(asyncio.DatagramProtocol):
    """One UDP port of a leg; it hands what it gets to the other leg's port."""

    def __init__(self, component: int) -> None:
        self.component = component
        self.other: _Port | None = None
        self.remote: Endpoint | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, _: tuple[str | Any, int]) -> None:
        if self.other is not None:
            self.other.send(data)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: who it was for isn't there (yet); the next packet is sent all the same."""

    def send(self, data: bytes) -> None:
        if self.remote is not None and self._transport is not None:
            self._transport.sendto(data, Endpoint(self.remote.host, self.remote.port + self.component))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Relay:
    """The media of one call: two legs, 0 and 1, each with an even port for RTP and the odd one beside it for RTCP."""

    def __init__(self, first_port: int) -> None:
        """Plan for four ports from `first_port` (even) on; :meth:`open` takes them."""
        self.ports = (first_port, first_port + 2)
        self._legs = tuple(tuple(_Port(component) for component in COMPONENTS) for _ in self.ports)
        for one, other in zip(*self._legs, strict=True):
            one.other, other.other = other, one

    async def open(self, address: str) -> Self:
        """Take the ports on an address; OSError if one of them is taken."""
        loop = asyncio.get_running_loop()
        for first, leg in zip(self.ports, self._legs, strict=True):
            for port in leg:
                local = (address, first + port.component)
                await loop.create_datagram_endpoint(partial(_itself, port), local_addr=local)
        return self

    def send_to(self, leg: int, remote: Endpoint | None) -> None:
        """Send what the other leg gets to `remote` from now on; None is silence."""
        for port in self._legs[leg]:
            port.remote = remote

    def close(self) -> None:
        """Give the ports back."""
        for leg in self._legs:
            for port in leg:
                port.close()


def _itself(port: _Port) -> _Port:
    """What asyncio wants a protocol from; the port is there before its socket, so that both legs know each other."""
    return port
