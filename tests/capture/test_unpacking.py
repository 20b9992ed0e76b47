from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import open_capture
from sipalg.capture.unpacking import PIECE_BYTES, Pieces

#: Larger than a piece, and not the same everywhere.
CONTENT = b"".join(b"%08d" % number for number in range(PIECE_BYTES // 4))

Pack = Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def read_all(path: Path) -> tuple[bytes, str | None]:
    pieces = Pieces(path)
    row = []
    while piece := pieces.read():
        assert len(piece) <= PIECE_BYTES
        row.append(piece)
    pieces.close()
    return b"".join(row), pieces.damage


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, zstd])
def test_content_comes_back(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pack(CONTENT))
    assert read_all(tmp_path / "file") == (CONTENT, None)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd])
def test_streams_one_behind_the_other_are_one(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pack(CONTENT) + pack(b"and more"))
    assert read_all(tmp_path / "file") == (CONTENT + b"and more", None)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_what_came_before_a_cut_is_given(pack: Pack, tmp_path: Path) -> None:
    packed = pack(CONTENT)
    (tmp_path / "file").write_bytes(packed[: len(packed) // 2])
    content, damage = read_all(tmp_path / "file")
    assert content
    assert CONTENT.startswith(content)
    assert damage == "the compressed data is cut off"


def test_xz_gets_no_more_memory_than_its_presets_need(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(CONTENT))
    # The block's header behind the stream's: a size, flags, LZMA2 (0x21) with its dictionary's size, a checksum.
    size_bytes = (packed[12] + 1) * 4 - 4
    header = packed[12 : 12 + size_bytes]
    assert header[2:4] == b"\x21\x01"
    header[4] = 40
    packed[12 : 16 + size_bytes] = header + struct.pack("<I", zlib.crc32(header))
    (tmp_path / "file").write_bytes(packed)
    assert read_all(tmp_path / "file") == (b"", "the compressed data is damaged (Memory usage limit exceeded)")


def test_wrong_bytes_are_noted(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(CONTENT))
    # The checksum behind the content.
    packed[-8] ^= 1
    (tmp_path / "file").write_bytes(packed)
    content, damage = read_all(tmp_path / "file")
    assert CONTENT.startswith(content)
    assert damage is not None
    assert damage.startswith("the compressed data is damaged")


def test_bomb_comes_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(bytes(50_000_000)))
    pieces = Pieces(tmp_path / "file")
    assert max(len(pieces.read()) for _ in range(20)) <= PIECE_BYTES
    pieces.close()


def test_progress_is_of_the_file_on_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    pieces = Pieces(tmp_path / "file")
    assert (pieces.total_bytes, pieces.done_bytes) == (len(CONTENT), 0)
    pieces.read()
    assert pieces.done_bytes == PIECE_BYTES
    pieces.close()


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file or directory; give a pcap or pcapng file"):
        Pieces(tmp_path / "none")


@pytest.mark.parametrize("name", ["bzip2", "zip", "tar", "7z"])
def test_what_isnt_unpacked_here_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(20))
    packed = tmp_path / "packed"
    if name == "bzip2":
        packed.write_bytes(bz2.compress(bytes(40)))
    elif name == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(tmp_path / "a.pcap")
    elif name == "tar":
        with tarfile.open(packed, "w:gz") as tar:
            tar.add(tmp_path / "a.pcap")
    else:
        packed.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40))
    with pytest.raises(CaptureError) as refused:
        open_capture(packed)
    assert str(refused.value) == f"{packed}: is no capture, but a {name} file; unpack it first"
