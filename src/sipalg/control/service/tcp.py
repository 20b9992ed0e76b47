"""SIP over TCP as a part of the service: the relay, the routing rule that it needs, or why there is none.

Off the messages' way: at start and at changes this finds out whether the relay can be there, and has the rules say so;
each second it looks whether the administrator's filter lets connections through to it. Where anything is missing, TCP
is plain NAT, and one line tells why. The routing rule, which costs every packet of the router's something, is made
when the first connection was noted, and before its first packet is repeated (ADR 0044).
"""

from __future__ import annotations

import contextlib
import logging
import resource
from typing import TYPE_CHECKING, Any, Final

from sipalg.control.settings.model import Settings
from sipalg.datapath import policy_route
from sipalg.datapath.nft_relay import AT_RELAY_NAMES, TO_RELAY_NAMES
from sipalg.datapath.nft_rules import RelayRules
from sipalg.datapath.policy_route import NoRoomError, Place
from sipalg.datapath.relay import Relay
from sipalg.datapath.relay_room import MAX_CONNECTIONS

if TYPE_CHECKING:
    from sipalg.control.service.running import Service

_LOG = logging.getLogger("sipalg")

#: Descriptors that the rest of the program has at most.
_OTHER_DESCRIPTORS: Final = 512
#: Where connections are opened; in the order of nft_relay's counters.
_SIDES: Final = ("inside", "outside")
#: How many looks in a row a first packet may be on its way from our rule to the next, which takes microseconds.
_PATIENT_LOOKS: Final = 2
#: At how many looks the routing rule is looked for once.
_LOOKS_PER_ROUTE: Final = 10
#: How often it is asked whether there is a use for the relay, seconds: a first packet is repeated after one (RFC 6298
#: §2.1).
_USE_S: Final = 0.25


