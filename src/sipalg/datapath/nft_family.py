"""What our table's rules and sets have of IPv4 or IPv6: an address's size, type and place, and what is loaded of it.

A table of nf_tables is of one family, so that there are two tables of the same form. `nft_rules` says what stands in
them and asks here for whatever depends on the family; on a packet's way these are the expressions that compare its
addresses with our sets.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Final, NamedTuple

from sipalg.codec.address import Network
from sipalg.codec.datagram import host_text
from sipalg.codec.datagram6 import host_text6
from sipalg.datapath import nft_codec as nft
from sipalg.datapath.netlink import Message

_L4PROTO: Final = 16  # NFT_META_L4PROTO
_NETWORK, _TRANSPORT = 1, 2  # Bases of a packet's bytes.


class Family(NamedTuple):
    """One family; `source` and `destination` are offsets into the network header."""

    #: NFPROTO_…
    number: int
    address_type: int
    address_bytes: int
    source: int
    destination: int

    @property
    def transport_key(self) -> tuple[int, int]:
        """Type and size of protocol . address . port."""
        return nft.concatenated(nft.PROTOCOL, self.address_type, nft.PORT), 8 + self.address_bytes

    @property
    def peer_key(self) -> tuple[int, int]:
        """Type and size of protocol . address . port . address."""
        types = (nft.PROTOCOL, self.address_type, nft.PORT, self.address_type)
        return nft.concatenated(*types), 8 + 2 * self.address_bytes

    @property
    def endpoint(self) -> tuple[int, int]:
        """Type and size of address . port."""
        return nft.concatenated(self.address_type, nft.PORT), 4 + self.address_bytes

    @property
    def address(self) -> tuple[int, int]:
        """Type and size of an address."""
        return self.address_type, self.address_bytes

    @property
    def _words(self) -> int:
        return self.address_bytes // 4

    def by_source(self) -> tuple[bytes, ...]:
        """Load the key of the maps, register by register: protocol, source address, source port."""
        return (
            nft.load_meta(_L4PROTO),
            self.load_source(1),
            nft.load_payload(_TRANSPORT, 0, 2, 1 + self._words),
        )

    def by_destination(self) -> tuple[bytes, ...]:
        """Load the same of the packet's destination."""
        return (
            nft.load_meta(_L4PROTO),
            self.load_destination(1),
            nft.load_payload(_TRANSPORT, 2, 2, 1 + self._words),
        )

    def by_peer(self) -> tuple[bytes, ...]:
        """Load the destination's key, and the source address behind it."""
        return (*self.by_destination(), self.load_source(2 + self._words))

    def from_anybody(self) -> tuple[bytes, ...]:
        """Load the destination's key, and behind it the address that stands for anybody's, which is all zero."""
        behind = 2 + self._words
        zero = [nft.load_value(bytes(4), behind + word) for word in range(self._words)]
        return (*self.by_destination(), *zero)

    def load_source(self, register: int = 0) -> bytes:
        """Load a packet's source address."""
        return nft.load_payload(_NETWORK, self.source, self.address_bytes, register)

    def load_destination(self, register: int = 0) -> bytes:
        """Load a packet's destination address."""
        return nft.load_payload(_NETWORK, self.destination, self.address_bytes, register)

    def translate(self, *, destination: bool) -> bytes:
        """Have a packet's flow translated to the address and port that a map gave."""
        return nft.translate(destination=destination, family=self.number, port_register=self._words)

    def holds(self, network: Network) -> bool:
        """Tell whether a network is of this family."""
        return network.max_prefixlen == 8 * self.address_bytes

    def messages(self, messages: list[Message]) -> list[Message]:
        """Return messages that were made for IPv4 as this family's: it is the first byte of each."""
        if self.number == nft.IPV4:
            return messages
        return [self.message(message) for message in messages]

    def message(self, message: Message) -> Message:
        """The same of one message."""
        if self.number == nft.IPV4:
            return message
        return message._replace(body=bytes((self.number,)) + message.body[1:])


IPV4: Final = Family(nft.IPV4, nft.IPV4_ADDRESS, 4, 12, 16)
IPV6: Final = Family(nft.IPV6, nft.IPV6_ADDRESS, 16, 8, 24)

_OF_SIPALG: Final = 0x53
#: User data of a mapping's element in the source NAT's map, by what it is for and whether it is a port forward's: so
#: that no other set has to be read to know that. A type of ours, which nft passes over, a length and two bytes.
KINDS: Final[dict[tuple[str, bool], bytes]] = {
    ("sip", False): bytes((_OF_SIPALG, 2, 0, 0)),
    ("sip", True): bytes((_OF_SIPALG, 2, 0, 1)),
    ("media", False): bytes((_OF_SIPALG, 2, 1, 0)),
    ("media", True): bytes((_OF_SIPALG, 2, 1, 1)),
    ("direct", False): bytes((_OF_SIPALG, 2, 2, 0)),
    ("direct", True): bytes((_OF_SIPALG, 2, 2, 1)),
}
KIND_BYTES: Final = 4

_KEYS: Final = {4: struct.Struct("!B3x4sH2x"), 16: struct.Struct("!B3x16sH2x")}
_ENDS: Final = {4: struct.Struct("!4sH2x"), 16: struct.Struct("!16sH2x")}
#: The sizes of a key, which tell the family.
_KEY_ADDRESSES: Final = {one.size: size for size, one in _KEYS.items()}
_END_ADDRESSES: Final = {one.size: size for size, one in _ENDS.items()}


def family_of(host: str) -> Family:
    """Return the family of an IP literal."""
    return IPV6 if ":" in host else IPV4


def address(host: str) -> bytes:
    """Return an IP literal's bytes; raises ValueError for anything else."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        raise ValueError(f"not an IP address: {host!r}") from None


def text(packed: bytes) -> str:
    """Return an address's bytes as its canonical text."""
    return host_text(packed) if len(packed) == 4 else host_text6(packed)


def key(protocol: int, packed: bytes, port: int) -> bytes:
    """Return protocol . address . port as an element's key."""
    return _KEYS[len(packed)].pack(protocol, packed, port)


def end(packed: bytes, port: int) -> bytes:
    """Return address . port as a map's value."""
    return _ENDS[len(packed)].pack(packed, port)


def read_key(data: bytes) -> tuple[int, bytes, int] | None:
    """Read what `key` made; None for anything else."""
    size = _KEY_ADDRESSES.get(len(data))
    return None if size is None else _KEYS[size].unpack(data)


def read_end(data: bytes) -> tuple[bytes, int] | None:
    """Read what `end` made; None for anything else."""
    size = _END_ADDRESSES.get(len(data))
    return None if size is None else _ENDS[size].unpack(data)


def interval(networks: Iterable[Network]) -> list[bytes]:
    """Return the elements of an interval set that holds these networks, which are of one family and may overlap."""
    members = []
    known = list(networks)
    found: list[Network] = [*collapse_addresses(one for one in known if isinstance(one, IPv4Network))]
    found += collapse_addresses(one for one in known if isinstance(one, IPv6Network))
    for network in found:
        members.append(nft.element(network.network_address.packed))
        after = int(network.broadcast_address) + 1
        if after < 1 << network.max_prefixlen:
            members.append(nft.element(after.to_bytes(network.max_prefixlen // 8, "big"), end=True))
    return members
