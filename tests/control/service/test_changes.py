"""Changes of settings, with a real engine and a kernel that may refuse; what packets make of it is tests/live's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sipalg.codec.address import Network
from sipalg.control.service import changes as module
from sipalg.control.service.changes import ChangeRefusedError, Changes, Ended
from sipalg.control.service.parts import engine_settings, table_settings
from sipalg.control.service.running import Service
from sipalg.control.settings.model import Settings
from sipalg.control.settings.options import Options
from sipalg.control.settings.properties import with_texts
from sipalg.datapath.admin_conclusions import AdminRules
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_elements import Elements, StandingMapping
from sipalg.datapath.nft_features import Features
from sipalg.datapath.nft_rules import RelayRules, TableSettings
from sipalg.datapath.preflight import Finding
from sipalg.engine.alg import Alg
from sipalg.engine.verdict import TCP, UDP, Command, Endpoint, Event, Mapping

N = "203.0.113.1"
FEATURES = Features(True, True, True, True, True, True)
ROUTER = Settings(inside=("lan0",), outside="wan0")
PHONE = Mapping(UDP, Endpoint("192.168.33.10", 5060), Endpoint(N, 5060), "sip")
OTHER = Mapping(UDP, Endpoint("192.168.33.11", 5060), Endpoint(N, 5061), "sip")
PBX = Mapping(UDP, Endpoint("192.168.33.20", 5070), Endpoint(N, 5070), "media", adopted=True)


class Table:
    """The kernel's table, which can refuse."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.settings = table_settings(ROUTER, 30.0)
        self.changed: list[TableSettings] = []
        self.refuses = False

    def change(self, settings: TableSettings) -> None:
        if self.refuses:
            raise NetlinkError(errno.EPERM)
        self.settings = settings
        self.changed.append(settings)

    def elements(self) -> Elements:
        return Elements((StandingMapping(PHONE, 500.0),), ())


class World(SimpleNamespace):
    """As much of a service as its changes ask for."""

    options: Options

    def __init__(self, settings: Settings = ROUTER) -> None:
        super().__init__()
        self.options = Options(settings, Path("/run/sock"), Path("/etc/f"), {})
        self.nat_address = N
        self.rules = AdminRules()
        self.forwards = [PBX]
        self.alg = Alg(engine_settings(settings, N, 120.0), lambda *_: False)
        observing = settings.mode == "observe"
        self.table = Table(FEATURES._replace(ct_timeout=not observing))
        self.commands: list[Command] = []
        self.configure_ports = lambda: None
        self.driver = SimpleNamespace(
            observe=observing, on_edits=None, run_commands=self.run, report_events=lambda: None
        )
        self.adopted: list[str] = []
        self.adoption = SimpleNamespace(
            flows=lambda: self.adopted.append("flows"),
            forwards=lambda forwards: self.adopted.extend(f"{one.public} {one.purpose}" for one in forwards),
            all=lambda *, resuming: self.adopted.append(f"all resuming={resuming}"),
        )
        self.reserved: list[object] = []
        self.ports = SimpleNamespace(reserve=lambda *what: self.reserved.extend(what), configure=lambda *_: None)
        self.journal = SimpleNamespace(close=lambda: self.adopted.append("journal closed"), begin=lambda: None)
        self.inherited = SimpleNamespace(take=lambda flows: self.adopted.append(f"inherited {flows}"))
        self.relay_rules: RelayRules | None = None
        self.tcp = SimpleNamespace(rules=lambda _: self.relay_rules, follow=lambda: None)
        self.events: list[Event] = []
        self.tell = self.events.append
        self.tell_edits = lambda *_: None
        self.look_for_warnings = lambda: None
        self.follow_address = lambda: self.adopted.append("address")
        self.readings: list[object] = []
        self.read_rules_again = lambda: self.readings.append(self.rules)
        self.changes = Changes(cast("Service", self), FEATURES)

    @property
    def settings(self) -> Settings:
        return self.options.settings

    def exempt_networks(self, settings: Settings) -> tuple[Network, ...]:
        return settings.exempt

    def run(self, commands: tuple[Command, ...]) -> None:
        if not self.driver.observe:
            self.commands += commands

    def set(self, **values: str) -> list[str]:
        given = {key.replace("_", "-"): text for key, text in values.items()}
        return self.changes.apply(with_texts(self.settings, given))


