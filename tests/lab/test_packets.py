"""Captures as the lab reads them: SIP and RTP out of a pcap file, also one that isn't finished."""

from __future__ import annotations

from pathlib import Path
from struct import pack

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import Message, Wire, is_rtp, messages, read_capture, read_streams, rtp, streams

PHONE, SERVER = Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.50", 5060)
INVITE = (
    "INVITE sip:201@203.0.113.50 SIP/2.0\r\nCall-ID: abc@x\r\nCSeq: 2 INVITE\r\n"
    "Contact: <sip:101@192.168.33.10:5060>\r\nContent-Type: application/sdp\r\n\r\n"
    "v=0\r\nc=IN IP4 192.168.33.10\r\nm=audio 10000 RTP/AVP 0\r\n"
)
RTP = b"\x80\x00" + bytes(10) + b"\xff" * 160


def wire(payload: bytes, time_s: float = 1.0, source: Endpoint = PHONE, destination: Endpoint = SERVER) -> Wire:
    return Wire(time_s, source, destination, payload)


def frame(payload: bytes) -> bytes:
    udp = pack("!HHHH", 5060, 5060, 8 + len(payload), 0) + payload
    hosts = bytes([192, 168, 33, 10]), bytes([203, 0, 113, 50])
    head = pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, *hosts)
    return bytes(12) + b"\x08\x00" + head + udp


def capture(path: Path, *frames: bytes) -> Path:
    records = b"".join(pack("<IIII", 7, 500000, len(f), len(f)) + f for f in frames)
    path.write_bytes(pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + records)
    return path


def test_a_capture_gives_its_udp_packets(tmp_path: Path) -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    found = list(read_capture(capture(tmp_path / "a.pcap", frame(b"one"), arp, frame(b"two"))))
    assert found == [Wire(7.5, PHONE, SERVER, b"one"), Wire(7.5, PHONE, SERVER, b"two")]


def in_tcp(payload: bytes, sequence: int) -> bytes:
    tcp = pack("!HHIIBBHHH", 5060, 5060, sequence, 1, 0x50, 0x18, 1000, 0, 0) + payload
    hosts = bytes([192, 168, 33, 10]), bytes([203, 0, 113, 50])
    head = pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, *hosts)
    return bytes(12) + b"\x08\x00" + head + tcp


def test_messages_over_tcp_are_put_together(tmp_path: Path) -> None:
    whole = INVITE.replace("Content-Type", "Content-Length: 54\r\nContent-Type").encode()
    pieces = (whole[:90], whole[90:] + whole[:40])
    path = capture(tmp_path / "a.pcap", in_tcp(pieces[0], 7), frame(b"one"), in_tcp(pieces[1], 97))
    assert list(read_streams(path)) == [Wire(7.5, PHONE, SERVER, whole)], "the torn one isn't there yet"
    assert [packet.payload for packet in read_capture(path)] == [b"one"]
    (tmp_path / "empty.pcap").write_bytes(b"")
    assert list(read_streams(tmp_path / "empty.pcap")) == []


def test_an_unfinished_packet_is_the_end(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", frame(b"one"), frame(b"two"))
    path.write_bytes(path.read_bytes()[:-1])
    assert [packet.payload for packet in read_capture(path)] == [b"one"]


def test_no_capture_has_no_packets(tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").write_bytes(b"")
    assert list(read_capture(tmp_path / "empty.pcap")) == []


def test_sip_is_told_from_the_rest() -> None:
    response = b"SIP/2.0 200 OK\r\nCSeq: 2 INVITE\r\n\r\n"
    found = messages([wire(INVITE.encode()), wire(RTP), wire(response), wire(b"GET / HTTP/1.1\r\n"), wire(b"")])
    assert [message.name for message in found] == ["INVITE", "200 OK (INVITE)"]


def test_a_message_s_parts() -> None:
    message = Message(wire(b""), INVITE)
    assert message.start_line == "INVITE sip:201@203.0.113.50 SIP/2.0"
    assert message.header("contact") == "<sip:101@192.168.33.10:5060>"
    assert message.header("Via") == ""
    assert message.key == ("abc@x", "2 INVITE", "INVITE")
    assert message.media() == Endpoint("192.168.33.10", 10000)
    assert Message(wire(b""), "BYE sip:a@b SIP/2.0\r\n\r\n").media() is None


def test_streams_are_counted_by_source_and_destination() -> None:
    back = wire(RTP, 1.0, SERVER, PHONE)
    assert streams([wire(RTP), back, wire(RTP), wire(b"x")]) == {(PHONE, SERVER): 2, (SERVER, PHONE): 1}


def test_only_pcmu_in_rtp_counts() -> None:
    assert is_rtp(RTP)
    assert is_rtp(b"\x80\x80" + RTP[2:])
    assert not is_rtp(b"\x80\xc8" + RTP[2:])
    assert not is_rtp(b"\x40" + RTP[1:])
    assert not is_rtp(RTP[:12])
    assert rtp([wire(RTP), wire(b"x"), wire(RTP, 2.0)], lambda packet: packet.time_s > 1.5) == [wire(RTP, 2.0)]
    assert len(rtp([wire(RTP), wire(b"x")])) == 1
