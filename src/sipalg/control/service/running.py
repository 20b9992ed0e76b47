"""All parts of a running ALG put together: kernel's ends, engine, driver and control socket, in one loop.

Making a Service changes nothing in the kernel but who holds the queue's number; `start` writes the rules; `stop`
takes packets away from the process and leaves what standing calls need. In between it answers what happens outside of
packets: another outside address, a table that somebody removed, rules that the administrator changed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from sipalg.codec.address import Network
from sipalg.control.service import adoption, garbage, ipv6, parts, takeover, tidying
from sipalg.control.service.adoption import Adoption
from sipalg.control.service.background import Background
from sipalg.control.service.changes import Changes
from sipalg.control.service.commands import Commands
from sipalg.control.service.edits import edit_event
from sipalg.control.service.inherited import InheritedMedia
from sipalg.control.service.journal import INTERVAL_S, Journal, journal_of
from sipalg.control.service.notify import Notifier
from sipalg.control.service.report import Report
from sipalg.control.service.rules import RulesWatch
from sipalg.control.service.tcp import Tcp
from sipalg.control.service.tidying import Tidying
from sipalg.control.service.tracing import trace_line
from sipalg.control.service.unseen import Unseen
from sipalg.control.settings.model import Settings
from sipalg.control.settings.options import Options
from sipalg.control.socket.server import ControlServer
from sipalg.datapath import addresses, nat_address
from sipalg.datapath.addresses import AddressWatch
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.admin_rules import AdminRules, read_admin_rules
from sipalg.datapath.batched import open_queue
from sipalg.datapath.conntrack import Conntrack
from sipalg.datapath.driver import Driver
from sipalg.datapath.executor import Executor
from sipalg.datapath.loop import Loop, Steps
from sipalg.datapath.nat_address import NatAddress
from sipalg.datapath.netlink import NetlinkError, NetlinkSocket
from sipalg.datapath.nft_features import find_features
from sipalg.datapath.nft_table import NftTable
from sipalg.datapath.ports import PortsTaken, local_port_range, overlap
from sipalg.datapath.preflight import check_nat_address, check_rules
from sipalg.datapath.reply import Replies
from sipalg.datapath.routes import Routes
from sipalg.datapath.standing import Standing
from sipalg.engine.alg import Alg
from sipalg.engine.transaction import event_of
from sipalg.engine.verdict import Datagram, Event, Verdict

_LOG = logging.getLogger("sipalg")

_FORGET_S: Final = 60.0
#: How often TCP's connections are looked after.
_LOOK_S: Final = 1.0
#: How often the table is told that somebody serves it; when that stops, for whatever reason, SIP becomes plain NAT.
_SERVE_S: Final = 1.0
#: How often the queue is emptied at the end, at most: more can only come in a flood.
_LAST_LOOKS: Final = 8
#: How often the table's counter is read, so that little is lost with the table.
_COUNT_S: Final = 10.0
#: How long Python's lock stays with a thread beside the packets' while these want it: 5 ms otherwise.
_LOCK_S: Final = 0.0001


class Service:
    """A running ALG; `loop.run()` between `start` and `stop`."""

    def __init__(
        self,
        options: Options,
        warnings: list[str],
        on_event: Callable[[Event], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take hold of everything that can be refused: sockets, the queue, the control socket.

        `has_room` says whether `on_event` makes anything of another event just now.

        Raises OSError (NetlinkError among them), AdminRulesError and SocketInUseError; nothing is left then.
        """
        self.options = options
        settings = options.settings
        self._on_event = on_event
        self._has_room = has_room
        #: What people should know, as found at start and whenever the administrator's rules changed.
        self.warnings = warnings
        #: Whether there still is a table after `stop`.
        self.table_stays = True
        #: Whether packets have been served, so that the next process is to go on with that.
        self._serving = False
        #: Whether the table couldn't be told last time that it is served.
        self._unserved = False
        self.loop = Loop()
        self.notifier = Notifier()
        observing = settings.mode == "observe"
        with ExitStack() as stack:
            stack.callback(self.loop.close)
            stack.callback(self.notifier.close)
            # First of all, since what comes from here on waits in it.
            self.queue, way = open_queue(settings.queue_number)
            stack.callback(self.queue.close)
            self._watch = stack.enter_context(AddressWatch())
            self.conntrack = stack.enter_context(Conntrack())
            self.rules = self._read_rules()
            self._nat = self._find_nat_address()
            #: The warnings that come from the rules.
            self._of_rules = self._rule_warnings()
            self.forwards = list(takeover.forwards(self.rules, self.nat_address, settings.ports))
            avoid = overlap(PortRange(*settings.media_ports), local_port_range())
            self.ports = PortsTaken(self.conntrack.translated, reserved=settings.reserved_ports, avoid=avoid)
            six = ipv6.find(settings, self.rules)
            self.ports.configure(self.nat_address, self.rules, ipv6.address_of(six))
            exempt = self.exempt_networks(settings)
            engine = parts.engine_settings(settings, self.nat_address, parts.stream_timeout_s(), exempt, six)
            self.alg = Alg(engine, self.ports)
            self.routes = stack.enter_context(Routes(settings.inside))
            self.alg.direct.set_inside(self.routes.leads_inside)
            with NetlinkSocket() as probe:
                features = find_features(probe)
            self.changes = Changes(self, features)
            # To observe changes nothing, the lifetime of flows included.
            features = features._replace(ct_timeout=features.ct_timeout and not observing)
            self.table = NftTable(parts.table_settings(settings, parts.unreplied_timeout_s(), exempt, six), features)
            stack.callback(self.table.close)
            self.standing = Standing(self.table)
            replies = stack.enter_context(Replies())
            self._executor = executor = Executor(self.standing, self.conntrack, replies, self.loop.soon)
            inside = frozenset(settings.inside)
            on_edits = self.tell_edits if settings.log_edits else None
            self.driver = Driver(
                self.alg,
                way,
                executor,
                inside,
                observe=observing,
                on_event=self.tell,
                are_heard=lambda: self._server.is_followed or self._has_room(),
                on_edits=on_edits,
            )
            self.tcp = Tcp(self)
            stack.callback(self.tcp.stop)
            self.inherited = InheritedMedia(self.alg, self.conntrack)
            self.journal = Journal(journal_of(options.socket), self.alg.records)
            self.adoption = Adoption(self)
            self.unseen = Unseen(self.table, self.queue)
            background = Background(self.loop)
            search = stack.enter_context(Conntrack())
            stack.callback(background.close)
            self.ports.make_beside(background.do, search.translated)
            self.tidying = Tidying(executor, self.conntrack, search, background, self.loop.work)
            self.commands = Commands(self, background)
            answers = Report(self).answers()
            self._server = ControlServer(options.socket, self.loop, answers, self.commands.table())
            stack.callback(self._server.close)
            self._server.on_tracing = self._follow_messages
            self._rules_watch = RulesWatch(self.loop, self._read_rules, self._use_rules, self.table.settings.name)
            stack.callback(self._rules_watch.close)
            self._closing = stack.pop_all()

    @property
    def nat_address(self) -> str:
        """The address that SIP and media leave by; "" while there is none."""
        return self._nat.host

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.options.settings

    def start(self) -> None:
        """Write the rules, take over what exists, and begin with the packets. Raises NetlinkError."""
        # What is made here stays, and packets wait.
        gc.collect()
        gc.disable()
        sys.setswitchinterval(_LOCK_S)
        self.tcp.begin()
        self.table.settings = replace(self.table.settings, relay=self.tcp.rules(self.settings))
        self.adoption.all()
        self._tell_exempt()
        for told in filter(lambda _: self._has_room(), self.alg.take_told()):
            event = event_of(told)
            self.tell(event._replace(name="mapping-kept") if event.name == "mapping-opened" else event)
        if self.settings.mode == "enforce":
            self.journal.begin()
        self.serve()
        self._serving = True
        self._watch_all()
        garbage.begin()

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
            netlink.transaction(self.table.end_queue())

    def _finish(self) -> None:
        """Decide on what waits; what comes after that is to wait for the next process, or be sent again to it."""
        self.serve()
        with contextlib.suppress(OSError):
            for _ in range(_LAST_LOOKS):
                before = self.queue.received
                self.driver.drain()
                if self.queue.received == before:
                    break
        self._executor.end_flows()
        self.queue.close(let_go=False)

    def _watch_all(self) -> None:
        loop = self.loop
        loop.watch(self.queue, self.driver.drain)
        loop.watch(self._watch, self._look_at_addresses)
        if self.table.guard is not None:
            loop.watch(self.table.guard, self._look_at_table)
        loop.set_timer(self.driver.next_timer, self.driver.run_timer)
        loop.every(_FORGET_S, self.standing.forget_ended)
        loop.every(_FORGET_S, self.driver.interfaces.forget)
        loop.every(_FORGET_S, loop.forget_longest_turn)
        loop.every(tidying.INTERVAL_S, self.tidying.look)
        loop.every(_LOOK_S, self.tcp.look)
        loop.every(_COUNT_S, self.unseen.look)
        loop.every(INTERVAL_S, self._keep_journal)
        loop.every(garbage.INTERVAL_S, garbage.look)
        loop.every(garbage.ALL_INTERVAL_S, garbage.look_at_all)
        loop.every(adoption.INTERVAL_S, self.adoption.go_on)
        loop.every(_SERVE_S, self.serve)
        loop.every(self.alg.settings.flow_check_s, self.inherited.look)
        if self.notifier.watchdog_interval_s is not None:
            loop.every(self.notifier.watchdog_interval_s, self.notifier.alive)

    def _read_rules(self) -> AdminRules:
        return read_admin_rules(self.settings.outside, self.settings.inside, ports=self.settings.ports)

    def _use_rules(self, rules: AdminRules) -> None:
        """Go on with rules that the administrator changed; with the same as before nothing is to be done."""
        # It may be the filter of local packets that changed, of which nothing is in them.
        self.tcp.try_again()
        if rules == self.rules:
            return
        self.rules = rules
        self.follow_address()
        self.look_for_warnings()
        self.configure_ports()
        self._use_exempt_networks()
        now = time.monotonic()
        before, self.forwards = self.forwards, list(takeover.forwards(rules, self.nat_address, self.settings.ports))
        for mapping in before:
            if mapping not in self.forwards:
                self.driver.run_commands(self.alg.disown(mapping, now))
        self.adoption.forwards(mapping for mapping in self.forwards if mapping not in before)
        self.driver.report_events()
        _LOG.info("rules-changed forwards=%d source_nat=%d", len(rules.forwards), len(rules.source_nat))

    def exempt_networks(self, settings: Settings) -> tuple[Network, ...]:
        """Return what isn't NATed: what the settings say, and what the administrator's rules leave as it is."""
        return tuple(dict.fromkeys((*settings.exempt, *takeover.exempt_networks(self.rules))))

    def _use_exempt_networks(self) -> None:
        exempt = self.exempt_networks(self.settings)
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

    def read_rules_again(self) -> None:
        """Have the administrator's rules read again soon, under settings that changed."""
        self._rules_watch.look_again()

    def look_for_warnings(self) -> None:
        """Tell what is to be known of the administrator's rules under these settings."""
        found = self._rule_warnings()
        for warning in found:
            if warning not in self.warnings:
                _LOG.warning("warning: %s", warning)
        self.warnings = [warning for warning in self.warnings if warning not in self._of_rules] + found
        self._of_rules = found

    def _rule_warnings(self) -> list[str]:
        """Return what is more than advice, which is only told at start."""
        settings = self.settings
        found = [*check_rules(parts.plan(settings), self.rules), *check_nat_address(settings.outside, self._nat)]
        return [finding.text for finding in found if finding.severity != "advice"]

    def tell(self, event: Event) -> None:
        """Have an event in the log, and sent to whoever follows them."""
        self._on_event(event)
        self._server.publish(event)

    def tell_edits(self, datagram: Datagram, verdict: Verdict) -> None:
        """Tell of an edited message."""
        made = self.settings.mode == "enforce"
        self.tell(edit_event(datagram, verdict, self.settings.inside, made=made))

    def _follow_messages(self, wanted: bool) -> None:
        """Hand each message on to those who trace, for as long as there are any."""
        self.driver.on_message = self._trace if wanted else None

    def _trace(self, datagram: Datagram, verdict: Verdict, time_ns: int) -> None:
        line = trace_line(datagram, verdict, time_ns, self.alg.public_of, made=self.settings.mode == "enforce")
        if line:
            self._server.trace(line)

    def _look_at_addresses(self, _events: int) -> None:
        """Follow the outside address; what is in the middle of changing is looked at again with the next change."""
        self._watch.read()
        self.driver.interfaces.forget()
        if self.follow_address():
            self.look_for_warnings()

    def _find_nat_address(self) -> NatAddress:
        settings = self.settings
        return nat_address.find(settings.outside, settings.inside, settings.public, self.rules)

    def follow_address(self) -> bool:
        """Find the NAT's addresses again; with another one all begins anew. True where something of it changed."""
        followed = ipv6.follow(self)
        former, self._nat = self._nat, self._find_nat_address()
        before, address = former.host, self._nat.host
        if address == before:
            return followed or former != self._nat
        _LOG.warning("outside-address-changed before=%s now=%s", before or "none", address or "none")
        self.configure_ports()
        public = self.settings.public or address
        moved = replace(self.alg.settings, nat_address=address, advertised_address=public)
        self.driver.run_commands(self.alg.change_settings(moved, time.monotonic()))
        observing = self.settings.mode == "observe"
        if before and not observing and all(one.host != before for one in addresses.addresses()):
            self.conntrack.end_all(before)
        self.tcp.follow()
        self.forwards = list(takeover.forwards(self.rules, address, self.settings.ports))
        self.adoption.forwards(self.forwards)
        self.driver.report_events()
        return True

    def configure_ports(self) -> None:
        """Tell which addresses public ports are on, and the administrator's rules about them."""
        self.ports.configure(self.nat_address, self.rules, ipv6.address_of(self.alg.settings.ipv6))

    def serve(self) -> None:
        """Have SIP go on coming here; should this process end now, it waits for the next one."""
        try:
            self.table.serve()
        except OSError as error:
            if not self._unserved:
                _LOG.error("queue-not-served why=%r consequence=plain-nat", str(error))
            self._unserved = True
        else:
            self._unserved = False

    def _keep_journal(self) -> Steps | None:
        if self.settings.mode == "enforce":
            return self.journal.keep_up()
        # What is observed isn't how it is, and nothing to go on with.
        self.journal.close()
        return None

    def _look_at_table(self, _events: int) -> None:
        """Put the table back where somebody removed or changed it."""
        if self.table.guard is None or not self.table.guard.changed():
            return
        self.unseen.look()
        try:
            count = self.standing.put_back()
        except NetlinkError as error:
            _LOG.error("table-gone why=%r consequence=plain-nat", str(error))
        else:
            _LOG.warning("table-put-back mappings=%d", count)
