from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import BinaryIO, cast

from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.reading import open_capture
from sipalg.capture.records import Captured, Pcap, Pcapng, read_blocks
from sipalg.sniffer.storage import File, Memory


def packet(number: int, size_bytes: int = 84) -> Captured:
    frame = number.to_bytes(4, "big") + bytes(size_bytes - 4)
    return Captured(number * 1_000_000_000, frame, size_bytes, "lan0", True)


def numbers(packets: list[Captured]) -> list[int]:
    return [int.from_bytes(one.frame[:4], "big") for one in packets]


def kept(memory: Memory) -> list[int]:
    return numbers(read_blocks(io.BytesIO(memory.content())))


def test_memory_scrolls() -> None:
    memory = Memory(300, scroll=True)
    for number in range(5):
        memory.add(packet(number))
    assert (kept(memory), memory.size_bytes, memory.full) == ([2, 3, 4], 300, False)


def test_memory_that_does_not_scroll_keeps_the_first() -> None:
    memory = Memory(300, scroll=False)
    for number in range(3):
        memory.add(packet(number))
    assert not memory.full
    memory.add(packet(3))
    memory.add(packet(4, 10))
    assert (kept(memory), memory.full, len(memory)) == ([0, 1, 2], True, 3)


def test_a_packet_larger_than_memory() -> None:
    scrolling, still = Memory(100, scroll=True), Memory(100, scroll=False)
    for memory in (scrolling, still):
        memory.add(packet(1))
        memory.add(packet(2, 200))
    assert (kept(scrolling), scrolling.full) == ([1], False)
    assert (kept(still), still.full) == ([1], True)


@given(st.lists(st.integers(4, 120), max_size=40), st.booleans())
def test_memory_never_holds_more_than_its_limit(sizes: list[int], scroll: bool) -> None:
    memory = Memory(300, scroll=scroll)
    for number, size_bytes in enumerate(sizes):
        memory.add(packet(number, size_bytes))
        packets = read_blocks(io.BytesIO(memory.content()))
        assert memory.size_bytes == sum(len(one.frame) + 16 for one in packets) <= 300
    found = kept(memory)
    assert found == sorted(found)


def test_a_file_ends_before_its_limit_and_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    file = File(path.open("wb", buffering=0), Pcap(), 24 + 2 * 100 + 99)
    for number in range(5):
        file.add(packet(number))
        file.flush()
    assert (file.full, file.packets, file.size_bytes, path.stat().st_size) == (True, 2, 224, 224)
    file.close()
    with open_capture(path) as reader:
        assert [one.number for one in reader] == [1, 2]


def test_a_smaller_packet_is_not_squeezed_in_behind_the_limit(tmp_path: Path) -> None:
    file = File((tmp_path / "a").open("wb", buffering=0), Pcap(), 24 + 150)
    file.add(packet(1))
    file.add(packet(2))
    file.add(packet(3, 10))
    assert file.packets == 1
    file.close()


class FullDisk(io.RawIOBase):
    """Takes so many bytes."""

    def __init__(self, room: int, *, partly: bool) -> None:
        super().__init__()
        self.content = bytearray()
        self._room = room
        self._partly = partly

    def write(self, data: object) -> int:
        assert isinstance(data, bytes)
        left = self._room - len(self.content)
        if len(data) <= left:
            self.content += data
            return len(data)
        if not self._partly:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += data[:left]
        return left

    def truncate(self, size: int | None = None) -> int:
        assert size is not None
        del self.content[size:]
        return size


def test_a_full_disk_leaves_whole_records() -> None:
    for partly, problem in ((True, "the disk took only a part"), (False, "No space left on device")):
        disk = FullDisk(24 + 250, partly=partly)
        file = File(cast(BinaryIO, disk), Pcap(), 10_000)
        for number in range(2):
            file.add(packet(number))
        file.flush()
        file.add(packet(2))
        file.flush()
        file.add(packet(3))
        file.flush()
        assert (file.problem, file.full, file.packets, file.size_bytes) == (problem, True, 2, 224)
        assert len(disk.content) == 224


def test_a_disk_that_takes_nothing() -> None:
    file = File(cast(BinaryIO, FullDisk(0, partly=False)), Pcapng(), 1000)
    assert (file.problem, file.size_bytes, file.packets) == ("No space left on device", 0, 0)
