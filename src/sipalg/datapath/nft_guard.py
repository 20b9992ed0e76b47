"""A guard over our table, for kernels where any process may flush it: tells when somebody did.

It listens to nf_tables' notifications. When it says that the table was changed, the driver has it installed again
with the engine's mappings, in one transaction, some milliseconds after it went.
"""

from __future__ import annotations

from typing import Final

from sipalg.datapath import netlink, nft_codec
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket

NFNLGRP_NFTABLES: Final = 7
_NEW_GENERATION: Final = 15  # NFT_MSG_NEWGEN

_FAMILIES: Final = (bytes((nft_codec.IPV4,)), bytes((nft_codec.IPV6,)))


class TableGuard:
    """Watches one table; changes made by the socket `own_port` (its port id) are ours and don't count."""

    def __init__(self, table: str, own_port: int) -> None:
        self._table = table
        self._own_port = own_port
        self._netlink = NetlinkSocket(groups=(NFNLGRP_NFTABLES,))

    def fileno(self) -> int:
        """Return the descriptor, for a selector: readable when rules were changed, ours or others'."""
        return self._netlink.fileno()

    def changed(self) -> bool:
        """Take the waiting notifications, and tell whether somebody else changed our table, or may have.

        When notifications were lost the answer is yes.
        """
        try:
            messages = self._netlink.receive()
        except NetlinkError:
            return True
        return any(concerns(message, self._table, self._own_port) for message in messages)

    def close(self) -> None:
        """Watch no more."""
        self._netlink.close()


def changed_table(message: Message) -> str | None:
    """Return the name of the table that a notification of nf_tables is about; None for others, and for generations.

    In all of its messages but the generation's, attribute 1 is the table's name.
    """
    if message.kind >> 8 != nft_codec.NF_TABLES or message.kind & 0xFF == _NEW_GENERATION:
        return None
    name = netlink.attributes(message.body, 4).get(1)
    return None if name is None else netlink.string(name)


def concerns(message: Message, table: str, own_port: int) -> bool:
    """Tell whether a notification is of a change in a table of this name, of IP, by another socket than `own_port`."""
    own_family = message.body[:1] in _FAMILIES
    return message.port != own_port and own_family and changed_table(message) == table
