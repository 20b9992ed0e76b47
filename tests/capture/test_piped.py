from __future__ import annotations

import os
import pty
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sipalg import cli
from sipalg.capture.pcap import CaptureError, CaptureWriter
from sipalg.capture.piped import STANDARD_INPUT, Copy, Patience, is_piped, open_input
from sipalg.capture.reading import open_capture

Feed = Callable[[bytes], None]


@pytest.fixture
def capture(tmp_path: Path) -> bytes:
    path = tmp_path / "a.pcap"
    with CaptureWriter(path, 101, nanoseconds=True) as writer:
        for number in range(3):
            writer.write(number, bytes(20 + number), 20 + number)
        writer.commit()
    return path.read_bytes()


@pytest.fixture
def feed() -> Iterator[Feed]:
    """feed(content): standard input is a pipe that has it."""
    before = os.dup(0)

    def put(content: bytes) -> None:
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        os.dup2(reading, 0)
        os.close(reading)

    yield put
    os.dup2(before, 0)
    os.close(before)


def sizes(path: Path, content: Path | None = None) -> list[int]:
    with open_capture(path, content) as source:
        return [len(frame.data) for frame in source]


def test_standard_input_is_read(capture: bytes, feed: Feed) -> None:
    feed(capture)
    assert sizes(STANDARD_INPUT) == [20, 21, 22]


def test_a_copy_is_read_again_and_again(capture: bytes, feed: Feed, tmp_path: Path) -> None:
    feed(capture)
    copy = Copy(STANDARD_INPUT)
    assert sizes(STANDARD_INPUT, copy.path) == sizes(STANDARD_INPUT, copy.path) == [20, 21, 22]
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(path.write_bytes, capture)
        assert sizes(path, Copy(path).path) == [20, 21, 22]
        writing.result()


def test_a_copy_goes_with_its_object(capture: bytes, feed: Feed) -> None:
    feed(capture)
    copy = Copy(STANDARD_INPUT)
    path = copy.path
    assert path.exists()
    del copy
    assert not path.exists()


def test_which_paths_are_pipes(tmp_path: Path, feed: Feed) -> None:
    feed(b"")
    os.mkfifo(tmp_path / "pipe")
    found = [is_piped(path) for path in (STANDARD_INPUT, tmp_path / "pipe", tmp_path, tmp_path / "none")]
    assert found == [True, True, False, False]


def test_a_terminal_is_refused(feed: Feed) -> None:
    feed(b"")
    leading, following = pty.openpty()
    os.dup2(following, 0)
    with pytest.raises(CaptureError, match=r"^-: is a terminal; send a capture through a pipe"):
        open_input(STANDARD_INPUT)
    for descriptor in (leading, following):
        os.close(descriptor)


def test_nothing_to_open_and_no_place_to_keep_it(
    capture: bytes, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CaptureError, match="No such file or directory; give a pcap"):
        Copy(tmp_path / "none")
    feed(capture)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(CaptureError, match=r"^-: can't be kept in .*: No such file or directory; set TMPDIR"):
        Copy(STANDARD_INPUT)


def test_the_first_interrupt_is_the_writers() -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        patience = Patience()
        signal.raise_signal(signal.SIGINT)
        assert pressed == []
        signal.raise_signal(signal.SIGINT)
        assert pressed == [signal.SIGINT]
        patience.end()
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_no_handlers(capture: bytes, feed: Feed) -> None:
    feed(capture)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(sizes, STANDARD_INPUT).result() == [20, 21, 22]
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize("command", ["calls", "follow", "diagnose"])
def test_commands_read_standard_input(
    command: str, capture: bytes, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(capture[:-1])
    assert cli.main([command, "-"]) in (1, 2)
    assert "-, packet 3: is cut off: the file ends in its middle" in capsys.readouterr().err
