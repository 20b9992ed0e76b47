"""The administrator's rules, read again whenever somebody changed them, without keeping packets waiting.

Listing a large rule set takes nft its time, so that it is done beside the packet loop, in a thread that only reads;
the loop hears of the result through a descriptor, as it does of everything else. The kernel tells of changes in
nf_tables; of those that the old iptables makes it tells nothing, so that these are compared every minute.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from sipalg.datapath.admin_rules import AdminRules, AdminRulesError, read_legacy_rules
from sipalg.datapath.loop import Loop
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket
from sipalg.datapath.nft_guard import NFNLGRP_NFTABLES, changed_table

_LOG = logging.getLogger(__name__)

#: NFT_MSG_… of sets' elements, which are of no interest: lists of attackers change all day.
_ELEMENTS: Final = frozenset({12, 14})
#: A change seldom comes alone; and reading must not become all that the machine does.
_SETTLE_S: Final = 2.0
_COMPARE_LEGACY_S: Final = 60.0


class RulesWatch:
    """Calls `on_rules` in the loop with the rules as `read` returns them, some seconds after they were changed."""

    def __init__(
        self,
        loop: Loop,
        read: Callable[[], AdminRules],
        on_rules: Callable[[AdminRules], None],
        own_table: str,
        read_legacy: Callable[[], str] = read_legacy_rules,
    ) -> None:
        self._loop = loop
        self._read = read
        self._on_rules = on_rules
        self._own_table = own_table
        self._read_legacy = read_legacy
        #: The old iptables' rules as of the last reading; None before the first.
        self._legacy: str | None = None
        self._changed = False
        self._reading = False
        self._results: SimpleQueue[AdminRules | AdminRulesError] = SimpleQueue()
        self._netlink = NetlinkSocket(groups=(NFNLGRP_NFTABLES,))
        self._wake_end, self._thread_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        loop.watch(self._netlink, self._take_notifications)
        loop.watch(_Descriptor(self._wake_end), self._take_result)
        loop.every(_SETTLE_S, self._begin)
        loop.every(_COMPARE_LEGACY_S, self._compare_legacy)

    def close(self) -> None:
        """Watch no more. A reading that is under way ends by itself."""
        self._loop.unwatch(self._netlink)
        self._loop.unwatch(_Descriptor(self._wake_end))
        self._netlink.close()
        os.close(self._wake_end)
        os.close(self._thread_end)

    def look_again(self) -> None:
        """Read the rules soon, since what is asked of them is another question now."""
        self._changed = True

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
            self._start_reading(only_if_legacy_changed=False)

    def _compare_legacy(self) -> None:
        if not self._reading:
            self._start_reading(only_if_legacy_changed=True)

    def _start_reading(self, *, only_if_legacy_changed: bool) -> None:
        self._reading = True
        threading.Thread(target=self._run, args=(only_if_legacy_changed,), name="rules", daemon=True).start()

    def _run(self, only_if_legacy_changed: bool) -> None:
        try:
            before, self._legacy = self._legacy, self._read_legacy()
            if not only_if_legacy_changed or self._legacy != before:
                self._results.put(self._read())
        except AdminRulesError as error:
            # The next comparison reads again, so that one failure doesn't make them stale for good.
            self._legacy = None
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
    """Tell whether a notification is of a change in the rules of another table than ours."""
    return message.kind & 0xFF not in _ELEMENTS and changed_table(message) not in (None, own_table)


class _Descriptor:
    """A bare descriptor, as the loop takes it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number
