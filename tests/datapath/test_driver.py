"""The driver: one verdict for every packet, whatever the engine or the kernel do; both are stand-ins here."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest

from sipalg.codec.datagram import (
    UdpPacket,
    checksums_right,
    fill_checksums,
    host_bytes,
    parse_udp,
    replace_payload,
    split_udp,
)
from sipalg.datapath import driver as driver_module
from sipalg.datapath.driver import Driver
from sipalg.datapath.executor import Failure, Trigger
from sipalg.datapath.interfaces import Interface, Interfaces
from sipalg.datapath.nfqueue import QueuedPacket
from sipalg.engine.transaction import Told
from sipalg.engine.verdict import (
    ACCEPT,
    DROP,
    REPLACE,
    TCP,
    UDP,
    CloseMapping,
    Command,
    Datagram,
    Edit,
    Endpoint,
    Event,
    Flow,
    Mapping,
    OpenMapping,
    RefreshMapping,
    Reply,
    Verdict,
)

PHONE = Endpoint("192.168.33.10", 5060)
SERVER = Endpoint("203.0.113.50", 5060)
MAPPING = Mapping(UDP, PHONE, Endpoint("203.0.113.1", 5060), "sip")
OPEN = (OpenMapping(MAPPING, 60.0),)
LAN, WAN = 2, 3


class Alg:
    """An engine that answers what it is told to."""

    def __init__(self) -> None:
        self.seen: list[Datagram] = []
        self.told: list[tuple[object, ...]] = []
        self.answer: Callable[[Datagram], Verdict] = lambda d: Verdict(ACCEPT, d.payload, (), (), "not-sip", 0)
        self.after_failure: list[Verdict] = []
        self.timer: float | None = None
        self.timed: tuple[Command, ...] = ()
        self.events: list[Told] = []

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        assert now == 1000.0
        self.seen.append(datagram)
        return self.answer(datagram)

    receive_message = receive_datagram

    def commands_done(self, token: int, now: float) -> None:
        self.told.append(("done", token, now))

    def commands_failed(self, token: int, index: int, reason: str, now: float) -> Verdict:
        self.told.append(("failed", token, index, reason, now))
        return self.after_failure.pop(0)

    def next_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        self.told.append(("timer", now))
        return self.timed

    def media_seen(self, flow: Flow, now: float) -> None:
        self.told.append(("seen", flow, now))

    def take_told(self) -> list[Told]:
        events, self.events = self.events, []
        return events


class Queue:
    """A queue of packets that notes the verdicts: an id with None (as it came), b"" (dropped) or the new packet."""

    def __init__(self) -> None:
        self.waiting: list[QueuedPacket] = []
        self.pending: list[tuple[int, bytes | None]] = []
        self.verdicts: list[tuple[int, bytes | None]] = []
        self.batches: list[int] = []

    def add(self, packet: bytes, in_ifindex: int = LAN, out_ifindex: int = WAN) -> None:
        self.waiting.append(QueuedPacket(len(self.waiting) + 1, 2, in_ifindex, out_ifindex, packet))

    def receive(self, limit: int) -> list[QueuedPacket]:
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def verdict_accept(self, packet_id: int) -> None:
        self.pending.append((packet_id, None))

    def verdict_drop(self, packet_id: int) -> None:
        self.pending.append((packet_id, b""))

    def verdict_payload(
        self, packet_id: int, packet: bytes, payload: bytes, mtu_bytes: int, identification: int
    ) -> None:
        self.pending.append((packet_id, replace_payload(packet, payload, mtu_bytes, identification)))

    def split_udp(self, packet: bytes) -> tuple[bytes, bytes] | str:
        return split_udp(packet)

    def flush(self) -> None:
        self.batches.append(len(self.pending))
        self.verdicts += self.pending
        self.pending.clear()


class Runner:
    """An executor whose next results are laid down beforehand."""

    def __init__(self) -> None:
        self.ran: list[tuple[tuple[Command, ...], Trigger | None]] = []
        self.results: list[Failure | Exception] = []
        self.each_result: list[Failure] = []
        self.seen: list[Flow] = []

    def run(self, commands: Sequence[Command], trigger: Trigger | None = None) -> Failure | None:
        self.ran.append((tuple(commands), trigger))
        if not self.results:
            return None
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def run_each(self, commands: Sequence[Command]) -> list[Failure]:
        self.ran.append((tuple(commands), None))
        return self.each_result

    def take_seen(self) -> list[Flow]:
        return self.seen


class TwoInterfaces(Interfaces):
    """lan0 and wan0, without asking the kernel."""

    def __getitem__(self, ifindex: int) -> Interface:
        return {LAN: Interface("lan0", 1500), WAN: Interface("wan0", 1500)}.get(ifindex, Interface("", 1500))


class Router:
    """A driver with all that it needs."""

    def __init__(self, *, observe: bool = False) -> None:
        self.alg = Alg()
        self.queue = Queue()
        self.runner = Runner()
        self.events: list[Event] = []
        self.driver = Driver(
            self.alg,
            self.queue,
            self.runner,
            frozenset({"lan0"}),
            observe=observe,
            interfaces=TwoInterfaces(),
            on_event=self.events.append,
            clock=lambda: 1000.0,
        )

    def pass_through(self, packet: bytes, in_ifindex: int = LAN, out_ifindex: int = WAN) -> bytes | None:
        """The packet that replaces this one, None where it goes on as it came."""
        self.queue.add(packet, in_ifindex, out_ifindex)
        self.driver.drain()
        assert len(self.queue.verdicts) == 1
        packet_id, replacement = self.queue.verdicts.pop()
        assert packet_id == 1
        return replacement


@pytest.fixture
def router() -> Router:
    return Router()


def over_tcp(payload: bytes = b"message") -> Datagram:
    return Datagram(payload, PHONE, SERVER, TCP, "lan0")


def test_a_message_over_tcp_goes_on_as_the_engine_has_it(router: Router) -> None:
    told: list[bytes] = []
    router.driver.on_message = lambda datagram, verdict, _: told.append(datagram.payload + verdict.payload)
    assert router.driver.decide_message(over_tcp()) == (b"message", b"")
    mapping = OpenMapping(Mapping(TCP, PHONE, Endpoint("203.0.113.1", 5060), "sip"), 60.0)
    router.alg.answer = lambda _: replaced(b"other")._replace(commands=(mapping,), token=3)
    assert router.driver.decide_message(over_tcp()) == (b"other", b"")
    assert router.runner.ran[-1] == ((mapping,), None), "its flow is the relay's own, and untranslated"
    assert ("done", 3, 1000.0) in router.alg.told
    router.driver.report_events()
    assert told == [b"messagemessage", b"messageother"]
    assert router.driver.messages == {"received": 2, "replaced": 1}


def test_what_the_engine_answers_to_a_message_over_tcp_is_not_sent_as_a_datagram(router: Router) -> None:
    reply = Reply(b"488", SERVER, PHONE)
    router.alg.answer = lambda datagram: Verdict(DROP, datagram.payload, (), (reply,), "direct-media-refused", 1)
    assert router.driver.decide_message(over_tcp()) == (b"", b"488")
    assert router.runner.ran[-1] == ((), None)
    assert router.driver.messages["dropped"] == 1


def test_a_fault_lets_a_message_over_tcp_go_as_it_came(router: Router) -> None:
    def fail(_datagram: Datagram) -> Verdict:
        raise ZeroDivisionError

    router.alg.answer = fail
    assert router.driver.decide_message(over_tcp()) == (b"message", b"")
    assert (router.driver.messages["failed"], router.driver.log.total) == (1, 1)


def test_an_observer_changes_no_message_over_tcp() -> None:
    router = Router(observe=True)
    router.alg.answer = lambda _: replaced(b"other")
    assert router.driver.decide_message(over_tcp()) == (b"message", b"")


def packet_of(payload: bytes, source: Endpoint = PHONE, destination: Endpoint = SERVER, fragment: int = 0) -> bytes:
    udp = struct.pack("!HHHH", source.port, destination.port, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, fragment, 64, UDP, 0)
    return fill_checksums(head + host_bytes(source.host) + host_bytes(destination.host) + udp)


def payload_of(packet: bytes | None) -> bytes:
    assert packet is not None
    assert checksums_right(packet)
    parsed = parse_udp(packet)
    assert isinstance(parsed, UdpPacket)
    return parsed.payload


def replaced(payload: bytes, commands: tuple[Command, ...] = (), token: int = 0) -> Verdict:
    return Verdict(REPLACE, payload, (), commands, "", token)


def accepted(payload: bytes) -> Verdict:
    return Verdict(ACCEPT, payload, (), (), "no-mapping", 0)


def test_what_the_engine_accepts_goes_on_as_it_came(router: Router) -> None:
    assert router.pass_through(packet_of(b"RTP?")) is None
    assert router.alg.seen == [Datagram(b"RTP?", PHONE, SERVER, UDP, "lan0")]
    assert router.driver.packets == {"accepted": 1}


def test_what_the_engine_replaces_goes_on_with_the_new_payload(router: Router) -> None:
    router.alg.answer = lambda _: replaced(b"REGISTER public")
    assert payload_of(router.pass_through(packet_of(b"REGISTER private"))) == b"REGISTER public"
    assert router.driver.packets == {"replaced": 1}
    assert router.runner.ran == []
    assert router.alg.told == []


def test_a_packet_that_grows_past_the_mtu_may_be_fragmented_and_each_has_its_own_id(router: Router) -> None:
    router.alg.answer = lambda _: replaced(b"x" * 1480)
    ids = []
    for _ in range(2):
        packet = router.pass_through(packet_of(b"x" * 1472, fragment=0x4000))
        assert packet is not None
        assert packet[6:8] == b"\0\0"
        ids.append(packet[4:6])
    assert len({b"\0\0", *ids}) == 3


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "truncated"),
        (b"\x70" + bytes(60), "not-ip"),
        (packet_of(b"x", fragment=0x2000), "fragment"),
        (packet_of(b"x")[:-1], "truncated"),
    ],
)
def test_what_is_no_whole_datagram_is_not_asked_about(router: Router, packet: bytes, reason: str) -> None:
    assert router.pass_through(packet) is None
    assert router.alg.seen == []
    assert router.driver.not_asked == {reason: 1}
    assert router.driver.packets == {"accepted": 1}


def test_a_packet_from_an_unknown_interface_comes_from_outside(router: Router) -> None:
    router.pass_through(packet_of(b"x"), in_ifindex=99)
    assert router.alg.seen[0].in_interface == ""


# Commands


def test_commands_are_run_before_the_verdict_and_reported(router: Router) -> None:
    router.alg.answer = lambda _: replaced(b"public", OPEN, 7)
    assert payload_of(router.pass_through(packet_of(b"private"))) == b"public"
    assert router.runner.ran == [(OPEN, Trigger(UDP, PHONE, SERVER))]
    assert router.alg.told == [("done", 7, 1000.0)]


def test_only_a_mapping_opened_from_inside_has_a_trigger(router: Router) -> None:
    router.alg.answer = lambda _: replaced(b"x", OPEN, 7)
    router.pass_through(packet_of(b"y", SERVER, PHONE), WAN, LAN)
    router.alg.answer = lambda _: replaced(b"x", (RefreshMapping(MAPPING, 9.0),), 8)
    router.pass_through(packet_of(b"y"))
    assert [trigger for _, trigger in router.runner.ran] == [None, None]


def test_after_a_failure_the_engines_next_verdict_is_obeyed(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    router.alg.answer = lambda _: replaced(b"first port", OPEN, 7)
    router.alg.after_failure = [replaced(b"second port", OPEN, 8)]
    router.runner.results = [Failure(0, "port-taken", "somebody has it")]
    assert payload_of(router.pass_through(packet_of(b"private"))) == b"second port"
    assert router.alg.told == [("failed", 7, 0, "port-taken", 1000.0), ("done", 8, 1000.0)]
    assert router.driver.commands_failed == {"port-taken": 1}
    assert "command=OpenMapping reason=port-taken" in caplog.text


def test_a_failure_may_end_in_the_packet_as_it_came(router: Router) -> None:
    router.alg.answer = lambda _: replaced(b"public", OPEN, 7)
    router.alg.after_failure = [accepted(b"private")]
    router.runner.results = [Failure(0, "not-natted", "")]
    assert router.pass_through(packet_of(b"private")) is None


def test_it_is_the_engine_that_gives_up(router: Router) -> None:
    tries = 9
    router.alg.answer = lambda _: replaced(b"public", OPEN, 7)
    router.alg.after_failure = [*(replaced(b"public", OPEN, 8) for _ in range(tries - 1)), accepted(b"private")]
    router.runner.results = [Failure(0, "port-taken", "") for _ in range(tries)]
    assert router.pass_through(packet_of(b"private")) is None
    assert len(router.runner.ran) == tries


# Refusals


def refused(payload: bytes) -> Verdict:
    return Verdict(DROP, payload, (), (Reply(b"488", SERVER, PHONE),), "direct-media-refused", 7)


def test_a_refused_request_is_answered_and_dropped(router: Router) -> None:
    router.alg.answer = lambda d: refused(d.payload)
    assert router.pass_through(packet_of(b"INVITE")) == b""
    assert router.runner.ran == [((Reply(b"488", SERVER, PHONE),), None)]
    assert router.alg.told == [("done", 7, 1000.0)]
    assert router.driver.packets == {"dropped": 1}


def test_a_request_whose_refusal_cannot_be_sent_goes_on_as_it_came(router: Router) -> None:
    router.alg.answer = lambda d: refused(d.payload)
    router.alg.after_failure = [accepted(b"INVITE")]
    router.runner.results = [Failure(0, "reply-failed", "Operation not permitted")]
    assert router.pass_through(packet_of(b"INVITE")) is None
    assert router.alg.told == [("failed", 7, 0, "reply-failed", 1000.0)]


def test_who_only_observes_refuses_nothing() -> None:
    router = Router(observe=True)
    router.alg.answer = lambda d: refused(d.payload)
    assert router.pass_through(packet_of(b"INVITE")) is None
    assert router.runner.ran == []


# Failures of our own


def test_an_engine_that_raises_costs_nobody_a_packet(router: Router, caplog: pytest.LogCaptureFixture) -> None:
    def answer(datagram: Datagram) -> Verdict:
        if datagram.payload == b"bad":
            raise KeyError("bad")
        return replaced(b"new")

    router.alg.answer = answer
    for payload in (b"bad", b"good", b"bad"):
        router.queue.add(packet_of(payload))
    router.driver.drain()
    assert [packet is None for _, packet in router.queue.verdicts] == [True, False, True]
    assert router.driver.packets == {"failed": 2, "replaced": 1}
    assert router.driver.log.total == 2
    assert len(caplog.records) == 1


def test_a_payload_that_fits_no_packet_lets_the_old_one_pass(router: Router) -> None:
    router.alg.answer = lambda _: replaced(b"x" * 65536)
    assert router.pass_through(packet_of(b"private")) is None
    assert router.driver.packets == {"failed": 1}


def test_a_runner_that_raises_is_a_failure_to_the_engine(router: Router) -> None:
    router.alg.answer = lambda _: replaced(b"public", OPEN, 7)
    router.alg.after_failure = [accepted(b"private")]
    router.runner.results = [RuntimeError("bug")]
    assert router.pass_through(packet_of(b"private")) is None
    assert router.alg.told == [("failed", 7, 0, "kernel-error", 1000.0)]
    assert router.driver.log.total == 1


# Order and turns


def test_verdicts_come_in_order_and_in_batches(router: Router) -> None:
    for _ in range(100):
        router.queue.add(packet_of(b"x"))
    router.driver.drain()
    assert [packet_id for packet_id, _ in router.queue.verdicts] == list(range(1, 101))
    assert router.queue.batches == [32, 32, 32, 4]


def test_a_flood_leaves_others_their_turn(router: Router) -> None:
    for _ in range(1500):
        router.queue.add(packet_of(b"x"))
    router.driver.drain()
    assert len(router.queue.verdicts) == 1024
    assert len(router.queue.waiting) == 476


def test_the_time_that_packets_take_is_measured_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router()
    ticks = iter((10.0, 10.25, 20.0, 20.5))
    monkeypatch.setattr(router.driver, "_clock", lambda: next(ticks))
    for _ in range(2 * driver_module._PACKETS_AT_ONCE):
        router.queue.add(packet_of(b"x"))
    router.driver.drain()
    assert (router.driver.packets_s, router.driver.commands_s) == (0.75, 0.0)


def test_the_commands_part_of_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router()
    router.alg.answer = lambda _: replaced(b"public", OPEN, 7)
    ticks = iter((1000.0, 1000.5, 1000.75, 1001.0))
    monkeypatch.setattr(router.driver, "_clock", lambda: next(ticks))
    router.pass_through(packet_of(b"private"))
    assert (router.driver.packets_s, router.driver.commands_s) == (1.0, 0.25)


def test_events_are_handed_on(router: Router) -> None:
    router.alg.events = [("mapping-opened", {"private": PHONE})]
    router.driver.drain()
    assert router.events == [Event("mapping-opened", (("private", str(PHONE)),))]
    assert router.driver.events == {"mapping-opened": 1}


def test_events_that_nobody_would_read_are_counted_only() -> None:
    alg = Alg()
    heard: list[Event] = []
    alg.events = [("mapping-opened", {}), ("mapping-closed", {})]
    answers = iter((False, True))
    driver = Driver(alg, Queue(), Runner(), frozenset(), on_event=heard.append, are_heard=lambda: next(answers))
    driver.drain()
    assert heard == [Event("mapping-closed", ())]
    assert driver.events == {"mapping-opened": 1, "mapping-closed": 1}


def test_events_without_a_listener_are_taken_all_the_same() -> None:
    alg = Alg()
    alg.events = [("mapping-opened", {})]
    Driver(alg, Queue(), Runner(), frozenset()).drain()
    assert alg.events == []


def test_what_was_edited_is_told_after_the_verdicts_where_that_is_wanted(router: Router) -> None:
    told: list[tuple[bytes, Verdict, int]] = []
    edited = replaced(b"other")._replace(changes=(Edit(0, 1, b"o", "via"),))
    answers = iter([edited, edited._replace(action=ACCEPT), replaced(b"without edits")])
    router.alg.answer = lambda _datagram: next(answers)
    driver = Driver(
        router.alg,
        router.queue,
        router.runner,
        frozenset({"lan0"}),
        interfaces=TwoInterfaces(),
        on_edits=lambda datagram, verdict: told.append((datagram.payload, verdict, len(router.queue.verdicts))),
        clock=lambda: 1000.0,
    )
    for _ in range(3):
        router.queue.add(packet_of(b"x"))
    driver.drain()
    assert told == [(b"x", edited, 3)]


def test_each_message_is_told_while_somebody_listens(router: Router) -> None:
    told: list[tuple[bytes, str]] = []

    def hear(datagram: Datagram, verdict: Verdict, time_ns: int) -> None:
        assert time_ns > 0
        told.append((datagram.payload, verdict.action))

    answers = iter([replaced(b"other"), replaced(b"x")._replace(action=ACCEPT), replaced(b"unheard")])
    router.alg.answer = lambda _datagram: next(answers)
    driver = router.driver
    driver.on_message = hear
    assert driver.on_message is hear
    for payload in (b"1", b"2"):
        router.queue.add(packet_of(payload))
    driver.drain()
    driver.on_message = None
    router.queue.add(packet_of(b"3"))
    driver.drain()
    assert told == [(b"1", "replace"), (b"2", "accept")]
    assert len(router.queue.verdicts) == 3


def test_edits_are_told_on_where_messages_are_no_more(router: Router) -> None:
    told: list[bytes] = []
    router.alg.answer = lambda _datagram: replaced(b"o")._replace(changes=(Edit(0, 1, b"o", "via"),))
    driver = router.driver
    driver.on_edits = lambda datagram, _verdict: told.append(datagram.payload)
    driver.on_message = lambda *_: None
    driver.on_message = None
    router.queue.add(packet_of(b"1"))
    driver.drain()
    driver.on_edits = None
    router.queue.add(packet_of(b"2"))
    driver.drain()
    assert told == [b"1"]


# Timers


def test_a_timers_commands_are_run_and_failures_logged(router: Router, caplog: pytest.LogCaptureFixture) -> None:
    router.alg.timer = 1010.0
    router.alg.timed = (CloseMapping(MAPPING), RefreshMapping(MAPPING, 1.0))
    router.runner.each_result = [Failure(1, "kernel-error", "no such element")]
    assert router.driver.next_timer() == 1010.0
    router.driver.run_timer()
    assert router.alg.told == [("timer", 1000.0)]
    assert router.runner.ran == [(router.alg.timed, None)]
    assert router.driver.commands_failed == {"kernel-error": 1}
    assert "command=RefreshMapping" in caplog.text


def test_a_timer_without_commands_runs_nothing(router: Router) -> None:
    router.driver.run_timer()
    assert router.runner.ran == []


def test_flows_that_carry_media_are_told_to_the_engine(router: Router) -> None:
    flow = Flow(UDP, PHONE, MAPPING.public, SERVER)
    router.runner.seen = [flow]
    router.driver.run_timer()
    assert router.alg.told == [("timer", 1000.0), ("seen", flow, 1000.0)]


# Observe


def test_observing_decides_and_changes_nothing() -> None:
    router = Router(observe=True)
    router.alg.answer = lambda _: replaced(b"public", OPEN, 7)
    router.alg.timed = (CloseMapping(MAPPING),)
    assert router.pass_through(packet_of(b"private")) is None
    router.driver.run_timer()
    assert router.runner.ran == []
    assert router.alg.told == [("done", 7, 1000.0), ("timer", 1000.0)]
    assert router.driver.packets == {"accepted": 1}


# Ends


@pytest.mark.interpreted
def test_a_flood_of_flows_empties_the_memory_of_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_REMEMBERED", 3)
    ends = driver_module.Ends()
    for port in range(10):
        twelve = bytes((192, 0, 2, 1, 203, 0, 113, 9, 0, port, 0x13, 0xC4))
        assert ends[twelve] == (Endpoint("192.0.2.1", port), Endpoint("203.0.113.9", 5060))
        assert ends[twelve] is ends[twelve]
        assert len(ends) <= 3


def test_one_address_is_one_object_in_all_flows() -> None:
    ends = driver_module.Ends()
    out, back = bytes.fromhex("c0000201cb00710913c413c4"), bytes.fromhex("cb007109c000020113c413c4")
    assert ends[out][0] is ends[back][1]
    assert ends[out][1] is ends[back][0]
