"""Which hosts are inside, as the router's own routes have it: those that it sends packets to by an inside interface.

Asked while a packet waits, but only where a description names an address that isn't its sender's. The kernel looks the
route up, so that networks behind other routers inside count too, and neither the router's own addresses nor broadcast
do. Source: rtnetlink(7), RTM_GETROUTE without dump.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from sipalg.datapath import netlink
from sipalg.datapath.netlink import NETLINK_ROUTE, Message, NetlinkSocket

_NEW_ROUTE: Final = 24
_GET_ROUTE: Final = 26
#: rtmsg: family, destination's and source's prefix length, TOS, table, protocol, scope, type, flags.
_ROUTE_HEADER: Final = struct.Struct("=BBBBBBBBI")
_DESTINATION: Final = 1  # RTA_DST
_INTERFACE: Final = 4  # RTA_OIF
_UNICAST: Final = 1  # RTN_UNICAST


class Routes:
    """Asks the kernel for routes; `inside` are the names of the inside interfaces."""

    def __init__(self, inside: Iterable[str]) -> None:
        """Open the socket to ask by. Raises OSError."""
        self._inside = frozenset(inside)
        self._socket = NetlinkSocket(NETLINK_ROUTE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def leads_inside(self, host: str) -> bool:
        """Tell whether packets to an IP literal go to one host by an inside interface; False without a route."""
        return bool(self.inside_interface(host))

    def inside_interface(self, host: str) -> str:
        """Return the inside interface by which packets go to an IP literal, "" where they don't."""
        family, bits = (socket.AF_INET6, 128) if ":" in host else (socket.AF_INET, 32)
        header = _ROUTE_HEADER.pack(family, bits, 0, 0, 0, 0, 0, 0, 0)
        question = Message(_GET_ROUTE, 0, header + netlink.attribute(_DESTINATION, socket.inet_pton(family, host)))
        try:
            names = [_interface_of(answer) for answer in self._socket.request(question)]
        except OSError:
            return ""
        return next((name for name in names if name in self._inside), "")


def _interface_of(message: Message) -> str:
    """Return by which interface a route for one host goes, else "". Raises OSError for one that is gone."""
    if message.kind != _NEW_ROUTE or len(message.body) < _ROUTE_HEADER.size:
        return ""
    kind = _ROUTE_HEADER.unpack_from(message.body)[7]
    number = netlink.attributes(message.body, _ROUTE_HEADER.size).get(_INTERFACE, b"")
    return socket.if_indextoname(int.from_bytes(number, sys.byteorder)) if kind == _UNICAST else ""
