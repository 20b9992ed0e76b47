"""The capture that stands for tcpdump: what it keeps, and a file that others can read."""

from __future__ import annotations

from pathlib import Path
from struct import pack

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import Wire, read_capture
from sipalg.lab.sniff import is_udp_or_tcp, write_frame, write_header


def frame(payload: bytes, protocol: int = 17) -> bytes:
    hosts = bytes([192, 168, 33, 10]), bytes([203, 0, 113, 50])
    udp = pack("!HHHH", 5060, 5061, 8 + len(payload), 0) + payload
    return bytes(12) + b"\x08\x00" + pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, protocol, 0, *hosts) + udp


def test_only_udp_and_tcp_over_ipv4_are_kept() -> None:
    assert is_udp_or_tcp(frame(b"x"))
    assert is_udp_or_tcp(frame(b"x", 6))
    assert not is_udp_or_tcp(frame(b"x", 1))
    assert not is_udp_or_tcp(bytes(12) + b"\x08\x06" + bytes(28))
    assert not is_udp_or_tcp(b"")


def test_each_packet_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with path.open("wb") as file:
        write_header(file)
        assert list(read_capture(path)) == []
        write_frame(file, frame(b"hello"), 7_500_000_000)
        expected = Wire(7.5, Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.50", 5061), b"hello")
        assert list(read_capture(path)) == [expected]


def test_udp_over_ipv6_is_kept() -> None:
    frame = bytes(12) + b"\x86\xdd" + b"\x60" + bytes(5)
    assert is_udp_or_tcp(frame + b"\x11\x40")
    assert not is_udp_or_tcp(frame + b"\x3a\x40")
