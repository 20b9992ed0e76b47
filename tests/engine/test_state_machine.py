"""Any order of registrations, calls, losses, repetitions, holds and hang-ups, at any times: the rules hold."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule
from tests.engine.ladder import Ladder, Phone
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import audio, request, sdp

from sipalg.engine.verdict import (
    DROP,
    REPLACE,
    Command,
    Datagram,
    Endpoint,
    EstablishFlow,
    OpenMapping,
    Verdict,
)

_ZERO = ".".join("0000")
#: How many messages may come again later.
_KEPT = 12
_STATUSES = st.sampled_from([100, 180, 183, 200, 200, 200, 401, 486, 488])
_REMOTES = st.sampled_from(
    [Endpoint("203.0.113.60", 30000), Endpoint("203.0.113.60", 30002), Endpoint("203.0.113.61", 9)]
)


def shown(ladder: Ladder) -> dict[str, object]:
    """What is to be the same after a restart: mappings, contacts and calls, in any order."""
    tables = ladder.alg.snapshot(ladder.now)
    return {name: sorted(map(str, cast(list[object], tables[name]))) for name in ("mappings", "contacts", "calls")}


class Recording(Ladder):
    """A ladder that keeps the last messages, and looks whether what leaves is wholly translated."""

    def receive(self, datagram: Datagram) -> Verdict:
        verdict = super().receive(datagram)
        own = datagram.source.host.encode()
        if verdict.action == REPLACE and datagram.in_interface == "lan0":
            # The test's phones write their address where it is to be translated, and nowhere else.
            assert own not in verdict.payload, "a message left with a private address that has a mapping"
        if verdict.action != REPLACE:
            assert verdict.payload == datagram.payload
        if datagram not in self.seen:
            self.seen = [*self.seen, datagram][-_KEPT:]
        return verdict

    seen: list[Datagram]


class Router(RuleBasedStateMachine):
    """Two phones, one server, one kernel that sometimes refuses; `calls` are those begun and not forgotten."""

    calls: Bundle[Outgoing] = Bundle("calls")

    @initialize()
    def start(self) -> None:
        self.ladder = Recording(10002, 10004, inside_networks=(IPv4Network("192.168.33.0/24"),))
        self.ladder.seen = []
        self.server = self.ladder.server("203.0.113.50")
        self.phones = [self.ladder.phone("192.168.33.10"), self.ladder.phone("192.168.33.11")]
        self.begun = 0
        self.refusals = 0
        self.ladder.kernel.refuse = self.refuse

    def refuse(self, command: Command) -> str:
        if self.refusals and isinstance(command, OpenMapping | EstablishFlow):
            self.refusals -= 1
            return "refused"
        return ""

    def has_mapping(self, phone: Phone) -> bool:
        return self.ladder.alg.public_of(17, phone.endpoint) is not None

    # Fewer than the engine's tries: a message that passes leaves a flow of plain NAT on the phone's own port,
    # which the driver's picture of the ports knows and this model of the kernel doesn't tell the engine.
    @rule(number=st.integers(1, 3))
    def kernel_refuses(self, number: int) -> None:
        self.refusals = number

    @rule(seconds=st.sampled_from([0.5, 10, 33, 60, 400, 3500, 4000, 20000]))
    def time_passes(self, seconds: float) -> None:
        self.refusals = 0
        self.ladder.wait(seconds)

    @rule(
        phone=st.integers(0, 1),
        granted=st.sampled_from([None, "60", "600", "7200"]),
        gone=st.booleans(),
        status=st.sampled_from([200, 200, 401]),
        user=st.sampled_from(["a", "z"]),
    )
    def phone_registers(self, phone: int, granted: str | None, gone: bool, status: int, user: str) -> None:
        self.refusals = 0
        sender = self.phones[phone]
        contact = f"<sip:{user}@{sender.endpoint}>" + (";expires=0" if gone else "")
        if not self.has_mapping(sender):
            registers(sender, self.server, user=user)
        public = self.ladder.public_of(sender)
        lists = None if gone or granted is None else f"<sip:{user}@{public}>;expires={granted}"
        registers(sender, self.server, contact=contact, granted=lists, status=status, user=user)

    @rule(target=calls, phone=st.integers(0, 1), port=st.sampled_from([10000, 10001, 10002, 20000]))
    def phone_calls(self, phone: int, port: int) -> Outgoing:
        self.begun += 1
        call = Outgoing(self.phones[phone], self.server, call=f"c{self.begun}", port=port)
        call.invite()
        return call

    @rule(call=calls, times=st.integers(1, 3), zero=st.booleans())
    def phone_offers_again(self, call: Outgoing, times: int, zero: bool) -> None:
        call.number += 1
        host = _ZERO if zero else call.phone.endpoint.host
        for _ in range(times):
            call.asks("INVITE", to_tag=call.tag, body=sdp(host, audio(call.port), origin=call.phone.endpoint.host))

    @rule(
        call=calls,
        method=st.sampled_from(["INVITE", "UPDATE"]),
        host=st.sampled_from(["192.168.33.10", "192.168.33.11", "192.168.33.12"]),
        port=st.sampled_from([10000, 10002, 20000, 5060]),
        times=st.integers(1, 2),
    )
    def phone_hands_over(self, call: Outgoing, method: str, host: str, port: int, times: int) -> None:
        if not self.has_mapping(call.phone):
            # Of a call that is over it passes, and without a mapping it would leave a flow of plain NAT, see above.
            call.asks("OPTIONS")
        call.number += 1
        call.invited = call.number if method == "INVITE" else call.invited
        body = sdp(host, audio(port))
        for _ in range(times):
            sent = call.asks(method, to_tag=call.tag, body=body)
            refused = self.ladder.verdict.action == DROP
            assert refused == (sent == b"")
            assert not (refused and self.ladder.alg.settings.direct_media and times == 1), "nothing is refused anew"
            if host == call.phone.endpoint.host:
                assert not refused

    @rule(allowed=st.booleans())
    def administrator_allows_direct_media(self, allowed: bool) -> None:
        self.refusals = 0
        ladder = self.ladder
        ladder.kernel.direct_media = allowed
        ladder.run(ladder.alg.change_settings(replace(ladder.alg.settings, direct_media=allowed), ladder.now))

    @rule(call=calls, status=_STATUSES, media=_REMOTES, times=st.integers(0, 2), tag=st.sampled_from(["b", "b", "x"]))
    def server_answers(self, call: Outgoing, status: int, media: Endpoint, times: int, tag: str) -> None:
        if not self.has_mapping(call.phone):
            return
        call.tag = tag if status == 200 else call.tag
        for _ in range(times):
            if status in (183, 200):
                call.ok(media, status=status, tag=tag)
            else:
                call.is_answered(status, tag=tag)

    @rule(call=calls)
    def phone_acknowledges(self, call: Outgoing) -> None:
        call.ack()

    @rule(call=calls, method=st.sampled_from(["INVITE", "UPDATE"]), number=st.integers(1, 3), media=_REMOTES)
    def server_offers(self, call: Outgoing, method: str, number: int, media: Endpoint) -> None:
        if not self.has_mapping(call.phone):
            return
        call.is_asked(method, number, body=sdp(media.host, audio(media.port)))

    @rule(call=calls, method=st.sampled_from(["INVITE", "UPDATE"]), number=st.integers(1, 3), status=_STATUSES)
    def phone_answers(self, call: Outgoing, method: str, number: int, status: int) -> None:
        body = sdp(call.phone.endpoint.host, audio(call.port)) if status < 300 else ""
        call.answers(status, method, number, body=body)

    @rule(call=calls, status=st.sampled_from([0, 200, 401, 481]))
    def phone_hangs_up(self, call: Outgoing, status: int) -> None:
        call.bye()
        if status and self.has_mapping(call.phone):
            call.is_answered(status, "BYE")

    @rule(call=calls, status=st.sampled_from([0, 200]))
    def server_hangs_up(self, call: Outgoing, status: int) -> None:
        if not self.has_mapping(call.phone):
            return
        call.is_asked("BYE", 9)
        if status:
            call.answers(status, "BYE", 9)

    @rule(call=consumes(calls))
    def call_is_over(self, call: Outgoing) -> None:
        self.refusals = 0
        if not self.has_mapping(call.phone):
            call.asks("OPTIONS")
        for number in range(1, call.number + 1):
            call.invited = number
            call.is_answered(487)
        for call.tag in ("b", "x"):
            call.hangs_up()
            call.is_hung_up()
        self.ladder.wait(65)
        left = [key for key in self.ladder.alg.calls.dialogs if key[1] == call.call.encode()]
        assert left == [], "the call is over at both ends"

    @rule(timeout_s=st.sampled_from([60.0, 300.0, 3600.0]), phone=st.integers(0, 1))
    def settings_change(self, timeout_s: float, phone: int) -> None:
        self.refusals = 0
        calls, mapped = set(self.ladder.alg.calls.dialogs), self.ladder.mapped
        self.ladder.changes(sip_timeout_s=timeout_s, disabled=True)
        source = self.phones[phone].endpoint
        message = request("OPTIONS", via=str(source), contact=f"<sip:a@{source.host}>")
        # As above, the engine isn't told of flows of plain NAT: this message only meets the engine.
        self.ladder.receive(Datagram(message, source, self.server.endpoint, 17, "lan0"))
        self.ladder.changes(disabled=False)
        assert set(self.ladder.alg.calls.dialogs) == calls, "a change lost a call, or a disabled engine began one"
        assert self.ladder.mapped == mapped, "a change lost a mapping, or a disabled engine made one"

    @rule(other=st.booleans())
    def outside_address_changes(self, other: bool) -> None:
        self.refusals = 0
        address = "203.0.113.2" if other else "203.0.113.1"
        self.ladder.moves_to(address)

    @rule(places=st.lists(st.integers(0, _KEPT - 1), max_size=4))
    def old_messages_come_again(self, places: list[int]) -> None:
        """Late, repeated, and in another order, from either side."""
        self.refusals = 0
        seen = self.ladder.seen
        for place in places:
            if place < len(seen):
                self.ladder.receive(seen[place])

    @rule(emptied=st.booleans())
    def process_restarts(self, emptied: bool) -> None:
        self.refusals = 0
        before = shown(self.ladder)
        self.ladder.restart(emptied=emptied)
        if not emptied:
            assert shown(self.ladder) == before

    def teardown(self) -> None:
        self.refusals = 0
        if hasattr(self, "ladder"):
            self.ladder.finish()


Router.TestCase.settings = settings(max_examples=30, stateful_step_count=25)
TestRouter = Router.TestCase
