"""Scenarios that read as a ladder: what one end sends, what arrives at the other, and what time does.

    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    assert phone.sends(INVITE, server) == INVITE_OUTSIDE
    assert server.sends(OK) == OK_INSIDE
    ladder.wait(33)

Every message goes through an engine and a model of the kernel; what must hold at all times is checked at every step.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from tests.engine.kernel import Kernel

from sipalg.codec.address import in_networks
from sipalg.codec.message import Message, identify, parse
from sipalg.engine.alg import Alg
from sipalg.engine.dialogs import DialogKey
from sipalg.engine.existing import Restored
from sipalg.engine.records import plain_key
from sipalg.engine.resuming import PlainRecord
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import (
    ACCEPT,
    DROP,
    REPLACE,
    TCP,
    UDP,
    CheckFlow,
    Command,
    Datagram,
    Edit,
    Endpoint,
    Flow,
    Mapping,
    Reply,
    Verdict,
)

N = "203.0.113.1"
#: A driver gives up after so many verdicts for one packet.
_MOST_VERDICTS = 8
#: Longer than every timer of the engine.
_LONG_S = 1e6


class Ladder:
    """One router with its phones and servers. `commands`, `verdict` and `reason` are those of the last step."""

    def __init__(self, *taken: int, **settings: Any) -> None:
        self.inside_networks = settings.pop("inside_networks", ())
        values: dict[str, Any] = {
            "inside_interfaces": frozenset(("lan0",)),
            "nat_address": N,
            "advertised_address": N,
        }
        self.settings = Settings(**(values | settings))
        #: Public UDP ports that somebody else has.
        self.taken = set(taken)
        self.alg = Alg(self.settings, self._is_taken)
        self.alg.direct.set_inside(self._is_inside)
        self.kernel = Kernel(
            self.settings.nat_address,
            direct_media=self.settings.direct_media,
            media_filter=self.settings.media_filter,
        )
        self.now = 1000.0
        self.kernel.wait_until(self.now)
        self.commands: list[Command] = []
        self.verdict = Verdict(ACCEPT, b"", (), (), "", 0)
        self.arrived_at: Endpoint | None = None

    def phone(self, host: str, port: int = 5060, interface: str = "lan0") -> Phone:
        """A phone inside."""
        return Phone(self, Endpoint(host, port), interface)

    def server(self, host: str, port: int = 5060) -> Server:
        """A server outside."""
        return Server(self, Endpoint(host, port))

    @property
    def reason(self) -> str:
        """Why the last message passed as it came; "" if it didn't."""
        return self.verdict.reason

    @property
    def rules(self) -> list[str]:
        """The rules of the last message's edits, in order."""
        return [edit.rule for edit in self.verdict.edits]

    def public_of(self, phone: Phone, port: int = 0, protocol: int = UDP) -> Endpoint:
        """The public address of a phone's, or of another port on its host."""
        endpoint = Endpoint(phone.endpoint.host, port or phone.endpoint.port)
        public = self.alg.public_of(protocol, endpoint)
        assert public is not None, f"{endpoint} has no mapping"
        assert self.alg.private_of(protocol, public) == endpoint
        return public

    @property
    def mapped(self) -> dict[str, str]:
        """The mappings by private address, as text."""
        return {
            str(entry.mapping.private): str(entry.mapping.public) for entry in self.alg.mappings.entries.values()
        }

    @property
    def flows(self) -> set[tuple[str, str, str]]:
        """The flows that the engine asked for and hasn't ended: private, public, remote."""
        return {(str(flow.private), str(flow.public), str(flow.remote)) for flow in self.kernel.asked_for}

    @property
    def replies(self) -> list[Reply]:
        """What the ALG itself has answered, oldest first."""
        return self.kernel.replies

    @property
    def checks(self) -> list[tuple[Flow, float]]:
        """The flows that were to be checked in the last step, and for how long they are to stand from then on."""
        return [(command.flow, command.timeout_s) for command in self.commands if isinstance(command, CheckFlow)]

    def wait(self, seconds: float) -> list[Command]:
        """Let time pass, with every timer at its time; returns the commands, which stay in `commands` too."""
        end = self.now + seconds
        self.commands = []
        while (due := self.alg.next_timer()) is not None and due <= end:
            self._go_to(max(self.now, due))
            commands = self.alg.handle_timer(self.now)
            again = self.alg.next_timer()
            assert again is None or again > self.now, "a timer that is due after it has run"
            self._run(commands)
        self._go_to(end)
        self.check()
        return self.commands

    def run(self, commands: tuple[Command, ...]) -> None:
        """Carry out what `adopt` or `change_settings` gave back."""
        self.commands = []
        self._run(commands)
        self.check()

    def moves_to(self, address: str) -> None:
        """Get another outside address, or none ("")."""
        moved = replace(self.alg.settings, nat_address=address, advertised_address=address)
        commands = self.alg.change_settings(moved, self.now)
        self.kernel.nat_address = address
        self.run(commands)

    def changes(self, **values: Any) -> None:
        """Have settings changed while it runs."""
        self.run(self.alg.change_settings(replace(self.alg.settings, **values), self.now))
        self.kernel.media_filter = self.alg.settings.media_filter

    def restart(self, *, emptied: bool = False) -> None:
        """Let another process's engine take over; `emptied` says that the kernel's maps were lost meanwhile."""
        kept = kept_records(self.alg)
        kernel, now = self.kernel, self.now
        self.alg = Alg(self.alg.settings, self._is_taken)
        self.alg.direct.set_inside(self._is_inside)
        standing = dict(kernel.mappings)
        if emptied:
            kernel.mappings = {mapping: until for mapping, until in standing.items() if mapping.adopted}
            kernel.peers = {place: until for place, until in kernel.peers.items() if place[0].adopted}
        for mapping in [mapping for mapping in kernel.mappings if mapping.adopted]:
            # The administrator's rules say so again.
            del kernel.mappings[mapping]
            self._run(self.alg.adopt(mapping, now, "lan0"))
        for mapping, until in kernel.mappings.items():
            if not mapping.adopted:
                peers = tuple(peer for standing, peer in kernel.peers if standing == mapping)
                self.alg.restore([Restored(mapping, until - now, "", peers)], now)
        self.run(self.alg.resume(kept, kernel.flows, now))

    def media_enters(self, remote: Endpoint, public: Endpoint, *, strict: bool = True) -> Endpoint | None:
        """Where an RTP packet from outside arrives; None if the firewall drops it."""
        return self.kernel.enter(UDP, public, remote, strict=strict)

    def media_leaves(self, private: Endpoint, remote: Endpoint) -> Endpoint:
        """The source with which a phone's RTP packet leaves."""
        return self.kernel.leave(UDP, private, remote)

    def finish(self) -> None:
        """Wait until everything has run out, and see that nothing is left."""
        self.wait(_LONG_S)
        kept = {entry.mapping for entry in self.alg.mappings.entries.values()}
        assert all(mapping.adopted for mapping in kept), f"left: {kept}"
        assert set(self.kernel.mappings) <= kept
        assert {mapping for mapping, _ in self.kernel.peers} <= kept
        assert not self.kernel.asked_for, f"left: {self.kernel.asked_for}"
        calls, contacts, mappings, peers = self.alg.calls, self.alg.contacts, self.alg.mappings, self.alg.peers
        tables: list[dict[Any, Any]] = [calls.dialogs, calls.by_call, calls.holders, calls.refused_flows]
        tables += [self.alg.direct.refused, contacts.lines, contacts.leaving]
        if not kept:
            assert self.alg.next_timer() is None, "something waits forever"
            tables += [mappings.by_public, mappings.hosts, peers.flows, peers.tended]
        for table in tables:
            assert not table, f"left: {table}"

    def check(self) -> None:
        """What must hold between any two messages."""
        entries = self.alg.mappings.entries
        known = {entry.mapping for entry in entries.values()}
        missing = known - set(self.kernel.mappings)
        assert not missing, f"the kernel has lost what the engine counts on: {missing}"
        assert set(self.kernel.mappings) == known, "the kernel has more than the engine knows"
        key_of = self.alg.mappings.key_of
        assert self.alg.mappings.by_public == {key_of(entry.mapping): entry for entry in entries.values()}
        for key, entry in entries.items():
            assert key == entry.key == (entry.mapping.protocol, entry.mapping.private)
            admitted = {(entry.mapping, peer.host) for peer in entry.peers}
            assert admitted <= set(self.kernel.peers), "the kernel has lost a peer"
        contacts = set(self.alg.contacts.all())
        assert {contact for entry in entries.values() for contact in entry.contacts} == contacts
        homes = Counter(entry.private_host for entry in entries.values())
        assert homes == {host: home.mappings for host, home in self.alg.mappings.hosts.items()}
        holders = Counter(key for dialog in self.alg.calls.dialogs.values() for key in dialog.keys)
        holders.update(contact.entry.key for contact in contacts)
        holders.update(key for key, entry in entries.items() if entry.mapping.adopted)
        assert holders == {key: entry.uses for key, entry in entries.items() if entry.uses}
        assert holders.keys() <= entries.keys(), "somebody holds a mapping that isn't there"
        for dialog in self.alg.calls.dialogs.values():
            for end in dialog.local:
                if end.rtp is not None and end.rtcp == (end.rtp.host, end.rtp.port + 1):
                    public, beside = entries[UDP, end.rtp].public_port, entries[UDP, end.rtcp].public_port
                    assert beside == public + 1, f"{end} is no pair outside"

    @property
    def dialogs(self) -> dict[DialogKey, tuple[Any, ...]]:
        """Each dialog's values as they are now."""
        return {key: dialog.state() for key, dialog in self.alg.calls.dialogs.items()}

    def receive(self, datagram: Datagram) -> Verdict:
        """Hand a datagram to the engine and its commands to the kernel, for as often as the kernel refuses."""
        self.commands = []
        verdict = self.alg.receive_datagram(datagram, self.now)
        for _ in range(_MOST_VERDICTS):
            check_verdict(datagram.payload, verdict)
            self.verdict = verdict
            if not verdict.commands:
                break
            failed = self._run(verdict.commands)
            if failed is None:
                self.alg.commands_done(verdict.token, self.now)
                break
            verdict = self.alg.commands_failed(verdict.token, failed[0], failed[1], self.now)
        else:
            raise AssertionError("the engine goes on asking for what is refused")
        self.check()
        return self.verdict

    def _run(self, commands: tuple[Command, ...]) -> tuple[int, str] | None:
        failed = self.kernel.run(commands)
        if failed is None:
            self.commands += commands
        return failed

    def _go_to(self, now: float) -> None:
        self.now = now
        self.kernel.wait_until(now)

    def _is_inside(self, host: str) -> bool:
        return in_networks(host, self.inside_networks)

    def _is_taken(self, protocol: int, port: int) -> bool:
        return protocol in (UDP, TCP) and port in self.taken


