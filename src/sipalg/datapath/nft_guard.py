"""A guard over our table, for kernels where any process may flush it: tells when somebody did.

It listens to nf_tables' notifications. When it says that the table was changed, the driver has it installed again
with the engine's mappings, in one transaction, some milliseconds after it went.
"""

from __future__ import annotations

from typing import Final

from sipalg.datapath import netlink, nft_codec
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket

_NFNLGRP_NFTABLES: Final = 7


class TableGuard:
    """Watches one table; changes made by the socket `own_port` (its port id) are ours and don't count."""

    def __init__(self, table: str, own_port: int) -> None:
        self._table = table
        self._own_port = own_port
        self._netlink = NetlinkSocket(groups=(_NFNLGRP_NFTABLES,))

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


def concerns(message: Message, table: str, own_port: int) -> bool:
    """Tell whether a notification is of a change in this table of the ip family by another socket than `own_port`.

    In all of nf_tables' messages but the generation's, attribute 1 is the table's name.
    """
    kind, _, body, port = message
    if port == own_port or kind >> 8 != nft_codec.NF_TABLES or body[:1] != bytes((nft_codec.IPV4,)):
        return False
    name = netlink.attributes(body, 4).get(1)
    return name is not None and netlink.string(name) == table
