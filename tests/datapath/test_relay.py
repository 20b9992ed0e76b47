"""The relay: which connections it takes, how it knows their sides, how many there may be."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from tests.datapath.streams import Clock

from sipalg.datapath import relay as module
from sipalg.datapath import relay_room
from sipalg.datapath.loop import Loop
from sipalg.datapath.relay import LEFT_BEHIND_S, WORK_AT_ONCE, Relay
from sipalg.datapath.relay_connection import ANSWER_S, Connection, Ends
from sipalg.datapath.relay_leg import Leg
from sipalg.engine.verdict import TCP, Datagram, Endpoint, Event

PHONE = Endpoint("10.0.0.1", 5060)
OPTIONS = b"OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1\r\nContent-Length: 0\r\n\r\n"


class Driver:
    def __init__(self) -> None:
        self.asked: list[Datagram] = []
        self.reports = 0

    def decide_message(self, datagram: Datagram) -> tuple[bytes, bytes]:
        self.asked.append(datagram)
        return datagram.payload, b""

    def report_events(self) -> None:
        self.reports += 1


class World:
    """A relay in a loop; connections come to it as if the kernel had handed them over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # What a transparent socket's own address says is whom its opener wanted: here, the relay itself.
        monkeypatch.setattr(module, "_LISTENS_AT", "127.0.0.2")
        monkeypatch.setattr(module, "_IP_TRANSPARENT", socket.IP_TTL)
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.driver = Driver()
        self.events: list[Event] = []
        self.aliases: dict[tuple[int, Endpoint], Endpoint] = {}
        self.inside = {"127.0.0.1": "lan0"}
        public = Endpoint("203.0.113.1", 5060)
        self.relay = Relay(
            self.loop,
            self.driver,
            lambda protocol, _: public if protocol == TCP else None,
            lambda host: self.inside.get(host, ""),
            "wan0",
            self.events.append,
            self.aliases,
            self.clock,
        )
        monkeypatch.setattr(module, "_LISTENS_AT", "127.0.0.1")
        self.relay.start()
        self.phones: list[socket.socket] = []

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        phone = socket.create_connection(("127.0.0.2", self.relay.port), source_address=(host, 0))
        self.phones.append(phone)
        self.loop.step(0.01)
        return phone

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(monkeypatch)
    yield world
    world.relay.close()
    for phone in world.phones:
        phone.close()
    world.loop.close()


def the_only(world: World) -> Connection:
    (connection,) = world.relay.connections
    return connection


def test_a_connection_is_taken_told_and_forgotten(world: World) -> None:
    phone = world.connect()
    ends = the_only(world).ends
    assert ends.opener == Endpoint(*phone.getsockname())
    assert ends.target == Endpoint("127.0.0.2", world.relay.port)
    assert ends[2:] == ("lan0", "wan0", True)
    phone.close()
    world.loop.step(0.01)
    assert world.names == ["tcp-opened", "tcp-closed"]
    assert not world.relay.connections
    assert world.relay.counts == {"accepted": 1}


def test_who_is_not_inside_is_outside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Ends] = []

    def gone(_relay: Relay, _accepted: socket.socket, ends: Ends) -> Connection:
        seen.append(ends)
        raise OSError(errno.ENOTCONN, "gone")

    monkeypatch.setattr(module, "Connection", gone)
    world.inside = {"127.0.0.2": "lan1"}
    world.connect()
    assert seen[0][2:] == ("wan0", "lan1", False)
    assert not world.relay.connections


def test_local_programs_get_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LISTENS_AT", "127.0.0.2")
    phone = world.connect()
    assert phone.recv(1) == b""
    assert not world.relay.connections
    assert world.names == []


@pytest.mark.parametrize("limit", ["MAX_OUTWARD", "MAX_PER_PHONE"])
def test_there_are_limits(world: World, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(relay_room, limit, 1)
    world.connect()
    the_only(world).forth.messages = 1
    refused = world.connect()
    assert refused.recv(1) == b""
    assert world.names == ["tcp-opened", "tcp-refused"]
    assert world.relay.counts == {"accepted": 1, "refused": 1}


def test_at_the_limit_the_oldest_that_never_carried_sip_makes_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_room, "MAX_OUTWARD", 3)
    kept, silent, younger = (world.connect() for _ in range(3))
    next(iter(world.relay.connections)).forth.messages = 1
    world.connect()
    assert world.names == ["tcp-opened"] * 3 + ["tcp-closed", "tcp-opened"]
    assert world.relay.counts == {"accepted": 4}
    openers = [one.ends.opener.port for one in world.relay.connections]
    assert openers[:2] == [kept.getsockname()[1], younger.getsockname()[1]]
    with pytest.raises(ConnectionResetError):
        silent.recv(1)


