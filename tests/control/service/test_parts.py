"""The settings split up for engine, table and preflight."""

from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from sipalg.control.service import parts
from sipalg.control.settings.model import Settings
from sipalg.datapath.nfqueue import QUEUES
from sipalg.datapath.nft_rules import TableSettings
from sipalg.engine.settings import Ipv6
from sipalg.engine.settings import Settings as EngineSettings

ROUTER = Settings(inside=("lan0",), outside="wan0")
VPN, SITE = IPv4Network("10.1.0.0/16"), IPv4Network("10.8.0.0/24")

OTHER = Settings(
    inside=("lan0", "lan1"),
    outside="wan0",
    public="198.51.100.7",
    ports=(5060, 5070),
    direct_media=False,
    sip_timeout_s=5400.0,
    disabled=True,
    mode="observe",
    media_ports=(20000, 20100),
    exempt=(VPN,),
    trusted_peers=(SITE,),
    inside_servers=(SITE,),
    direct_signalling=True,
    media_filter=True,
    call_timeout_s=60.0,
    queue_number=7,
)


def test_what_nobody_says_is_the_engines_default() -> None:
    settings = parts.engine_settings(ROUTER, "203.0.113.1", 180.0)
    assert settings == EngineSettings(frozenset({"lan0"}), "203.0.113.1", "203.0.113.1")
    assert parts.table_settings(ROUTER, 30.0) == TableSettings("wan0", ("lan0",), queues=QUEUES)


def test_everything_is_handed_on() -> None:
    engine = parts.engine_settings(OTHER, "203.0.113.1", 20.0)
    assert engine.inside_interfaces == frozenset({"lan0", "lan1"})
    assert (engine.nat_address, engine.advertised_address, engine.flow_check_s) == ("203.0.113.1", "198.51.100.7", 8.0)
    default = EngineSettings(frozenset(), "", "")
    same = {field.name for field in fields(EngineSettings)} & {field.name for field in fields(Settings)} - {"ipv6"}
    for name in same:
        assert getattr(engine, name) == getattr(OTHER, name) != getattr(default, name)
    table = parts.table_settings(OTHER, 10.0)
    assert table == TableSettings(
        "wan0",
        ("lan0", "lan1"),
        queue_number=7,
        queues=QUEUES,
        ports=(5060, 5070),
        exempt=(VPN,),
        trusted_peers=(SITE,),
        direct_signalling=True,
        observing=True,
        direct_media=False,
        media_filter=True,
        sip_timeout_s=5400.0,
        unreplied_timeout_s=10.0,
    )


def test_how_ipv6_leaves_is_handed_on() -> None:
    for way, table in ((None, "no"), (Ipv6(), "as-it-is"), (Ipv6("2001:db8::1", "2001:db8::1"), "translated")):
        assert parts.engine_settings(ROUTER, "", 120.0, ipv6=way).ipv6 == way
        assert parts.table_settings(ROUTER, 30.0, ipv6=way).ipv6 == table


def test_networks_of_ipv6_are_none_of_preflights() -> None:
    assert parts.plan(replace(ROUTER, exempt=(VPN, IPv6Network("2001:db8::/32")))).exempt == (VPN,)


def test_what_the_rules_exempt_comes_on_top() -> None:
    assert parts.engine_settings(OTHER, "", 120.0, (VPN, SITE)).exempt == (VPN, SITE)
    assert parts.table_settings(OTHER, 30.0, (VPN, SITE)).exempt == (VPN, SITE)


def test_an_observer_is_in_nobodys_way() -> None:
    assert not parts.plan(ROUTER).allow_offload
    assert parts.plan(replace(ROUTER, allow_offload=True)).allow_offload
    assert parts.plan(OTHER).allow_offload


def test_the_kernels_timeouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_TIMEOUTS", tmp_path)
    assert (parts.stream_timeout_s(), parts.unreplied_timeout_s()) == (120.0, 30.0)
    (tmp_path / "nf_conntrack_udp_timeout_stream").write_text("180\n")
    (tmp_path / "nf_conntrack_udp_timeout").write_text("x\n")
    assert (parts.stream_timeout_s(), parts.unreplied_timeout_s()) == (180.0, 30.0)
