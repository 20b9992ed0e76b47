"""The PBX's other ends on loopback addresses of this process's own: sockets that say what a test tells them to."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Self

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_message import SipMessage

#: A /24 of 127/8 that no other test process has; hosts are told apart by the last number.
NETWORK = f"127.{os.getpid() // 256 % 250 + 1}.{os.getpid() % 256}"
SIP_PORT = 5060


def address(host: int) -> str:
    """Give one of the addresses."""
    return f"{NETWORK}.{host}"


class End(asyncio.DatagramProtocol):
    """A UDP socket whose packets are waited for one by one, each for half a minute at most."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[tuple[bytes, Endpoint]] = asyncio.Queue()
        self.at = Endpoint("", 0)
        self._transport: Any = None

    @classmethod
    async def open(cls, host: int, port: int = SIP_PORT) -> Self:
        """Take a port of a host; :meth:`close` gives it back."""
        end = cls()
        end.at = Endpoint(address(host), port)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: end, local_addr=end.at)
        return end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.came.put_nowait((data, Endpoint(*addr[:2])))

    def send(self, to: Endpoint, data: bytes) -> None:
        """Send one packet."""
        self._transport.sendto(data, to)

    async def packet(self) -> tuple[bytes, Endpoint]:
        """Wait for the next packet."""
        return await asyncio.wait_for(self.came.get(), 30.0)

    async def message(self, kind: str) -> SipMessage:
        """Wait for the next message, which has to be of that method, or status."""
        message = SipMessage.parse((await self.packet())[0])
        assert message is not None
        assert kind in (message.method if not message.status else str(message.status)), message.start_line
        return message

    def close(self) -> None:
        """Give the port back."""
        self._transport.close()


def request(method: str, uri: str, number: int, own: Endpoint, *fields: tuple[str, str], body: str = "") -> SipMessage:
    """A request of one dialog from an end at `own`."""
    standing = (
        ("Via", f"SIP/2.0/UDP {own};branch=z9hG4bK-{method}-{number};rport"),
        ("From", f"<sip:101@{own.host}>;tag=end"),
        ("To", f"<{uri}>"),
        ("Call-ID", f"one@{own.host}"),
        ("CSeq", f"{number} {method}"),
        ("Contact", f"<sip:101@{own}>"),
    )
    named = {name for name, _ in fields}
    return SipMessage(f"{method} {uri} SIP/2.0", (*(f for f in standing if f[0] not in named), *fields), body)
