"""A capture with its truth: registrations and calls behind a NAT, drawn by a seed, of which nine tenths are voice.

Seen from inside. Each dialog is a phone of its own with a kind that decides what is wrong with it; what `diagnose` has
to say of all of them together is known beforehand. sipalg's code has no part in it. Sources: RFC 3261, 3550.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import BinaryIO, Final, NamedTuple

SERVER: Final = "198.51.100.9"
PUBLIC: Final = "203.0.113.1"
#: Where direct media goes.
_ELSEWHERE: Final = "198.51.100.77"
_RESOLVER: Final = "198.51.100.53"

#: Kind of dialog → its share of a hundred.
KINDS: Final = {
    "private": 48,
    "aware": 30,
    "one-way": 4,
    "lost-ack": 2,
    "no-answer": 3,
    "big": 3,
    "moved": 3,
    "other-port": 1,
    "long": 2,
    "rtcp-one-way": 2,
    "stops": 2,
}
_NS: Final = 1_000_000_000
_PTIME_NS: Final = 40_000_000
_RTCP_EVERY: Final = 100
_NOISE_EVERY: Final = 10
_PCAP_HEADER: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
_START_S: Final = 1_700_000_000
_VOICE: Final = bytes(160)


class Truth(NamedTuple):
    """What `diagnose` has to find: each dialog's kind by its number, and how many packets of each sort there are."""

    kinds: tuple[str, ...]
    packets: int
    messages: int
    rtp_packets: int
    rtcp_packets: int

    def hosts(self, *kinds: str) -> set[str]:
        """The phones whose dialogs are of these kinds."""
        return {host_of(index) for index, kind in enumerate(self.kinds) if kind in kinds}

    def calls(self, *kinds: str) -> set[str]:
        """The Call-IDs of the calls of these kinds."""
        return {f"call{index}" for index, kind in enumerate(self.kinds) if kind in kinds}


