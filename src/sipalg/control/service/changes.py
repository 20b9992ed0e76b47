"""Settings changed while packets are handled: all of a change or nothing of it, and without losing a mapping or call.

Between two packets. The kernel is asked first, since only it may refuse: the rules become others in one transaction.
Then engine, ports and driver follow, which can't fail, and at last the flows that stand.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sipalg.codec.address import Network
from sipalg.control.service import ipv6, parts, takeover
from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import PROPERTIES, text_of
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_features import Features
from sipalg.datapath.ports import local_port_range, overlap
from sipalg.datapath.preflight import Finding, check_rules
from sipalg.engine.settings import Ipv6
from sipalg.engine.verdict import Event, Mapping

if TYPE_CHECKING:
    from sipalg.control.service.running import Service

_LOG = logging.getLogger("sipalg")

class ChangeRefusedError(Exception):
    """The change can't be made, and nothing was: one line for people."""


class Ended(NamedTuple):
    """What was ended: how many mappings and calls."""

    mappings: int
    calls: int


class Changes:
    """Changes the settings of one service; `features` are the kernel's, timeouts included."""

    def __init__(self, service: Service, features: Features) -> None:
        self._service = service
        self._features = features

    def apply(self, settings: Settings) -> list[str]:
        """Go by these settings from now on; return the keys that changed. Raises ChangeRefusedError."""
        service = self._service
        before = service.settings
        changed = [key for key in PROPERTIES if text_of(before, key) != text_of(settings, key)]
        self._refuse(settings, changed)
        if not changed:
            return []
        exempt, way = service.exempt_networks(settings), ipv6.find(settings, service.rules)
        self._change_table(settings, exempt, way)
        service.options = replace(service.options, settings=settings)
        avoid = overlap(PortRange(*settings.media_ports), local_port_range())
        service.ports.reserve(settings.reserved_ports, avoid)
        engine = parts.engine_settings(settings, service.nat_address, parts.stream_timeout_s(), exempt, way)
        service.driver.run_commands(service.alg.change_settings(engine, time.monotonic()))
        service.configure_ports()
        if settings.public != before.public:
            service.follow_address()
        service.tcp.follow()
        service.driver.on_edits = service.tell_edits if settings.log_edits else None
        self._follow(before, settings)
        service.look_for_warnings()
        if settings.ports != before.ports:
            service.read_rules_again()
        service.driver.report_events()
        service.tell(Event("settings-changed", tuple((key, text_of(settings, key)) for key in changed)))
        return changed

    def end_all(self) -> Ended:
        """End every mapping and every call, with their flows."""
        service = self._service
        ended = Ended(len(service.alg.mappings.entries), len(service.alg.calls.by_call))
        service.driver.run_commands(service.alg.end_all(time.monotonic()))
        service.inherited.take(())
        service.driver.report_events()
        return ended

    def _refuse(self, settings: Settings, changed: list[str]) -> None:
        service = self._service
        fixed = [key for key in changed if not PROPERTIES[key].live]
        if fixed:
            raise ChangeRefusedError(
                f"{fixed[0]}: can't be changed while sipalg runs; write it into {service.options.file} and restart"
            )
        before = {finding.code for finding in self._in_the_way(service.settings)}
        for finding in self._in_the_way(settings):
            if finding.code not in before:
                raise ChangeRefusedError(finding.text)

    def _in_the_way(self, settings: Settings) -> list[Finding]:
        """Return what would keep sipalg from starting with these settings, as far as the rules tell."""
        findings = check_rules(parts.plan(settings), self._service.rules)
        return [finding for finding in findings if finding.severity == "error"]

    def _change_table(self, settings: Settings, exempt: tuple[Network, ...], way: Ipv6 | None) -> None:
        """Write the rules anew where they depend on what changed; one transaction."""
        table = self._service.table
        # To observe changes nothing, the lifetime of flows included.
        timeouts = self._features.ct_timeout and settings.mode == "enforce"
        relay = self._service.tcp.rules(settings)
        wanted = replace(parts.table_settings(settings, parts.unreplied_timeout_s(), exempt, way), relay=relay)
        before = table.features
        if (wanted, timeouts) == (table.settings, before.ct_timeout):
            return
        table.features = before._replace(ct_timeout=timeouts)
        try:
            table.change(wanted)
        except NetlinkError as error:
            table.features = before
            raise ChangeRefusedError(f"the kernel refuses the rules: {error.strerror}; nothing was changed") from None

    def follow_tcp(self) -> None:
        """Have new TCP connections come to the relay, or no more. Raises NetlinkError."""
        service = self._service
        service.table.change(replace(service.table.settings, relay=service.tcp.rules(service.settings)))

    def _follow(self, before: Settings, settings: Settings) -> None:
        """Have what stands follow: port forwards, flows, and the whole state where observing begins or ends."""
        service = self._service
        if settings.mode != before.mode:
            self._switch(settings)
            return
        if settings.ports != before.ports:
            self._follow_ports()
        if before.disabled and not settings.disabled:
            service.adoption.forwards(service.forwards)
        elif settings.sip_timeout_s == before.sip_timeout_s:
            return
        # New flows have it by the kernel's policy; those that stand are told here.
        if settings.mode == "enforce":
            with self._logged("flows-keep-their-timeouts"):
                service.adoption.flows()

    def _follow_ports(self) -> None:
        """Have port forwards to or from a SIP port be for signalling; those that were stay so until they end."""
        service = self._service
        now = time.monotonic()
        known = {mapping[:3]: mapping for mapping in service.forwards}
        found = list(takeover.forwards(service.rules, service.nat_address, service.settings.ports))
        begun: list[Mapping] = []
        for place, mapping in enumerate(found):
            former = known.pop(mapping[:3], None)
            if former is not None and former.purpose == "sip":
                found[place] = former
            elif former != mapping:
                service.driver.run_commands(service.alg.disown(former, now) if former is not None else ())
                begun.append(mapping)
        # Of TCP there are none but for signalling.
        for former in known.values():
            service.driver.run_commands(service.alg.disown(former, now))
        service.forwards = found
        service.adoption.forwards(begun)

    def _switch(self, settings: Settings) -> None:
        """Begin or end observing.

        An observer leaves all as it stands in the kernel. When it ends, only that is true: what the engine decided
        meanwhile was carried out by nobody.
        """
        service = self._service
        if settings.mode == "observe":
            service.journal.close()
            service.driver.observe = True
            return
        with self._logged("state-not-taken-over"):
            kept = takeover.keepable(service.table.elements(), service.alg.settings, service.forwards)
            commands = service.alg.keep_only({one.mapping for one in kept}, time.monotonic())
            service.driver.observe = False
            service.driver.run_commands(commands)
            service.adoption.all(resuming=False)
        service.driver.observe = False
        service.journal.begin()

    @staticmethod
    @contextlib.contextmanager
    def _logged(consequence: str) -> Generator[None]:
        """Have what the kernel refuses in here be a line in the log: the settings are in force already."""
        try:
            yield
        except OSError as error:
            _LOG.warning("%s why=%r", consequence, str(error))
