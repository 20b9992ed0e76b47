"""The shortest way against the other one: of the same messages the same verdicts, tables, timers and counts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fuzz.refreshes import Play, check_ways
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.engine.refreshes import (
    ANSWERED,
    ASKED,
    CHALLENGE,
    MESSAGES,
    OK,
    OK_OF_ALL,
    OK_OF_TWO,
    OPTIONS,
    OPTIONS_OK,
    PHONE,
    REGISTER,
    SERVER,
    refreshes,
)

from sipalg import builds
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import TCP, UDP, Datagram, Verdict

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

Message = tuple[bytes, bool]


def new_engine(*, quickly: bool, watched: bool = False, timeout_s: float = 3600.0) -> Alg:
    values: dict[str, Any] = {"inside_interfaces": frozenset({"lan0"}), "sip_timeout_s": timeout_s}
    alg = Alg(Settings(nat_address="203.0.113.1", advertised_address="203.0.113.1", **values), lambda *_: False)
    if not quickly:
        alg.shortcut.express = None
    if watched:
        alg.records.watch()
    return alg


def receive(alg: Alg, message: Message, now: float, protocol: int = UDP) -> Verdict:
    text, leaves = message
    ends = (PHONE, SERVER) if leaves else (SERVER, PHONE)
    datagram = Datagram(text, *ends, protocol, "lan0" if leaves else "wan0")
    verdict = alg.receive_datagram(datagram, now) if protocol == UDP else alg.receive_message(datagram, now)
    if verdict.commands:
        alg.commands_done(verdict.token, now)
    return verdict


def said_of(alg: Alg, now: float) -> tuple[object, ...]:
    events = alg.take_events()
    return (alg.snapshot(now), alg.records.take_changed(), alg.next_timer(), events)


def quick_count(alg: Alg, message: Message, now: float, protocol: int = UDP) -> int:
    """How many messages have gone the shortest way with this one; counted by what the engine itself has counted."""
    alg.counts()
    before = sum(alg.methods.values())
    receive(alg, message, now, protocol)
    own = sum(alg.methods.values()) - before
    alg.counts()
    return sum(alg.methods.values()) - before - own


def known_phone(protocol: int = UDP, **values: Any) -> Alg:
    alg = new_engine(quickly=True, **values)
    for now in (1000.0, 1060.0):
        for message in ((REGISTER, True), (OK, False)):
            receive(alg, over(message, protocol), now, protocol)
    return alg


def over(message: Message, protocol: int) -> Message:
    text = message[0]
    if protocol == TCP:
        text = text.replace(b"/UDP", b"/TCP").replace(b":5060>", b":5060;transport=tcp>").replace(b"=udp", b"=tcp")
    return text, message[1]


@pytest.mark.parametrize("protocol", [UDP, TCP])
@pytest.mark.parametrize("message", [*MESSAGES, (OK_OF_TWO, False)])
def test_what_is_usual_goes_the_shortest_way(message: Message, protocol: int) -> None:
    alg = known_phone(protocol)
    receive(alg, over((REGISTER, True), protocol), 1120.0, protocol)
    assert quick_count(alg, over(message, protocol), 1120.0, protocol) == 1


@pytest.mark.parametrize(
    "message",
    [
        (REGISTER.replace(b"Expires: 300", b"Expires: 0"), True),
        (REGISTER.replace(b"Call-ID: c1", b"Call-ID: c2"), True),
        (OK.replace(b"expires=300", b"expires=301"), False),
        (OK.replace(b"sip:b@", b"sip:c@"), False),
        (OK_OF_ALL.replace(b"Expires: 300", b"Expires: 30"), False),
        (ASKED.replace(b"203.0.113.1:5060", b"203.0.113.1"), False),
        (OPTIONS.replace(b"OPTIONS", b"MESSAGE"), True),
        (OPTIONS.replace(b"sip:example.org", b"sip:192.168.33.10"), True),
        (CHALLENGE.replace(b"rport=5060", b"rport=5"), False),
    ],
)
def test_what_is_not_goes_the_other_way(message: Message) -> None:
    assert quick_count(known_phone(), message, 1060.0) == 0


def test_what_comes_once_in_a_while_goes_the_shortest_way_too() -> None:
    alg = known_phone()
    entry = alg.mappings.entries[UDP, PHONE]
    # The answer that comes later than any before, and one that nobody asked for, which renews nothing.
    receive(alg, (REGISTER, True), 1200.0)
    assert quick_count(alg, (OK, False), 1200.0) == 1
    assert entry.contacts[0].longest_s == 140.0
    assert quick_count(alg, (OK, False), 1240.0) == 0
    # The mapping's own end is moved once in a tenth of sip-timeout.
    assert quick_count(alg, (OPTIONS, True), 1400.0) == 1
    assert entry.idle_until == 5000.0
    assert quick_count(alg, (OPTIONS, True), 1401.0) == 1
    assert entry.idle_until == 5000.0


def test_the_record_of_a_contact_that_is_behind_is_to_be_written() -> None:
    alg = known_phone(watched=True)
    alg.records.take_changed()
    receive(alg, (REGISTER, True), 1060.0)
    assert quick_count(alg, (OK, False), 1060.0) == 1
    changed = alg.records.take_changed()
    assert changed == [("contact", alg.mappings.entries[UDP, PHONE].contacts[0].key)]
    for record in changed:
        alg.records.value(record)
    assert quick_count(alg, (OK, False), 1061.0) == 1
    assert alg.records.take_changed() == []


def test_nothing_goes_the_shortest_way_while_the_kernel_is_asked() -> None:
    alg = known_phone()
    other = Datagram(REGISTER.replace(b".33.10", b".33.11"), PHONE._replace(host="192.168.33.11"), SERVER, UDP, "lan0")
    assert alg.receive_datagram(other, 1060.0).commands
    assert quick_count(alg, (REGISTER, True), 1060.0) == 0
    assert quick_count(alg, (REGISTER, True), 1060.0) == 1


def test_a_phone_elsewhere_is_another_one() -> None:
    alg = known_phone()
    moved = Datagram(REGISTER, PHONE, SERVER, UDP, "wan0")
    alg.receive_datagram(moved, 1060.0)
    assert quick_count(alg, (REGISTER, True), 1060.0) == 1
    assert alg.shortcut.express is not None
    alg.shortcut.express.clear()
    assert quick_count(alg, (REGISTER, True), 1060.0) == 0


@settings(max_examples=250)
@given(
    st.lists(st.tuples(refreshes(), st.sampled_from([0.0, 0.0, 0.5, 3.0, 40.0, 400.0])), max_size=8),
    st.sampled_from([UDP, UDP, TCP]),
    st.booleans(),
    st.sampled_from([3600.0, 60.0]),
)
@example([((OK_OF_ALL, False), 0.0), ((OPTIONS_OK, False), 3.0), ((ANSWERED, True), 0.0)], UDP, True, 3600.0)
def test_both_ways_say_the_same(
    script: list[tuple[Message, float]], protocol: int, watched: bool, timeout_s: float
) -> None:
    quick, full = (new_engine(quickly=one, watched=watched, timeout_s=timeout_s) for one in (True, False))
    now = 1000.0
    usual = [((REGISTER, True), 30.0), ((OK, False), 0.0)] * 2
    for message, wait_s in (*usual, *script, *usual, *script):
        now += wait_s
        assert quick.handle_timer(now) == full.handle_timer(now)
        sent = over(message, protocol)
        assert receive(quick, sent, now, protocol) == receive(full, sent, now, protocol)
        assert said_of(quick, now) == said_of(full, now)
    assert quick.handle_timer(1e7) == full.handle_timer(1e7)
    assert said_of(quick, 1e7) == said_of(full, 1e7)


@settings(max_examples=150)
@given(st.binary(min_size=20, max_size=200))
def test_whatever_befalls_a_phone_both_ways_say_the_same(script: bytes) -> None:
    check_ways(script)


class Forgetful:
    """Machine code that isn't told what to forget."""

    def __init__(self, express: Any) -> None:
        self.express = express

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: None) if name == "forget" else getattr(self.express, name)


class Misled(Play):
    """A script whose engine has the shortest way, and doesn't tell it who is to be forgotten."""

    def engine(self, values: Settings) -> Alg:
        alg = super().engine(values)
        alg.shortcut.express = Forgetful(alg.shortcut.express)
        return alg


def test_who_is_not_forgotten_is_found_out() -> None:
    draw = random.Random(5)
    scripts = [draw.randbytes(300) for _ in range(40)]
    pairs = [(Misled(data, quickly=True).steps(), Play(data, quickly=False).steps()) for data in scripts]
    assert sum(any(one != other for one, other in zip(*pair, strict=True)) for pair in pairs) > 10
