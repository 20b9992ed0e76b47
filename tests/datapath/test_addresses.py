"""rtnetlink's messages as interfaces, addresses and changes. Needs no privileges."""

from __future__ import annotations

import select
import socket
import struct
import sys
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import addresses, netlink
from sipalg.datapath.addresses import Address, AddressWatch, Change, choose_primary, interfaces, primary_address
from sipalg.datapath.netlink import Message, NetlinkError


def link(kind: int, number: int, name: str | None) -> Message:
    body = struct.pack("=BxHiII", 0, 1, number, 1, 0)
    if name is not None:
        body += netlink.text(3, name) + netlink.attribute(4, (1500).to_bytes(4, sys.byteorder))
    return Message(kind, 0, body)


def address(kind: int, number: int, host: str, family: int = socket.AF_INET) -> Message:
    local = netlink.attribute(2, socket.inet_aton(host))
    return Message(kind, 0, struct.pack("=BBBBI", family, 24, 0, 0, number) + local)


def test_the_loopback_is_there() -> None:
    found = {interface.name: interface for interface in interfaces().values()}
    assert found["lo"].mtu_bytes == 65536
    assert primary_address("no such interface") == ""
    assert primary_address("lo") == ""  # valid on this host only: no NAT can use it


def test_the_first_address_that_is_primary_and_not_the_links_own() -> None:
    candidates = [
        Address(1, "169.254.0.1", 16, secondary=False, scope=253),
        Address(1, "203.0.113.2", 24, secondary=True, scope=0),
        Address(1, "203.0.113.1", 24, secondary=False, scope=0),
    ]
    assert choose_primary(candidates) == "203.0.113.1"
    assert choose_primary(candidates[:2]) == ""


def test_changes_with_names_that_follow() -> None:
    with AddressWatch() as watch:
        found = watch.changes([
            link(16, 900, "wan9"),
            address(20, 900, "203.0.113.1"),
            link(16, 900, "wan8"),
            address(21, 900, "203.0.113.1"),
            link(17, 900, "wan8"),
            address(20, 900, "203.0.113.2"),
        ])
        assert found == [
            Change("link-changed", "wan9", 900),
            Change("address-added", "wan9", 900, "203.0.113.1"),
            Change("link-changed", "wan8", 900),
            Change("address-lost", "wan8", 900, "203.0.113.1"),
            Change("link-gone", "wan8", 900),
            Change("address-added", "", 900, "203.0.113.2"),
        ]


def test_what_isnt_ours_is_passed_over() -> None:
    with AddressWatch() as watch:
        cut_off = [Message(kind, 0, b"x") for kind in (16, 17, 20, 21, 24)]
        others = [link(16, 5, None), address(20, 5, "1.2.3.4", socket.AF_INET6), *cut_off]
        assert watch.changes(others) == []


def test_nothing_waits_at_first_and_the_descriptor_can_be_polled() -> None:
    with AddressWatch() as watch:
        assert select.select([watch], [], [], 0) == ([], [], [])
        assert watch.read() == []


def test_lost_notifications_are_told_and_the_names_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with AddressWatch() as watch:
        watch.changes([link(16, 900, "wan9")])

        class Lost:
            def receive(self) -> list[Message]:
                raise NetlinkError(105)

            def close(self) -> None:
                """Nothing was opened."""

        watch._socket.close()
        monkeypatch.setattr(watch, "_socket", Lost())
        assert watch.read() == [Change("overflow")]
        assert 900 not in watch.names
        assert "lo" in watch.names.values()


def test_no_names_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> dict[int, addresses.Interface]:
        raise NetlinkError(1)

    monkeypatch.setattr(addresses, "interfaces", refused)
    with pytest.raises(NetlinkError):
        AddressWatch()


@given(st.sampled_from([16, 17, 20, 21]), st.binary(max_size=60))
def test_any_bytes_are_read_without_raising(kind: int, body: bytes) -> None:
    with AddressWatch() as watch:
        assert len(watch.changes([Message(kind, 0, body)])) <= 1


def address6(host: str, *, flags: int = 0, scope: int = 0, local: bool = False, all_flags: int = 0) -> Message:
    packed = socket.inet_pton(socket.AF_INET6, host)
    parts = netlink.attribute(1, packed)
    if local:
        parts = netlink.attribute(1, bytes(16)) + netlink.attribute(2, packed)
    if all_flags:
        parts += netlink.attribute(8, all_flags.to_bytes(4, sys.byteorder))
    return Message(20, 0, struct.pack("=BBBBI", socket.AF_INET6, 64, flags, scope, 900) + parts)


def test_ipv6_addresses_come_with_whether_they_are_to_stay() -> None:
    with AddressWatch() as watch:
        watch.changes([link(16, 900, "wan9")])
        found = watch.changes([address6("2001:DB8::1"), address6("2001:db8::2", local=True)])
    assert [change.host for change in found] == ["2001:db8::1", "2001:db8::2"]


@pytest.mark.parametrize(
    ("flags", "usable"),
    [(0, True), (0x80, True), (1, False), (0x40, False), (8, False), (0x20, False), (0x300, True), (0x301, False)],
)
def test_a_temporary_tentative_or_deprecated_address_is_none_to_leave_by(
    monkeypatch: pytest.MonkeyPatch, flags: int, usable: bool
) -> None:
    message = address6("2001:db8::1", flags=flags & 0xFF, all_flags=flags)
    link_local = address6("fe80::1", scope=253)

    class Kernel:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def request(self, question: Message) -> list[Message]:
            assert question.body[0] == socket.AF_INET6
            return [link_local, message]

    monkeypatch.setattr(addresses, "NetlinkSocket", lambda _protocol: Kernel())
    own = addresses.addresses(socket.AF_INET6)
    assert [one.host for one in own] == ["fe80::1", "2001:db8::1"]
    assert choose_primary(own) == ("2001:db8::1" if usable else "")
