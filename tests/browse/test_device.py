from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from tests.analysis.conftest import PHONE, SERVER, sip, udp, voice
from tests.sniffer import bpf
from tests.sniffer import packets as made
from tests.sniffer.packets import ethernet, tcp, transport

from sipalg.browse import device as module
from sipalg.browse.device import SIP_LIKE, Device, listen
from sipalg.capture.pcap import CaptureError
from sipalg.capture.records import Captured
from sipalg.sniffer.program import program
from sipalg.sniffer.settings import Settings, settings_of
from sipalg.sniffer.tap import TapError

INVITE = sip("INVITE sip:bob@example.com SIP/2.0", "1 INVITE")
SIX = ("2001:db8::1", 5060, "2001:db8::2", 7060)
FOUR = ("192.0.2.1", 5060, "192.0.2.2", 7060)


class FakeTap:
    """A tap whose packets are given."""

    def __init__(self, settings: Settings, also: str = "") -> None:
        self.settings = settings
        self.also = also
        self.packets: list[Captured] = []
        self.reading, self.writing = os.pipe()
        self.closed = False

    def fileno(self) -> int:
        return self.reading

    def receive(self) -> Captured | None:
        return self.packets.pop(0) if self.packets else None

    def count_dropped(self) -> int:
        return 3

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)
        self.closed = True


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Device, FakeTap]]:
    made: list[FakeTap] = []

    def make(settings: Settings, also: str = "") -> FakeTap:
        made.append(FakeTap(settings, also))
        return made[-1]

    monkeypatch.setattr(module, "Tap", make)
    device = Device(["lan0", "any"])
    yield device, made[0]
    device.close()
    assert made[0].closed


def put(tap: FakeTap, count: int) -> None:
    frame = udp(PHONE, SERVER, INVITE)
    tap.packets += [Captured(number, frame, len(frame), "lan0") for number in range(count)]
    os.write(tap.writing, b"x")


def test_what_came_is_taken_but_not_all_at_once(device: tuple[Device, FakeTap]) -> None:
    one, tap = device
    assert [entry.text for entry in tap.settings.filters["filter-interface"]] == ["lan0", "all"]
    assert (tap.settings.max_packet_bytes, tap.also, one.fileno()) == (65535, SIP_LIKE, tap.reading)
    put(tap, 100)
    one.take()
    assert one.calls.rows()[0]["sip_packets"] == 64
    one.take()
    assert one.calls.rows()[0]["sip_packets"] == 100
    assert one.calls.name == "lan0, any, live (3 packets lost)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_listening(number: signal.Signals, device: tuple[Device, FakeTap]) -> None:
    one, tap = device
    before = signal.getsignal(number)
    said = []

    def begun() -> None:
        put(tap, 2)
        said.append("begun")
        signal.raise_signal(number)

    listen(one, begun)
    assert said == ["begun"]
    assert signal.getsignal(number) == before
    assert one.calls.rows()[0]["sip_packets"] == 2


def test_packets_are_taken_while_it_listens(device: tuple[Device, FakeTap], monkeypatch: pytest.MonkeyPatch) -> None:
    one, tap = device
    take = one.take

    def take_and_end() -> None:
        take()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(one, "take", take_and_end)
    listen(one, lambda: put(tap, 1))
    assert len(one.calls.rows()) == 1


def test_what_cannot_be_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CaptureError, match=r"^--device: 'a/b' is no interface name; examples: all, ether1$"):
        Device(["a/b"])

    def refuse(_settings: Settings, also: str) -> FakeTap:
        raise TapError(f"filter-interface: there is no interface x; {len(also) > 0}")

    monkeypatch.setattr(module, "Tap", refuse)
    with pytest.raises(CaptureError, match=r"^--device: there is no interface x; True$"):
        Device(["x"])


@pytest.mark.parametrize(
    ("packet", "taken"),
    [
        (made.udp(*FOUR, INVITE), True),
        (made.udp(*SIX, INVITE), True),
        (made.udp(*FOUR, voice(1, 2)), False),
        (made.udp(*SIX, voice(1, 2)), False),
        (transport(17, b"later piece of something", "192.0.2.1", "192.0.2.2", 0x0010), True),
        (transport(44, bytes(40), "2001:db8::1", "2001:db8::2"), True),
        (tcp(FOUR, 1, INVITE), True),
        (tcp(SIX, 1, INVITE), True),
        (tcp(("192.0.2.1", 443, "192.0.2.2", 50000), 1, INVITE), False),
        (transport(1, bytes(40), "192.0.2.1", "192.0.2.2"), False),
    ],
)
@pytest.mark.parametrize("vlan", [None, 20])
def test_the_kernel_leaves_voice_out(packet: bytes, taken: bool, vlan: int | None) -> None:
    instructions = program(settings_of({}), {}, SIP_LIKE)
    known = {bpf.PACKET_TYPE: 0, bpf.INTERFACE: 2, bpf.HARDWARE: 1, bpf.CPU: 0, bpf.VLAN_PRESENT: 0, bpf.VLAN_TAG: 0}
    assert bool(bpf.run(instructions, ethernet(packet, vlan=vlan), known)) == taken
