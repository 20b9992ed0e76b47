"""The engine's commands become the kernel's state: map elements first, then conntrack entries, all or none.

Between the engine's verdict and the packet's: what a message promises (a port, a way in) must stand in the kernel
before the message leaves. The maps change in one nf_tables transaction, which is all or none by itself; conntrack has
no transactions, so what was done before a failure is undone by the command's opposite.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeGuard

from sipalg.datapath.conntrack import FlowState, FlowTakenError
from sipalg.datapath.nft_steps import MapCommand
from sipalg.engine.verdict import (
    AdmitPeer,
    CheckFlow,
    CloseMapping,
    Command,
    DismissPeer,
    EndFlow,
    Endpoint,
    EstablishFlow,
    Flow,
    Mapping,
    OpenMapping,
    RefreshMapping,
    Reply,
)

_LOG = logging.getLogger(__name__)

PORT_TAKEN: Final = "port-taken"
NOT_NATTED: Final = "not-natted"
KERNEL_ERROR: Final = "kernel-error"
REPLY_FAILED: Final = "reply-failed"

FlowCommand = EstablishFlow | CheckFlow | EndFlow

#: How long something lives that had to be put back: until the engine refreshes it or takes it away again.
_PUT_BACK_S: Final = 60.0


class Maps(Protocol):
    """What the executor needs of `nft_table.NftTable`."""

    def apply(self, commands: Sequence[MapCommand]) -> None:
        """Run all or none; an OSError with `index` of the command that failed, or -1."""


class Flows(Protocol):
    """What the executor needs of `conntrack.Conntrack`."""

    def establish_all(self, flows: Sequence[Flow], timeout_s: float, *, fixed: bool = False) -> None:
        """Make the entries, all or none; FlowTakenError where another inside host holds one, OSError otherwise."""

    def check(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> FlowState:
        """Renew the entry or make it again."""

    def end_flows(self, flows: Sequence[Flow]) -> None:
        """Delete the entries."""

    def source_nat_of(self, protocol: int, private: Endpoint, remote: Endpoint) -> Endpoint | None:
        """Return what the entry private → remote leaves as (`private` itself where untranslated); None without one."""


class Replying(Protocol):
    """What the executor needs of `reply.Replies`."""

    def send(self, reply: Reply) -> None:
        """Send a datagram in another host's name; OSError where that can't be."""


class Failure(NamedTuple):
    """The command that failed, by its place among those given, a word for why, and the kernel's own words."""

    place: int
    reason: str
    detail: str


class Trigger(NamedTuple):
    """The flow of the packet from inside that the commands are for."""

    protocol: int
    private: Endpoint
    remote: Endpoint


#: The types of commands that the maps run: they are asked for by type, since a union is asked of member by member.
MAP_COMMANDS: Final = frozenset((OpenMapping, RefreshMapping, CloseMapping, AdmitPeer, DismissPeer))


def _is_for_maps(command: Command) -> TypeGuard[MapCommand]:
    return type(command) in MAP_COMMANDS


def _at_once(call: Callable[[], None]) -> None:
    call()