@pytest.fixture(autouse=True)
def way(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What stands in the way of an ALG that changes something."""
    found: list[Finding] = []
    monkeypatch.setattr(module, "check_rules", lambda plan, _: [] if plan.allow_offload else found)
    return found


def test_all_follow_and_it_is_told() -> None:
    world = World()
    assert world.set(ports="5070", reserved_ports="80", log_edits="yes", public="198.51.100.7") == [
        "public",
        "ports",
        "reserved-ports",
        "log-edits",
    ]
    assert world.table.settings.ports == world.alg.settings.ports == world.settings.ports == (5070,)
    assert world.alg.settings.advertised_address == "198.51.100.7"
    assert world.driver.on_edits is world.tell_edits
    assert world.reserved[0] == world.settings.reserved_ports
    assert world.events == [
        Event(
            "settings-changed",
            (("public", "198.51.100.7"), ("ports", "5070"), ("reserved-ports", "80"), ("log-edits", "yes")),
        )
    ]
    # An address of the outside interface becomes the NAT's.
    assert world.adopted == ["address"]
    # What the forward chain lets out depends on the ports.
    assert len(world.readings) == 1
    world.set(log_edits="no")
    assert len(world.readings) == 1
    assert world.driver.on_edits is None


def test_what_changes_nothing_does_nothing() -> None:
    world = World()
    assert world.set(ports="5060,5061") == []
    assert (world.table.changed, world.events) == ([], [])


def test_rules_are_left_where_they_do_not_depend_on_it() -> None:
    world = World()
    world.set(media_ports="20000-21000", call_timeout="1h", tcp="relay", captures="/srv", allow_offload="yes")
    assert world.table.changed == []
    assert world.alg.settings.media_ports == (20000, 21000)


@pytest.mark.parametrize("values", [{"inside": "lan1"}, {"outside": "wan1"}, {"queue": "7", "ports": "5070"}])
def test_what_needs_a_restart_is_refused(values: dict[str, str]) -> None:
    world = World()
    with pytest.raises(ChangeRefusedError, match=r"^\w+: can't be changed .*; write it into /etc/f and restart$"):
        world.set(**values)
    assert (world.settings, world.table.changed) == (ROUTER, [])


def test_what_the_kernel_refuses_changes_nothing() -> None:
    world = World()
    world.table.refuses = True
    with pytest.raises(ChangeRefusedError, match="the kernel refuses the rules: Operation not permitted"):
        world.set(ports="5070", mode="observe")
    assert world.settings == ROUTER
    assert world.alg.settings.ports == ROUTER.ports
    assert world.table.features == FEATURES
    assert not world.driver.observe


def test_another_sip_timeout_is_told_to_standing_flows() -> None:
    world = World()
    world.set(sip_timeout="2h")
    assert world.adopted == ["flows"]
    assert world.table.settings.sip_timeout_s == 7200


def test_flows_that_cannot_be_told_are_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise NetlinkError(errno.ENOBUFS)

    world = World()
    world.adoption.flows = refuse
    assert world.set(sip_timeout="2h") == ["sip-timeout"]
    assert "flows-keep-their-timeouts" in caplog.text


def test_port_forwards_to_new_ports_are_for_signalling_and_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forwards(_rules: AdminRules, _address: str, ports: tuple[int, ...]) -> Iterator[Mapping]:
        yield PBX._replace(purpose="sip" if 5070 in ports else "media")

    monkeypatch.setattr("sipalg.control.service.takeover.forwards", forwards)
    world = World()
    world.set(ports="5060")
    assert world.adopted == []
    world.set(ports="5060,5070")
    assert world.adopted == [f"{N}:5070 sip"]
    world.set(ports="5060")
    assert world.adopted == [f"{N}:5070 sip"]
    assert [one.purpose for one in world.forwards] == ["sip"]


def test_a_port_forward_of_tcp_that_is_for_signalling_no_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    of_tcp = PBX._replace(protocol=TCP, purpose="sip")

    def forwards(_rules: AdminRules, _address: str, ports: tuple[int, ...]) -> Iterator[Mapping]:
        yield from [of_tcp] if 5070 in ports else []

    monkeypatch.setattr("sipalg.control.service.takeover.forwards", forwards)
    world = World()
    world.set(ports="5060,5070")
    world.alg.adopt(of_tcp, 0.0, "lan0")
    world.set(ports="5060")
    assert world.forwards == []
    assert not world.alg.mappings.entries


def test_enabled_again_what_stands_is_taken_over() -> None:
    world = World()
    world.set(disabled="yes")
    assert (world.adopted, world.table.changed) == ([], [])
    assert world.alg.settings.disabled
    world.set(disabled="no")
    assert world.adopted == [f"{N}:5070 media", "flows"]


def test_an_observer_leaves_the_kernel_alone_and_one_who_ends_it_takes_over() -> None:
    world = World()
    world.alg.adopt(PHONE, 0.0, "lan0")
    world.set(mode="observe", sip_timeout="2h")
    assert (world.driver.observe, world.table.features.ct_timeout) == (True, False)
    assert (world.adopted, world.commands) == (["journal closed"], [])
    world.alg.adopt(OTHER, 0.0, "lan0")
    world.set(mode="enforce")
    assert (world.driver.observe, world.table.features.ct_timeout) == (False, True)
    assert world.adopted[1:] == ["all resuming=False"]
    assert [key[1] for key in world.alg.mappings.entries] == [PHONE.private]


def test_what_stands_in_the_way_of_starting_stands_in_the_way_of_a_change(way: list[Finding]) -> None:
    way.append(Finding("error", "flow-table", "a flow table is in the way"))
    observer = World(replace(ROUTER, mode="observe"))
    with pytest.raises(ChangeRefusedError, match=r"^a flow table is in the way$"):
        observer.set(mode="enforce")
    assert observer.settings.mode == "observe"
    # One that came later is in nobody's way.
    world = World()
    assert world.set(ports="5070") == ["ports"]


def test_all_can_be_ended_at_once() -> None:
    world = World()
    world.alg.adopt(PHONE, 0.0, "lan0")
    assert world.changes.end_all() == Ended(mappings=1, calls=0)
    assert world.alg.mappings.entries == {}
    assert world.adopted == ["inherited ()"]
    assert len(world.commands) > 0
