"""A router's kernel as far as the engine's commands reach: two maps, peers, connection tracking, and their timeouts.

It carries out a verdict's commands all or none, refuses what a test wants refused, and holds every command against
what an honest kernel would have: nothing is opened twice, nothing is closed that wasn't open, no two private addresses
share a public port, RTP and RTCP stay next to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sipalg.engine.verdict import (
    UDP,
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

#: The kernel's own timeout of a UDP flow that carried packets both ways; any packet sets it.
STREAM_TIMEOUT_S = 120.0

Refuse = Callable[[Command], str]


def refuse_nothing(_command: Command) -> str:
    return ""


@dataclass
class Kernel:
    """State by key with the time at which it runs out; `refuse` gives the reason for which a command fails, or ""."""

    nat_address: str = "203.0.113.1"
    refuse: Refuse = refuse_nothing
    now: float = 0.0
    mappings: dict[Mapping, float] = field(default_factory=dict)
    peers: dict[tuple[Mapping, str], float] = field(default_factory=dict)
    flows: dict[Flow, float] = field(default_factory=dict)
    #: Flows that the engine asked for and hasn't ended: the kernel may have lost them in between.
    asked_for: set[Flow] = field(default_factory=set)
    #: Whether media mappings let in anybody, or peers only.
    direct_media: bool = True
    #: Whether they let in peers only even so, of which one may be anybody.
    media_filter: bool = False
    replies: list[Reply] = field(default_factory=list)

    # What the engine wants.

    def run(self, commands: Sequence[Command]) -> tuple[int, str] | None:
        """Carry out all commands, or none: then the index of the first that is refused, and why."""
        for index, command in enumerate(commands):
            reason = self.refuse(command)
            if reason:
                return index, reason
        for command in commands:
            self._carry_out(command)
        return None

    def _carry_out(self, command: Command) -> None:
        match command:
            case OpenMapping(mapping, timeout_s):
                assert timeout_s > 0
                self._check_new(mapping)
                self.mappings[mapping] = self.now + timeout_s
            case RefreshMapping(mapping, timeout_s):
                assert mapping in self.mappings, f"refreshed, but isn't open: {mapping}"
                self.mappings[mapping] = self.now + timeout_s
            case CloseMapping(mapping):
                assert mapping in self.mappings, f"closed, but isn't open: {mapping}"
                del self.mappings[mapping]
                if mapping.purpose == "sip":
                    self._tidy(mapping)
            case AdmitPeer(mapping, peer, timeout_s):
                assert mapping in self.mappings, f"a peer for what isn't open: {mapping}"
                self.peers[mapping, peer] = self.now + timeout_s
            case DismissPeer(mapping, peer):
                assert (mapping, peer) in self.peers, f"dismissed, but was never admitted: {peer}"
                del self.peers[mapping, peer]
            case EstablishFlow(flow, timeout_s):
                holder = self._holder(flow.protocol, flow.public, flow.remote)
                assert holder is None or holder == flow.private, f"{flow} belongs to {holder}"
                self.asked_for.add(flow)
                self.flows[flow] = self.now + timeout_s
            case CheckFlow(flow, timeout_s):
                self.flows[flow] = self.now + timeout_s
            case EndFlow(flow):
                self.asked_for.discard(flow)
                self.flows.pop(flow, None)
            case Reply():
                self.replies.append(command)

    def _tidy(self, ended: Mapping) -> None:
        """End the flows that an ended mapping of sip has left, as the driver does within a second."""
        way = (ended.protocol, ended.private, ended.public)
        self.flows = {flow: until for flow, until in self.flows.items() if flow[:3] != way}

    def _check_new(self, mapping: Mapping) -> None:
        assert mapping.public.port >= 1024, f"privileged: {mapping}"
        assert ":" in mapping.public.host or mapping.public.host == self.nat_address
        for other in self.mappings:
            if other.protocol == mapping.protocol:
                assert other.private != mapping.private, f"mapped twice: {other}, {mapping}"
                assert other.public != mapping.public, f"one public port for two: {other}, {mapping}"

    # What packets meet.

    def leave(self, protocol: int, private: Endpoint, remote: Endpoint) -> Endpoint:
        """The source that a packet from inside leaves with; its flow stands from now on."""
        for flow in self.flows:
            if (flow.protocol, flow.private, flow.remote) == (protocol, private, remote):
                break
        else:
            flow = Flow(protocol, private, self._masquerade(protocol, private, remote), remote)
        self._carry(flow)
        return flow.public

    def enter(
        self, protocol: int, public: Endpoint, remote: Endpoint, *, strict: bool = False, inside: bool = False
    ) -> Endpoint | None:
        """Where a packet for a public address arrives, None if nowhere; one from inside needs no leave to.

        `strict` forwards packets of standing flows only.
        """
        private = self._holder(protocol, public, remote)
        if private is None and not strict:
            for mapping in self.mappings:
                anybody = mapping.purpose == "media" and self.direct_media and not self.media_filter
                anybody = anybody or (self.media_filter and (mapping, ".".join("0000")) in self.peers)
                admitted = (inside and mapping.purpose != "direct") or anybody or mapping.adopted
                admitted = admitted or (mapping, remote.host) in self.peers
                if (mapping.protocol, mapping.public) == (protocol, public) and admitted:
                    private = mapping.private
        if private is not None:
            self._carry(Flow(protocol, private, public, remote))
        return private

    def wait_until(self, now: float) -> None:
        """Let time pass: elements and flows run out."""
        self.now = now
        # The engine's timer may be due at the very moment: which of both comes first makes no difference to a packet.
        self.mappings = {mapping: until for mapping, until in self.mappings.items() if until >= now}
        self.peers = {place: until for place, until in self.peers.items() if until >= now}
        self.flows = {flow: until for flow, until in self.flows.items() if until > now}

    def _carry(self, flow: Flow) -> None:
        self.flows[flow] = max(self.flows.get(flow, 0.0), self.now + STREAM_TIMEOUT_S)

    def _holder(self, protocol: int, public: Endpoint, remote: Endpoint) -> Endpoint | None:
        for flow in self.flows:
            if (flow.protocol, flow.public, flow.remote) == (protocol, public, remote):
                return flow.private
        return None

    def _masquerade(self, protocol: int, private: Endpoint, remote: Endpoint) -> Endpoint:
        for mapping in self.mappings:
            if (mapping.protocol, mapping.private) == (protocol, private):
                return mapping.public
        taken = {mapping.public.port for mapping in self.mappings} | {
            flow.public.port for flow in self.flows if flow.remote == remote
        }
        port = private.port if private.port not in taken else next(p for p in range(50000, 60000) if p not in taken)
        return Endpoint(self.nat_address, port)

    def is_udp_open(self, private: Endpoint) -> bool:
        """Whether a private address has a UDP mapping."""
        return any((mapping.protocol, mapping.private) == (UDP, private) for mapping in self.mappings)