@dataclass(frozen=True)
class Phone:
    """A phone inside; `endpoint` is where it sends from and listens."""

    ladder: Ladder
    endpoint: Endpoint
    interface: str

    def sends(self, payload: bytes, to: Server | Phone | Endpoint) -> bytes:
        """Send a message; returns what leaves the router, b"" if nothing does.

        `to` may be another phone's public address.
        """
        ladder = self.ladder
        remote = to if isinstance(to, Endpoint) else to.endpoint
        here = remote.host == ladder.kernel.nat_address
        destination = ladder.kernel.enter(UDP, remote, self.endpoint, inside=True) if here else None
        verdict = ladder.receive(Datagram(payload, self.endpoint, destination or remote, UDP, self.interface))
        if verdict.action == DROP:
            ladder.arrived_at = None
            return b""
        ladder.arrived_at = destination or remote
        if destination is None:
            ladder.kernel.leave(UDP, self.endpoint, remote)
        return verdict.payload


@dataclass(frozen=True)
class Server:
    """A server outside; `endpoint` is where it sends from and listens."""

    ladder: Ladder
    endpoint: Endpoint

    def sends(self, payload: bytes, to: Endpoint | None = None, *, strict: bool = False) -> bytes | None:
        """Send a message to a public address, N:5060 if not told; returns what arrives, None if nothing does."""
        ladder = self.ladder
        public = to or Endpoint(N, 5060)
        private = ladder.kernel.enter(UDP, public, self.endpoint, strict=strict)
        ladder.arrived_at = private
        if private is None:
            return None
        return ladder.receive(Datagram(payload, self.endpoint, private, UDP, "wan0")).payload


