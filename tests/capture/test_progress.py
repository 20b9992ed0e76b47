from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from sipalg.capture import progress
from sipalg.capture.pcap import CaptureWriter
from sipalg.capture.progress import with_bar
from sipalg.capture.reading import open_capture


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
@pytest.mark.parametrize("large", [False, True])
def test_large_file_has_a_bar_on_a_terminal_only(
    stream: io.StringIO, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CaptureWriter(tmp_path / "a.pcap", 1) as writer:
        for number in range(3):
            writer.write(number, b"frame", 5)
        writer.commit()
    if large:
        monkeypatch.setattr(progress, "BAR_FROM_BYTES", 1)
        monkeypatch.setattr(progress, "_FRAMES_PER_STEP", 1)
    monkeypatch.setattr(sys, "stderr", stream)
    with open_capture(tmp_path / "a.pcap") as source:
        assert [frame.number for frame in with_bar(source)] == [1, 2, 3]
    assert ("a.pcap" in stream.getvalue()) == (large and stream.isatty())
