from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from bench.capture_corpus import KINDS, Truth, write

from sipalg.capture.decode import Decoder
from sipalg.capture.reading import open_capture

#: Enough dialogs for one of every kind, as large as in the benchmark.
DIALOGS, SIZE_BYTES = 120, 120 * 214_748


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    path = tmp_path_factory.mktemp("corpus") / "a.pcap"
    return path, write(path, 1, DIALOGS, SIZE_BYTES)


def test_nine_tenths_are_voice_and_every_kind_is_there(made: tuple[Path, Truth]) -> None:
    path, truth = made
    assert 0.85 <= truth.rtp_packets / truth.packets <= 0.95
    assert set(truth.kinds) == set(KINDS)
    assert abs(path.stat().st_size - SIZE_BYTES) < SIZE_BYTES / 10


def test_packets_are_whole_and_in_order(made: tuple[Path, Truth]) -> None:
    path, truth = made
    decoder = Decoder()
    with open_capture(path) as source:
        times = [segment.time_ns for segment in decoder.segments(source)]
    assert (len(times), decoder.others, source.damage) == (truth.packets, 0, None)
    assert times == sorted(times)


def test_same_seed_makes_the_same_file_and_another_one_another(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    truths = [write(path, seed, 5, 100_000) for path, seed in zip(paths, (1, 1, 2), strict=True)]
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()
    assert truths[0] == truths[1]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")
def test_tshark_finds_as_many_messages(tmp_path: Path) -> None:
    truth = write(tmp_path / "a.pcap", 3, 12, 600_000)
    argv = ["tshark", "-r", str(tmp_path / "a.pcap"), "-Y", "sip", "-T", "fields", "-e", "frame.number"]
    rows = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(rows) == truth.messages
