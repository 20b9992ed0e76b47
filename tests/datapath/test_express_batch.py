"""The shortest way through the queue's buffers against the driver's: the same verdicts, in order, to the last byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.datapath.queued import ACCEPT, DROP, NUMBER, packet_message
from tests.datapath.test_driver import Runner
from tests.engine.refreshes import MESSAGES, OK, PHONE, REGISTER, SERVER, refreshes

from sipalg import builds
from sipalg.codec.datagram import checksums_right, fill_checksums, host_bytes
from sipalg.datapath.driver import Driver
from sipalg.datapath.interfaces import Interface, Interfaces
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

Message = tuple[bytes, bool]
#: The interfaces of a packet's message (`queued`), each way.
INSIDE, OUTSIDE = 3, 4


class Router:
    """A driver with an engine of its own, and the kernel's end of its queue."""

    def __init__(self, kernel: socket.socket, queue: Any, mtu_bytes: int) -> None:
        self.kernel, self.queue = kernel, queue
        self.alg = Alg(Settings(frozenset({"lan0"}), "203.0.113.1", "203.0.113.1"), lambda *_: False)
        interfaces = Interfaces()
        interfaces.known = {
            INSIDE: Interface("lan0", mtu_bytes),
            OUTSIDE: Interface("wan0", mtu_bytes),
        }
        self.now = 1000.0
        inside = frozenset({"lan0"})
        self.driver = Driver(self.alg, queue, Runner(), inside, interfaces=interfaces, clock=lambda: self.now)

    def passes(self, packets: list[bytes], verdicts: int) -> list[bytes]:
        """Have the kernel queue packets; the verdicts' bytes, each by itself."""
        for packet in packets:
            self.kernel.send(packet)
        self.driver.drain()
        got: list[bytes] = []
        while len(got) < verdicts:
            data = self.kernel.recv(1 << 18)
            while data:
                size = int.from_bytes(data[:4], "little")
                got.append(data[: size + 3 & ~3])
                data = data[size + 3 & ~3 :]
        return got


@contextmanager
def router(module: str, mtu_bytes: int = 1500) -> Iterator[Router]:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (kernel, ours):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        end.settimeout(30)
    name = {"batch": "Batch", "express_batch": "ExpressBatch"}[module]
    kind = getattr(import_module(f"sipalg.datapath.{module}"), name)
    with kernel, ours:
        yield Router(kernel, kind(ours.fileno(), NUMBER, ACCEPT, DROP), mtu_bytes)


def queued(number: int, message: Message) -> bytes:
    """The kernel's message of a packet with a text, each way."""
    text, leaves = message
    source, destination = (PHONE, SERVER) if leaves else (SERVER, PHONE)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(text), 7, 0x4000, 64, 17, 0)
    header += host_bytes(source.host) + host_bytes(destination.host)
    packet = fill_checksums(header + struct.pack("!HHHH", source.port, destination.port, 8 + len(text), 1) + text)
    held = bytearray(packet_message(number, packet))
    if not leaves:
        held[36:40], held[44:48] = held[44:48], held[36:40]
    return bytes(held)


def replaced(router: Router) -> int:
    """Packets that went on with another text."""
    return router.driver.packets["replaced"]


@settings(max_examples=60)
@given(st.lists(refreshes(), min_size=1, max_size=40), st.sampled_from([1500, 380, 300]))
def test_both_ways_send_the_same_verdicts(script: list[Message], mtu_bytes: int) -> None:
    usual = [(REGISTER, True), (OK, False), (REGISTER, True), (OK, False)]
    with router("batch", mtu_bytes) as full, router("express_batch", mtu_bytes) as quick:
        for some in (usual, script, usual, [*MESSAGES, *script]):
            for one in (full, quick):
                one.now += 1.0
            packets = [queued(number, message) for number, message in enumerate(some)]
            expected, got = (one.passes(packets, len(packets)) for one in (full, quick))
            assert without_number(got) == without_number(expected)
            for verdict in got:
                assert len(verdict) <= 36 or checksums_right(verdict[36:])
        assert dict(quick.driver.packets) == dict(full.driver.packets)
        assert quick.alg.snapshot(quick.now) == full.alg.snapshot(full.now)


#: Packets as they come seldom, made of one as it comes mostly: options, fragments, no checksum, bytes that nobody
#: counts, lengths that aren't so, another protocol, the last bytes left out by the queue.
SHAPES: tuple[Callable[[bytes], bytes], ...] = (
    lambda packet: packet,
    lambda packet: b"\x46" + packet[1:20] + b"\1\1\1\0" + packet[20:],
    lambda packet: b"\x46" + packet[1:2] + (len(packet) + 4).to_bytes(2) + packet[4:20] + b"\1\1\1\0" + packet[20:],
    lambda packet: packet[:6] + b"\x20\0" + packet[8:],
    lambda packet: packet[:6] + b"\0\x09" + packet[8:],
    lambda packet: packet[:6] + b"\0\0" + packet[8:],
    lambda packet: packet[:26] + b"\0\0" + packet[28:],
    lambda packet: packet + b"padding",
    lambda packet: packet[:24] + (len(packet) - 24).to_bytes(2) + packet[26:],
    lambda packet: packet[:24] + (len(packet) - 16).to_bytes(2) + packet[26:],
    lambda packet: packet[:2] + (len(packet) - 2).to_bytes(2) + packet[4:],
    lambda packet: packet[:9] + b"\x06" + packet[10:],
    lambda packet: packet[:-40],
    lambda packet: packet[:30],
    lambda packet: packet[:12],
)


