"""What stands in our maps, remembered here too, so that a table that somebody removed can be put back whole.

Between the executor and the table, on every command's way into the kernel. The kernel forgets elements by itself when
their time has run out, and so does this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from sipalg.datapath.executor import Maps
from sipalg.datapath.nft_steps import MapCommand
from sipalg.engine.verdict import AdmitPeer, CloseMapping, DismissPeer, Mapping, OpenMapping


class Table(Maps, Protocol):
    """What this needs of `nft_table.NftTable`."""

    def install(self, commands: Sequence[MapCommand] = ()) -> None:
        """Make the table or take over the one that stands, and run the commands, in one transaction."""


class Standing:
    """The maps as `Executor` knows them; `apply` as NftTable's."""

    def __init__(self, table: Table, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._mappings: dict[Mapping, float] = {}
        self._peers: dict[tuple[Mapping, str], float] = {}

    def apply(self, commands: Sequence[MapCommand]) -> None:
        """Run all or none, and remember; raises what the table raises."""
        self._table.apply(commands)
        self.note(commands)

    def install(self, commands: Sequence[MapCommand] = ()) -> None:
        """Install the table with the commands, and remember them."""
        self._table.install(commands)
        self.note(commands)

    def put_back(self) -> int:
        """Install the table with everything that stood in it and has time left; return how many mappings."""
        self.forget_ended()
        now = self._clock()
        commands: list[MapCommand] = [OpenMapping(mapping, end - now) for mapping, end in self._mappings.items()]
        commands += [AdmitPeer(mapping, peer, end - now) for (mapping, peer), end in self._peers.items()]
        self._table.install(commands)
        return len(self._mappings)

    def note(self, commands: Sequence[MapCommand]) -> None:
        """Remember what the kernel holds already as if `commands` had brought it there."""
        now = self._clock()
        for command in commands:
            match command:
                case CloseMapping(mapping):
                    self._mappings.pop(mapping, None)
                case AdmitPeer(mapping, peer, timeout_s):
                    self._peers[mapping, peer] = now + timeout_s
                case DismissPeer(mapping, peer):
                    self._peers.pop((mapping, peer), None)
                case _:
                    self._mappings[command.mapping] = now + command.timeout_s

    def forget_ended(self) -> None:
        """Forget what has run out by itself; to be called now and then."""
        now = self._clock()
        self._mappings = {mapping: end for mapping, end in self._mappings.items() if end > now}
        self._peers = {key: end for key, end in self._peers.items() if end > now and key[0] in self._mappings}
