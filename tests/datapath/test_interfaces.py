"""Interfaces by number, asked of this machine's kernel."""

from __future__ import annotations

from sipalg.datapath.interfaces import Interface, Interfaces


def test_interfaces_are_looked_up_once() -> None:
    interfaces = Interfaces()
    loopback = interfaces[1]
    assert loopback.name == "lo"
    assert loopback.mtu_bytes >= 1280
    assert interfaces[1] is loopback
    interfaces.forget()
    assert interfaces[1] == loopback
    assert interfaces[1] is not loopback


def test_an_interface_that_is_gone_has_no_name() -> None:
    assert Interfaces()[2_000_000_000] == Interface("", 1500)
