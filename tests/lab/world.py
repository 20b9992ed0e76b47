"""Fakes for a stage's network, programs, phones and media: nothing is started, and what happens is noted."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from sipalg.lab.packets import Wire
from sipalg.lab.phones import Phone, PhoneSettings
from sipalg.lab.rtp import RATE_HZ, WAV_HEADER_BYTES
from sipalg.lab.topology import Ipv6, LabError, Topology

RTP = b"\x80\x00" + bytes(10) + b"\xff" * 160


class World:
    """What happened, in its order, and what the fakes are to say."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.happened: list[str] = []
        self.programs: list[FakeProgram] = []
        self.rules: list[str] = []
        self.wires: dict[str, list[Wire]] = {}
        self.answers: dict[str, str] = {}
        self.asked: list[list[str]] = []
        self.checked: list[bool] = []
        self.not_ready = False


class FakeNet(Topology):
    """A topology that only has a directory, and answers to programs from the world's list."""

    def __init__(self, world: World, hosts: tuple[str, ...], ipv6: Ipv6 = "") -> None:
        super().__init__(hosts, ipv6=ipv6)
        self.world = world

    def __enter__(self) -> Self:
        self.directory = self.world.directory
        self.directory.mkdir()
        self.world.happened.append("net")
        return self

    def remove(self) -> None:
        self.world.happened.append("no net")

    def set_timeouts(self, unreplied_s: int, stream_s: int) -> None:
        self.world.happened.append(f"timeouts {unreplied_s} {stream_s}")

    def run(self, host: str, *argv: str | Path, text: str | None = None, check: bool = True) -> str:
        assert (host, text) == ("router", None)
        words = [str(word) for word in argv]
        self.world.asked.append(words)
        self.world.checked.append(check)
        return next((answer for word, answer in self.world.answers.items() if word in words), "")


class FakeProgram:
    """A program, capture or phone that notes its end."""

    def __init__(self, world: World, name: str, *argv: str) -> None:
        self.world = world
        self.name = name
        self.argv = argv
        self.path = Path(name)
        self.signals: list[int] = []
        self.waited: list[float] = []
        self.code: int | None = 0
        world.happened.append(name)
        world.programs.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.world.happened.append(f"no {self.name}")

    def wait_for(self, pattern: str, timeout_s: float = 30.0) -> None:
        assert (pattern, timeout_s > 0) == ("^ready$", True)
        if self.world.not_ready:
            raise LabError(f"{self.name} ended with 2: no such interface")

    def wait(self, timeout_s: float) -> int | None:
        self.waited.append(timeout_s)
        return self.code

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def text(self) -> str:
        return f"what {self.name} said"


class FakePhone(Phone):
    """A phone that does what `obeys` says at each command, and whose recordings are what `grow` makes of them."""

    def __init__(self, user: str = "101", host: str = "phone1", tone_hz: int = 440) -> None:
        self.settings = PhoneSettings(user, host, tone_hz)
        self.events: list[dict[str, Any]] = []
        self.told: list[tuple[str, str]] = []
        self.obeys: list[tuple[FakePhone, str]] = []
        self.files: list[Path] = []
        self.grow: Callable[[], None] = lambda: None
        self.registers = True
        self.asked_to_register = 0

    def stop(self) -> None:
        self.says("stopped")

    def says(self, kind: str, reason: str = "") -> None:
        """Have one more event."""
        self.events.append({"type": kind, "param": reason})

    def command(self, command: str, parameters: str = "") -> None:
        self.told.append((command, parameters))
        for phone, kind in self.obeys:
            phone.says(kind)

    def wait_for(self, kind: str, timeout_s: float = 6.0, since: int = 0) -> bool:
        assert timeout_s > 0
        return self.seen(kind, since) > 0

    def wait_answered(self, timeout_s: float, since: int = 0) -> bool:
        return self.wait_for("CALL_ESTABLISHED", timeout_s, since)

    def wait_registered(self, timeout_s: float = 6.0, times: int = 1) -> bool:
        assert (timeout_s > 0, times) == (True, 1)
        self.asked_to_register += 1
        return self.registers

    def recordings(self) -> list[Path]:
        self.grow()
        return self.files


class FakeTalker:
    """A talker which gets a packet each time that it is asked what it got."""

    def __init__(self, *heard_hz: float, comes: bool = True) -> None:
        self.host = "phone1"
        self.heard = list(heard_hz)
        self.comes = comes
        self._received: list[bytes] = []

    @property
    def received(self) -> list[bytes]:
        self._received += [RTP] * 40 * self.comes
        return list(self._received)

    def heard_hz(self) -> float:
        """What is measured: one after the other, the last one again and again."""
        return self.heard.pop(0) if len(self.heard) > 1 else self.heard[0]


def a_few_times(condition: Callable[[], bool], _timeout_s: float, _moved: Callable[[], object] = lambda: None) -> bool:
    """Ask without letting time pass."""
    return any(condition() for _ in range(5))


def tone(directory: Path, name: str, tone_hz: int, seconds: float = 1.0) -> Path:
    """A recording of one tone."""
    path = directory / name
    samples = [round(8000 * math.sin(2 * math.pi * tone_hz * n / RATE_HZ)) for n in range(int(seconds * RATE_HZ))]
    path.write_bytes(bytes(WAV_HEADER_BYTES) + array("h", samples).tobytes())
    return path


def listener(directory: Path, user: str, own_hz: int, heard_hz: int) -> FakePhone:
    """A phone that hears a tone from when its recording has been looked at for the first time."""
    phone = FakePhone(user, "phone1", own_hz)

    def grow() -> None:
        if phone.files:
            phone.files = [tone(directory, f"{user}.wav", heard_hz, 1.2)]
        else:
            phone.files = [directory / f"{user}.wav"]
            phone.files[0].write_bytes(bytes(WAV_HEADER_BYTES))

    phone.grow = grow
    return phone


def sip(start: str, *headers: str, sdp: tuple[str, int] | None = None) -> bytes:
    """A SIP message, with or without SDP that wants its media at an address and port."""
    body = f"v=0\r\nc=IN IP4 {sdp[0]}\r\nm=audio {sdp[1]} RTP/AVP 0\r\n" if sdp else ""
    return "\r\n".join([start, *headers, "", body]).encode()