def host_of(index: int) -> str:
    """Return the address of a dialog's phone."""
    return str(IPv4Address(0x0A000000 + 256 * (index // 200) + 10 + index % 200))


class _Dialog:
    """One phone: its registration and its call, as (time in ns, frame) in order."""

    def __init__(self, index: int, kind: str, start_ns: int, voice: int, counts: Counter[str]) -> None:
        self._index = index
        self._kind = kind
        self._now_ns = start_ns
        self._voice = voice
        self._counts = counts
        self._host = host_of(index)
        self._named = PUBLIC if kind == "aware" else self._host
        self._server_port = 5080 if kind == "other-port" else 5060
        self._rtp_port = 16384 + index % 8000 * 2
        self._far_port = 20000 + index % 8000 * 2

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield everything that this phone and its server send."""
        register, granted_s = f"reg{self._index}", 7200 if self._kind == "long" else 100
        yield self._sip("REGISTER", register, 1, out=True)
        yield self._sip("200", register, 1, out=False, method="REGISTER", more=f"Expires: {granted_s}\r\n")
        call = f"call{self._index}"
        more = "X-Codecs: " + "x" * 1000 + "\r\n" if self._kind == "big" else ""
        yield self._sip("INVITE", call, 1, out=True, more=more, sdp=(self._named, self._rtp_port))
        if self._kind == "no-answer":
            for wait_ns in (_NS // 2, _NS, 2 * _NS):
                self._now_ns += wait_ns
                yield self._sip("INVITE", call, 1, out=True, sdp=(self._named, self._rtp_port))
            return
        yield self._sip("180", call, 1, out=False, method="INVITE")
        yield self._answer(call)
        if self._kind == "lost-ack":
            for wait_ns in (_NS // 2, _NS, 2 * _NS, 4 * _NS, 4 * _NS):
                self._now_ns += wait_ns
                yield self._answer(call)
        else:
            yield self._sip("ACK", call, 1, out=True)
        if self._kind == "moved":
            yield self._sip("INVITE", call, 7, out=False, sdp=(_ELSEWHERE, self._far_port))
            yield self._sip("200", call, 7, out=True, method="INVITE", sdp=(self._named, self._rtp_port))
            yield self._sip("ACK", call, 7, out=False)
        yield from self._media()
        yield self._sip("BYE", call, 2, out=True)
        yield self._sip("200", call, 2, out=False, method="BYE")

    def _answer(self, call: str) -> tuple[int, bytes]:
        return self._sip("200", call, 1, out=False, method="INVITE", sdp=(SERVER, self._far_port))

    def _media(self) -> Iterator[tuple[int, bytes]]:
        far = _ELSEWHERE if self._kind == "moved" else SERVER
        out = (self._host, self._rtp_port, far, self._far_port)
        back = (far, self._far_port, self._host, self._rtp_port)
        ways = [out] if self._kind == "one-way" else [out, back]
        heads = [(_udp_head(*way, 172), way) for way in ways]
        per_way = self._voice // len(ways)
        for sequence in range(per_way):
            self._now_ns += _PTIME_NS
            # Nothing more comes back in the last third.
            stopped = self._kind == "stops" and sequence * 3 > per_way * 2
            for head, (host, port, to, to_port) in heads[: 1 if stopped else 2]:
                rtp = struct.pack("!BBHII", 0x80, 0, sequence, sequence * 160, port)
                self._counts["rtp"] += 1
                yield self._now_ns, head + rtp + _VOICE
                if sequence % _RTCP_EVERY == 50 and not (self._kind == "rtcp-one-way" and host == far):
                    report = struct.pack("!BBHI", 0x80, 200, 6, port) + bytes(20)
                    self._counts["rtcp"] += 1
                    yield self._now_ns, _udp_head(host, port + 1, to, to_port + 1, len(report)) + report
            if sequence % _NOISE_EVERY == 0:
                query = struct.pack("!HHHHHH", sequence, 0x0100, 1, 0, 0, 0) + b"\7example\3com\0\0\1\0\1" + bytes(120)
                ports = (self._host, 30000 + sequence % 9000, _RESOLVER, 53)
                yield self._now_ns, _udp_head(*ports, len(query)) + query
                yield self._now_ns, _tcp(self._host, 40000, _RESOLVER, 443, sequence // _NOISE_EVERY)

    def _sip(
        self,
        what: str,
        call_id: str,
        sequence: int,
        *,
        out: bool,
        method: str = "",
        more: str = "",
        sdp: tuple[str, int] | None = None,
    ) -> tuple[int, bytes]:
        """Build one message; `out` is from the phone, `method` what a response answers."""
        self._now_ns += 5_000_000
        self._counts["sip"] += 1
        phone, server = (self._host, 5060), (SERVER, self._server_port)
        source, destination = (phone, server) if out else (server, phone)
        own = f"{self._named if out else SERVER}:{source[1]}"
        asked_by_phone = out != bool(method)
        via = f"{self._host}:5060" if asked_by_phone else f"{SERVER}:{self._server_port}"
        first = f"SIP/2.0 {what} Text" if method else f"{what} sip:{self._index}@{SERVER} SIP/2.0"
        if not out and not method:
            first = f"{what} sip:{self._index}@{self._named}:5060 SIP/2.0"
        mine, theirs = f"p{self._index}", f"s{self._index}"
        from_tag, to_tag = (mine, theirs) if asked_by_phone else (theirs, mine)
        in_dialog = bool(method) or what in ("ACK", "BYE") or not out
        to = f";tag={to_tag}" if in_dialog else ""
        body = ""
        if sdp is not None:
            host, port = sdp
            origin = f"v=0\r\no=- 1 {sequence} IN IP4 {host}\r\ns=-\r\n"
            body = f"{origin}c=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
            more += "Content-Type: application/sdp\r\n"
        text = (
            f"{first}\r\nVia: SIP/2.0/UDP {via};rport;branch=z9hG4bK{call_id}-{sequence}-{method or what}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{self._index}@{SERVER}>;tag={from_tag}\r\n"
            f"To: <sip:x@{SERVER}>{to}\r\nCall-ID: {call_id}\r\nCSeq: {sequence} {method or what}\r\n"
            f"Contact: <sip:{self._index}@{own}>\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        return self._now_ns, _udp_head(*source, *destination, len(text)) + text


def write(path: Path, seed: int, dialogs: int, size_bytes: int) -> Truth:
    """Write a capture of about this size and return what is in it.

    `dialogs` share the voice among them; a tenth of a gigabyte with 500 has as much in each as ten times both.
    """
    random = Random(seed)
    # One of each kind, and the others by their shares.
    kinds = [*KINDS, *random.choices(list(KINDS), weights=list(KINDS.values()), k=dialogs)][:dialogs]
    random.shuffle(kinds)
    with_voice = sum(kind != "no-answer" for kind in kinds)
    # A packet of voice with its part of the noise beside it, and a dialog's messages.
    voice = int((size_bytes - dialogs * 6000) / with_voice / 260)
    counts: Counter[str] = Counter()
    frames = _merged(
        lambda index: _Dialog(index, kinds[index], _start_ns(index, voice), voice, counts).frames(), dialogs, voice
    )
    with path.open("wb") as file:
        file.write(_PCAP_HEADER)
        packets = _write_frames(file, frames)
    return Truth(tuple(kinds), packets, counts["sip"], counts["rtp"], counts["rtcp"])


def _start_ns(index: int, voice: int) -> int:
    """When a dialog begins: some fifty stand at a time."""
    lasts_ns = voice // 2 * _PTIME_NS
    return _START_S * _NS + index * lasts_ns // 50


def _merged(
    dialog: Callable[[int], Iterator[tuple[int, bytes]]], dialogs: int, voice: int
) -> Iterator[tuple[int, bytes]]:
    """Yield the frames of all dialogs in the order of time, with only those open that stand."""
    heap: list[tuple[int, int, bytes, Iterator[tuple[int, bytes]]]] = []
    begun = 0
    while heap or begun < dialogs:
        while begun < dialogs and (not heap or _start_ns(begun, voice) <= heap[0][0]):
            frames = dialog(begun)
            heapq.heappush(heap, (*_numbered(begun, next(frames)), frames))
            begun += 1
        time_ns, index, frame, frames = heap[0]
        yield time_ns, frame
        following = next(frames, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (*_numbered(index, following), frames))


def _numbered(index: int, timed: tuple[int, bytes]) -> tuple[int, int, bytes]:
    return timed[0], index, timed[1]


def _write_frames(file: BinaryIO, frames: Iterator[tuple[int, bytes]]) -> int:
    packets = 0
    record = struct.Struct("<IIII").pack
    for time_ns, frame in frames:
        seconds, rest_ns = divmod(time_ns, _NS)
        file.write(record(seconds, rest_ns // 1000, len(frame), len(frame)) + frame)
        packets += 1
    return packets


def _ip_head(source: str, destination: str, protocol: int, body_bytes: int) -> bytes:
    hosts = IPv4Address(source).packed + IPv4Address(destination).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + body_bytes, 0, 0x4000, 64, protocol, 0) + hosts
    total = sum(struct.unpack("!10H", head))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return bytes(12) + b"\x08\x00" + head[:10] + struct.pack("!H", total ^ 0xFFFF) + head[12:]


def _udp_head(source: str, port: int, destination: str, to_port: int, payload_bytes: int) -> bytes:
    udp_bytes = 8 + payload_bytes
    return _ip_head(source, destination, 17, udp_bytes) + struct.pack("!HHHH", port, to_port, udp_bytes, 0)


def _tcp(source: str, port: int, destination: str, to_port: int, sequence: int) -> bytes:
    payload = bytes(500)
    head = struct.pack("!HHIIBBHHH", port, to_port, sequence * 500, 1, 0x50, 0x18, 1000, 0, 0)
    return _ip_head(source, destination, 6, len(head) + len(payload)) + head + payload