class Executor:
    """Runs commands against the kernel's maps and conntrack. Never raises: what fails is returned."""

    def __init__(
        self,
        maps: Maps,
        flows: Flows,
        replies: Replying | None = None,
        later: Callable[[Callable[[], None]], None] = _at_once,
    ) -> None:
        """Take the maps and conntrack to work on; without `replies` none can be sent.

        `later` calls what it is given behind what is being done now: flows end there, those of many packets together,
        since nobody waits for an end.
        """
        self._maps = maps
        self._flows = flows
        self._replies = replies
        self._later = later
        #: Flows that are to end; True where the kernel has refused it once.
        self._ending: dict[Flow, bool] = {}
        self._end_is_due = False
        self._seen: list[Flow] = []
        #: The mappings of sip that ended and began, each in one of them, since they were taken (`tidying`).
        self.ended: dict[Mapping, None] = {}
        self.begun: dict[Mapping, None] = {}

    def run(self, commands: Sequence[Command], trigger: Trigger | None = None) -> Failure | None:
        """Run all or none of `commands`; the failure where it was none.

        A mapping must not be opened for a flow that the administrator's rules leave untranslated: with `trigger`, one
        that conntrack knows without source NAT fails with `not-natted`. A flow's first packet has no entry yet and is
        not asked about; nor is a mapping that translates nothing.
        """
        failure: Failure | None = None
        for_maps = not MAP_COMMANDS.isdisjoint(map(type, commands))
        if for_maps:
            failure = self._refuse_untranslated(commands, trigger) or self._run_maps(commands)
            if failure is not None:
                return failure
        begun = self._begin_flows(commands)
        for index, command in enumerate(commands):
            if isinstance(command, EstablishFlow):
                if not begun:
                    failure = self._run_flow(index, command)
            elif isinstance(command, (CheckFlow, EndFlow)):
                failure = self._run_flow(index, command)
            elif isinstance(command, Reply):
                failure = self._send(index, command)
            if failure is not None:
                self._undo(commands, index, begun)
                return failure
        if for_maps:
            self._note_sip(commands)
        return None

    def end_flows(self) -> None:
        """End the flows that are to end, now. What the kernel refuses is tried once more, later."""
        self._end_is_due = False
        ending, self._ending = self._ending, {}
        if ending:
            try:
                self._flows.end_flows(tuple(ending))
            except OSError as error:
                again = [flow for flow, was_refused in ending.items() if not was_refused]
                self._ending = dict.fromkeys(again, True)
                lost = len(ending) - len(again)
                _LOG.warning("flows-not-ended why=%r again=%d lost=%d", str(error), len(again), lost)

    def run_each(self, commands: Sequence[Command]) -> list[Failure]:
        """Run commands that don't depend on each other; those that failed are returned, the others were run."""
        self._note_sip(commands)
        return self._run_each(commands)

    def _run_each(self, commands: Sequence[Command]) -> list[Failure]:
        failures: list[Failure] = []
        if self._run_maps(commands) is not None:
            for index, command in enumerate(commands):
                failure = self._run_maps((command,))
                if failure is not None:
                    failures.append(failure._replace(place=index))
        begun = self._begin_flows(commands)
        for index, command in enumerate(commands):
            if isinstance(command, CheckFlow | EndFlow) or (isinstance(command, EstablishFlow) and not begun):
                failure = self._run_flow(index, command)
                if failure is not None:
                    failures.append(failure)
        return failures

    def take_seen(self) -> list[Flow]:
        """Return the flows that `CheckFlow` has found to have carried packets, since the last call."""
        seen, self._seen = self._seen, []
        return seen

    def take_sip(self) -> tuple[dict[Mapping, None], dict[Mapping, None]]:
        """Return the mappings of sip that ended, and those that began, since the last call; none is in both."""
        ended, begun = self.ended, self.begun
        self.ended, self.begun = {}, {}
        return ended, begun

    def _note_sip(self, commands: Sequence[Command]) -> None:
        for command in commands:
            # What leaves as it came is true with a mapping and without.
            if (
                isinstance(command, OpenMapping | CloseMapping)
                and command.mapping.purpose == "sip"
                and command.mapping.public != command.mapping.private
            ):
                opens = isinstance(command, OpenMapping)
                now_true, now_untrue = (self.begun, self.ended) if opens else (self.ended, self.begun)
                now_true[command.mapping] = None
                # One that is closed and opened alike, or the reverse, has made nothing untrue.
                now_untrue.pop(command.mapping, None)

    def _refuse_untranslated(self, commands: Sequence[Command], trigger: Trigger | None) -> Failure | None:
        if trigger is None:
            return None
        for index, command in enumerate(commands):
            if isinstance(command, OpenMapping) and command.mapping.public != command.mapping.private:
                try:
                    leaves_as = self._flows.source_nat_of(*trigger)
                except OSError as error:
                    return Failure(index, KERNEL_ERROR, str(error))
                if leaves_as == trigger.private:
                    return Failure(index, NOT_NATTED, f"{trigger.private} to {trigger.remote} has no source NAT")
                return None
        return None

    def _run_maps(self, commands: Sequence[Command]) -> Failure | None:
        chosen = [(index, command) for index, command in enumerate(commands) if _is_for_maps(command)]
        if not chosen:
            return None
        try:
            self._maps.apply([command for _, command in chosen])
        except OSError as error:
            refused = getattr(error, "index", -1)
            place = chosen[refused][0] if 0 <= refused < len(chosen) else chosen[0][0]
            return Failure(place, PORT_TAKEN if error.errno == errno.EEXIST else KERNEL_ERROR, str(error))
        return None

    def _begin_flows(self, commands: Sequence[Command]) -> bool:
        """Make all flows that are to begin in one go; False where each is to be tried by itself, in order."""
        groups: dict[tuple[float, bool], list[Flow]] = {}
        ended: set[Flow] = set()
        if EstablishFlow not in map(type, commands):
            return True
        for command in commands:
            if isinstance(command, EstablishFlow):
                flow, timeout_s, fixed = command
                if flow in ended:
                    return False
                groups.setdefault((timeout_s, fixed), []).append(flow)
            elif isinstance(command, EndFlow):
                ended.add(command.flow)
        made: list[Flow] = []
        try:
            for (timeout_s, fixed), flows in groups.items():
                self._flows.establish_all(flows, timeout_s, fixed=fixed)
                made += flows
        except (FlowTakenError, OSError):
            # What is to end may stand in the way; what was made here is made again, if its turn comes.
            self._ending.update(dict.fromkeys(made, False))
            self.end_flows()
            return False
        if self._ending:
            for flow in made:
                self._ending.pop(flow, None)
        return True

    def _run_flow(self, index: int, command: FlowCommand) -> Failure | None:
        if isinstance(command, EndFlow):
            self._ending[command.flow] = False
            if not self._end_is_due:
                self._end_is_due = True
                self._later(self.end_flows)
            return None
        try:
            try:
                self._make_or_check(command)
            except FlowTakenError:
                if not any(_is_in_way(ending, command.flow) for ending in self._ending):
                    raise
                self.end_flows()
                self._make_or_check(command)
        except FlowTakenError as error:
            return Failure(index, PORT_TAKEN, str(error))
        except OSError as refusal:
            # Two names: compiled code gives one name one type.
            return Failure(index, KERNEL_ERROR, str(refusal))
        return None

    def _make_or_check(self, command: EstablishFlow | CheckFlow) -> None:
        flow = command.flow
        if isinstance(command, EstablishFlow):
            self._flows.establish_all((flow,), command.timeout_s, fixed=command.fixed)
        elif self._flows.check(flow, command.timeout_s, fixed=command.fixed).traffic:
            self._seen.append(flow)
        # Not before it stands: what is refused still has to end.
        self._ending.pop(flow, None)

    def _send(self, index: int, reply: Reply) -> Failure | None:
        if self._replies is None:
            return Failure(index, REPLY_FAILED, "nothing here can send it")
        try:
            self._replies.send(reply)
        except OSError as error:
            return Failure(index, REPLY_FAILED, str(error))
        return None

    def _undo(self, commands: Sequence[Command], failed: int, begun: bool) -> None:
        """Take back the flows before `failed` (or all that have `begun`), and all map commands, latest first.

        As well as it goes.
        """
        done = [
            command
            for index, command in enumerate(commands)
            if index < failed or _is_for_maps(command) or (begun and isinstance(command, EstablishFlow))
        ]
        backs: list[Command] = []
        for command in reversed(done):
            if isinstance(command, EndFlow) and command.flow in self._ending:
                # It hasn't ended, and keeps the time that it had.
                del self._ending[command.flow]
                continue
            back = opposite(command)
            if back is not None:
                backs.append(back)
        self._run_each(backs)


def _is_in_way(ending: Flow, flow: Flow) -> bool:
    """Tell whether one flow's entry holds a tuple that the other's needs."""
    theirs = (ending.private, ending.remote), (ending.remote, ending.public)
    return (flow.private, flow.remote) in theirs or (flow.remote, flow.public) in theirs


def opposite(command: Command) -> Command | None:
    """Return what takes `command` back; None where it only gave more time, which does no harm."""
    match command:
        case OpenMapping(mapping, _):
            return CloseMapping(mapping)
        case CloseMapping(mapping):
            return OpenMapping(mapping, _PUT_BACK_S)
        case AdmitPeer(mapping, peer, _):
            return DismissPeer(mapping, peer)
        case DismissPeer(mapping, peer):
            return AdmitPeer(mapping, peer, _PUT_BACK_S)
        case EstablishFlow(flow):
            return EndFlow(flow)
        case EndFlow(flow):
            return EstablishFlow(flow, _PUT_BACK_S)
        case _:
            return None
