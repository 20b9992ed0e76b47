"""The driver: each packet that the kernel holds goes through the engine, and gets its verdict.

Queue → payload → engine → commands into the kernel → verdict with the new payload → queue: the middle of a packet's
way. What isn't one whole UDP datagram, what the engine leaves alone, and every packet at which something here fails,
goes on as it came. Nothing on this way raises or waits.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sipalg.codec.datagram import Address, ends_of
from sipalg.codec.machine import new
from sipalg.datapath.executor import KERNEL_ERROR, Failure, Trigger
from sipalg.datapath.interfaces import Interfaces
from sipalg.datapath.loop import FaultLog
from sipalg.datapath.nfqueue import QueuedPacket
from sipalg.engine.transaction import Told, event_of
from sipalg.engine.verdict import (
    ACCEPT,
    DROP,
    UDP,
    Command,
    Datagram,
    Endpoint,
    Event,
    Flow,
    OpenMapping,
    Reply,
    Verdict,
)

_LOG = logging.getLogger(__name__)

#: Packets taken at once, and how often, before the rest of the program gets its turn: some 30 ms at full load.
_PACKETS_AT_ONCE: Final = 32
_ROUNDS: Final = 32

#: Addresses remembered with the engine's form of them.
_REMEMBERED: Final = 65536


class Ends(dict[bytes, tuple[Endpoint, Endpoint]]):
    """A flow's source and destination as the engine has them, remembered by their bytes: the same ones come again.

    One address is one object in all of them, so that the engine's tables find it without comparing texts.
    """

    def __init__(self) -> None:
        super().__init__()
        self._endpoints: dict[Address, Endpoint] = {}

    def __missing__(self, twelve: bytes) -> tuple[Endpoint, Endpoint]:
        if len(self) >= _REMEMBERED:
            self.clear()
            self._endpoints.clear()
        source, destination = (
            self._endpoints.setdefault(address, Endpoint(*address)) for address in ends_of(twelve)
        )
        ends = self[twelve] = (source, destination)
        return ends


class Engine(Protocol):
    """What the driver asks of `engine.alg.Alg`."""

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        """Decide on one datagram."""

    def receive_message(self, datagram: Datagram, now: float) -> Verdict:
        """Decide on one whole message of a stream."""

    def commands_done(self, token: int, now: float) -> None:
        """Commit what the verdict with `token` promised."""

    def commands_failed(self, token: int, index: int, reason: str, now: float) -> Verdict:
        """Undo it; the verdict to obey instead."""

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called."""

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        """Do what is due; each command by itself."""

    def media_seen(self, flow: Flow, now: float) -> None:
        """Take note that a flow has carried packets."""

    def take_told(self) -> list[Told]:
        """Return what happened since the last call."""


class Queue(Protocol):
    """What the driver asks of `nfqueue.PacketQueue`."""

    def receive(self, limit: int) -> list[QueuedPacket]:
        """Take packets without waiting."""

    def verdict_accept(self, packet_id: int) -> None:
        """Let one go as it came."""

    def verdict_drop(self, packet_id: int) -> None:
        """Let one go nowhere."""

    def verdict_payload(
        self, packet_id: int, packet: bytes, payload: bytes, mtu_bytes: int, identification: int
    ) -> None:
        """Let it go with another payload, see `codec.datagram.replace_payload`; ValueError if that can't be."""

    def split_udp(self, packet: bytes) -> tuple[bytes, bytes] | str:
        """Take a packet's ends and payload out of it, see `codec.datagram.split_udp`."""

    def flush(self) -> None:
        """Send the verdicts."""


class Runner(Protocol):
    """What the driver asks of `executor.Executor`."""

    def run(self, commands: Sequence[Command], trigger: Trigger | None = None) -> Failure | None:
        """Run all or none."""

    def run_each(self, commands: Sequence[Command]) -> list[Failure]:
        """Run each by itself."""

    def take_seen(self) -> list[Flow]:
        """Return the flows that were found to carry packets."""


#: What `express_batch.ExpressBatch.pass_known` is: packets that came, were replaced, and weren't.
PassKnown = Callable[
    [int, object, Interfaces, Callable[[QueuedPacket, float], None], FaultLog, float], tuple[int, int, int]
]


