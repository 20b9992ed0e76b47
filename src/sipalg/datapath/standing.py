"""What stands in our maps, remembered here too, so that a table that somebody removed can be put back whole.

Between the executor and the table, on every command's way into the kernel. The kernel forgets elements by itself when
their time has run out, and so does this, some at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from sipalg.datapath.executor import Maps
from sipalg.datapath.loop import Steps
from sipalg.datapath.nft_steps import MapCommand
from sipalg.engine.verdict import AdmitPeer, CloseMapping, DismissPeer, Mapping, OpenMapping

#: How many things are looked at in one step of `forget_ended`.
_STEP: Final = 50

Thing = TypeVar("Thing")


class Table(Maps, Protocol):
    """What this needs of `nft_table.NftTable`."""

    def install(self, commands: Sequence[MapCommand] = ()) -> None:
        """Make the table or take over the one that stands, and run the commands, in one transaction."""


class _Ends(Generic[Thing]):
    """Things, and when each runs out; in two tables, so that they can be gone through while they change."""

    def __init__(self) -> None:
        self._seen: dict[Thing, float] = {}
        #: What `forget` has still to look at; nothing is in both.
        self._unseen: dict[Thing, float] = {}

    def put(self, thing: Thing, end: float) -> None:
        """Have it run out at `end`."""
        self._seen[thing] = end
        self._unseen.pop(thing, None)

    def put_all(self, ends: dict[Thing, float]) -> None:
        """Have many run out, each at its end."""
        self._seen.update(ends)
        for thing in ends.keys() & self._unseen.keys():
            del self._unseen[thing]

    def drop(self, thing: Thing) -> None:
        """Forget it; one that isn't there is no error."""
        self._seen.pop(thing, None)
        self._unseen.pop(thing, None)

    def standing(self, now: float) -> dict[Thing, float]:
        """Return what hasn't run out."""
        return {thing: end for thing, end in (self._unseen | self._seen).items() if end > now}

    def forget(self, clock: Callable[[], float]) -> Steps:
        """Forget what has run out."""
        if not self._unseen:
            self._seen, self._unseen = self._unseen, self._seen
        while self._unseen:
            now = clock()
            for _ in range(min(_STEP, len(self._unseen))):
                thing, end = self._unseen.popitem()
                if end > now:
                    self._seen[thing] = end
            yield


class Standing:
    """The maps as `Executor` knows them; `apply` as NftTable's."""

    def __init__(self, table: Table, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._mappings: _Ends[Mapping] = _Ends()
        self._peers: _Ends[tuple[Mapping, str]] = _Ends()

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
        now = self._clock()
        mappings, peers = self._mappings.standing(now), self._peers.standing(now)
        commands: list[MapCommand] = [OpenMapping(mapping, end - now) for mapping, end in mappings.items()]
        commands += [
            AdmitPeer(mapping, peer, end - now) for (mapping, peer), end in peers.items() if mapping in mappings
        ]
        self._table.install(commands)
        return len(mappings)

    def note(self, commands: Sequence[MapCommand]) -> None:
        """Remember what the kernel holds already as if `commands` had brought it there."""
        now = self._clock()
        for command in commands:
            match command:
                case CloseMapping(mapping):
                    self._mappings.drop(mapping)
                case AdmitPeer(mapping, peer, timeout_s):
                    self._peers.put((mapping, peer), now + timeout_s)
                case DismissPeer(mapping, peer):
                    self._peers.drop((mapping, peer))
                case _:
                    self._mappings.put(command.mapping, now + command.timeout_s)

    def remember(self, mappings: dict[Mapping, float], peers: dict[tuple[Mapping, str], float]) -> None:
        """Remember what the kernel holds already, each thing for some seconds more."""
        now = self._clock()
        self._mappings.put_all({mapping: now + left_s for mapping, left_s in mappings.items()})
        self._peers.put_all({place: now + left_s for place, left_s in peers.items()})

    def forget_ended(self) -> Steps:
        """Forget what has run out by itself; to be called now and then."""
        yield from self._mappings.forget(self._clock)
        yield from self._peers.forget(self._clock)
