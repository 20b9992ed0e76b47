"""The engine: one datagram in, one verdict out, and the state behind it.

This is the middle of a packet's way. The header's and the body's edits, the mappings, peers, contacts and calls that
they need, and the commands for the kernel are put together here into one transaction, which counts only when the
driver says that the kernel has carried it out. No input raises; what isn't understood passes as it
came, with a reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from sipalg.codec.changes import edited, replaced
from sipalg.codec.machine import new
from sipalg.codec.message import KEEP_ALIVE, Message, parse
from sipalg.engine import changing, existing
from sipalg.engine.direct_media import Refusal
from sipalg.engine.mappings import PortsTaken
from sipalg.engine.passage import Passage
from sipalg.engine.policy import (
    COUNTED,
    MEDIA_ADDRESS_REFUSED,
    NAT_AWARE,
    NOT_NATTED,
    NOTHING_TO_EDIT,
    SDP_OF_ANOTHER,
    STREAM,
)
from sipalg.engine.records import Records
from sipalg.engine.resuming import PlainRecord, resume
from sipalg.engine.settings import Settings
from sipalg.engine.shortcut import Shortcut
from sipalg.engine.snapshot import counters, snapshot
from sipalg.engine.timers import Subject
from sipalg.engine.transaction import Pending, Told, Transaction, event_of
from sipalg.engine.verdict import (
    ACCEPT,
    DROP,
    REPLACE,
    UDP,
    Change,
    CheckFlow,
    CloseMapping,
    Command,
    Datagram,
    Endpoint,
    EstablishFlow,
    Event,
    Flow,
    Mapping,
    OpenMapping,
    Verdict,
)
from sipalg.engine.waking import look_after

#: How many times the kernel may refuse before a message passes as it came: another port, and flows left out.
_ATTEMPTS: Final = 4
#: Events that nobody fetches are forgotten beyond this number.
_MAX_EVENTS: Final = 10_000


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
        self.direct = self._passage.direct
        #: What is to outlive the process; `resume` takes it back.
        self.records = Records(self._passage)
        self._pending: Pending | None = None
        self._token = 0
        self._events: list[Told] = []
        #: The shortest way, if this build has it.
        self.shortcut = Shortcut(self._passage)
        self.methods: dict[bytes, int] = {}
        self.rules: dict[str, int] = {}
        self.reasons: defaultdict[str, int] = defaultdict(int)
        #: What `sip-direct-media=no` had refused, by reason.
        self.refusals: defaultdict[str, int] = defaultdict(int)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._passage.settings

    # What a driver calls.

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        """Decide about one packet. Its commands, if any, are to be run and reported before the next call."""
        if datagram.protocol != UDP:
            self._begin(now)
            return self._pass(datagram, STREAM)
        return self.receive_message(datagram, now)

    def receive_message(self, datagram: Datagram, now: float) -> Verdict:
        """Decide about one whole message of a TCP stream in the same way; the phone's end is what `home_of` gave."""
        quickly = self.shortcut.decide(datagram, now)
        if quickly is None:
            self._begin(now)
            return self._decide(datagram, 1)
        return quickly

    def commands_done(self, token: int, now: float) -> None:
        """The kernel has carried out the verdict's commands: its state counts from now on."""
        if self._pending is not None and self._pending.token == token:
            self._transaction.now = now
            self._commit()

    def commands_failed(self, token: int, index: int, reason: str, now: float) -> Verdict:
        """The kernel refused command `index`, and nothing of the transaction stands: here is what to do instead.

        The verdict may carry new commands under a new token: another port, or the same without the refused flow. When
        that was tried often enough the message passes as it came. An unknown token gives an empty accept.
        """
        pending = self._pending
        if pending is None or pending.token != token:
            return Verdict(ACCEPT, b"", (), (), reason, 0)
        self._give_up()
        self._transaction.now = now
        failed = pending.commands[index] if index < len(pending.commands) else None
        if reason == NOT_NATTED or pending.attempt >= _ATTEMPTS or not self._avoid(pending, failed, reason, now):
            self.calls.forget_refused()
            return self._pass(pending.datagram, reason)
        return self._decide(pending.datagram, pending.attempt + 1)

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called next, monotonic seconds; None while nothing waits."""
        return self._transaction.next_due()

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        """Let go of what has run out and look after what stands; the commands need no report."""
        transaction = self._begin(now)
        done: list[Subject] = []
        try:
            for subject in transaction.take_due(now):
                look_after(self._passage, subject)
                done.append(subject)
        except Exception:
            # What the others did isn't carried out: they are woken again. The one that failed isn't.
            self._give_up()
            for subject in done:
                transaction.wake(now, subject)
            raise
        return self._commit()

    def adopt(
        self, mapping: Mapping, now: float, in_interface: str = "", remote: Endpoint | None = None, admit: bool = True
    ) -> tuple[Command, ...]:
        """Take over a mapping that exists already: a port forward of the administrator's (`adopted`), a standing flow.

        `remote` is the standing flow's other end, let in with `admit`; `in_interface` where the phone is, "" if that
        isn't known yet. A port forward makes way for itself, a standing flow that meets another mapping is left out.
        """
        self._begin(now)
        existing.adopt(self._passage, mapping, in_interface, remote, admit=admit)
        return self._commit()

    def disown(self, mapping: Mapping, now: float) -> tuple[Command, ...]:
        """End the mapping of a port forward that is the administrator's no more."""
        self._begin(now)
        existing.disown(self._passage, mapping)
        return self._commit()

    def restore(self, found: Iterable[existing.Restored], now: float) -> None:
        """Take note of the mappings that an earlier process left in the kernel's maps."""
        self._begin(now)
        existing.restore(self._passage, found)
        self.shortcut.change()
        self._commit()

    def resume(self, records: Iterable[PlainRecord], standing: Collection[Flow], now: float) -> tuple[Command, ...]:
        """Go on with the contacts and calls of an earlier process, after its mappings were restored.

        `standing` are the media flows that the kernel still has.
        """
        self._begin(now)
        resume(self._passage, records, standing)
        self.shortcut.change()
        return self._commit()

    def change_settings(self, settings: Settings, now: float) -> tuple[Command, ...]:
        """Go by other settings from the next message on; no mapping and no call is lost by it.

        But for another `nat_address` (none: ""): every mapping, flow and call of the old one ends, with an event for
        each phone; port forwards are to be adopted again. With another sip-timeout, flows that began before are to be
        adopted by the driver, since the kernel's timeout policy is given to new ones only.
        """
        self._begin(now)
        changing.change(self._passage, settings)
        self.shortcut.change()
        return self._commit()

    def keep_only(self, standing: Collection[Mapping], now: float) -> tuple[Command, ...]:
        """Forget all mappings but those that stand in the kernel, and renew these: for when observing ends."""
        self._begin(now)
        changing.keep_only(self._passage, standing)
        return self._commit()

    def end_all(self, now: float) -> tuple[Command, ...]:
        """End every call and every mapping, port forwards' included."""
        self._begin(now)
        existing.end_all(self._passage)
        return self._commit()

    def media_seen(self, flow: Flow, now: float) -> None:
        """Tell the engine that a flow has carried packets since it was last looked at."""
        self.calls.media_seen(self._begin(now), flow)
        self._commit()

    def public_of(self, protocol: int, private: Endpoint) -> Endpoint | None:
        """The public address of a private one, None if it has no mapping."""
        entry = self.mappings.entries.get((protocol, private))
        return None if entry is None else entry.public

    def private_of(self, protocol: int, public: Endpoint) -> Endpoint | None:
        """The private address behind a public one, None if it is nobody's."""
        entry = self.mappings.of_end(protocol, public)
        return None if entry is None else entry.key[1]

    def take_told(self) -> list[Told]:
        """What happened since the last call, oldest first, of which `event_of` makes events."""
        told, self._events = self._events, []
        return told

    def take_events(self) -> list[Event]:
        """The events since the last call, oldest first."""
        return [event_of(told) for told in self.take_told()]

    def snapshot(self, now: float) -> dict[str, object]:
        """The tables and counts as plain values for people and JSON; durations are seconds left from `now`."""
        return snapshot(self._passage, now) | self.counts()

    def counts(self) -> dict[str, dict[str, int]]:
        """The counts of `snapshot` without its tables, for whoever asks every few seconds."""
        self.shortcut.add_counts(self.methods, self.rules, self.reasons)
        return {
            "counters": counters(self._passage),
            "messages": {method.decode(): count for method, count in sorted(self.methods.items())},
            "edits": dict(sorted(self.rules.items())),
            "passes": dict(sorted(self.reasons.items())),
            "refusals": dict(sorted(self.refusals.items())),
            "seen_as": {seen.decode(): count for seen, count in self._passage.headers.seen_as.items()},
        }

    # What a message goes through.

    def _decide(self, datagram: Datagram, attempt: int) -> Verdict:
        """Edit a message, or find the reason to let it pass."""
        message = parse(datagram.payload)
        if isinstance(message, str):
            if message == KEEP_ALIVE and self._passage.keep_alive(datagram):
                return self._let(datagram, message, attempt)
            return self._pass(datagram, message)
        edits = self._passage.edit(message, datagram)
        if isinstance(edits, list):
            return self._verdict(datagram, message, edits, attempt)
        if isinstance(edits, str):
            return self._pass(datagram, edits)
        return self._refuse(datagram, edits, attempt)

    # How a decision is handed out.

    def _verdict(self, datagram: Datagram, message: Message, edits: list[Change], attempt: int) -> Verdict:
        """Apply the edits, and hand out the commands under a token if there are any."""
        counted = COUNTED.get(message.status or message.method, b"other")
        self.methods[counted] = self.methods.get(counted, 0) + 1
        transaction = self._transaction
        commands: tuple[Command, ...] = ()
        if transaction.commands:
            commands = self._hand_out(datagram, attempt)
        elif transaction.log or transaction.events:
            self._commit()
        if self.contacts.granted is not None:
            self.shortcut.learn(datagram.source)
        if not edits:
            self.reasons[NOTHING_TO_EDIT] += 1
            return Verdict(ACCEPT, datagram.payload, (), commands, NOTHING_TO_EDIT, self._token if commands else 0)
        plain: Verdict | None = None if commands else replaced(Verdict, datagram.payload, edits, self.rules)
        return plain or self._replace(datagram.payload, edits, commands)

    def _replace(self, payload: bytes, edits: list[Change], commands: tuple[Command, ...]) -> Verdict:
        """Send a message on with its edits made."""
        edits.sort()
        rules = self.rules
        for _, _, _, rule in edits:
            rules[rule] = rules.get(rule, 0) + 1
        token = self._token if commands else 0
        return new(Verdict, (REPLACE, edited(payload, edits), tuple(edits), commands, "", token))

    def _let(self, datagram: Datagram, reason: str, attempt: int) -> Verdict:
        """Let a message go as it came, with what follows from it."""
        self.reasons[reason] += 1
        commands = self._hand_out(datagram, attempt) if self._transaction.commands else self._commit()
        return Verdict(ACCEPT, datagram.payload, (), commands, reason, self._token if commands else 0)

    def _hand_out(self, datagram: Datagram, attempt: int) -> tuple[Command, ...]:
        """The transaction's commands, which now wait for a report under a new token."""
        self._token += 1
        commands = tuple(self._transaction.commands)
        self._pending = new(Pending, (self._token, datagram, commands, attempt))
        return commands

    def _pass(self, datagram: Datagram, reason: str) -> Verdict:
        """Let a message go as it came; whatever was decided on the way is undone."""
        self._transaction.rollback()
        self.reasons[reason] += 1
        if reason == NAT_AWARE:
            self.shortcut.forget_source(datagram)
        if reason == SDP_OF_ANOTHER:
            self._note((reason, {"private": datagram.source, "remote": datagram.destination}))
        return Verdict(ACCEPT, datagram.payload, (), (), reason, 0)

    def _refuse(self, datagram: Datagram, refusal: Refusal, attempt: int) -> Verdict:
        """Have a message dropped, and answered if it is a request; nothing of what it wanted stays."""
        transaction = self._transaction
        transaction.rollback()
        self.refusals[refusal.reason] += 1
        if refusal.reply is None:
            return Verdict(DROP, datagram.payload, (), (), refusal.reason, 0)
        self.direct.remember(transaction, refusal)
        transaction.commands.append(refusal.reply)
        return Verdict(DROP, datagram.payload, (), self._hand_out(datagram, attempt), refusal.reason, self._token)

    def _avoid(self, pending: Pending, failed: Command | None, reason: str, now: float) -> bool:
        """Remember what the kernel refused, so that the next try does without; False if there is nothing to avoid."""
        if isinstance(failed, OpenMapping) and not failed.mapping.adopted:
            self.mappings.refuse(failed.mapping.protocol, failed.mapping.public, now)
            return True
        if isinstance(failed, EstablishFlow):
            flow = failed.flow
            closed = {command.mapping.private for command in pending.commands if isinstance(command, CloseMapping)}
            opened = {command.mapping.private for command in pending.commands if isinstance(command, OpenMapping)}
            # One that was closed and opened alike has another purpose now, and the port that it had.
            if flow.private in opened - closed:
                self.mappings.refuse(flow.protocol, flow.public, now)
            else:
                # The port has been told to the far end already: the call goes on without this flow, and from the
                # second refusal on without any, since the message has to get through.
                every = [command.flow for command in pending.commands if isinstance(command, EstablishFlow)]
                refused = [flow] if pending.attempt == 1 else every
                self.calls.refused_flows.update(dict.fromkeys(refused, True))
                self._note(("flow-refused", {"flow": f"{flow.private} {flow.remote}", "reason": reason}))
            return True
        if isinstance(failed, CheckFlow):
            # A flow older than sipalg that can't be kept is tended no more: its messages have to get through.
            self.peers.forget(failed.flow)
            return True
        return False

    def _begin(self, now: float) -> Transaction:
        """Begin with whatever comes next at `now`: no half of what came before may stay."""
        transaction = self._transaction
        if self._pending is not None or transaction.commands or transaction.log or transaction.events:
            # Nobody reported on the last one, or it ended amid a message.
            self._give_up()
        transaction.now = now
        return transaction

    def _give_up(self) -> None:
        """Undo a transaction that nobody reported on, or that failed."""
        self._pending = None
        self._transaction.rollback()

    def _commit(self) -> tuple[Command, ...]:
        """Make the transaction's state count; returns its commands."""
        transaction = self._transaction
        commands = tuple(transaction.commands)
        if transaction.events:
            for told in transaction.events:
                self._note(told)
            transaction.events.clear()
        self.shortcut.forget(transaction.log)
        transaction.commit()
        self._pending = None
        return commands

    def _note(self, told: Told) -> None:
        if told[0] == MEDIA_ADDRESS_REFUSED:
            self.refusals[told[0]] += 1
        if len(self._events) < _MAX_EVENTS:
            self._events.append(told)