def kept_records(alg: Alg) -> list[PlainRecord]:
    """All records of an engine, as they come back from a file."""
    lines = [json.dumps([record[0], plain_key(record), alg.records.value(record)]) for record in alg.records.all()]
    return [PlainRecord(kind, tuple(key), value) for kind, key, value in map(json.loads, lines)]


def check_verdict(payload: bytes, verdict: Verdict) -> None:
    """A verdict's parts agree with each other and with the message that it is about."""
    assert verdict.action in (ACCEPT, REPLACE, DROP)
    assert bool(verdict.edits) != bool(verdict.reason), "edits with a reason for none, or neither"
    replies = [command for command in verdict.commands if isinstance(command, Reply)]
    assert len(replies) <= (verdict.action == DROP), "a reply to what isn't dropped, or more than one"
    for reply in replies:
        request, response = parse(payload), parse(reply.payload)
        assert isinstance(request, Message)
        assert isinstance(response, Message)
        assert identify(response) == identify(request), "it answers something else"
    assert (verdict.action == REPLACE) == bool(verdict.edits)
    assert bool(verdict.commands) == bool(verdict.token)
    assert verdict.payload == apply(payload, verdict.edits)


def apply(payload: bytes, edits: tuple[Edit, ...]) -> bytes:
    """Make the edits, which are in order, apart from each other and of addresses and numbers only."""
    assert list(edits) == sorted(edits)
    for first, second in pairwise(edits):
        assert first.offset + first.length <= second.offset, f"{first} and {second} overlap"
    for edit in reversed(edits):
        assert edit.rule
        assert set(edit.replacement) <= set(b"0123456789abcdef.:[]")
        assert 0 <= edit.offset <= edit.offset + edit.length <= len(payload)
        payload = payload[: edit.offset] + edit.replacement + payload[edit.offset + edit.length :]
    return payload


def port_forward(public: int, private: Endpoint) -> Mapping:
    """A port forward of the administrator's."""
    return Mapping(UDP, private, Endpoint(N, public), "sip", adopted=True)
