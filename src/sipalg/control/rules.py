"""The administrator's rules, read again whenever somebody changed them, without keeping packets waiting.

Listing a large rule set takes nft its time, so that it is done beside the packet loop, in a thread that only reads;
the loop hears of the result through a descriptor, as it does of everything else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from sipalg.datapath import netlink
from sipalg.datapath.admin_rules import AdminRules, AdminRulesError
from sipalg.datapath.loop import Loop
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket

_LOG = logging.getLogger(__name__)

_GROUP_NFTABLES: Final = 7  # NFNLGRP_NFTABLES
_NF_TABLES: Final = 10  # NFNL_SUBSYS_NFTABLES
#: NFT_MSG_… of generations, which name no table, and of sets' elements: lists of attackers change all day.
_OF_NO_INTEREST: Final = frozenset({12, 14, 15})
#: A change seldom comes alone; and reading must not become all that the machine does.
_SETTLE_S: Final = 2.0


class RulesWatch:
    """Calls `on_rules` in the loop with the rules as `read` returns them, some seconds after they were changed."""

    def __init__(
        self, loop: Loop, read: Callable[[], AdminRules], on_rules: Callable[[AdminRules], None], own_table: str
    ) -> None:
        self._loop = loop
        self._read = read
        self._on_rules = on_rules
        self._own_table = own_table
        self._changed = False
        self._reading = False
        self._results: SimpleQueue[AdminRules | AdminRulesError] = SimpleQueue()
        self._netlink = NetlinkSocket(groups=(_GROUP_NFTABLES,))
        self._wake_end, self._thread_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        loop.watch(self._netlink, self._take_notifications)
        loop.watch(_Descriptor(self._wake_end), self._take_result)
        loop.every(_SETTLE_S, self._begin)

    def close(self) -> None:
        """Watch no more. A reading that is under way ends by itself."""
        self._loop.unwatch(self._netlink)
        self._loop.unwatch(_Descriptor(self._wake_end))
        self._netlink.close()
        os.close(self._wake_end)
        os.close(self._thread_end)

    def _take_notifications(self, _events: int) -> None:
        try:
            changes = self._netlink.receive()
        except NetlinkError:
            self._changed = True
            return
        self._changed = self._changed or any(concerns(message, self._own_table) for message in changes)

    def _begin(self) -> None:
        if self._changed and not self._reading:
            self._changed = False
            self._reading = True
            threading.Thread(target=self._run, name="rules", daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.put(self._read())
        except AdminRulesError as error:
            self._results.put(error)
        finally:
            with contextlib.suppress(OSError):
                os.write(self._thread_end, b"!")

    def _take_result(self, _events: int) -> None:
        os.read(self._wake_end, 16)
        self._reading = False
        while not self._results.empty():
            result = self._results.get()
            if isinstance(result, AdminRulesError):
                _LOG.warning("rules-unreadable why=%r", str(result))
            else:
                self._on_rules(result)


def concerns(message: Message, own_table: str) -> bool:
    """Tell whether a notification is of a change in the rules of another table than ours.

    Attribute 1 is the table's name in all of nf_tables' messages that are looked at.
    """
    if message.kind >> 8 != _NF_TABLES or message.kind & 0xFF in _OF_NO_INTEREST:
        return False
    name = netlink.attributes(message.body, 4).get(1)
    return name is not None and netlink.string(name) != own_table


class _Descriptor:
    """A bare descriptor, as the loop takes it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number
