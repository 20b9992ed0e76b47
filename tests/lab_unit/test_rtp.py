"""Tones: µ-law there and back, and which tone is in samples."""

from __future__ import annotations

import math
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.lab.rtp import RATE_HZ, WINDOW, decode_ulaw, encode_ulaw, read_recording, tone_of


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
