"""The engine: one datagram in, one verdict out, and the state behind it.

This is the middle of a packet's way. The header's and the body's edits, the mappings, peers, contacts and calls that
they need, and the commands for the kernel are put together here into one transaction, which counts only when the
driver says that the kernel has carried it out. No input raises; what isn't understood passes as it
came, with a reason.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from sipalg.codec.message import Message, parse
from sipalg.engine.mappings import MappingKey, PortsTaken
from sipalg.engine.passage import Passage
from sipalg.engine.policy import NOT_NATTED, NOTHING_TO_EDIT, STREAM
from sipalg.engine.settings import Settings
from sipalg.engine.snapshot import snapshot
from sipalg.engine.verdict import (
    ACCEPT,
    REPLACE,
    UDP,
    Action,
    Command,
    Datagram,
    Edit,
    Endpoint,
    EstablishFlow,
    Event,
    Flow,
    Mapping,
    OpenMapping,
    Verdict,
)

#: A NamedTuple's own constructor costs twice as much, and a verdict is made for every packet.
new: Final = tuple.__new__
#: How many times the kernel may refuse before a message passes as it came: another port, and flows left out.
_ATTEMPTS: Final = 4
#: Events that nobody fetches are forgotten beyond this number.
_MAX_EVENTS: Final = 10_000


class _Pending(NamedTuple):
    """The transaction that waits for the kernel: its token, its datagram and commands, and how often it was tried."""

    token: int
    datagram: Datagram
    commands: tuple[Command, ...]
    attempt: int


class Alg:
    """One router's ALG. Feed it datagrams in the order of their arrival; time is an argument, monotonic seconds.

    `ports_taken(protocol, port)` answers whether anybody else on the router has a public port.
    """

    def __init__(self, settings: Settings, ports_taken: PortsTaken) -> None:
        self._passage = Passage(settings, ports_taken)
        self._transaction = self._passage.transaction
        self.mappings = self._passage.mappings
        self.peers = self._passage.peers
        self.contacts = self._passage.contacts
        self.calls = self._passage.calls
        self.nat_aware = self._passage.nat_aware
        self._pending: _Pending | None = None
        self._token = 0
        self._events: list[Event] = []
        self.methods: dict[bytes, int] = {}
        self.rules: dict[str, int] = {}
        self.reasons: dict[str, int] = {}

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._passage.settings

    # What a driver calls.

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        """Decide about one packet. Its commands, if any, are to be run and reported before the next call."""
        if self._pending is not None:
            self._give_up()
        self._transaction.now = now
        return self._decide(datagram, 1)

    def commands_done(self, token: int, now: float) -> None:
        """The kernel has carried out the verdict's commands: its state counts from now on."""
        if self._pending is not None and self._pending.token == token:
            self._transaction.now = now
            self._commit()

    def commands_failed(self, token: int, index: int, reason: str, now: float) -> Verdict:
        """The kernel refused command `index`, and nothing of the transaction stands: here is what to do instead.

        The verdict may carry new commands under a new token: another port, or the same without the refused flow. The
        message passes as it came when that was tried often enough. An unknown token gives an empty accept.
        """
        pending = self._pending
        if pending is None or pending.token != token:
            return Verdict(ACCEPT, b"", (), (), reason, 0)
        self._give_up()
        self._transaction.now = now
        failed = pending.commands[index] if index < len(pending.commands) else None
        if reason == NOT_NATTED or pending.attempt >= _ATTEMPTS or not self._avoid(pending, failed, reason, now):
            return self._pass(pending.datagram, reason)
        return self._decide(pending.datagram, pending.attempt + 1)

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called next, monotonic seconds; None while nothing waits."""
        return self._transaction.next_due()

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        """Let go of what has run out and look after what stands; the commands need no report."""
        if self._pending is not None:
            self._give_up()
        transaction = self._transaction
        transaction.now = now
        for subject in transaction.take_due(now):
            if subject[0] == "mapping":
                self._look_after_mapping(subject[1])
            elif subject[0] == "dialog":
                self.calls.look_after(transaction, subject[1])
            elif subject[0] == "contact":
                self.contacts.look_after(transaction, subject[1], subject[2])
            elif subject[0] == "peers":
                self.peers.look_after(transaction, subject[1])
            else:
                self.contacts.forget_removal(transaction, subject[1])
        return self._commit()

    def adopt(
        self, mapping: Mapping, now: float, in_interface: str = "", remote: Endpoint | None = None
    ) -> tuple[Command, ...]:
        """Take over a mapping that exists already: a port forward of the administrator's (`adopted`), a standing flow.

        `remote` is the standing flow's other end, `in_interface` where the phone is, "" if that isn't known yet. A
        mapping that another one stands in the way of is left out.
        """
        key = (mapping.protocol, mapping.private)
        transaction = self._transaction
        transaction.now = now
        entry = self.mappings.entries.get(key)
        if entry is None and (mapping.protocol, mapping.public.port) not in self.mappings.by_public:
            entry = self.mappings.add(transaction, mapping, in_interface)
            if mapping.adopted:
                self.mappings.hold(transaction, key)
        if entry is not None and entry.mapping.public == mapping.public and remote is not None:
            self.peers.admit(transaction, entry, remote)
            transaction.put(self.peers.tended, (key, remote), -self.settings.sip_timeout_s)
            self.peers.tend(transaction, entry, remote)
        return self._commit()

    def restore(self, mapping: Mapping, remaining_s: float, now: float) -> None:
        """Take note of a mapping that an earlier process left in the kernel's maps, with its element's time left."""
        key = (mapping.protocol, mapping.private)
        if key in self.mappings.entries or (mapping.protocol, mapping.public.port) in self.mappings.by_public:
            return
        self._transaction.now = now
        self.mappings.add(self._transaction, mapping, "", remaining_s)
        self._commit()

    def set_public(self, nat_address: str, advertised_address: str, now: float) -> tuple[Command, ...]:
        """Go over to another outside address, or to none (""): mappings and flows of the old one end.

        Port forwards stay, since they are the administrator's. Each phone is warned of in an event; its next packet
        gets a new mapping.
        """
        transaction = self._transaction
        transaction.now = now
        if nat_address != self.settings.nat_address:
            for key in list(self.calls.dialogs):
                self.calls.end(transaction, key)
            for entry in list(self.mappings.entries.values()):
                if not entry.mapping.adopted:
                    transaction.tell("address-lost", private=entry.mapping.private, public=entry.mapping.public)
                    self.mappings.drop(transaction, entry)
                    self._passage.forget(entry)
        self._passage.change(
            replace(self.settings, nat_address=nat_address, advertised_address=advertised_address)
        )
        return self._commit()

    def media_seen(self, flow: Flow, now: float) -> None:
        """Tell the engine that a flow has carried packets since it was last looked at."""
        self.calls.media_seen(flow, now)

    def public_of(self, protocol: int, private: Endpoint) -> Endpoint | None:
        """The public address of a private one, None if it has no mapping."""
        entry = self.mappings.entries.get((protocol, private))
        return None if entry is None else entry.mapping.public

    def private_of(self, protocol: int, public: Endpoint) -> Endpoint | None:
        """The private address behind a public one, None if it is nobody's."""
        entry = self.mappings.of_public(protocol, public.port)
        return entry.mapping.private if entry is not None and entry.mapping.public == public else None

    def take_events(self) -> list[Event]:
        """The events since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def snapshot(self, now: float) -> dict[str, object]:
        """The tables as plain values for people and JSON."""
        return snapshot(self, now)

    # What a message goes through.

    def _decide(self, datagram: Datagram, attempt: int) -> Verdict:
        """Edit a message, or find the reason to let it pass."""
        if datagram.protocol != UDP:
            return self._pass(datagram, STREAM)
        message = parse(datagram.payload)
        if isinstance(message, str):
            return self._pass(datagram, message)
        edits = self._passage.edit(message, datagram)
        if isinstance(edits, str):
            return self._pass(datagram, edits)
        return self._verdict(datagram, message, edits, attempt)

    # How a decision is handed out.

    def _verdict(self, datagram: Datagram, message: Message, edits: list[Edit], attempt: int) -> Verdict:
        """Apply the edits, and hand out the commands under a token if there are any."""
        payload = datagram.payload
        edits.sort()
        parts = []
        position = 0
        rules = self.rules
        for offset, length, replacement, rule in edits:
            parts.append(payload[position:offset])
            parts.append(replacement)
            position = offset + length
            rules[rule] = rules.get(rule, 0) + 1
        method = message.method or b"%d" % message.status
        self.methods[method] = self.methods.get(method, 0) + 1
        action: Action = ACCEPT
        reason = NOTHING_TO_EDIT
        if edits:
            parts.append(payload[position:])
            payload = b"".join(parts)
            action = REPLACE
            reason = ""
        else:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        transaction = self._transaction
        if not transaction.commands:
            if transaction.changed:
                self._commit()
            return new(Verdict, (action, payload, tuple(edits), (), reason, 0))
        self._token += 1
        commands = tuple(transaction.commands)
        self._pending = _Pending(self._token, datagram, commands, attempt)
        return Verdict(action, payload, tuple(edits), commands, reason, self._token)

    def _pass(self, datagram: Datagram, reason: str) -> Verdict:
        """Let a message go as it came; whatever was decided on the way is undone."""
        self._transaction.rollback()
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        return Verdict(ACCEPT, datagram.payload, (), (), reason, 0)

    def _avoid(self, pending: _Pending, failed: Command | None, reason: str, now: float) -> bool:
        """Remember what the kernel refused, so that the next try does without; False if there is nothing to avoid."""
        if isinstance(failed, OpenMapping) and not failed.mapping.adopted:
            self.mappings.refuse(failed.mapping.protocol, failed.mapping.public.port, now)
            return True
        if isinstance(failed, EstablishFlow):
            flow = failed.flow
            opened = [command.mapping.private for command in pending.commands if isinstance(command, OpenMapping)]
            if flow.private in opened:
                self.mappings.refuse(flow.protocol, flow.public.port, now)
            else:
                # The port has been told to the far end already: the call goes on without this flow.
                self.calls.refused_flows[flow] = True
                self._note(Event("flow-refused", (("flow", f"{flow.private} {flow.remote}"), ("reason", reason))))
            return True
        return False

    def _look_after_mapping(self, key: MappingKey) -> None:
        """Handle a mapping's timer, and what hangs on it."""
        transaction = self._transaction
        entry = self.mappings.entries.get(key)
        if entry is None:
            return
        outcome = self.mappings.look_after(transaction, key)
        if outcome == "refreshed":
            self.peers.renew(transaction, entry)
        elif outcome == "ended":
            self._passage.forget(entry)

    def _give_up(self) -> None:
        """Undo a transaction that nobody reported on, or that failed."""
        self._pending = None
        self._transaction.rollback()

    def _commit(self) -> tuple[Command, ...]:
        """Make the transaction's state count; returns its commands."""
        transaction = self._transaction
        commands = tuple(transaction.commands)
        if transaction.events:
            for event in transaction.events:
                self._note(event)
            transaction.events.clear()
        transaction.commit()
        self._pending = None
        return commands

    def _note(self, event: Event) -> None:
        if len(self._events) < _MAX_EVENTS:
            self._events.append(event)
