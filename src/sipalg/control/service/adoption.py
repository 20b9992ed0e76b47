"""What exists becomes the engine's, and goes on: port forwards, standing mappings with their peers, flows, calls.

At start, and when a change of settings makes it necessary; always between two packets. What is to be taken over is
`takeover`'s to say, here it is handed to engine and kernel.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from socket import AF_INET6
from typing import TYPE_CHECKING, Final

from sipalg.control.service import takeover
from sipalg.datapath import addresses
from sipalg.datapath.ctnetlink import Tracked
from sipalg.datapath.nft_elements import Elements, StandingMapping
from sipalg.engine.resuming import PlainRecord
from sipalg.engine.verdict import UDP, Endpoint, Mapping

if TYPE_CHECKING:
    from sipalg.control.service.running import Service

_LOG = logging.getLogger("sipalg")

#: How often flows that wait to be adopted are, and how many at once: some hundredths of a second's work.
INTERVAL_S: Final = 0.1
_AT_ONCE: Final = 50
#: How many flows of known mappings are adopted before the start is over; of more, those that would run out meanwhile.
_AT_START: Final = 500
#: How much later than reckoned the last one may have its turn.
_SPARE_S: Final = 60.0


class Adoption:
    """Takes over what exists, for one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: deque[takeover.StandingFlow] = deque()

    def all(self, *, resuming: bool = True) -> None:
        """Write the rules, and take over what the table, the administrator's rules and conntrack hold.

        An observer changes nothing of it. `resuming` says that an earlier process's contacts and calls are to go on.
        Raises NetlinkError.
        """
        service = self._service
        observing = service.settings.mode == "observe"
        records: Sequence[PlainRecord] | None = None
        if resuming and not observing:
            service.table.read_ahead()
            records = service.journal.read()
        found = service.table.elements()
        kept = takeover.keepable(found, service.alg.settings, service.forwards)
        service.standing.install([] if observing else takeover.closing(found, kept))
        # Of what only the journal knows the maps have nothing, so that its flows are those to SIP ports.
        entries = self._entries([*(one.mapping for one in found.mappings), *service.forwards])
        if not observing:
            self._end_stranded([entry for entry in entries if ":" not in entry.original_source.host], found)
            service.standing.remember(dict(kept), takeover.admitted(found.peers, kept))
        self.forwards(service.forwards)
        self._restore(kept, takeover.peers_of(found.peers), entries, records)
        self._adopt(self._urgent(self._standing_flows(entries)))

    def forwards(self, forwards: Iterable[Mapping]) -> None:
        """Adopt the administrator's port forwards; none while disabled, since it would be a new mapping."""
        service = self._service
        if service.settings.disabled:
            return
        inside = self.inside_networks()
        now = time.monotonic()
        for mapping in forwards:
            interface = inside.interface_of(mapping.private.host)
            service.driver.run_commands(service.alg.adopt(mapping, now, interface))

    def flows(self) -> None:
        """Adopt the SIP flows that conntrack has, which gives them the sip-timeout of now. Raises OSError.

        Some at once, and the others by and by: two thousand flows would take a second in which packets wait.
        """
        mappings = [entry.mapping for entry in self._service.alg.mappings.entries.values()]
        self._waiting = deque(self._standing_flows(self._entries(mappings)))
        self.go_on()

    def go_on(self) -> None:
        """Adopt the next of the flows that wait for it; to be called every `INTERVAL_S`."""
        service = self._service
        some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
        # A mapping that ended meanwhile isn't made again.
        of = service.alg.public_of
        self._adopt([one for one in some if not one.known or of(UDP, one.mapping.private) == one.mapping.public])

    def _urgent(self, flows: Sequence[takeover.StandingFlow]) -> Sequence[takeover.StandingFlow]:
        """Return what can't wait until packets are served: flows of no known mapping, and those that run out soon.

        Of the others there may be tens of thousands, each with a question and an answer of conntrack.
        """
        if len(flows) <= _AT_START:
            return flows
        soon_s = len(flows) / _AT_ONCE * INTERVAL_S + _SPARE_S
        waiting = [one for one in flows if one.known and one.left_s > soon_s]
        waiting.sort(key=lambda one: one.left_s)
        self._waiting = deque(waiting)
        return [one for one in flows if not one.known or one.left_s <= soon_s]

    def _adopt(self, flows: Sequence[takeover.StandingFlow]) -> None:
        if not flows:
            return
        service = self._service
        inside = self.inside_networks()
        now = time.monotonic()
        for number, (mapping, remote, chosen, _, _) in enumerate(flows):
            if number % _AT_ONCE == 0:
                # At the start they may be many, and packets are to wait for the end of it.
                service.serve()
            interface = inside.interface_of(mapping.private.host)
            service.driver.run_commands(service.alg.adopt(mapping, now, interface, remote, admit=chosen))

    def _entries(self, mappings: Iterable[Mapping]) -> list[Tracked]:
        """Return what conntrack has of these mappings and of SIP ports: the rest may be much, and packets wait."""
        service = self._service
        ends = [mapping.private for mapping in mappings]
        found = list(service.conntrack.concerning(UDP, ends, service.settings.ports))
        if service.alg.settings.ipv6 is not None:
            found += service.conntrack.concerning(UDP, ends, service.settings.ports, ipv6=True)
        return found

    def _standing_flows(self, entries: Iterable[Tracked]) -> list[takeover.StandingFlow]:
        service = self._service
        if not service.nat_address:
            return []
        settings = service.alg.settings
        # Of a removed port, what has a mapping is known; the rest was never translated. Disabled, there is no new one.
        ports = () if settings.disabled else settings.ports
        return list(takeover.signalling_flows(entries, service.nat_address, ports, settings.exempt, self._signals))

    def _signals(self, private: Endpoint, public: Endpoint) -> bool:
        """Whether there is a mapping for signalling with these ends."""
        entry = self._service.alg.mappings.entries.get((UDP, private))
        return entry is not None and entry.purpose == "sip" and entry.public == public

    def _end_stranded(self, entries: Iterable[Tracked], found: Elements) -> None:
        """End the flows of an address that was lost while no process looked."""
        service = self._service
        router = {service.nat_address, *(address.host for address in addresses.addresses())}
        former = [one.mapping for one in found.mappings]
        stranded = takeover.stranded(entries, router, service.settings.ports, former)
        if stranded:
            service.conntrack.delete(stranded)
            _LOG.warning("flows-of-a-lost-address-ended flows=%d", len(stranded))

    def _restore(
        self,
        kept: Sequence[StandingMapping],
        peers: dict[takeover.PublicEnd, tuple[str, ...]],
        entries: Iterable[Tracked],
        records: Sequence[PlainRecord] | None,
    ) -> None:
        """Go on with an earlier process's mappings and calls, if they are to, and with the media flows that stand."""
        service = self._service
        now = time.monotonic()
        flows = takeover.media_flows(entries, kept)
        used = {flow.private for flow in flows}
        timeout_s = service.settings.sip_timeout_s
        service.alg.restore(takeover.restored(kept, peers, used, self.inside_networks(), timeout_s), now)
        if service.settings.mode == "enforce":
            if records is not None:
                service.serve()
                service.driver.run_commands(service.alg.resume(records, flows, now))
            service.inherited.take(flows)
            if len(service.inherited):
                _LOG.info("media-inherited flows=%d", len(service.inherited))

    def inside_networks(self) -> takeover.InsideNetworks:
        """Return which inside interface each address is behind."""
        names = self._service.settings.inside
        own = addresses.addresses() + addresses.addresses(AF_INET6)
        return takeover.InsideNetworks(names, addresses.interfaces().values(), own)
