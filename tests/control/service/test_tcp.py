"""TCP as a part of the service: when there is a relay, why there is none, and what the rules are told."""

from __future__ import annotations

import errno
import resource
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from sipalg.control.service import tcp as module
from sipalg.control.service.tcp import Tcp
from sipalg.control.settings.model import Settings
from sipalg.datapath import policy_route
from sipalg.datapath.nft_relay import AT_RELAY_NAMES, TO_RELAY_NAMES
from sipalg.datapath.nft_rules import RelayRules
from sipalg.datapath.policy_route import NoRoomError, Place

if TYPE_CHECKING:
    from sipalg.control.service.running import Service

ROUTER = Settings(inside=("lan0",), outside="wan0")
PLACE = Place(50, 50600, 0x02000000)


class FakeRelay:
    port = 4000

    def __init__(self, *_: object, mark: int) -> None:
        self.mark = mark
        self.nat_address = ""
        self.sip_timeout_s = 0.0
        self.connections = [1, 2]
        self.counts = {"accepted": 2}
        self.unframed = {"not-sip": 1}
        self.said: list[str] = []

    def start(self) -> None:
        self.said.append("start")

    def close(self) -> None:
        self.said.append("close")

    def look(self) -> None:
        self.said.append("look")

    def end_all(self, why: str) -> None:
        self.said.append(why)


class World(SimpleNamespace):
    """As much of a service as TCP asks for, and the routing rules as words."""

    tcp: Tcp

    def __init__(self) -> None:
        super().__init__()
        self.settings = ROUTER
        self.nat_address = "203.0.113.1"
        self.counters = dict.fromkeys((*TO_RELAY_NAMES, *AT_RELAY_NAMES, "tcp_tls_untouched"), 0)
        #: Whether there was a connection over TCP already, before this process.
        self.noted: bool = True
        self.table = SimpleNamespace(
            features=SimpleNamespace(relay=True),
            tcp_counters=lambda: self.counters,
            tcp_noted=lambda: self.noted,
            exists=lambda: True,
        )
        self.driver = SimpleNamespace(messages={"received": 3})
        self.alg = SimpleNamespace(public_of=None, mappings=SimpleNamespace(aliases={}))
        self.routes = SimpleNamespace(inside_interface=None)
        self.chores: list[float] = []
        self.loop = SimpleNamespace(every=lambda interval_s, _: self.chores.append(interval_s))
        self.tell = None
        self.changed: list[RelayRules | None] = []
        self.changes = SimpleNamespace(follow_tcp=lambda: self.changed.append(self.tcp.rules(self.settings)))
        self.tcp = Tcp(cast("Service", self))
        self.route: list[str] = []
        self.stands = True


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(module, "Relay", FakeRelay)
    monkeypatch.setattr(policy_route, "rules_and_tables", lambda: ([], set()))
    monkeypatch.setattr(policy_route, "add", lambda place, names: world.route.append(f"{place.table} {names}"))
    monkeypatch.setattr(policy_route, "stands", lambda *_: world.stands)
    monkeypatch.setattr(policy_route, "remove", lambda: world.route.append("removed"))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    return world


def relay_of(world: World) -> FakeRelay:
    assert world.tcp.relay is not None
    return cast("FakeRelay", world.tcp.relay)


def test_it_is_made_where_it_is_wanted(world: World) -> None:
    world.tcp.begin()
    assert world.tcp.rules(ROUTER) == RelayRules(4000, 0x02000000)
    assert world.tcp.rules(ROUTER) == RelayRules(4000, 0x02000000), "made once"
    assert world.route == ["removed", "50600 ('lan0', 'wan0')"]
    assert (relay_of(world).nat_address, relay_of(world).sip_timeout_s) == ("203.0.113.1", 3600.0)
    assert world.tcp.facts() == {"tcp": "relay", "tcp_connections": 2}
    counted = world.tcp.counters()
    assert counted["tcp_connections"] == {"accepted": 2}
    assert counted["tcp_streams_untouched"] == {"not-sip": 1}
    assert counted["tcp_messages"] == {"received": 3}
    world.tcp.stop()
    world.tcp.stop()
    assert world.route[2:] == ["removed"]
    assert world.tcp.facts()["tcp"] == "plain"


def test_no_packet_is_asked_about_it_before_there_is_a_connection(world: World) -> None:
    world.noted = False
    world.tcp.begin()
    (each_s,) = world.chores
    assert each_s < 0.5, "a first packet is repeated after a second"
    assert world.tcp.rules(ROUTER) == RelayRules(4000, 0x02000000, in_use=False)
    world.stands = False
    for _ in range(10):
        world.tcp.look_for_use()
        world.tcp.look()
    assert (world.route, world.changed) == (["removed"], [])
    world.noted = True
    for _ in range(2):
        world.tcp.look_for_use()
    assert world.route == ["removed", "50600 ('lan0', 'wan0')"]
    assert world.changed == [RelayRules(4000, 0x02000000)]


