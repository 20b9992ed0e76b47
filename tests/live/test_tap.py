"""The packet socket on real interfaces: what the kernel says of each frame, and what its filter lets through."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from tests.live.router import PATIENCE_S
from tests.sniffer.packets import ethernet, transport, udp

from sipalg.capture.records import Captured
from sipalg.lab.topology import Topology
from sipalg.sniffer.settings import settings_of
from sipalg.sniffer.tap import Tap, TapError

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

CALL = udp("10.9.0.1", 40000, "10.9.0.2", 5060, b"OPTIONS sip:a SIP/2.0\r\n\r\n")
#: TUNSETIFF; IFF_TUN | IFF_NO_PI.
TUNSETIFF = 0x400454CA
TUN = 0x1001


@pytest.fixture(scope="module")
def cable(net: Topology) -> Topology:
    """Two ends of a cable in the router's namespace."""
    net.run("router", "ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1")
    for name in ("t0", "t1", "lo"):
        net.run("router", "ip", "link", "set", name, "up")
    return net


@pytest.fixture
def tap(cable: Topology) -> Iterator[Callable[..., Tap]]:
    made = []

    def make(**texts: str) -> Tap:
        settings = settings_of({key.replace("_", "-"): text for key, text in texts.items()})
        made.append(cable.inside("router", lambda: Tap(settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def raw(net: Topology, name: str) -> socket.socket:
    def make() -> socket.socket:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        end.bind((name, 0))
        return end

    return net.inside("router", make)


def take(tap: Tap, count: int) -> list[Captured]:
    """That many packets, and no more of those that are there."""
    found: list[Captured] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        select.select([tap], [], [], 0.1)
        while (packet := tap.receive()) is not None:
            found.append(packet)
    assert len(found) == count
    return found


def test_interface_direction_time_and_size(cable: Topology, tap: Callable[..., Tap]) -> None:
    both = tap(filter_interface="t0,t1", filter_port="sip")
    before_ns = time.time_ns()
    with raw(cable, "t0") as wire:
        wire.send(ethernet(CALL))
        wire.send(ethernet(udp("10.9.0.1", 40000, "10.9.0.2", 5062)))
    out, came = take(both, 2)
    assert (out.interface, out.outgoing, came.interface, came.outgoing) == ("t0", True, "t1", False)
    for packet in (out, came):
        assert packet.frame == ethernet(CALL)
        assert packet.wire_bytes == len(packet.frame)
        assert before_ns - 10**9 < packet.time_ns < time.time_ns() + 10**9


@pytest.mark.parametrize(("direction", "interface"), [("tx", "t0"), ("rx", "t1")])
def test_one_direction(cable: Topology, tap: Callable[..., Tap], direction: str, interface: str) -> None:
    one = tap(filter_interface="!lo", filter_direction=direction, filter_dst_ip_address="10.9.0.2")
    with raw(cable, "t0") as wire:
        wire.send(ethernet(CALL))
    (packet,) = take(one, 1)
    assert packet.interface == interface


def test_a_long_packet_is_cut_and_its_size_told(cable: Topology, tap: Callable[..., Tap]) -> None:
    one = tap(filter_interface="t1", max_packet_size="64", filter_port="5060")
    whole = ethernet(udp("10.9.0.1", 1, "10.9.0.2", 5060, bytes(900)))
    with raw(cable, "t0") as wire:
        wire.send(whole)
    (packet,) = take(one, 1)
    assert (packet.frame, packet.wire_bytes) == (whole[:64], len(whole))


def test_a_tag_is_in_the_frame_wherever_the_kernel_has_it(cable: Topology, tap: Callable[..., Tap]) -> None:
    tagged = ethernet(CALL, vlan=20)
    wanted = tap(filter_interface="t0,t1", filter_vlan="20", filter_ip_address="10.9.0.1")
    other = tap(filter_interface="t0,t1", filter_vlan="!20", filter_ip_address="10.9.0.1")
    with raw(cable, "t0") as wire:
        wire.send(tagged)
        wire.send(ethernet(CALL, vlan=30))
    # Sent as it is; received, the kernel has taken the tag off.
    assert [(one.interface, one.frame, one.wire_bytes) for one in take(wanted, 2)] == [
        ("t0", tagged, len(tagged)), ("t1", tagged, len(tagged)),
    ]  # fmt: skip
    assert {one.frame for one in take(other, 2)} == {ethernet(CALL, vlan=30)}


def test_a_later_piece_comes_with_its_port(cable: Topology, tap: Callable[..., Tap]) -> None:
    one = tap(filter_interface="t1", filter_port="5060")
    piece = ethernet(transport(17, bytes(64), "10.9.0.1", "10.9.0.2", fragment=185))
    with raw(cable, "t0") as wire:
        wire.send(piece)
    assert take(one, 1)[0].frame == piece


def test_an_interface_without_link_layer_gets_one(cable: Topology, tap: Callable[..., Tap]) -> None:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/net/tun")

    def make() -> int:
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun9", TUN))
        return device

    device = cable.inside("router", make)
    try:
        cable.run("router", "ip", "link", "set", "tun9", "up")
        one = tap(filter_interface="tun9", filter_port="5060", filter_ip_address="10.9.0.0/24")
        os.write(device, CALL)
        (packet,) = take(one, 1)
    finally:
        os.close(device)
    assert packet.frame == bytes(12) + b"\x08\x00" + CALL
    assert (packet.wire_bytes, packet.outgoing) == (len(packet.frame), False)


def test_what_the_kernel_had_no_room_for_is_counted(cable: Topology, tap: Callable[..., Tap]) -> None:
    one = tap(filter_interface="t0", filter_dst_port="5060")
    one._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    frame = ethernet(CALL)
    with raw(cable, "t0") as wire:
        for _ in range(200):
            wire.send(frame)
    kept = 0
    while one.receive() is not None:
        kept += 1
    assert 0 < kept < 200
    assert one.count_dropped() == 200 - kept
    assert one.count_dropped() == 200 - kept


def test_an_interface_that_goes_down_ends_nothing(cable: Topology, tap: Callable[..., Tap]) -> None:
    one = tap(filter_interface="t1", filter_port="5060")
    cable.run("router", "ip", "link", "set", "t1", "down")
    assert one.receive() is None
    cable.run("router", "ip", "link", "set", "t1", "up")
    with raw(cable, "t0") as wire:
        wire.send(ethernet(CALL))
    assert len(take(one, 1)) == 1


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(TapError, match=r"filter-interface: there is no interface vlan99; there are .*lan0"):
        Tap(settings_of({"filter-interface": "vlan99"}), {"lan0": 1})
