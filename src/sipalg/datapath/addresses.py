"""Interfaces and their addresses, and word of every change, from the kernel's routing socket (rtnetlink(7)).

Asked at start: does the interface exist, which address does the NAT use. Watched while packets flow: an outside
address that is lost ends its mappings, another one begins anew. The notifications carry interface numbers, packets
from the queue too, so that the table of names is kept here.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from socket import AF_INET, AF_INET6, AF_UNSPEC
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from sipalg.codec.datagram import host_text
from sipalg.codec.datagram6 import host_text6
from sipalg.datapath import netlink
from sipalg.datapath.netlink import NETLINK_ROUTE, Message, NetlinkError, NetlinkSocket

_NEW_LINK: Final = 16
_DELETE_LINK: Final = 17
_GET_LINK: Final = 18
_NEW_ADDRESS: Final = 20
_DELETE_ADDRESS: Final = 21
_GET_ADDRESS: Final = 22

_GROUP_LINK: Final = 1
_GROUP_IPV4_ADDRESS: Final = 5
_GROUP_IPV6_ADDRESS: Final = 9

_LINK_HEADER: Final = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change mask
_ADDRESS_HEADER: Final = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_LINK_NAME: Final = 3
_LINK_MTU: Final = 4
_ADDRESS: Final = 1
_ADDRESS_LOCAL: Final = 2
_ADDRESS_FLAGS: Final = 8
_FLAG_UP: Final = 1
_FLAG_SECONDARY: Final = 1
#: IPv6's, of IFA_FLAGS: temporary (the same bit), not yet or never to be used, no longer to be used.
_UNUSABLE: Final = 0x01 | 0x08 | 0x20 | 0x40
_SCOPE_LINK: Final = 253


class Interface(NamedTuple):
    """A network interface; `up` is what the administrator set, `mtu_bytes` its largest packet."""

    number: int
    name: str
    up: bool
    mtu_bytes: int


class Address(NamedTuple):
    """An address of the router. `secondary`: another one in the same network comes first, or it is none to stay."""

    interface: int
    host: str
    prefix_length: int
    secondary: bool
    scope: int


class Change(NamedTuple):
    """What happened. `overflow` means that some notifications were lost: read interfaces and addresses anew.

    `host` is "" for links; `interface` is "" where the name isn't known any more.
    """

    kind: Literal["address-added", "address-lost", "link-changed", "link-gone", "overflow"]
    interface: str = ""
    number: int = 0
    host: str = ""


def interfaces() -> dict[int, Interface]:
    """Return all interfaces of this network namespace by index. Raises NetlinkError."""
    request = Message(_GET_LINK, netlink.DUMP, _LINK_HEADER.pack(AF_UNSPEC, 0, 0, 0, 0))
    with NetlinkSocket(NETLINK_ROUTE) as socket:
        found = [_interface(message) for message in socket.request(request)]
    return {interface.number: interface for interface in found if interface is not None}


def addresses(family: int = AF_INET) -> list[Address]:
    """Return all IPv4 addresses of this network namespace, in the kernel's order. Raises NetlinkError."""
    request = Message(_GET_ADDRESS, netlink.DUMP, _ADDRESS_HEADER.pack(family, 0, 0, 0, 0))
    with NetlinkSocket(NETLINK_ROUTE) as socket:
        found = [_address(message) for message in socket.request(request)]
    return [address for address in found if address is not None]


def primary_address(name: str) -> str:
    """Return the address that masquerading on the interface uses: its first that isn't secondary; "" for none.

    As inet_select_addr() in net/ipv4/devinet.c does, addresses that are valid on the link only don't count.
    """
    number = next((i.number for i in interfaces().values() if i.name == name), None)
    return choose_primary(address for address in addresses() if address.interface == number)


def choose_primary(candidates: Iterable[Address]) -> str:
    """Choose among one interface's addresses as `primary_address` does."""
    return next((a.host for a in candidates if not a.secondary and a.scope < _SCOPE_LINK), "")


class AddressWatch:
    """Notifications of links and addresses; `fileno` is readable when some wait."""

    def __init__(self) -> None:
        # Listen first, then read the names: nothing can happen unseen between the two.
        self._socket = NetlinkSocket(NETLINK_ROUTE, groups=(_GROUP_LINK, _GROUP_IPV4_ADDRESS, _GROUP_IPV6_ADDRESS))
        try:
            self._names = {number: interface.name for number, interface in interfaces().items()}
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def names(self) -> dict[int, str]:
        """The interfaces' names by index, as of the last `read`."""
        return self._names

    def read(self) -> list[Change]:
        """Return the changes that wait, without blocking, in their order."""
        try:
            return self.changes(self._socket.receive())
        except NetlinkError:
            self._names = {number: interface.name for number, interface in interfaces().items()}
            return [Change("overflow")]

    def changes(self, messages: Iterable[Message]) -> list[Change]:
        """Return what the messages say, and keep the names up to date."""
        found: list[Change] = []
        for message in messages:
            if message.kind in (_NEW_LINK, _DELETE_LINK):
                interface = _interface(message)
                if interface is None:
                    continue
                gone = message.kind == _DELETE_LINK
                if gone:
                    self._names.pop(interface.number, None)
                else:
                    self._names[interface.number] = interface.name
                found.append(Change("link-gone" if gone else "link-changed", interface.name, interface.number))
            elif message.kind in (_NEW_ADDRESS, _DELETE_ADDRESS):
                address = _address(message)
                if address is None:
                    continue
                name = self._names.get(address.interface, "")
                added = message.kind == _NEW_ADDRESS
                kind: Literal["address-added", "address-lost"] = "address-added" if added else "address-lost"
                found.append(Change(kind, name, address.interface, address.host))
        return found


def _interface(message: Message) -> Interface | None:
    if message.kind not in (_NEW_LINK, _DELETE_LINK) or len(message.body) < _LINK_HEADER.size:
        return None
    _, _, index, flags, _ = _LINK_HEADER.unpack_from(message.body)
    found = netlink.attributes(message.body, _LINK_HEADER.size)
    if _LINK_NAME not in found:
        return None
    mtu = int.from_bytes(found.get(_LINK_MTU, b""), sys.byteorder)
    return Interface(index, netlink.string(found[_LINK_NAME]), bool(flags & _FLAG_UP), mtu)


def _address(message: Message) -> Address | None:
    if message.kind not in (_NEW_ADDRESS, _DELETE_ADDRESS) or len(message.body) < _ADDRESS_HEADER.size:
        return None
    family, prefix_length, flags, scope, index = _ADDRESS_HEADER.unpack_from(message.body)
    found = netlink.attributes(message.body, _ADDRESS_HEADER.size)
    local = found.get(_ADDRESS_LOCAL, b"")
    if family == AF_INET and len(local) == 4:
        return Address(index, host_text(local), prefix_length, bool(flags & _FLAG_SECONDARY), scope)
    # Of a tunnel, IFA_ADDRESS is the other end's.
    local = local or found.get(_ADDRESS, b"")
    if family == AF_INET6 and len(local) == 16:
        flags = int.from_bytes(found.get(_ADDRESS_FLAGS, b""), sys.byteorder) or flags
        return Address(index, host_text6(local), prefix_length, bool(flags & _UNUSABLE), scope)
    return None