def test_a_phones_own_limit_ends_nothing_of_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_room, "MAX_PER_PHONE", 1)
    world.inside["127.0.0.3"] = "lan0"
    world.connect("127.0.0.3")
    world.connect()
    world.connect()
    assert world.relay.counts == {"accepted": 3}
    hosts = [connection.ends.opener.host for connection in world.relay.connections]
    assert hosts == ["127.0.0.3", "127.0.0.1"]


def test_who_is_outside_takes_nothing_from_the_phones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_room, "MAX_INWARD", 0)
    world.inside = {}
    world.connect()
    world.inside = {"127.0.0.1": "lan0"}
    world.connect()
    assert world.names == ["tcp-refused", "tcp-opened"]


def test_a_turn_decides_few_messages_and_every_connection_gets_some(world: World) -> None:
    phones = [world.connect() for _ in range(WORK_AT_ONCE // 2)]
    other, far = socket.socketpair()
    turns: list[int] = []
    with other, far:
        # As the packets' queue: ready in every turn.
        far.send(b"x")
        world.loop.watch(other, lambda _: turns.append(len(world.driver.asked)))
        for phone in phones:
            phone.send(OPTIONS * 40)
        while len(world.driver.asked) < len(phones) * 40:
            world.loop.step(0.01)
            assert len(turns) < 10_000
        done = [later - before for before, later in pairwise(turns)]
        assert max(done) <= WORK_AT_ONCE
        first = [one.source for one in world.driver.asked[: 4 * len(phones)]]
        assert len(set(first)) == len(phones), "nobody waits until another is done"
        world.loop.unwatch(other)


def test_messages_go_to_the_driver_and_what_happened_is_told(world: World) -> None:
    phone = world.connect()
    connection = the_only(world)
    assert world.relay.public_of(PHONE) == Endpoint("203.0.113.1", 5060)
    assert world.relay.decide(Datagram(OPTIONS, PHONE, PHONE, TCP, "lan0")) == (OPTIONS, b"")
    assert world.driver.reports == 1
    world.relay.broken(connection, "not-sip")
    connection.forth.messages = 1
    world.relay.broken(connection, "content-length-missing")
    assert world.names == ["tcp-opened", "tcp-untranslated"]
    assert world.relay.unframed == {"not-sip": 1, "content-length-missing": 1}
    phone.close()


def test_a_connections_own_port_stands_for_the_phones_address_while_it_stands(world: World) -> None:
    phone = world.connect()
    connection = the_only(world)
    world.relay.named(connection)
    assert world.aliases == {}
    connection.home = PHONE
    world.relay.named(connection)
    assert world.aliases == {(TCP, connection.ends.opener): PHONE}
    phone.close()
    world.loop.step(0.01)
    assert world.aliases == {}


def test_what_a_phone_left_behind_makes_way_for_its_new_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.connect()
    world.connect()
    older, newer = world.relay.connections
    older.home = newer.home = PHONE
    assert not world.relay.displace(newer), "a phone may have two"
    world.clock.now += LEFT_BEHIND_S
    newer.opener_spoke = world.clock.now
    assert not world.relay.displace(older), "the one that asks isn't in its own way"
    assert world.relay.displace(newer)
    world.clock.now += ANSWER_S
    world.relay.look()
    assert list(world.relay.connections) == [older, newer], "its phone's kernel has answered"
    assert world.relay.displace(newer)
    monkeypatch.setattr(Leg, "has_answered", lambda *_: False)
    world.relay.look()
    assert older in world.relay.connections, "it may take a second"
    world.clock.now += ANSWER_S
    world.relay.look()
    assert list(world.relay.connections) == [newer]
    assert world.events[-1].facts[-1] == ("why", "another one came in its place")
    with pytest.raises(ConnectionResetError):
        first.recv(1)


def test_each_second_connections_are_looked_after(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.connect()
    looked: list[float] = []
    monkeypatch.setattr(the_only(world), "look", looked.append)
    world.relay.look()
    assert looked == [world.clock.now]
    assert world.driver.reports == 1


def test_at_the_end_everybody_hears_of_it(world: World) -> None:
    phone = world.connect()
    world.relay.end_all("the outside address is gone")
    with pytest.raises(ConnectionResetError):
        phone.recv(1)
    assert world.events[-1].facts[-1] == ("why", "the outside address is gone")


def test_without_descriptors_it_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = vars(world.relay)["_socket"]

    class Full:
        fileno = listener.fileno

        def accept(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(world.relay, "_socket", Full())
        world.relay.accept()
    world.connect()
    assert not world.relay.connections, "it isn't tried all the time"
    world.relay.look()
    world.loop.step(0.01)
    assert len(world.relay.connections) == 1


def test_what_cannot_listen_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LISTENS_AT", "203.0.113.77")
    with pytest.raises(OSError, match="assign"):
        Relay(world.loop, world.driver, lambda *_: None, lambda _: "", "wan0", world.events.append, {})
