from __future__ import annotations

import stat
import struct
from pathlib import Path

import pytest

from sipalg.capture.pcap import CaptureError, CaptureReader, CaptureWriter, Packet

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
    with CaptureReader(path) as reader:
        assert reader.link_type == link_type
        assert list(reader) == [Packet(1, TIME_NS, b"first", 6), Packet(2, TIME_NS, b"second", 7)]


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", b"first", b"second", nanoseconds=True)
    with CaptureReader(path) as reader:
        assert reader.nanoseconds
        assert [packet.time_ns for packet in reader] == [TIME_NS, TIME_NS + 1]


def test_raw_ip_has_its_number_for_files(tmp_path: Path) -> None:
    content = write(tmp_path / "a.pcap", link_type=12).read_bytes()
    assert struct.unpack_from("<I", content, 20) == (101,)


def test_large_packet_stays_whole(tmp_path: Path) -> None:
    frame = bytes(range(256)) * 256
    with CaptureReader(write(tmp_path / "a.pcap", frame)) as reader:
        assert next(iter(reader)).frame == frame


def test_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with CaptureWriter(path, 1) as writer:
        writer.write(TIME_NS, b"frame", 5)
        assert not path.exists()
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


@pytest.mark.parametrize("content", [b"", b"not a capture at all, but long enough for a header"])
def test_what_isnt_a_capture_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=f"{path}: .*; give a pcap or pcapng file"):
        CaptureReader(path)


def test_missing_capture_is_said(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file or directory; give a pcap"):
        CaptureReader(tmp_path / "none.pcap")


def test_damage_is_said_with_the_packets_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", b"first", b"second", b"third")
    path.write_bytes(path.read_bytes()[:-3])
    read: list[bytes] = []
    with CaptureReader(path) as reader, pytest.raises(CaptureError, match=r"a\.pcap, packet 3: truncated"):
        read.extend(packet.frame for packet in reader)
    # extend() takes what came before the error.
    assert read == [b"first", b"second"]