def test_a_routing_rule_that_is_refused_when_it_is_needed_makes_it_plain_nat(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tcp.look_for_use()
    world.noted = False
    world.tcp.rules(ROUTER)
    relay = relay_of(world)
    monkeypatch.setattr(policy_route, "add", fail(OSError(errno.EOPNOTSUPP, "Not supported")))
    world.noted = True
    for _ in range(2):
        world.tcp.look_for_use()
    assert relay.said == ["start", "close"]
    assert world.changed == [None]
    assert world.tcp.warnings == ["SIP over TCP isn't translated: the kernel refuses the routing rule: Not supported"]


@pytest.mark.parametrize("settings", [replace(ROUTER, tcp="plain"), replace(ROUTER, mode="observe")])
def test_what_stands_stays_when_it_is_not_wanted_any_more(world: World, settings: Settings) -> None:
    assert world.tcp.rules(settings) is None
    assert world.tcp.counters()["tcp_connections"] == {}
    world.tcp.look()
    world.tcp.follow()
    world.tcp.rules(ROUTER)
    assert world.tcp.rules(settings) == RelayRules(4000, 0x02000000, outward=False, inward=False)
    assert world.tcp.warnings == []


def test_an_observer_touches_nothing(world: World) -> None:
    world.settings = replace(ROUTER, mode="observe")
    world.tcp.begin()
    assert world.route == []


def fail(error: Exception) -> Any:
    def failing(*_: object) -> None:
        raise error

    return failing


@pytest.mark.parametrize(
    ("where", "error", "told"),
    [
        ("choose", NoRoomError("no table is free"), "no table is free"),
        ("rules_and_tables", OSError(errno.EPERM, "Not permitted"), "no listening socket, or no look at the routing"),
        ("add", OSError(errno.EOPNOTSUPP, "Not supported"), "the kernel refuses the routing rule: Not supported"),
    ],
)
def test_what_it_lacks_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, told: str
) -> None:
    monkeypatch.setattr(policy_route, where, fail(error))
    assert world.tcp.rules(ROUTER) is None
    assert world.tcp.warnings[0].startswith(f"SIP over TCP isn't translated: {told}")
    assert world.tcp.facts()["tcp"] == "plain"
    world.tcp.try_again()
    assert world.changed == []
    assert world.tcp.rules(replace(ROUTER, tcp="plain")) is None
    assert world.tcp.warnings == [], "it isn't asked for any more"


def test_a_kernel_without_tproxy(world: World) -> None:
    world.table.features.relay = False
    assert world.tcp.rules(ROUTER) is None
    assert "tproxy" in world.tcp.warnings[0]


def test_a_filter_that_keeps_connections_from_it_is_found(world: World) -> None:
    world.tcp.rules(ROUTER)
    world.counters |= dict.fromkeys((*TO_RELAY_NAMES, *AT_RELAY_NAMES), 5)
    world.tcp.look()
    world.counters[TO_RELAY_NAMES[1]] = 6
    world.tcp.look()
    assert world.tcp.warnings == [], "it may be on its way"
    world.tcp.look()
    (warning,) = world.tcp.warnings
    assert "in connections from outside: the INPUT filter drops them" in warning
    assert warning.endswith("let them in with: meta mark & 0x02000000 == 0x02000000 accept")
    assert world.changed == [RelayRules(4000, 0x02000000, inward=False)]
    assert world.tcp.facts()["tcp"] == "relay", "phones' own connections are"
    world.tcp.look()
    assert len(world.changed) == 1
    world.tcp.try_again()
    assert world.changed[1:] == [RelayRules(4000, 0x02000000)]
    for _ in range(3):
        world.tcp.look()
    assert world.tcp.warnings == [], "what was lost once counts once"
    world.tcp.try_again()
    assert len(world.changed) == 2


def test_a_routing_rule_that_somebody_took_away_is_put_back(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.tcp.rules(ROUTER)
    del world.route[:]
    for _ in range(10):
        world.tcp.look()
    assert world.route == []
    world.stands = False
    for _ in range(10):
        world.tcp.look()
    assert world.route == ["removed", "50600 ('lan0', 'wan0')"]
    world.counters[TO_RELAY_NAMES[0]] = 1
    for _ in range(2):
        world.tcp.look()
    assert world.route[2:] == ["removed", "50600 ('lan0', 'wan0')"]
    assert world.tcp.warnings == [], "that was why nothing arrived"
    monkeypatch.setattr(policy_route, "stands", fail(OSError(errno.EPERM, "no")))
    for _ in range(10):
        world.tcp.look()
    assert "tcp-route-gone" in caplog.text


def test_rules_that_cannot_be_changed_are_a_line_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.tcp.rules(ROUTER)
    world.changes.follow_tcp = fail(OSError(errno.ENOENT, "gone"))
    world.counters[TO_RELAY_NAMES[0]] = 1
    for _ in range(2):
        world.tcp.look()
    assert "tcp-rules-not-changed" in caplog.text


def test_another_address_ends_what_came_from_the_former(world: World) -> None:
    world.tcp.rules(ROUTER)
    world.tcp.follow()
    assert relay_of(world).said == ["start"]
    world.nat_address = "203.0.113.2"
    world.tcp.follow()
    assert relay_of(world).said[1:] == ["the outside address is gone"]
    assert relay_of(world).nat_address == "203.0.113.2"


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 524288), [(4608, 524288)]),
        ((1024, 2048), [(2048, 2048)]),
        ((1024, resource.RLIM_INFINITY), [(4608, resource.RLIM_INFINITY)]),
        ((8192, 524288), []),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_there_are_descriptors_for_all_connections(
    world: World, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], wanted: list[tuple[int, int]]
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: asked.append(pair))
    world.tcp.rules(ROUTER)
    assert asked == wanted
