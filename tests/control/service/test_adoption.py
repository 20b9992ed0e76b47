"""What is taken over, with a real engine and a kernel that only says what it has; the rest is tests/live's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipalg.control.service import takeover
from sipalg.control.service.adoption import Adoption
from sipalg.control.service.running import Service
from sipalg.control.settings.model import Settings
from sipalg.datapath.ctnetlink import SOURCE_NAT, Tracked
from sipalg.datapath.nft_elements import Elements, StandingMapping
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings as EngineSettings
from sipalg.engine.verdict import UDP, CheckFlow, Command, Endpoint, Flow, Mapping

N = "203.0.113.1"
SERVER = Endpoint("203.0.113.50", 5060)
OTHER_PORT = Endpoint("203.0.113.50", 5090)
PHONE, PBX = Endpoint("192.168.33.10", 5060), Endpoint("192.168.33.20", 5060)
OF_PHONE = Mapping(UDP, PHONE, Endpoint(N, 5060), "sip")
FORWARD = Mapping(UDP, PBX, Endpoint(N, 5070), "sip", adopted=True)


def flow(private: Endpoint, public: Endpoint, remote: Endpoint) -> Tracked:
    return Tracked(UDP, private, remote, remote, public, SOURCE_NAT, 100, 0, b"", None)


class World:
    """As much of a service as the adoption asks for."""

    def __init__(self, **settings: Any) -> None:
        chosen = Settings(inside=("lan0",), outside="wan0", **settings)
        engine = EngineSettings(
            frozenset({"lan0"}), N, N, ports=chosen.ports, disabled=chosen.disabled, sip_timeout_s=chosen.sip_timeout_s
        )
        self.commands: list[Command] = []
        self.entries: list[Tracked] = []
        self.standing: list[object] = []
        self.kept = [StandingMapping(OF_PHONE, 500.0)]
        self.service = SimpleNamespace(
            settings=chosen,
            nat_address=N,
            forwards=[FORWARD],
            alg=Alg(engine, lambda *_: False),
            driver=SimpleNamespace(run_commands=self.commands.extend),
            conntrack=SimpleNamespace(concerning=self.concerning, delete=lambda _entries: None),
            table=SimpleNamespace(elements=lambda: Elements(tuple(self.kept), ()), read_ahead=lambda: None),
            standing=SimpleNamespace(install=self.standing.append, remember=lambda *_: None),
            journal=SimpleNamespace(read=self.read),
            inherited=Flows(),
            serve=self.serve,
        )
        self.served = 0
        self.read_journal = 0
        self.adoption = Adoption(cast("Service", self.service))

    def concerning(self, _protocol: int, ends: Iterable[Endpoint], ports: Iterable[int]) -> Iterable[Tracked]:
        asked, of_sip = set(ends), set(ports)
        return [
            entry
            for entry in self.entries
            if asked & set(entry[1:5]) or of_sip & {entry.original_source.port, entry.original_destination.port}
        ]

    def serve(self) -> None:
        self.served += 1

    def read(self) -> Sequence[object]:
        self.read_journal += 1
        return ()

    @property
    def mapped(self) -> set[Endpoint]:
        return {private for _, private in self.service.alg.mappings.entries}

    def checked(self) -> list[tuple[Flow, float]]:
        return [(command.flow, command.timeout_s) for command in self.commands if isinstance(command, CheckFlow)]


class Flows:
    """Inherited media."""

    def take(self, flows: Iterable[Flow]) -> None:
        assert list(flows) == []

    def __len__(self) -> int:
        return 0


@pytest.fixture(autouse=True)
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipalg.control.service.adoption.addresses.interfaces", dict)
    monkeypatch.setattr("sipalg.control.service.adoption.addresses.addresses", lambda *_: [])


def test_mappings_forwards_and_flows_are_taken_over() -> None:
    world = World(sip_timeout_s=600.0)
    other = Endpoint("192.168.33.11", 5060)
    world.entries = [
        flow(PHONE, OF_PHONE.public, SERVER),
        flow(PHONE, OF_PHONE.public, OTHER_PORT),
        flow(other, Endpoint(N, 6000), SERVER),
    ]
    world.adoption.all()
    assert world.mapped == {PHONE, PBX, other}
    assert world.read_journal == 1
    assert {one for one, _ in world.checked()} == {
        Flow(UDP, PHONE, OF_PHONE.public, SERVER),
        Flow(UDP, PHONE, OF_PHONE.public, OTHER_PORT),
        Flow(UDP, other, Endpoint(N, 6000), SERVER),
    }
    assert {timeout_s for _, timeout_s in world.checked()} == {600.0}


def test_disabled_only_what_has_a_mapping_goes_on() -> None:
    world = World(disabled=True)
    other = Endpoint("192.168.33.11", 5060)
    world.entries = [flow(PHONE, OF_PHONE.public, SERVER), flow(other, Endpoint(N, 6000), SERVER)]
    world.adoption.all()
    world.adoption.forwards([FORWARD])
    assert world.mapped == {PHONE}
    assert [one for one, _ in world.checked()] == [Flow(UDP, PHONE, OF_PHONE.public, SERVER)]


def test_an_observer_takes_note_and_changes_nothing() -> None:
    world = World(mode="observe")
    world.adoption.all()
    assert world.mapped == {PHONE, PBX}
    assert world.standing == [[]]
    assert world.read_journal == 0


def test_what_is_known_already_is_not_resumed() -> None:
    world = World()
    world.adoption.all(resuming=False)
    assert world.read_journal == 0


def test_flows_get_the_sip_timeout_of_now() -> None:
    world = World()
    world.adoption.all()
    world.entries = [flow(PHONE, OF_PHONE.public, OTHER_PORT)]
    world.commands.clear()
    world.adoption.flows()
    assert world.checked() == [(Flow(UDP, PHONE, OF_PHONE.public, OTHER_PORT), 3600.0)]
    world.service.nat_address = ""
    world.commands.clear()
    world.adoption.flows()
    assert world.commands == []


def test_many_flows_are_adopted_by_and_by_and_only_what_still_stands() -> None:
    world = World()
    for number in range(60):
        public = Endpoint(N, 7000 + number)
        world.entries.append(flow(Endpoint("192.168.33.10", 7000 + number), public, SERVER))
    world.adoption.all()
    world.commands.clear()
    world.entries = [one._replace(original_destination=OTHER_PORT, reply_source=OTHER_PORT) for one in world.entries]
    world.adoption.flows()
    assert len(world.checked()) == 50
    for private in [key[1] for key in world.service.alg.mappings.entries][-5:]:
        world.service.alg.disown(world.service.alg.mappings.entries[UDP, private].mapping, 0.0)
    world.adoption.go_on()
    world.adoption.go_on()
    assert len(world.checked()) == 55


def test_packets_wait_until_all_flows_are_adopted() -> None:
    world = World()
    for number in range(101):
        public = Endpoint(N, 6000 + number)
        world.entries.append(flow(Endpoint("192.168.33.11", 6000 + number), public, SERVER))
    world.adoption.all()
    assert world.served == 1 + 3


def test_flows_of_a_lost_address_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    ended: list[Tracked] = []
    stranded = [flow(PHONE, Endpoint("203.0.113.9", 5060), SERVER)]
    monkeypatch.setattr(takeover, "stranded", lambda *_: stranded)
    world.service.conntrack.delete = ended.extend
    world.adoption.all()
    assert ended == stranded


def test_of_many_flows_those_that_can_wait_are_adopted_after_the_start() -> None:
    world = World()
    for number in range(600):
        private, public = Endpoint("192.168.33.11", 6000 + number), Endpoint(N, 6000 + number)
        world.kept.append(StandingMapping(Mapping(UDP, private, public, "sip"), 7000.0))
        world.entries.append(flow(private, public, SERVER)._replace(timeout_s=30 if number < 20 else 3600 - number))
    unknown = flow(Endpoint("192.168.33.12", 5060), Endpoint(N, 5999), SERVER)
    world.entries.append(unknown._replace(timeout_s=3600))
    world.adoption.all()
    assert len(world.checked()) == 21, "those that run out soon, and the one without a mapping"
    world.service.alg.disown(Mapping(UDP, Endpoint("192.168.33.11", 6599), Endpoint(N, 6599), "sip"), 0.0)
    for _ in range(13):
        world.adoption.go_on()
    assert len(world.checked()) == 600