@settings(max_examples=40)
@given(st.lists(st.tuples(refreshes(), st.sampled_from(SHAPES)), min_size=1, max_size=30))
def test_packets_of_any_shape_have_the_same_verdicts(script: list[tuple[Message, Callable[[bytes], bytes]]]) -> None:
    usual = [queued(number, message) for number, message in enumerate([(REGISTER, True), (OK, False)] * 2)]
    packets = []
    for number, (message, shape) in enumerate(script):
        whole = queued(number, message)
        shaped = packet_message(number, shape(whole[52 : 48 + int.from_bytes(whole[48:50], "little")]))
        packets.append(shaped[:20] + whole[20:48] + shaped[48:])
    with router("batch") as full, router("express_batch") as quick:
        for some in (usual, packets, usual):
            for one in (full, quick):
                one.now += 1.0
            expected, got = (one.passes(some, len(some)) for one in (full, quick))
            assert without_number(got) == without_number(expected)
        assert dict(quick.driver.packets) == dict(full.driver.packets)
        assert dict(quick.driver.not_asked) == dict(full.driver.not_asked)
        assert quick.alg.snapshot(quick.now) == full.alg.snapshot(full.now)


def without_number(verdicts: list[bytes]) -> list[bytes]:
    """Verdicts without what fragments are put together by, where a packet got a new one: any will do."""
    return [verdict[:40] + verdict[48:] if verdict[42:44] == b"\0\0" else verdict for verdict in verdicts]


def test_what_is_known_goes_by_itself_and_all_else_by_the_driver_in_its_turn() -> None:
    with router("express_batch") as one:
        for _ in range(2):
            one.passes([queued(1, (REGISTER, True)), queued(2, (OK, False))], 2)
            one.now += 1.0
        packets = [queued(number, (REGISTER, True)) for number in range(40)]
        packets[7] = queued(7, (b"\r\n\r\n", True))
        before = replaced(one)
        ids = [struct.unpack_from("!I", verdict, 28)[0] for verdict in one.passes(packets, 40)]
        assert ids == list(range(40))
        assert replaced(one) - before == 39
        assert one.queue.received == 44


class FailsOnce(dict[int, Interface]):
    """Interfaces, of which the first look-up fails."""

    failed = False

    def get(self, ifindex: int, default: Any = None) -> Any:
        if not self.failed:
            self.failed = True
            raise RuntimeError("once")
        return super().get(ifindex, default)


def test_where_something_fails_all_that_came_with_it_has_its_verdict() -> None:
    with router("express_batch") as one:
        for _ in range(2):
            one.passes([queued(1, (REGISTER, True)), queued(2, (OK, False))], 2)
            one.now += 1.0
        one.driver.interfaces.known = known = FailsOnce(one.driver.interfaces.known)
        before = replaced(one)
        ids = [
            struct.unpack_from("!I", verdict, 28)[0]
            for verdict in one.passes([queued(number, (REGISTER, True)) for number in range(3)], 3)
        ]
        assert known.failed
        assert ids == [0, 1, 2]
        assert replaced(one) - before == 3
        assert one.driver.log.total == 1


class FailsFor(dict[int, Interface]):
    """Interfaces, of which one can't be looked up."""

    def get(self, ifindex: int, default: Any = None) -> Any:
        if ifindex == 99:
            raise RuntimeError("gone")
        return super().get(ifindex, default)


def test_an_interface_that_fails_leaves_no_other_ones_name_behind() -> None:
    with router("express_batch") as one:
        for _ in range(2):
            one.passes([queued(1, (REGISTER, True)), queued(2, (OK, False))], 2)
            one.now += 1.0
        one.driver.interfaces.known = FailsFor(one.driver.interfaces.known)
        packets = [queued(number, (REGISTER, True)) for number in range(3)]
        packets[1] = packets[1][:36] + OUTSIDE.to_bytes(4) + packets[1][40:44] + (99).to_bytes(4) + packets[1][48:]
        before = dict(one.alg.methods)
        one.passes(packets, 3)
        assert one.driver.log.total == 1
        assert one.alg.methods == before, "both others went the shortest way"


def test_who_listens_hears_of_every_message() -> None:
    with router("express_batch") as one:
        heard: list[bytes] = []
        one.driver.on_message = lambda datagram, _verdict, _time_ns: heard.append(datagram.payload)
        for _ in range(3):
            one.passes([queued(1, (REGISTER, True)), queued(2, (OK, False))], 2)
        assert heard == [REGISTER, OK] * 3
        one.driver.on_message = None
        one.driver.observe = True
        verdicts = one.passes([queued(1, (REGISTER, True))], 1)
        assert [len(verdict) for verdict in verdicts] == [32], "nothing is changed"