class Driver:
    """Takes packets from `queue`, asks `alg`, has `runner` run its commands; with `observe` nothing is changed."""

    def __init__(
        self,
        alg: Engine,
        queue: Queue,
        runner: Runner,
        inside: frozenset[str],
        *,
        observe: bool = False,
        interfaces: Interfaces | None = None,
        on_event: Callable[[Event], None] | None = None,
        are_heard: Callable[[], bool] = lambda: True,
        on_edits: Callable[[Datagram, Verdict], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interfaces = Interfaces() if interfaces is None else interfaces
        self.log = FaultLog(clock)
        #: Packets by what became of them: `replaced`, `accepted`, `dropped`, `failed`; why the engine wasn't asked.
        self.packets: defaultdict[str, int] = defaultdict(int)
        self.not_asked: defaultdict[str, int] = defaultdict(int)
        #: The same of messages over TCP.
        self.messages: defaultdict[str, int] = defaultdict(int)
        self.commands_failed: defaultdict[str, int] = defaultdict(int)
        #: The engine's events by name.
        self.events: defaultdict[str, int] = defaultdict(int)
        #: Time spent on packets so far: parsing, engine, and the commands in the kernel; measured a batch at a time.
        self.packets_s = 0.0
        #: The part of it that the commands took; most packets have none.
        self.commands_s = 0.0
        self._alg = alg
        self._queue = queue
        self._runner = runner
        self._inside = inside
        #: Change nothing; may be switched between two packets.
        self.observe = observe
        self._on_event = on_event
        #: Whether anybody reads the next event: in a storm its texts aren't made.
        self._are_heard = are_heard
        self._on_edits = on_edits
        self._on_message: Callable[[Datagram, Verdict, int], None] | None = None
        #: Does anybody want to hear of messages? The one thing that each packet pays for it.
        self._heard = on_edits is not None
        #: What isn't told yet, with the time of day in nanoseconds.
        self._untold: list[tuple[Datagram, Verdict, int]] = []
        self._clock = clock
        self._identification = 0
        #: Machine code for packets that need nothing but their own edits, where queue and engine have it.
        self._express: object = getattr(getattr(alg, "shortcut", None), "express", None)
        self._pass_known: PassKnown | None = getattr(queue, "pass_known", None)
        self._ends = Ends()

    @property
    def on_edits(self) -> Callable[[Datagram, Verdict], None] | None:
        """Who wants to hear what was edited."""
        return self._on_edits

    @on_edits.setter
    def on_edits(self, hearer: Callable[[Datagram, Verdict], None] | None) -> None:
        self._on_edits = hearer
        self._heard = hearer is not None or self._on_message is not None

    @property
    def on_message(self) -> Callable[[Datagram, Verdict, int], None] | None:
        """Who wants to hear of each datagram, its verdict, and when that was, in nanoseconds since 1970."""
        return self._on_message

    @on_message.setter
    def on_message(self, hearer: Callable[[Datagram, Verdict, int], None] | None) -> None:
        self._on_message = hearer
        self._heard = hearer is not None or self._on_edits is not None

    def drain(self, _events: int = 0) -> None:
        """Give every waiting packet its verdict, up to some number, so that others get their turn; never raises."""
        queue = self._queue
        for _ in range(_ROUNDS):
            quickly = None if self._heard or self.observe or self._express is None else self._pass_known
            taken = self._take(queue.receive(_PACKETS_AT_ONCE)) if quickly is None else self._pass(quickly)
            if not taken:
                break
            queue.flush()
            if taken < _PACKETS_AT_ONCE:
                # The queue was empty a moment ago: what has come since wakes the loop again.
                break
        self.report_events()

    def _take(self, packets: list[QueuedPacket]) -> int:
        """Give packets their verdicts; their number."""
        if packets:
            now = self._clock()
            for packet in packets:
                self._decide(packet, now)
            self.packets_s += self._clock() - now
        return len(packets)

    def _pass(self, quickly: PassKnown) -> int:
        """Have machine code take packets, and give those that it leaves to us their verdicts; their number."""
        now = self._clock()
        taken, replaced, unchanged = quickly(
            _PACKETS_AT_ONCE, self._express, self.interfaces, self._decide, self.log, now
        )
        self.packets_s += self._clock() - now
        if replaced:
            self.packets["replaced"] += replaced
        if unchanged:
            self.packets["accepted"] += unchanged
        return taken

    def decide_message(self, datagram: Datagram) -> tuple[bytes, bytes]:
        """Decide on one message of a TCP connection: what goes on in its place, and what its sender is answered.

        Either may be b"", for nothing. Never raises: a message at which something fails goes on as it came.
        """
        payload = datagram.payload
        now = self._clock()
        self.messages["received"] += 1
        try:
            verdict = self._alg.receive_message(datagram, now)
            answer = b"".join(command.payload for command in verdict.commands if isinstance(command, Reply))
            if verdict.commands:
                verdict = self._run(verdict, datagram, now)
            if self._heard:
                self._untold.append((datagram, verdict, time.time_ns()))
        except Exception:
            self.messages["failed"] += 1
            self.log.exception("message", "passed-unchanged")
            return payload, b""
        if self.observe or verdict.action == ACCEPT:
            return payload, b""
        if verdict.action == DROP:
            self.messages["dropped"] += 1
            return b"", answer
        self.messages["replaced"] += 1
        return verdict.payload, b""

    def run_timer(self) -> None:
        """Let the engine do what is due, and run its commands."""
        now = self._clock()
        self.run_commands(self._alg.handle_timer(now))
        for flow in self._runner.take_seen():
            self._alg.media_seen(flow, now)
        self.report_events()

    def next_timer(self) -> float | None:
        """Return when `run_timer` is due."""
        return self._alg.next_timer()

    def run_commands(self, commands: Sequence[Command]) -> None:
        """Run commands that no packet waits for; what fails is logged and counted."""
        if not commands or self.observe:
            return
        for failure in self._runner.run_each(commands):
            self._note_failure(commands, failure)

    def report_events(self) -> None:
        """Hand the engine's events to the log, and what was edited, where that is wanted."""
        if self._untold:
            untold, self._untold = self._untold, []
            for datagram, verdict, time_ns in untold:
                if self._on_edits is not None and verdict.changes and verdict.action != ACCEPT:
                    self._on_edits(datagram, verdict)
                if self._on_message is not None:
                    self._on_message(datagram, verdict, time_ns)
        for told in self._alg.take_told():
            self.events[told[0]] += 1
            if self._on_event is not None and self._are_heard():
                self._on_event(event_of(told))

    def _decide(self, held: QueuedPacket, now: float) -> None:
        """Give one packet its verdict; exactly one, whatever happens."""
        packet_id, _, in_ifindex, out_ifindex, packet = held
        try:
            parts = self._queue.split_udp(packet)
            if isinstance(parts, str):
                self.not_asked[parts] += 1
                self.packets["accepted"] += 1
                self._queue.verdict_accept(packet_id)
                return
            twelve, payload = parts
            source, destination = self._ends[twelve]
            known = self.interfaces.known
            name = (known.get(in_ifindex) or self.interfaces[in_ifindex]).name
            datagram = new(Datagram, (payload, source, destination, UDP, name))
            verdict = self._alg.receive_datagram(datagram, now)
            if verdict.commands:
                verdict = self._run(verdict, datagram, now)
            if self._heard:
                self._untold.append((datagram, verdict, time.time_ns()))
            if verdict.action == ACCEPT or self.observe:
                self.packets["accepted"] += 1
                self._queue.verdict_accept(packet_id)
                return
            if verdict.action == DROP:
                self.packets["dropped"] += 1
                self._queue.verdict_drop(packet_id)
                return
            mtu_bytes = (known.get(out_ifindex) or self.interfaces[out_ifindex]).mtu_bytes
            # Never 0, which many systems take for "no fragments"; unique enough for what is in flight at once.
            self._identification = self._identification % 65535 + 1
            self._queue.verdict_payload(packet_id, packet, verdict.payload, mtu_bytes, self._identification)
            self.packets["replaced"] += 1
        except Exception:
            self.packets["failed"] += 1
            self.log.exception("packet", "passed-unchanged")
            self._queue.verdict_accept(packet_id)

    def _run(self, verdict: Verdict, datagram: Datagram, now: float) -> Verdict:
        """Run a verdict's commands, and those of the verdicts that follow where some fail; the one to obey.

        It is the engine that ends this: it tries a few times, and then has no more commands.
        """
        while verdict.commands:
            begun = self._clock()
            failure = self._try(verdict.commands, datagram)
            self.commands_s += self._clock() - begun
            if failure is None:
                self._alg.commands_done(verdict.token, now)
                return verdict
            self._note_failure(verdict.commands, failure)
            verdict = self._alg.commands_failed(verdict.token, failure.place, failure.reason, now)
        return verdict

    def _try(self, commands: Sequence[Command], datagram: Datagram) -> Failure | None:
        if self.observe:
            return None
        trigger = None
        if datagram.protocol != UDP:
            # The relay's own connection, untranslated, and its answers, which the relay writes itself.
            commands = [command for command in commands if not isinstance(command, Reply)]
        elif datagram.in_interface in self._inside and any(isinstance(command, OpenMapping) for command in commands):
            trigger = new(Trigger, (datagram.protocol, datagram.source, datagram.destination))
        try:
            return self._runner.run(commands, trigger)
        except Exception as error:
            self.log.exception("commands", "undone")
            return Failure(0, KERNEL_ERROR, str(error))

    def _note_failure(self, commands: Sequence[Command], failure: Failure) -> None:
        self.commands_failed[failure.reason] += 1
        command = commands[failure.place]
        _LOG.warning(
            "command-failed command=%s reason=%s detail=%r", type(command).__name__, failure.reason, failure.detail
        )
