"""All parts of a running ALG put together: kernel's ends, engine, driver and control socket, in one loop.

Making a Service changes nothing in the kernel but who holds the queue's number; `start` writes the rules; `stop`
takes packets away from the process and leaves what standing calls need. In between it answers what happens outside of
packets: another outside address, a table that somebody removed, rules that the administrator changed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Final

from sipalg.control import parts, takeover
from sipalg.control.edits import edit_event
from sipalg.control.inherited import InheritedMedia
from sipalg.control.journal import INTERVAL_S, Journal
from sipalg.control.notify import Notifier
from sipalg.control.options import Options
from sipalg.control.report import Report
from sipalg.control.rules import RulesWatch
from sipalg.control.server import ControlServer
from sipalg.control.settings import Settings
from sipalg.control.unseen import Unseen
from sipalg.datapath import addresses, nft_rules
from sipalg.datapath.addresses import AddressWatch, primary_address
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.admin_rules import AdminRules, read_admin_rules
from sipalg.datapath.conntrack import Conntrack
from sipalg.datapath.ctnetlink import Entry
from sipalg.datapath.driver import Driver
from sipalg.datapath.executor import Executor
from sipalg.datapath.loop import Loop
from sipalg.datapath.netlink import NetlinkError, NetlinkSocket
from sipalg.datapath.nfqueue import PacketQueue
from sipalg.datapath.nft_table import Elements, NftTable, StandingMapping, find_features
from sipalg.datapath.ports import PortsTaken, local_port_range, overlap
from sipalg.datapath.preflight import check_rules
from sipalg.datapath.reply import Replies
from sipalg.datapath.standing import Standing
from sipalg.engine.alg import Alg
from sipalg.engine.verdict import UDP, AdmitPeer, Datagram, Event, Mapping, OpenMapping, Verdict

_LOG = logging.getLogger("sipalg")

_FORGET_S: Final = 60.0
#: How long flows that a mapping's end or beginning made untrue may live on: one search for all of them.
_TIDY_S: Final = 1.0
#: How long SIP waits for the next process when this one ends, in whatever way, before it is plain NAT: what a sender
#: doesn't get through in between it repeats, after 0.5, 1.5, 3.5 and 7.5 s (RFC 3261 §17.1).
WAIT_S: Final = 8.0
_SERVE_S: Final = 1.0
#: How often the queue is emptied at the end, at most: more can only come in a flood.
_LAST_LOOKS: Final = 8
#: How often the table's counter is read, so that little is lost with the table.
_COUNT_S: Final = 10.0
#: How long a media mapping of an earlier process lives if conntrack has no flow of it.
_UNUSED_MEDIA_S: Final = 600.0
#: Packets make hardly any garbage that reference counts don't free at once, so it is looked for seldom.
_GARBAGE_THRESHOLDS: Final = (20_000, 50, 100)


class Service:
    """A running ALG; `loop.run()` between `start` and `stop`."""

    def __init__(self, options: Options, warnings: list[str], on_event: Callable[[Event], None]) -> None:
        """Take hold of everything that can be refused: sockets, the queue, the control socket.

        Raises OSError (NetlinkError among them), AdminRulesError and SocketInUseError; nothing is left then.
        """
        self.options = options
        settings = options.settings
        self._on_event = on_event
        #: What people should know, as found at start and whenever the administrator's rules changed.
        self.warnings = warnings
        #: Whether there still is a table after `stop`.
        self.table_stays = True
        #: Whether packets have been served, so that the next process is to go on with that.
        self._serving = False
        self.loop = Loop()
        self.notifier = Notifier()
        observing = settings.mode == "observe"
        with ExitStack() as stack:
            stack.callback(self.loop.close)
            stack.callback(self.notifier.close)
            # First of all, since what comes from here on waits in it.
            self.queue = PacketQueue(settings.queue_number)
            stack.callback(self.queue.close)
            self._watch = stack.enter_context(AddressWatch())
            self._conntrack = stack.enter_context(Conntrack())
            self.nat_address = primary_address(settings.outside)
            self._rules = self._read_rules()
            self._forwards = list(takeover.forwards(self._rules, self.nat_address, settings.ports))
            avoid = overlap(PortRange(*settings.media_ports), local_port_range())
            self.ports = PortsTaken(self._conntrack.translated, reserved=settings.reserved_ports, avoid=avoid)
            self.ports.configure(self.nat_address, self._rules)
            exempt = self._exempt_networks()
            engine = parts.engine_settings(settings, self.nat_address, parts.stream_timeout_s(), exempt)
            self.alg = Alg(engine, self.ports)
            with NetlinkSocket() as probe:
                features = find_features(probe)
            # To observe changes nothing, the lifetime of flows included.
            features = features._replace(ct_timeout=features.ct_timeout and not observing)
            self.table = NftTable(parts.table_settings(settings, parts.unreplied_timeout_s(), exempt), features)
            stack.callback(self.table.close)
            self._standing = Standing(self.table)
            self._executor = executor = Executor(
                self._standing, self._conntrack, stack.enter_context(Replies())
            )
            inside = frozenset(settings.inside)
            on_edits = self._tell_edits if settings.log_edits else None
            self.driver = Driver(
                self.alg, self.queue, executor, inside, observe=observing, on_event=on_event, on_edits=on_edits
            )
            self.inherited = InheritedMedia(self.alg, self._conntrack)
            self.journal = Journal(options.socket.with_suffix(".journal"), self.alg.records)
            self.unseen = Unseen(self.table, self.queue)
            report = Report(self)
            self._server = ControlServer(options.socket, self.loop, report.answers())
            stack.callback(self._server.close)
            self._rules_watch = RulesWatch(self.loop, self._read_rules, self._use_rules, self.table.settings.name)
            stack.callback(self._rules_watch.close)
            self._closing = stack.pop_all()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.options.settings

    def start(self) -> None:
        """Write the rules, take over what exists, and begin with the packets. Raises NetlinkError."""
        # What is made here stays, and packets wait.
        gc.disable()
        now = time.monotonic()
        observing = self.settings.mode == "observe"
        self.alg.direct.set_networks(self._inside_networks().hosts())
        found = self.table.elements()
        kept = takeover.keepable(found, self.nat_address, self._forwards)
        self._standing.install([] if observing else takeover.closing(found, kept))
        entries = list(self._conntrack.dump(UDP))
        if not observing:
            self._end_stranded(entries, found)
            by_public = {(one.mapping.protocol, one.mapping.public): one.mapping for one in kept}
            self._standing.note([OpenMapping(one.mapping, one.timeout_s) for one in kept])
            self._standing.note(
                [
                    AdmitPeer(by_public[peer.protocol, peer.public], peer.peer, peer.timeout_s)
                    for peer in found.peers
                    if (peer.protocol, peer.public) in by_public
                ]
            )
        self._adopt_forwards(self._forwards, now)
        self._restore(kept, takeover.peers_of(found), entries, now)
        self._adopt_flows(entries, now)
        self._tell_exempt()
        for event in self.alg.take_events():
            self._on_event(event._replace(name="mapping-kept") if event.name == "mapping-opened" else event)
        if not observing:
            self.journal.begin()
        self._serve()
        self._serving = True
        self._watch_all()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
        gc.enable()

    def stop(self) -> None:
        """Give back the queue and take the rule away that fills it; mappings and flows stay for as long as they have.

        So the audio of standing calls goes on, its NAT included, and SIP is plain NAT from here on. What stays ends
        by its own timeouts, or is taken over by the next start. One that only observed takes its table away.
        """
        if self._serving and self.settings.mode == "enforce":
            self._finish()
        with contextlib.suppress(OSError):
            # What stands in it then is an earlier process's, and calls of that may stand.
            if self.settings.mode == "observe" and not self.table.elements().mappings:
                self.table.remove()
                self.table_stays = False
        self.journal.close()
        self._closing.close()
        # Only now, because while our socket owned the table no other could have changed it, this one included.
        with contextlib.suppress(OSError), NetlinkSocket() as netlink:
            netlink.transaction(nft_rules.without_queue(self.table.settings, self.table.features))

    def _finish(self) -> None:
        """Decide on what waits; what comes after that is to wait for the next process, or be sent again to it."""
        self._serve()
        with contextlib.suppress(OSError):
            for _ in range(_LAST_LOOKS):
                before = self.queue.received
                self.driver.drain()
                if self.queue.received == before:
                    break
        self.queue.close(let_go=False)

    def _watch_all(self) -> None:
        loop = self.loop
        loop.watch(self.queue, self.driver.drain)
        loop.watch(self._watch, self._look_at_addresses)
        if self.table.guard is not None:
            loop.watch(self.table.guard, self._look_at_table)
        loop.set_timer(self.driver.next_timer, self.driver.run_timer)
        loop.every(_FORGET_S, self._standing.forget_ended)
        loop.every(_FORGET_S, self.driver.interfaces.forget)
        loop.every(_TIDY_S, self._tidy)
        loop.every(_COUNT_S, self.unseen.look)
        loop.every(INTERVAL_S, self._keep_journal)
        loop.every(_SERVE_S, self._serve)
        if len(self.inherited):
            loop.every(self.alg.settings.flow_check_s, self.inherited.look)
        if self.notifier.watchdog_interval_s is not None:
            loop.every(self.notifier.watchdog_interval_s, self.notifier.alive)

    def _read_rules(self) -> AdminRules:
        return read_admin_rules(self.settings.outside, self.settings.inside)

    def _use_rules(self, rules: AdminRules) -> None:
        """Go on with rules that the administrator changed; with the same as before nothing is to be done."""
        if rules == self._rules:
            return
        known = self._rule_warnings(self._rules)
        found = self._rule_warnings(rules)
        self.warnings = [warning for warning in self.warnings if warning not in known] + found
        for warning in found:
            if warning not in known:
                _LOG.warning("warning: %s", warning)
        self._rules = rules
        self.ports.configure(self.nat_address, rules)
        self._use_exempt_networks()
        now = time.monotonic()
        before, self._forwards = self._forwards, list(takeover.forwards(rules, self.nat_address, self.settings.ports))
        for mapping in before:
            if mapping not in self._forwards:
                self.driver.run_commands(self.alg.disown(mapping, now))
        self._adopt_forwards((mapping for mapping in self._forwards if mapping not in before), now)
        self.driver.report_events()
        _LOG.info("rules-changed forwards=%d source_nat=%d", len(rules.forwards), len(rules.source_nat))

    def _exempt_networks(self) -> tuple[IPv4Network, ...]:
        """Return what isn't NATed: what --except says, and what the administrator's rules leave as it is."""
        return tuple(dict.fromkeys((*self.settings.exempt, *takeover.exempt_networks(self._rules))))

    def _use_exempt_networks(self) -> None:
        exempt = self._exempt_networks()
        if exempt == self.alg.settings.exempt:
            return
        self.driver.run_commands(self.alg.change_settings(replace(self.alg.settings, exempt=exempt), time.monotonic()))
        try:
            self.table.change(replace(self.table.settings, exempt=exempt))
        except NetlinkError as error:
            _LOG.error("exemptions-not-in-the-table why=%r", str(error))
        self._tell_exempt()

    def _tell_exempt(self) -> None:
        found = [str(one) for one in self.alg.settings.exempt if one not in self.settings.exempt]
        if found:
            _LOG.info("rules-exempt networks=%s as-if=--except", ",".join(found))

    def _rule_warnings(self, rules: AdminRules) -> list[str]:
        """Return what is more than advice, which is only told at start."""
        found = check_rules(parts.plan(self.settings), rules)
        return [finding.text for finding in found if finding.severity != "advice"]

    def _tell_edits(self, datagram: Datagram, verdict: Verdict) -> None:
        made = self.settings.mode == "enforce"
        self._on_event(edit_event(datagram, verdict, self.settings.inside, made=made))

    def _adopt_forwards(self, forwards: Iterable[Mapping], now: float) -> None:
        inside = self._inside_networks()
        for mapping in forwards:
            interface = inside.interface_of(mapping.private.host)
            self.driver.run_commands(self.alg.adopt(mapping, now, interface))

    def _end_stranded(self, entries: Iterable[Entry], found: Elements) -> None:
        """End the flows of an address that was lost while no process looked."""
        router = {address.host for address in addresses.addresses()}
        former = [one.mapping for one in found.mappings]
        stranded = takeover.stranded(entries, router, self.settings.ports, former)
        if stranded:
            self._conntrack.delete(stranded)
            _LOG.warning("flows-of-a-lost-address-ended flows=%d", len(stranded))

    def _restore(
        self,
        kept: Sequence[StandingMapping],
        peers: dict[takeover.PublicEnd, tuple[str, ...]],
        entries: Iterable[Entry],
        now: float,
    ) -> None:
        """Go on with an earlier process's mappings, and with the media flows that stand."""
        inside = self._inside_networks()
        flows = takeover.media_flows(entries, kept)
        used = {flow.private for flow in flows}
        for mapping, timeout_s in kept:
            idle_s = self.settings.sip_timeout_s
            if mapping.purpose != "sip":
                idle_s = timeout_s if mapping.private in used else _UNUSED_MEDIA_S
            interface = inside.interface_of(mapping.private.host)
            admitted = peers.get((mapping.protocol, mapping.public), ())
            self.alg.restore(mapping, min(timeout_s, idle_s), now, interface, admitted)
        if self.settings.mode == "enforce":
            self.driver.run_commands(self.alg.resume(self.journal.read(), flows, now))
            self.inherited.take(flows)
            if len(self.inherited):
                _LOG.info("media-inherited flows=%d", len(self.inherited))

    def _adopt_flows(self, entries: Iterable[Entry], now: float) -> None:
        if not self.nat_address:
            return
        inside = self._inside_networks()
        settings = self.alg.settings
        mappings = [entry.mapping for entry in self.alg.mappings.entries.values()]
        known = {(mapping.private, mapping.public) for mapping in mappings if mapping.purpose == "sip"}
        flows = takeover.signalling_flows(entries, self.nat_address, settings.ports, settings.exempt, known)
        for mapping, remote, chosen in flows:
            interface = inside.interface_of(mapping.private.host)
            self.driver.run_commands(self.alg.adopt(mapping, now, interface, remote, admit=chosen))

    def _inside_networks(self) -> takeover.InsideNetworks:
        return takeover.InsideNetworks(self.settings.inside, addresses.interfaces().values(), addresses.addresses())

    def _look_at_addresses(self, _events: int) -> None:
        """Follow the outside address; what is in the middle of changing is looked at again with the next change."""
        self._watch.read()
        self.driver.interfaces.forget()
        self.alg.direct.set_networks(self._inside_networks().hosts())
        address = primary_address(self.settings.outside)
        if address == self.nat_address:
            return
        before, self.nat_address = self.nat_address, address
        _LOG.warning("outside-address-changed before=%s now=%s", before or "none", address or "none")
        self.ports.configure(address, self._rules)
        public = self.settings.public or address
        moved = replace(self.alg.settings, nat_address=address, advertised_address=public)
        self.driver.run_commands(self.alg.change_settings(moved, time.monotonic()))
        observing = self.settings.mode == "observe"
        if before and not observing and all(one.host != before for one in addresses.addresses()):
            self._conntrack.end_all(before)
        self._forwards = list(takeover.forwards(self._rules, address, self.settings.ports))
        self._adopt_forwards(self._forwards, time.monotonic())
        self.driver.report_events()

    def _tidy(self) -> None:
        try:
            self._executor.tidy()
        except OSError as error:
            _LOG.warning("flows-not-ended why=%r", str(error))

    def _serve(self) -> None:
        """Have SIP wait for the next process, should this one end now."""
        if self.settings.mode == "enforce":
            with contextlib.suppress(OSError):
                self.table.serve(WAIT_S)

    def _keep_journal(self) -> None:
        if self.settings.mode == "enforce":
            self.journal.keep_up()

    def _look_at_table(self, _events: int) -> None:
        """Put the table back where somebody removed or changed it."""
        if self.table.guard is None or not self.table.guard.changed():
            return
        self.unseen.look()
        try:
            count = self._standing.put_back()
        except NetlinkError as error:
            _LOG.error("table-gone why=%r consequence=plain-nat", str(error))
        else:
            _LOG.warning("table-put-back mappings=%d", count)
