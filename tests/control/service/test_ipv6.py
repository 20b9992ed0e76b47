from __future__ import annotations

import errno
import logging
from dataclasses import replace
from ipaddress import IPv6Network
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipalg.control.service import ipv6
from sipalg.control.service.running import Service
from sipalg.control.settings.model import Settings
from sipalg.datapath.admin_rules import AdminRules
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_rules import TableSettings
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Ipv6
from sipalg.engine.settings import Settings as EngineSettings

ROUTER = Settings(inside=("lan0",), outside="wan0")
ONE = Ipv6("2001:db8::1", "2001:db8::1")
PREFIX = Ipv6(prefixes=((IPv6Network("fd00::/64"), IPv6Network("2001:db8::/64")),))


class World:
    """As much of a service as follows; `way` is what the system says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.way: Ipv6 | None = Ipv6()
        self.asked: list[tuple[Any, ...]] = []
        self.refuses = False
        self.configured = 0
        monkeypatch.setattr("sipalg.datapath.nat_address.find_ipv6", self.find)
        self.service = SimpleNamespace(
            settings=ROUTER,
            rules=AdminRules(),
            alg=Alg(EngineSettings(frozenset({"lan0"}), "", ""), lambda *_: False),
            driver=SimpleNamespace(run_commands=lambda _commands: None, report_events=lambda: None),
            table=SimpleNamespace(settings=TableSettings("wan0", ("lan0",)), change=self.change),
            configure_ports=self.configure,
        )

    def find(self, *asked: Any) -> Ipv6 | None:
        self.asked.append(asked)
        return self.way

    def change(self, settings: TableSettings) -> None:
        if self.refuses:
            raise NetlinkError(errno.EPERM)
        self.service.table.settings = settings

    def configure(self) -> None:
        self.configured += 1

    def follow(self) -> bool:
        return ipv6.follow(cast("Service", self.service))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_it_is_asked_for_unless_it_isnt_wanted(world: World) -> None:
    assert ipv6.find(replace(ROUTER, public_ipv6="2001:db8::7"), AdminRules()) == Ipv6()
    assert world.asked == [("wan0", "2001:db8::7", AdminRules())]
    assert ipv6.find(replace(ROUTER, ipv6="no"), AdminRules()) is None


def test_engine_table_and_ports_follow(world: World) -> None:
    for way, table in ((Ipv6(), "as-it-is"), (ONE, "translated"), (PREFIX, "translated"), (None, "no")):
        world.way = way
        assert world.follow()
        assert world.service.alg.settings.ipv6 == way
        assert world.service.table.settings.ipv6 == table
    assert world.configured == 4
    assert not world.follow()
    assert world.configured == 4


def test_a_table_that_cannot_be_is_a_line_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.refuses = True
    with caplog.at_level(logging.WARNING):
        assert world.follow()
    assert "ipv6-changed before='not served' now='as it is'" in caplog.text
    assert "ipv6-not-in-the-table" in caplog.text


def test_in_words_and_its_address() -> None:
    some = replace(ONE, sources=(IPv6Network("fd00::/64"),), prefixes=PREFIX.prefixes)
    assert ipv6.in_words(None) == "not served"
    assert ipv6.in_words(Ipv6()) == "as it is"
    assert ipv6.in_words(ONE) == "all as 2001:db8::1"
    assert ipv6.in_words(some) == "fd00::/64 as 2001:db8::/64; fd00::/64 as 2001:db8::1"
    assert (ipv6.address_of(None), ipv6.address_of(ONE), ipv6.address_of(PREFIX)) == ("", "2001:db8::1", "")
