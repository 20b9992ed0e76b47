"""The engine's rules under any sequence of messages: it never raises, and what it says and does agrees.

An input is a script of messages, joined by lines of `%%%` and one byte that says how the next one comes: from which
phone or to which, how much later, whether it comes twice, and whether the kernel refuses what the engine wants. The
first message comes from the first phone, so a plain SIP message is a script too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from sipalg.codec.message import Message, identify, parse
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import (
    ACCEPT,
    DROP,
    REPLACE,
    UDP,
    Command,
    Datagram,
    Edit,
    Endpoint,
    EstablishFlow,
    OpenMapping,
    Reply,
    Verdict,
)

PUBLIC: Final = "203.0.113.1"
SERVER: Final = Endpoint("203.0.113.50", 5060)
PHONES: Final = (Endpoint("192.168.33.10", 5060), Endpoint("192.168.33.11", 5060))
FIRST_UNPRIVILEGED_PORT: Final = 1024
#: A driver gives up after so many verdicts for one packet.
MOST_VERDICTS: Final = 8
#: Longer than every timer of the engine.
LONG_S: Final = 1e6

_STEP: Final = re.compile(rb"\r?\n%%%(.)\r?\n", re.DOTALL)
_ADDRESS_OR_NUMBER: Final = re.compile(rb"[0-9.:]*")


def ports_taken(protocol: int, port: int) -> bool:
    """Answer for a router that has every fifth UDP port taken by somebody else, the SIP port left out."""
    return protocol == UDP and port % 5 == 0 and port != SERVER.port


class Step(NamedTuple):
    """One message of a script, and how it comes: so much later, by which way, refused by the kernel, twice."""

    payload: bytes
    way: int
    wait_s: float
    refuse: bool
    twice: bool


def steps(data: bytes) -> Iterator[Step]:
    """Read a script's messages."""
    pieces = _STEP.split(data)
    yield Step(pieces[0], 0, 0.0, refuse=False, twice=False)
    for control, payload in zip(pieces[1::2], pieces[2::2], strict=True):
        way, refuse, twice = control[0] & 3, bool(control[0] & 4), bool(control[0] & 8)
        yield Step(payload, way, float(control[0] >> 4) ** 3, refuse, twice)


class Script:
    """One engine with the time that has passed for it, and the rules that every answer of it has to keep.

    `said` is all that it has answered: verdicts, what its timers want done, and events.
    """

    def __init__(self, *, direct_media: bool) -> None:
        settings = Settings(frozenset(("lan0",)), PUBLIC, PUBLIC, direct_media=direct_media)
        self.alg = Alg(settings, ports_taken)
        self.now = 1000.0
        self.said: list[object] = []

    def wait(self, seconds: float) -> None:
        """Let time pass, with every timer at its time; a timer that has run must not be due still."""
        end = self.now + seconds
        while (due := self.alg.next_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            for command in self.alg.handle_timer(self.now):
                check_command(command)
                self.said.append(command)
            again = self.alg.next_timer()
            assert again is None or again > self.now, "a timer that is due after it has run"
        self.now = end

    def receive(self, payload: bytes, way: int, *, refuse: bool) -> Verdict:
        """Hand one message in, run its commands or refuse the first ones, and return the verdict that is obeyed."""
        phone = PHONES[way & 1]
        inbound = bool(way & 2)
        source, destination = (SERVER, phone) if inbound else (phone, SERVER)
        datagram = Datagram(payload, source, destination, UDP, "wan0" if inbound else "lan0")
        verdict = self.alg.receive_datagram(datagram, self.now)
        for _ in range(MOST_VERDICTS):
            self.said.append(verdict)
            check_verdict(payload, verdict)
            assert verdict.action != DROP or not self.alg.settings.direct_media, "nothing asks for that"
            if not verdict.commands:
                break
            if not refuse:
                self.alg.commands_done(verdict.token, self.now)
                break
            verdict = self.alg.commands_failed(verdict.token, 0, "refused", self.now)
        else:
            raise AssertionError("the engine goes on asking for what is refused")
        for event in self.alg.take_events():
            assert event.name
            self.said.append(event)
        return verdict


def check_engine(data: bytes) -> None:
    """Play the script; at its end pass the last output through once more, then wait until nothing is left to do."""
    # Both settings get their share of the inputs.
    script = Script(direct_media=len(data) % 2 == 0)
    way = 0
    for payload, way, wait_s, refuse, twice in steps(data):
        script.wait(wait_s)
        verdict = script.receive(payload, way, refuse=refuse)
        # What passed for want of a port may find one the next time; what was translated stays as it is.
        if twice and verdict.edits and not refuse:
            assert script.receive(payload, way, refuse=False).payload == verdict.payload, "a retransmission differs"
    if verdict.action == REPLACE:
        again = script.receive(verdict.payload, way, refuse=False)
        assert again.payload == verdict.payload, f"a second pass edits: {again.edits}"
    script.wait(LONG_S)
    assert script.alg.next_timer() is None, "something stays forever"


def check_verdict(payload: bytes, verdict: Verdict) -> None:
    """Check that a verdict's parts agree with each other and with the message that it is about."""
    assert verdict.action in (ACCEPT, REPLACE, DROP)
    assert bool(verdict.edits) != bool(verdict.reason), "edits with a reason for none, or neither"
    if verdict.action != REPLACE:
        assert verdict.payload == payload
    for command in verdict.commands:
        if isinstance(command, Reply):
            check_reply(payload, verdict, command)
    if not verdict.edits:
        assert verdict.payload == payload, "other bytes without an edit"
    assert verdict.payload == apply(payload, verdict.edits)
    for command in verdict.commands:
        check_command(command)


def check_reply(payload: bytes, verdict: Verdict, reply: Reply) -> None:
    """Check that an answer of the ALG's own is one to what it drops, and can be read."""
    assert verdict.action == DROP
    request, response = parse(payload), parse(reply.payload)
    assert isinstance(request, Message)
    assert isinstance(response, Message), f"unreadable: {response}"
    assert response.status == 488
    assert identify(response) == identify(request)
    assert response.body_end == len(reply.payload)


def apply(payload: bytes, edits: tuple[Edit, ...]) -> bytes:
    """Make the edits, from the last to the first, once it is certain that they are apart and of addresses only."""
    ordered = sorted(edits)
    for first, second in pairwise(ordered):
        assert first.offset + first.length <= second.offset, f"{first} and {second} overlap"
    for edit in reversed(ordered):
        assert edit.rule
        assert 0 <= edit.offset <= edit.offset + edit.length <= len(payload)
        assert _ADDRESS_OR_NUMBER.fullmatch(edit.replacement), f"{edit} writes more than an address"
        payload = payload[: edit.offset] + edit.replacement + payload[edit.offset + edit.length :]
    return payload


def check_command(command: Command) -> None:
    """Check that what is opened belongs to a phone, leads to the router's address and is no privileged port."""
    if isinstance(command, OpenMapping):
        private, public = command.mapping.private, command.mapping.public
        assert command.timeout_s > 0
    elif isinstance(command, EstablishFlow):
        private, public = command.flow.private, command.flow.public
    else:
        return
    assert private.host in {phone.host for phone in PHONES}
    assert public.host == PUBLIC
    assert min(private.port, public.port) >= FIRST_UNPRIVILEGED_PORT
