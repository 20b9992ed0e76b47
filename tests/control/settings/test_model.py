"""The settings: defaults, and what can't be together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipalg.control.settings.model import Settings, contradiction, incomplete, lacking
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.nft_rules import TableSettings
from sipalg.engine.settings import Settings as EngineSettings

ROUTER = Settings(inside=("lan0",), outside="wan0")


def test_the_defaults_are_the_engines_and_the_tables() -> None:
    engine = EngineSettings(frozenset(), "", "")
    names = (
        "ports",
        "direct_media",
        "sip_timeout_s",
        "disabled",
        "mode",
        "media_ports",
        "exempt",
        "trusted_peers",
        "inside_servers",
        "direct_signalling",
        "media_filter",
        "call_timeout_s",
    )
    assert {name: getattr(ROUTER, name) for name in names} == {name: getattr(engine, name) for name in names}
    assert ROUTER.queue_number == TableSettings("", ()).queue_number


def test_what_is_missing_is_named_first() -> None:
    assert incomplete(ROUTER) is None
    assert list(lacking(Settings())) == ["inside", "outside"]
    assert incomplete(Settings()) == ("inside", "is missing; name the interface with the phones, such as lan0")
    without = incomplete(replace(ROUTER, outside=""))
    assert without == ("outside", "is missing; name the interface towards the SIP servers, such as wan0")


def test_an_interface_is_on_one_side_only() -> None:
    assert contradiction(Settings()) is None
    assert contradiction(ROUTER) is None
    found = contradiction(replace(ROUTER, inside=("lan0", "wan0")))
    assert found == ("outside", "wan0 is also in inside; it can only be one of them")


@pytest.mark.parametrize(
    ("media_ports", "reserved", "left"),
    [
        ((20000, 20001), (PortRange(20000, 20000),), False),
        ((20000, 20001), (PortRange(20001, 20001),), False),
        ((20000, 20003), (PortRange(20001, 20001),), True),
        ((20001, 20004), (PortRange(20002, 20002), PortRange(20004, 20004)), False),
        ((16384, 32767), (PortRange(1, 65535),), False),
        ((16384, 32767), (PortRange(1, 32765),), True),
    ],
)
def test_reserved_ports_leave_some_for_media(
    media_ports: tuple[int, int], reserved: tuple[PortRange, ...], left: bool
) -> None:
    found = contradiction(replace(ROUTER, media_ports=media_ports, reserved_ports=reserved))
    assert (found is None) == left
    if found is not None:
        assert found[0] == "reserved-ports"
