"""Audio: a tone as G.711 µ-law in RTP, and which tone is heard in a recording or in packets.

A phone that is called hears the far end only if the tone of the far end is in what arrived; counting packets wouldn't
tell whose they were. The talker is the media of scripted flows: it sends a tone from one port and keeps what comes to
it. On a packet's way this is the media itself, which never sees the ALG.
"""

from __future__ import annotations

import cmath
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Final, Self

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import RTP_HEADER_BYTES, is_rtp
from sipalg.lab.topology import Topology

RATE_HZ: Final = 8000
PACKET_S: Final = 0.02
SAMPLES_A_PACKET: Final = 160
#: Half a second, and a power of two: tones are told apart to 2 Hz, and found to a fraction.
WINDOW: Final = 4096
WAV_HEADER_BYTES: Final = 44

_RTP_HEADER: Final = Struct("!BBHII")
_BIAS: Final = 0x84


def decode_ulaw(data: bytes) -> list[int]:
    """Decode G.711 µ-law bytes into 16-bit samples (ITU-T G.711, table 2a)."""
    return [_ULAW[byte] for byte in data]


def _ulaw_sample(byte: int) -> int:
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + _BIAS << (byte >> 4 & 7)) - _BIAS
    return -magnitude if byte & 0x80 else magnitude


_ULAW: Final = [_ulaw_sample(byte) for byte in range(256)]


def encode_ulaw(sample: int) -> int:
    """Encode one 16-bit sample as a µ-law byte."""
    magnitude = min(abs(sample), 32635) + _BIAS
    exponent = magnitude.bit_length() - 8
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | magnitude >> exponent + 3 & 0x0F) & 0xFF


def tone_of(samples: Sequence[int]) -> float:
    """Give the frequency in Hz that is strongest in the last half second of samples taken at 8000 Hz.

    0.0 if there are too few samples, silence, or nothing that stands out: less than half of the energy in one place.
    """
    window = samples[-WINDOW:]
    if len(window) < WINDOW:
        return 0.0
    shaped = [
        complex(sample * (0.5 - 0.5 * math.cos(2 * math.pi * index / WINDOW))) for index, sample in enumerate(window)
    ]
    power = [abs(value) ** 2 for value in _fft(shaped)[1 : WINDOW // 2]]
    total = sum(power)
    peak = max(range(len(power)), key=power.__getitem__)
    if total < 1e6 * WINDOW or sum(power[max(0, peak - 3) : peak + 4]) < total / 2:
        return 0.0
    return (peak + 1 + _between(power, peak)) * RATE_HZ / WINDOW


def _between(power: list[float], peak: int) -> float:
    """Say how far the true peak lies from the strongest place: a parabola through it and its neighbours, in log."""
    if not 0 < peak < len(power) - 1:
        return 0.0
    left, middle, right = (math.log(value + 1.0) for value in power[peak - 1 : peak + 2])
    curve = left - 2 * middle + right
    return 0.5 * (left - right) / curve if curve else 0.0


def _fft(values: list[complex]) -> list[complex]:
    size = len(values)
    if size == 1:
        return values
    even, odd = _fft(values[::2]), _fft(values[1::2])
    step = cmath.exp(-2j * math.pi / size)
    turned, factor = [], 1 + 0j
    for value in odd:
        turned.append(factor * value)
        factor *= step
    return [a + b for a, b in zip(even, turned, strict=True)] + [a - b for a, b in zip(even, turned, strict=True)]


def read_recording(path: Path) -> memoryview:
    """Read a recording's samples (16 bit, one channel, 8000 Hz), also while it is still being written."""
    data = path.read_bytes()[WAV_HEADER_BYTES:]
    return memoryview(data[: len(data) // 2 * 2]).cast("h")


class Talker:
    """Media without signalling: sends a tone from a host's port, and keeps the audio that comes to that port."""

    def __init__(self, net: Topology, host: str, port: int, tone_hz: int) -> None:
        """Take the port (on any address of the host; 0 is any port); nothing is sent before :meth:`talk_to`."""
        self.host = host
        self.tone_hz = tone_hz
        self.received: list[tuple[Endpoint, bytes]] = []
        self.sent = 0
        self._remote: Endpoint | None = None
        self._talks_back = False
        self._ended = threading.Event()
        self._socket = net.socket(host)
        self._socket.bind(("", port))
        self.port: int = self._socket.getsockname()[1]
        self._socket.settimeout(0.1)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def talk_to(self, remote: Endpoint | None) -> None:
        """Send to `remote` from now on; None is silence."""
        self._talks_back = False
        self._remote = remote

    def talk_back(self) -> None:
        """Send to where the newest packet came from, from now on, as a media server with `nat=yes` does (comedia)."""
        self._talks_back = True

    def heard_hz(self) -> float:
        """Give the tone of the last half second that came in, 0.0 if there is none."""
        payload = b"".join(packet[RTP_HEADER_BYTES:] for _, packet in self.received[-30:])
        return tone_of(decode_ulaw(payload))

    def stop(self) -> None:
        """Stop talking and give the port back."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while not self._ended.is_set():
            try:
                packet, source = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            except OSError:
                # An ICMP error of a packet that we sent; the next one may come through.
                self._ended.wait(PACKET_S)
                continue
            if is_rtp(packet):
                self.received.append((Endpoint(*source), packet))
                if self._talks_back:
                    self._remote = Endpoint(*source)

    def _send(self) -> None:
        # One second of tone: every whole number of Hz comes out even, so it can be repeated.
        second = bytes(
            encode_ulaw(round(8000 * math.sin(2 * math.pi * self.tone_hz * index / RATE_HZ)))
            for index in range(RATE_HZ)
        )
        due = time.monotonic()
        while not self._ended.is_set():
            remote = self._remote
            if remote is not None:
                start = self.sent * SAMPLES_A_PACKET % RATE_HZ
                header = _RTP_HEADER.pack(0x80, 0, self.sent & 0xFFFF, self.sent * SAMPLES_A_PACKET, self.tone_hz)
                self._try_send(header + second[start : start + SAMPLES_A_PACKET], remote)
                self.sent += 1
            due = max(due + PACKET_S, time.monotonic() - PACKET_S)
            self._ended.wait(max(0.0, due - time.monotonic()))

    def _try_send(self, packet: bytes, remote: Endpoint) -> None:
        try:
            self._socket.sendto(packet, remote)
        except OSError:
            # No route, as for a private address outside: that it isn't heard is what the scenario will say.
            return