class Tcp:
    """The relay of one service. `why` is why TCP is plain NAT, "" while it is relayed or needn't be."""

    def __init__(self, service: Service) -> None:
        self.why = ""
        self.relay: Relay | None = None
        self._service = service
        self._place: Place | None = None
        #: From which sides the administrator's INPUT filter lets nothing come, as far as was seen.
        self._shut: list[str] = []
        #: How many of the first packets that were handed over, by side, hadn't arrived when that was last told, and at
        #: how many looks since more of them hadn't.
        self._lost = dict.fromkeys(_SIDES, 0)
        self._lost_looks = dict.fromkeys(_SIDES, 0)
        self._looks = 0
        #: Whether there ever was a connection for the relay, so that rules for its packets are needed.
        self._in_use = False

    def begin(self) -> None:
        """Take away what an earlier process left, before rules are written. Never raises."""
        self._service.loop.every(_USE_S, self.look_for_use)
        if self._service.settings.mode == "enforce":
            with contextlib.suppress(OSError):
                policy_route.remove()

    def rules(self, settings: Settings) -> RelayRules | None:
        """Return what the rules are to say under these settings; the relay is made where it is needed first."""
        wanted = settings.tcp == "relay" and settings.mode == "enforce"
        if wanted and self.relay is None:
            self.why = self._make(settings)
            for warning in self.warnings:
                _LOG.warning("warning: %s", warning)
        elif not wanted:
            self.why = ""
        if self.relay is None or self._place is None:
            return None
        outward, inward = (wanted and side not in self._shut for side in _SIDES)
        return RelayRules(self.relay.port, self._place.bit, outward, inward, self._in_use)

    @property
    def warnings(self) -> list[str]:
        """Why TCP, or a part of it, is plain NAT, a line each; none where that is meant."""
        if self.why:
            return [f"SIP over TCP isn't translated: {self.why}"]
        if self._place is None or self._service.settings.tcp != "relay":
            return []
        bit = f"{self._place.bit:#010x}"
        rule = f"the INPUT filter drops them; let them in with: meta mark & {bit} == {bit} accept"
        return [f"SIP over TCP isn't translated in connections from {side}: {rule}" for side in self._shut]

    def follow(self) -> None:
        """Go by the service's address and settings; connections from another address end."""
        if self.relay is None:
            return
        self.relay.sip_timeout_s = self._service.settings.sip_timeout_s
        before, self.relay.nat_address = self.relay.nat_address, self._service.nat_address
        if before and before != self.relay.nat_address:
            self.relay.end_all("the outside address is gone")

    def look(self) -> None:
        """Look after connections, and whether they get here at all; each second."""
        if self.relay is None:
            return
        self.relay.look()
        self._look_for_lost()
        self._looks += 1
        if self._looks % _LOOKS_PER_ROUTE == 0:
            self._keep_route()

    def look_for_use(self) -> None:
        """Have the relay's packets find it from now on if a first connection was noted; each `_USE_S`."""
        if self._in_use or self.relay is None or self._place is None or not self._service.table.tcp_noted():
            return
        self._in_use = True
        settings = self._service.settings
        try:
            policy_route.add(self._place, (*settings.inside, settings.outside))
        except OSError:
            # Whether it is refused once more is told where it is made anew.
            self._end()
        self._change_rules()

    def try_again(self) -> None:
        """Have new connections come here again, after the administrator changed his rules."""
        if self._shut:
            self._shut.clear()
            self._change_rules()

    def stop(self) -> None:
        """End connections, and take the routing rule away. Never raises."""
        if self.relay is not None:
            self._end()

    def _end(self) -> None:
        if self.relay is not None:
            self.relay.close()
        self.relay = self._place = None
        with contextlib.suppress(OSError):
            policy_route.remove()

    def facts(self) -> dict[str, Any]:
        """Return what `status` shows."""
        relay = self.relay
        opening = relay is not None and len(self._shut) < len(_SIDES) and self._service.settings.tcp == "relay"
        return {
            "tcp": "relay" if opening else "plain",
            "tcp_connections": 0 if relay is None else len(relay.connections),
        }

    def counters(self) -> dict[str, Any]:
        """Return what is counted of TCP."""
        relay = self.relay
        table = self._service.table
        return {
            "tcp_connections": {} if relay is None else dict(relay.counts),
            "tcp_streams_untouched": {} if relay is None else dict(relay.unframed),
            "tcp_messages": dict(self._service.driver.messages),
            "tcp_first_packets": table.tcp_counters() if table.exists() else {},
        }

    def _make(self, settings: Settings) -> str:
        """Make the relay and its routing rule; returns why that can't be."""
        service = self._service
        if not service.table.features.relay:
            return "the kernel lacks nft's tproxy, socket or reject expression"
        try:
            place = policy_route.choose(*policy_route.rules_and_tables())
            relay = Relay(
                service.loop,
                service.driver,
                service.alg.public_of,
                service.routes.inside_interface,
                settings.outside,
                service.tell,
                service.alg.mappings.aliases,
                mark=place.bit,
            )
        except NoRoomError as error:
            return str(error)
        except OSError as error:
            return f"no listening socket, or no look at the routing rules: {error.strerror}"
        try:
            self._in_use = self._in_use or service.table.tcp_noted()
            if self._in_use:
                policy_route.add(place, (*settings.inside, settings.outside))
        except OSError as error:
            relay.close()
            return f"the kernel refuses the routing rule: {error.strerror}"
        _raise_limit()
        self.relay, self._place = relay, place
        self.follow()
        relay.start()
        return ""

    def _look_for_lost(self) -> None:
        """Find out whether the administrator's filter of local packets drops what is handed to the relay."""
        counts = self._service.table.tcp_counters()
        for side, handed, arrived in zip(_SIDES, TO_RELAY_NAMES, AT_RELAY_NAMES, strict=True):
            lost = counts[handed] - counts[arrived]
            self._lost_looks[side] = self._lost_looks[side] + 1 if lost > self._lost[side] else 0
            if self._lost_looks[side] >= _PATIENT_LOOKS and side not in self._shut:
                self._lost[side], self._lost_looks[side] = lost, 0
                if self._keep_route():
                    continue
                self._shut.append(side)
                _LOG.warning("warning: %s", self.warnings[-1])
                self._change_rules()

    def _keep_route(self) -> bool:
        """Put the routing rule back where somebody took it away; tell whether that was so."""
        settings = self._service.settings
        names = (*settings.inside, settings.outside)
        try:
            if self._place is None or not self._in_use or policy_route.stands(self._place, names):
                return False
            policy_route.remove()
            policy_route.add(self._place, names)
        except OSError as error:
            _LOG.error("tcp-route-gone why=%r consequence=tcp-refused", str(error))
            return False
        _LOG.warning("tcp-route-put-back table=%d priority=%d", self._place.table, self._place.priority)
        return True

    def _change_rules(self) -> None:
        service = self._service
        try:
            service.changes.follow_tcp()
        except OSError as error:
            _LOG.error("tcp-rules-not-changed why=%r", str(error))


def _raise_limit() -> None:
    """Let the process have as many descriptors as there may be connections, two each, as far as it is allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + _OTHER_DESCRIPTORS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
