"""A registration and a call through a NAT, as both sides' captures have them, with an ALG of any kind between.

Each message is written once, with `{own}` where the phone's own address stands, `{host}` for its host alone and
`{media}` for its port for voice; the near side gets the private ones, the far side the public ones. What a device does
wrong is put on top.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sipalg.analysis.messages import read_message
from sipalg.analysis.pairing import BY_CALL_ID, Pair
from sipalg.analysis.said import Said, hear
from sipalg.analysis.streams import Framed
from sipalg.capture.decode import Segment
from sipalg.capture.pcap import CaptureWriter
from sipalg.codec.datagram import fill_checksums, host_bytes
from sipalg.engine.verdict import Endpoint

PHONE, NAT, SERVER = "192.168.20.100", "75.142.151.49", "207.252.1.148"
ETHERNET = bytes(12) + b"\x08\x00"
#: AFTER's clock is three hours ahead.
CLOCKS_APART_NS = 3 * 3600 * 10**9
START_NS = 1_700_000_000_000_000_000
CALL_ID = "9c8a315e-419d32d1@192.168.20.100"


@dataclass(frozen=True)
class Packet:
    """One datagram on both sides; None where that side never saw it. Ports are the phone's and the NAT's."""

    outward: bool
    near: bytes | None
    far: bytes | None
    ports: tuple[int, int] = (5060, 1024)
    server_port: int = 5060


Alg = Callable[[bytes, bool], bytes]


def message(text: str, body: str = "") -> tuple[bytes, bytes]:
    """A message as the near side and the far side have it, Content-Length right in both."""
    sides = []
    for host, port, media in ((PHONE, 5060, 14254), (NAT, 1024, 19032)):
        values = {"own": f"{host}:{port}", "host": host, "media": media, "rtcp": media + 1}
        content = body.format(**values).replace("\n", "\r\n").encode()
        head = text.format(**values, length=len(content)).strip().replace("\n", "\r\n").encode()
        sides.append(head + b"\r\n\r\n" + content)
    return sides[0], sides[1]


REGISTER = """\
REGISTER sip:207.252.1.148 SIP/2.0
Via: SIP/2.0/UDP {own};branch=z9hG4bK-8fb0e171
From: "David" <sip:525@207.252.1.148>;tag=191914b06beeo0
To: "David" <sip:525@207.252.1.148>
Call-ID: 6894e30c-b1c8d357@192.168.20.100
CSeq: 1373 REGISTER
Max-Forwards: 70
Contact: "David" <sip:525@{own}>;expires=3600
User-Agent: Cisco/SPA504G-7.6.2b
Content-Length: {length}"""
REGISTERED = """\
SIP/2.0 200 OK
Via: SIP/2.0/UDP {own};branch=z9hG4bK-8fb0e171;received={host}
From: "David" <sip:525@207.252.1.148>;tag=191914b06beeo0
To: "David" <sip:525@207.252.1.148>;tag=as1
Call-ID: 6894e30c-b1c8d357@192.168.20.100
CSeq: 1373 REGISTER
Contact: <sip:525@{own}>;expires=3600
Content-Length: {length}"""
INVITE = """\
INVITE sip:*98@207.252.1.148 SIP/2.0
Via: SIP/2.0/UDP {own};branch=z9hG4bK-7badf56d
From: "David" <sip:525@207.252.1.148>;tag=f95367fa52060ce5o0
To: "Voice Mail" <sip:*98@207.252.1.148>
Call-ID: 9c8a315e-419d32d1@192.168.20.100
CSeq: 101 INVITE
Max-Forwards: 70
Contact: "David" <sip:525@{own}>
Supported: replaces
Content-Type: application/sdp
Content-Length: {length}"""
OFFER = """\
v=0
o=- 176664 176664 IN IP4 {host}
s=-
c=IN IP4 {host}
t=0 0
m=audio {media} RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
"""
ANSWER = """\
v=0
o=- 7 7 IN IP4 207.252.1.148
s=-
c=IN IP4 207.252.1.148
t=0 0
m=audio 20000 RTP/AVP 0
"""
DIALOG = """\
From: "David" <sip:525@207.252.1.148>;tag=f95367fa52060ce5o0
To: "Voice Mail" <sip:*98@207.252.1.148>{tag}
Call-ID: 9c8a315e-419d32d1@192.168.20.100
"""
VIA = "Via: SIP/2.0/UDP {own};branch=z9hG4bK-7badf56d\n"
TRYING = "SIP/2.0 100 Trying\n" + VIA + DIALOG.replace("{tag}", "") + "CSeq: 101 INVITE\nContent-Length: {length}"
OK = (
    "SIP/2.0 200 OK\n" + VIA + DIALOG.replace("{tag}", ";tag=as9") + "CSeq: 101 INVITE\n"
    "Contact: <sip:*98@207.252.1.148:5060>\nContent-Type: application/sdp\nContent-Length: {length}"
)
ACK = (
    "ACK sip:*98@207.252.1.148:5060 SIP/2.0\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-ack\n"
    + DIALOG.replace("{tag}", ";tag=as9") + 'CSeq: 101 ACK\nMax-Forwards: 70\nContact: "David" <sip:525@{own}>\n'
    "Content-Length: {length}"
)
BYE = (
    "BYE sip:525@{own} SIP/2.0\nVia: SIP/2.0/UDP 207.252.1.148:5060;branch=z9hG4bK-bye\n"
    "From: <sip:*98@207.252.1.148>;tag=as9\nTo: <sip:525@207.252.1.148>;tag=f95367fa52060ce5o0\n"
    "Call-ID: 9c8a315e-419d32d1@192.168.20.100\nCSeq: 102 BYE\nMax-Forwards: 70\nContent-Length: {length}"
)
ENDED = (
    "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 207.252.1.148:5060;branch=z9hG4bK-bye\n"
    "From: <sip:*98@207.252.1.148>;tag=as9\nTo: <sip:525@207.252.1.148>;tag=f95367fa52060ce5o0\n"
    "Call-ID: 9c8a315e-419d32d1@192.168.20.100\nCSeq: 102 BYE\nContent-Length: {length}"
)


def rtp(ssrc: int, number: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, number, number * 160, ssrc) + bytes(160)


def rtcp(ssrc: int) -> bytes:
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc)


def conversation() -> list[Packet]:
    """A registration, a call with voice and RTCP both ways, and its end by the server, through a good ALG."""
    signalling = [
        (True, message(REGISTER)),
        (False, message(REGISTERED)),
        (True, message(INVITE, OFFER)),
        (False, message(TRYING)),
        (False, message(OK, ANSWER)),
        (True, message(ACK)),
    ]
    packets = [Packet(outward, near, far) for outward, (near, far) in signalling]
    for number in range(5):
        for outward, ssrc in ((True, 0x1111), (False, 0x2222)):
            voice = rtp(ssrc, number)
            packets.append(Packet(outward, voice, voice, (14254, 19032), 20000))
            if number == 2:
                packets.append(Packet(outward, rtcp(ssrc), rtcp(ssrc), (14255, 19033), 20001))
    for outward, text in ((False, BYE), (True, ENDED)):
        near, far = message(text)
        packets.append(Packet(outward, near, far))
    return packets


def through(packets: Iterable[Packet], alg: Alg) -> list[Packet]:
    """The same, with what a device does to each SIP message on top: `alg` gets what came out, and whether outward."""
    done = []
    for packet in packets:
        if packet.near is None or packet.far is None or b"SIP/2.0" not in packet.near:
            done.append(packet)
        elif packet.outward:
            done.append(replace(packet, far=alg(packet.far, True)))
        else:
            done.append(replace(packet, near=alg(packet.near, False)))
    return done


def udp(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    body = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, 17, 0)
    return ETHERNET + fill_checksums(head + host_bytes(source[0]) + host_bytes(destination[0]) + body)


def write(directory: Path, packets: Iterable[Packet]) -> tuple[Path, Path]:
    """Write both sides' captures."""
    paths = directory / "before.pcap", directory / "after.pcap"
    with CaptureWriter(paths[0], 1) as near, CaptureWriter(paths[1], 1) as far:
        for number, packet in enumerate(packets):
            for side, writer in enumerate((near, far)):
                payload = packet.far if side else packet.near
                if payload is None:
                    continue
                inner = ((PHONE, NAT)[side], packet.ports[side])
                ends = (inner, (SERVER, packet.server_port))
                frame = udp(*(ends if packet.outward else ends[::-1]), payload)
                writer.write(START_NS + number * 250_000_000 + side * CLOCKS_APART_NS, frame, len(frame))
        near.commit()
        far.commit()
    return paths


def heard(data: bytes, source: str = PHONE, destination: str = SERVER, number: int = 1) -> Said:
    """One message as a capture has it."""
    ends = Endpoint(source, 5060), Endpoint(destination, 5060)
    segment = Segment(number, number, 17, *ends, data, b"", 0, 0, True, (), 0)
    return hear(read_message(segment, Framed(data, (number,), True)))


def pair_of(
    given: bytes, made: bytes, *, out: bool = True, ports: tuple[int, int] = (5060, 1024)
) -> Pair:
    """What went through the NAT, outward or inward."""
    near, far, server = Endpoint(PHONE, ports[0]), Endpoint(NAT, ports[1]), Endpoint(SERVER, 5060)
    came, went = heard(given), heard(made)
    if out:
        came, went = came._replace(source=near, destination=server), went._replace(source=far, destination=server)
        return Pair(came, went, BY_CALL_ID, outward=True, forward=True)
    came, went = came._replace(source=server, destination=far), went._replace(source=server, destination=near)
    return Pair(went, came, BY_CALL_ID, outward=False, forward=False)
