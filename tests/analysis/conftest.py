"""A capture of a registration and a call with voice, as files that the tests may damage."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sipalg.codec.datagram import fill_checksums, host_bytes

PHONE, SERVER = "192.168.33.10:5060", "203.0.113.50:5070"
MEDIA, FAR_MEDIA = "192.168.33.10:16000", "203.0.113.60:4000"
START_NS = 1_700_000_000_000_000_000

Write = Callable[..., Path]
#: Source, destination, payload.
Talk = list[tuple[str, str, bytes]]


def udp(source: str, destination: str, payload: bytes) -> bytes:
    hosts = host_bytes(source.split(":")[0]) + host_bytes(destination.split(":")[0])
    ports = struct.pack("!HH", int(source.split(":")[1]), int(destination.split(":")[1]))
    body = ports + struct.pack("!HH", 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, 64, 17, 0)
    return bytes(12) + b"\x08\x00" + fill_checksums(head + hosts + body)


def sip(start: str, cseq: str, *, call_id: str = "call@x", sdp: str = "") -> bytes:
    body = sdp.replace("\n", "\r\n").encode()
    lines = [
        start,
        f"Via: SIP/2.0/UDP {PHONE};branch=z9hG4bK{cseq.replace(' ', '')}",
        "From: <sip:alice@example.com>;tag=1",
        "To: <sip:bob@example.com>;tag=2",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq}",
        f"Contact: <sip:alice@{PHONE}>",
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def sdp(end: str) -> str:
    host, port = end.split(":")
    return f"v=0\no=- 1 1 IN IP4 {host}\ns=-\nc=IN IP4 {host}\nt=0 0\nm=audio {port} RTP/AVP 8\n"


def voice(sequence: int, ssrc: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 8, sequence, sequence * 160, ssrc) + bytes(160)


@pytest.fixture
def talk() -> Talk:
    """A registration (2 messages), a call (5 messages) and its voice (6 packets), and a DNS query."""
    register = sip("REGISTER sip:example.com SIP/2.0", "1 REGISTER", call_id="reg@x")
    return [
        (PHONE, SERVER, register),
        (SERVER, PHONE, sip("SIP/2.0 200 OK", "1 REGISTER", call_id="reg@x")),
        ("192.168.33.10:3333", "203.0.113.53:53", b"\x12\x34\x01\x00 no SIP"),
        (PHONE, SERVER, sip("INVITE sip:bob@example.com SIP/2.0", "1 INVITE", sdp=sdp(MEDIA))),
        (SERVER, PHONE, sip("SIP/2.0 200 OK", "1 INVITE", sdp=sdp(FAR_MEDIA))),
        (PHONE, SERVER, sip("ACK sip:bob@example.com SIP/2.0", "1 ACK")),
        *[(MEDIA, FAR_MEDIA, voice(n, 7)) for n in range(3)],
        *[(FAR_MEDIA, MEDIA, voice(n, 8)) for n in range(3)],
        (SERVER, PHONE, sip("BYE sip:alice@example.com SIP/2.0", "2 BYE")),
        (PHONE, SERVER, sip("SIP/2.0 200 OK", "2 BYE")),
    ]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(talk, name, step_ns, link_type): a pcap file with a packet every `step_ns`."""

    def make(
        talk: Sequence[tuple[str, str, bytes]],
        name: str = "a.pcap",
        *,
        step_ns: int = 20_000_000,
        begin_ns: int = 0,
        link_type: int = 1,
    ) -> Path:
        content = bytearray(struct.pack("<IHHQII", 0xA1B23C4D, 2, 4, 0, 262144, link_type))
        for number, (source, destination, payload) in enumerate(talk):
            frame = udp(source, destination, payload)
            seconds, rest_ns = divmod(START_NS + begin_ns + number * step_ns, 10**9)
            content += struct.pack("<IIII", seconds, rest_ns, len(frame), len(frame)) + frame
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make
