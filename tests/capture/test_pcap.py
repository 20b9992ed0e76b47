from __future__ import annotations

import resource
import stat
import struct
from pathlib import Path

import pytest
from tests.capture.libpcap import Packet, read

from sipalg.capture.pcap import CaptureError, CaptureWriter
from sipalg.capture.reading import open_capture

TIME_NS = 1_700_000_000_123_456_000


def write(path: Path, *frames: bytes, link_type: int = 1, nanoseconds: bool = False) -> Path:
    with CaptureWriter(path, link_type, nanoseconds=nanoseconds) as writer:
        for number, frame in enumerate(frames):
            writer.write(TIME_NS + number, frame, len(frame) + 1)
        writer.commit()
    return path


@pytest.mark.parametrize("link_type", [1, 0, 11, 12, 16, 108, 113, 228, 276])
def test_what_is_written_can_be_read(tmp_path: Path, link_type: int) -> None:
    path = write(tmp_path / "a.pcap", b"first", b"second", link_type=link_type)
    time_us = TIME_NS // 1000
    assert read(path) == (link_type, [Packet(1, time_us, b"first", 6), Packet(2, time_us, b"second", 7)])


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", b"first", b"second", nanoseconds=True)
    with open_capture(path) as source:
        assert [frame.time_ns for frame in source] == [TIME_NS, TIME_NS + 1]
    assert [packet.time_us for packet in read(path)[1]] == [TIME_NS // 1000] * 2


def test_raw_ip_has_its_number_for_files(tmp_path: Path) -> None:
    content = write(tmp_path / "a.pcap", link_type=12).read_bytes()
    assert struct.unpack_from("<I", content, 20) == (101,)


def test_large_packet_stays_whole(tmp_path: Path) -> None:
    frame = bytes(range(256)) * 256
    assert read(write(tmp_path / "a.pcap", frame))[1][0].data == frame


def test_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with CaptureWriter(path, 1) as writer:
        writer.write(TIME_NS, b"frame", 5)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [100, 100_000])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, size_bytes: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # 8 KiB fit, and one packet or its buffer doesn't: as a full disk, but for the words.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(CaptureError, match=r"a\.pcap: File too large; give a file that can be written"):
            write(tmp_path / "a.pcap", *[bytes(size_bytes)] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_old_file_stays_unless_committed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), CaptureWriter(path, 1):
        raise RuntimeError("in the middle")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_file_has_the_rights_of_a_new_one(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.touch()
    path = write(tmp_path / "a.pcap", b"frame")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(new.stat().st_mode)


def test_link_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "b.pcap"
    target.parent.mkdir()
    target.touch()
    link = tmp_path / "a.pcap"
    link.symlink_to(target)
    write(link, b"frame")
    assert link.is_symlink()
    assert target.stat().st_size > 24


def test_device_isnt_replaced() -> None:
    with pytest.raises(CaptureError, match="/dev/null: is no regular file"):
        CaptureWriter(Path("/dev/null"), 1)
    assert Path("/dev/null").is_char_device()


def test_folder_that_isnt_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file or directory; give a file in a folder"):
        CaptureWriter(tmp_path / "none" / "a.pcap", 1)


def test_target_that_became_a_folder_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with CaptureWriter(path, 1) as writer:
        path.mkdir()
        with pytest.raises(CaptureError, match="Is a directory"):
            writer.commit()
    assert list(tmp_path.iterdir()) == [path]


def test_pcapng_by_its_name_keeps_interfaces_and_their_link_types(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with CaptureWriter(path, 1) as writer:
        writer.write(TIME_NS + 1, b"first", 5, interface="lan0")
        writer.write(TIME_NS + 2, b"second", 6, interface="wan0", link_type=113)
        writer.commit()
    with open_capture(path) as source:
        found = [(source.interfaces[frame.interface].name, frame.link_type, frame.time_ns) for frame in source]
    assert found == [("lan0", 1, TIME_NS + 1), ("wan0", 113, TIME_NS + 2)]
