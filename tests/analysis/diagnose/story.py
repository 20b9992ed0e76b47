"""A capture told step by step: messages, media and silence between hosts, for the tests of `diagnose`."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network
from pathlib import Path

from sipalg.analysis.diagnose.command import Diagnosis, diagnose
from sipalg.analysis.diagnose.findings import Finding, Wanted
from sipalg.analysis.diagnose.networks import Networks
from sipalg.codec.datagram import host_bytes

PHONE = "192.168.20.100:5060"
SERVER = "207.252.1.148:5060"
#: The router's outside, with the port of the phone's mapping.
PUBLIC = "75.142.151.49:1024"

_RECORD = struct.Struct("<IIII")


def host(end: str) -> str:
    return end.partition(":")[0]


def sdp(end: str, *lines: str, rtcp: str = "") -> str:
    """A description that wants audio at this end."""
    address, _, port = end.partition(":")
    text = f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    return text + (f"a=rtcp:{rtcp}\r\n" if rtcp else "") + "".join(f"{line}\r\n" for line in lines)


class Story:
    """What passes, in order; each step comes 10 ms after the one before."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self._records: list[bytes] = []

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def udp(self, source: str, destination: str, payload: bytes, *, every_s: float = 0.01) -> int:
        """Send a datagram; returns the packet's number."""
        hosts = host_bytes(host(source)) + host_bytes(host(destination))
        ports = struct.pack("!HHHH", _port(source), _port(destination), 8 + len(payload), 0)
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 7, 0, 64, 17, 0) + hosts + ports + payload
        return self._frame(packet, every_s)

    def tcp(self, source: str, destination: str, payload: bytes, sequence: int = 1) -> int:
        hosts = host_bytes(host(source)) + host_bytes(host(destination))
        head = struct.pack("!HHIIBBHHH", _port(source), _port(destination), sequence, 1, 0x50, 0x18, 1000, 0, 0)
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(payload), 7, 0, 64, 6, 0) + hosts + head + payload
        return self._frame(packet, 0.01)

    def _frame(self, packet: bytes, every_s: float) -> int:
        self.now += every_s
        frame = bytes(12) + b"\x08\x00" + packet
        microseconds = round(self.now * 1_000_000)
        self._records.append(_RECORD.pack(*divmod(microseconds, 1_000_000), len(frame), len(frame)) + frame)
        return len(self._records)

    def request(
        self,
        method: str,
        source: str,
        destination: str,
        *,
        via: str = "",
        contact: str = "",
        uri: str = "sip:b@example.com",
        call_id: str = "call",
        cseq: int = 1,
        branch: str = "",
        to_tag: str = "",
        body: str = "",
        more: str = "",
        via_more: str = "",
        max_forwards: int = 70,
    ) -> int:
        """Send a request; Via and Contact name the source if nothing else is said."""
        text = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {via or source};branch={branch or f'z9hG4bK{call_id}{cseq}{method}'}{via_more}\r\n"
            f"Max-Forwards: {max_forwards}\r\n"
            + _common(call_id, cseq, method, to_tag, contact or source, body, more)
        )
        return self.udp(source, destination, text.encode())

    def response(
        self,
        status: int,
        method: str,
        source: str,
        destination: str,
        *,
        via: str = "",
        contact: str = "",
        call_id: str = "call",
        cseq: int = 1,
        branch: str = "",
        body: str = "",
        more: str = "",
        via_more: str = "",
    ) -> int:
        """Send a response; its Via names the destination if nothing else is said."""
        text = (
            f"SIP/2.0 {status} Text\r\n"
            f"Via: SIP/2.0/UDP {via or destination};branch={branch or f'z9hG4bK{call_id}{cseq}{method}'}{via_more}\r\n"
            + _common(call_id, cseq, method, "there", contact or source, body, more)
        )
        return self.udp(source, destination, text.encode())

    def register(
        self, phone: str = PHONE, server: str = SERVER, *, names: str = "", expires_s: int = 100, via_more: str = "",
        received: str = "", cseq: int = 1,
    ) -> None:  # fmt: skip
        """Register and be answered; the phone names itself, or `names`."""
        named = names or phone
        self.request("REGISTER", phone, server, via=named, contact=named, call_id="reg", cseq=cseq, via_more=via_more)
        more = f"Expires: {expires_s}\r\n"
        added = f";received={received}" if received else ""
        back = (server, phone)
        self.response(
            200, "REGISTER", *back, via=named, contact=named, call_id="reg", cseq=cseq, more=more, via_more=added
        )

    def call(
        self, media: str, far_media: str, *, phone: str = PHONE, server: str = SERVER, names: str = "",
        call_id: str = "call",
    ) -> None:  # fmt: skip
        """Set a call up: INVITE, 200, ACK."""
        named = names or phone
        self.request("INVITE", phone, server, via=named, contact=named, call_id=call_id, body=sdp(media))
        self.response(200, "INVITE", server, phone, via=named, call_id=call_id, body=sdp(far_media))
        self.request("ACK", phone, server, via=named, contact=named, call_id=call_id, to_tag="there")

    def hang_up(self, *, phone: str = PHONE, server: str = SERVER, call_id: str = "call") -> None:
        self.request("BYE", phone, server, call_id=call_id, cseq=2, to_tag="there")
        self.response(200, "BYE", server, phone, call_id=call_id, cseq=2)

    def rtp(self, source: str, destination: str, count: int, *, every_s: float = 0.02) -> None:
        for sequence in range(count):
            payload = struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, _port(source)) + bytes(160)
            self.udp(source, destination, payload, every_s=every_s)

    def talk(self, one: str, other: str, count: int, *, every_s: float = 0.1) -> None:
        """RTP both ways."""
        for _ in range(count):
            self.rtp(one, other, 1, every_s=every_s / 2)
            self.rtp(other, one, 1, every_s=every_s / 2)

    def rtcp(self, source: str, destination: str, count: int = 1) -> None:
        for _ in range(count):
            self.udp(source, destination, struct.pack("!BBHI", 0x80, 200, 6, 7) + bytes(20))

    def write(self, path: Path) -> Path:
        header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
        path.write_bytes(header + b"".join(self._records))
        return path

    def diagnosis(
        self, path: Path, *, inside: str = "", ports: tuple[int, ...] = (5060, 5061), sip_timeout_s: float = 3600.0
    ) -> Diagnosis:
        """Write the capture and diagnose it."""
        networks = Networks((IPv4Network(inside),) if inside else ())
        return diagnose([self.write(path / "story.pcap")], Wanted(ports, sip_timeout_s, networks))


def found(diagnosis: Diagnosis, check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in diagnosis.findings if finding.check == check]


def _common(call_id: str, cseq: int, method: str, to_tag: str, contact: str, body: str, more: str) -> str:
    tag = f";tag={to_tag}" if to_tag else ""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"From: <sip:a@example.com>;tag=here\r\nTo: <sip:b@example.com>{tag}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\nContact: <sip:a@{contact}>\r\n{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    )


def _port(end: str) -> int:
    return int(end.partition(":")[2])
