from __future__ import annotations

import gzip
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.capture import libpcap

from sipalg.capture.pcap import CaptureError, CaptureWriter
from sipalg.capture.reading import Frame, faults, open_capture, refuse_twice, unknown_links

TIME_NS = 1_700_000_000_123_456_789
FRAMES = [b"first", b"", b"third" * 100]


def pcap(frames: list[bytes], order: str = "<", link_type: int = 1) -> bytes:
    content = struct.pack(order + "IHHQII", 0xA1B23C4D, 2, 4, 0, 262144, link_type)
    for number, frame in enumerate(frames):
        seconds, rest = divmod(TIME_NS + number, 10**9)
        content += struct.pack(order + "IIII", seconds, rest, len(frame), len(frame) + 1) + frame
    return content


def read(path: Path) -> tuple[list[Frame], str | None]:
    with open_capture(path) as source:
        return list(source), source.damage


@pytest.mark.parametrize("order", ["<", ">"])
def test_frames_come_as_they_are(order: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(FRAMES, order))
    expected = [Frame(n + 1, TIME_NS + n, data, len(data) + 1, 1, 0) for n, data in enumerate(FRAMES)]
    assert read(path) == (expected, None)


def test_compressed_file_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(gzip.compress(pcap(FRAMES)))
    assert [frame.data for frame in read(path)[0]] == FRAMES


def test_microseconds_and_the_writers_files_agree_with_libpcap(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with CaptureWriter(path, 12) as writer:
        for number in range(2000):
            writer.write(TIME_NS // 1000 * 1000 + number * 1000, bytes(number), number)
        writer.commit()
    theirs = libpcap.read(path)[1]
    assert [(frame.number, frame.time_ns // 1000, *frame[2:4]) for frame in read(path)[0]] == theirs


def test_link_type_is_the_files_own(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    # The upper bits say how long the frames' checksum is.
    path.write_bytes(pcap([b"x"], link_type=0x50000071))
    assert read(path)[0][0].link_type == 0x71


@given(cut=st.integers(0, 700))
def test_file_cut_anywhere_gives_what_is_whole(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = pcap(FRAMES)
    path = tmp_path_factory.mktemp("cut") / "a.pcap"
    path.write_bytes(content[:cut])
    if cut < 24:
        with pytest.raises(CaptureError, match="give a pcap or pcapng file"):
            open_capture(path)
        return
    ends = [24]
    for data in FRAMES:
        ends.append(ends[-1] + 16 + len(data))
    frames, damage = read(path)
    assert [frame.data for frame in frames] == FRAMES[: sum(end <= cut for end in ends) - 1]
    whole = cut in ends or cut >= ends[-1]
    assert damage == (None if whole else f"{path}, packet {len(frames) + 1}: is cut off: the file ends in its middle")


def test_wrong_length_ends_the_reading_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([b"good"]) + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 1) + bytes(1000))
    frames, damage = read(path)
    assert [frame.data for frame in frames] == [b"good"]
    assert damage == f"{path}, packet 2: says that it has 2147483647 bytes: the file is damaged there"


@given(content=st.binary(max_size=400), at=st.integers(0, 600))
def test_any_damage_is_one_line(content: bytes, at: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    good = pcap(FRAMES)
    path = tmp_path_factory.mktemp("damaged") / "a.pcap"
    path.write_bytes(good[:at] + content + good[at + len(content) :])
    try:
        _, damage = read(path)
    except CaptureError as error:
        damage = str(error)
    assert damage is None or "\n" not in damage


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "is empty"), (b"This is a text and not a capture.", "is no capture"), (pcap([])[:20], "is cut off")],
)
def test_what_is_no_capture_is_an_error(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=what):
        open_capture(path)


def test_cut_compressed_file_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(gzip.compress(pcap([bytes([n % 251]) * 997 for n in range(500)]))[:-400])
    frames, damage = read(path)
    assert frames
    assert damage == f"{path}, packet {len(frames) + 1}: the compressed data is cut off"


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(FRAMES))
    with open_capture(path) as source:
        assert len(list(source)) == 3
        assert source.done_bytes == source.total_bytes == path.stat().st_size


def test_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(path.write_bytes, pcap(FRAMES))
        with open_capture(path) as source:
            assert [frame.data for frame in source] == FRAMES
            assert source.done_bytes == source.total_bytes == 0
        writing.result()


def test_link_types_that_cant_be_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(FRAMES))
    with open_capture(path) as source:
        assert list(source)
        assert unknown_links(source) == ""
    path.write_bytes(pcap(FRAMES, link_type=147))
    with open_capture(path) as source:
        assert list(source)
        with pytest.raises(CaptureError, match="link type 147 isn't one that is read here; capture Ethernet"):
            unknown_links(source)
    # A section header, an interface of Ethernet and one of something else, without packets.
    blocks = "0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000"
    for link_type in ("0100", "9300"):
        blocks += f"0100000014000000{link_type}00000000000014000000"
    path.write_bytes(bytes.fromhex(blocks))
    with open_capture(path) as source:
        assert list(source) == []
        assert unknown_links(source, "lost") == (
            f"{path}: link type 147 isn't one that is read here: those packets are lost"
        )


@pytest.mark.parametrize("order", ["<", ">"])
def test_two_captures_in_one_file_are_said_to_be_two(order: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    ng = tmp_path / "b.pcapng"
    with CaptureWriter(ng, 1) as writer:
        writer.write(TIME_NS, b"first", 5, interface="lan0")
        writer.commit()
    one = pcap(FRAMES, order)
    for first, second, frames in ((one, pcap(FRAMES), 3), (one, ng.read_bytes(), 3), (ng.read_bytes(), one, 1)):
        path.write_bytes(gzip.compress(first) + gzip.compress(second))
        found, damage = read(path)
        assert len(found) == frames
        assert damage == f"{path}, packet {frames + 1}: another capture begins here: give them as two files"


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    refuse_twice([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(CaptureError, match="is named twice"):
        refuse_twice([tmp_path / "a", tmp_path / "b", tmp_path / "." / "x" / ".." / "a"])


def test_packets_that_are_cut_are_counted_where_they_lie_too(tmp_path: Path) -> None:
    for suffix in ("pcap", "pcapng"):
        path = tmp_path / f"a.{suffix}"
        with CaptureWriter(path, 1) as writer:
            for wire_bytes in (5, 6, 1500):
                writer.write(TIME_NS, b"first", wire_bytes, interface="lan0")
            writer.commit()
        with open_capture(path) as source:
            assert len(list(source)) == 3
            assert source.cut == 2
            assert faults(source).startswith(f"{path}: 2 packets are cut short (snaplen); capture whole ones")
