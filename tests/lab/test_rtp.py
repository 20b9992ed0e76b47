"""Tones: µ-law there and back, which tone is in samples, and where a talker talks to."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lab.pbx_ends import address
from tests.lab.world import RTP

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import is_rtp
from sipalg.lab.programs import wait_until
from sipalg.lab.rtp import RATE_HZ, WINDOW, Talker, decode_ulaw, encode_ulaw, read_recording, tone_of
from sipalg.lab.topology import Topology


def tone(hz: float, seconds: float = 0.6, level: int = 8000) -> list[int]:
    return [round(level * math.sin(2 * math.pi * hz * n / RATE_HZ)) for n in range(int(seconds * RATE_HZ))]


@pytest.mark.parametrize("hz", [300, 440, 700, 1000, 1200, 3000])
def test_a_tone_is_found_within_half_a_hertz(hz: int) -> None:
    assert tone_of(tone(hz)) == pytest.approx(hz, abs=0.5)
    coded = bytes(encode_ulaw(sample) for sample in tone(hz))
    assert tone_of(decode_ulaw(coded)) == pytest.approx(hz, abs=0.5)


def test_only_the_newest_half_second_counts() -> None:
    assert tone_of(tone(440) + tone(1000)) == pytest.approx(1000, abs=2)


def test_silence_noise_and_too_little_are_no_tone() -> None:
    assert tone_of([0] * WINDOW) == 0.0
    assert tone_of(tone(440)[: WINDOW - 1]) == 0.0
    assert tone_of([a + b + c for a, b, c in zip(tone(440), tone(1000), tone(2000), strict=True)]) == 0.0


@given(st.integers(-32768, 32767))
def test_ulaw_is_near_the_sample(sample: int) -> None:
    decoded = decode_ulaw(bytes([encode_ulaw(sample)]))[0]
    assert abs(decoded - sample) <= max(16, abs(sample) / 16) or abs(sample) > 32124


def test_every_ulaw_byte_comes_back() -> None:
    # 0x7f is minus zero: the same sample as 0xff.
    assert [b for b in range(256) if encode_ulaw(decode_ulaw(bytes([b]))[0]) != b] == [0x7F]


def test_a_recording_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(44) + pack("<3h", 1, -2, 3) + b"\x01")
    assert list(read_recording(path)) == [1, -2, 3]


class Here(Topology):
    """A topology without namespaces."""

    def socket(
        self, _host: str, kind: socket.SocketKind = socket.SOCK_DGRAM, protocol: int = 0
    ) -> socket.socket:
        return socket.socket(socket.AF_INET, kind, protocol)


@pytest.fixture
def far() -> Iterator[socket.socket]:
    """Another end, on a loopback address of this process's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.settimeout(30.0)
        end.bind((address(60), 0))
        yield end


def test_a_talker_that_talks_back_does_so_to_where_packets_come_from(far: socket.socket) -> None:
    with Talker(Here(), "phone1", 0, 440) as talker:
        port = talker.port
        talker.talk_back()
        far.sendto(RTP, (address(10), port))
        packet, source = far.recvfrom(2048)
        assert is_rtp(packet)
        assert source[1] == port
        assert talker.received == [(Endpoint(*far.getsockname()), RTP)]


def test_a_talker_that_is_told_where_to_talk_stays_there(far: socket.socket) -> None:
    with Talker(Here(), "phone1", 0, 440) as talker:
        talker.talk_back()
        talker.talk_to(Endpoint(*far.getsockname()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(RTP, (address(10), talker.port))
            assert wait_until(lambda: bool(talker.received), 2.0)
            sent = talker.sent
            assert wait_until(lambda: talker.sent > sent + 1, 2.0)
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(2048)
