"""Case 27: over TCP, however the bytes of an INVITE come, the same ones come out."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder, N

from sipalg.codec.stream import Framer
from sipalg.engine.streams import home_of
from sipalg.engine.verdict import TCP, Datagram, Endpoint

P, S = "192.168.33.10", Endpoint("203.0.113.50", 5060)
SDP = f"v=0\r\no=- 1 1 IN IP4 {P}\r\ns=-\r\nc=IN IP4 {P}\r\nt=0 0\r\nm=audio 10000 RTP/AVP 0\r\n"
INVITE = (
    f"INVITE sip:200@203.0.113.50 SIP/2.0\r\nVia: SIP/2.0/TCP {P}:5060;branch=z9hG4bK1;rport\r\n"
    "From: <sip:100@203.0.113.50>;tag=1\r\nTo: <sip:200@203.0.113.50>\r\nCall-ID: 192.168.33.10@x\r\n"
    f"CSeq: 1 INVITE\r\nContact: <sip:100@{P}:5060;transport=tcp>\r\nContent-Type: application/sdp\r\n"
    f"Content-Length: {len(SDP)}\r\n\r\n{SDP}"
).encode()
OUTSIDE = (
    INVITE.replace(P.encode(), N.encode())
    .replace(b"Call-ID: " + N.encode(), b"Call-ID: " + P.encode())
    .replace(b"Content-Length: %d" % len(SDP), b"Content-Length: %d" % len(SDP.replace(P, N)))
)
KEEP_ALIVE = b"\r\n\r\n"


class Stream:
    """One connection of the phone's: what comes out for what is put in."""

    def __init__(self) -> None:
        self.ladder = Ladder()
        self.framer = Framer()
        self.home = Endpoint(P, 49152)

    def put(self, data: bytes) -> bytes:
        out = b""
        for piece in self.framer.feed(data):
            if not piece.is_message:
                out += piece.data
                continue
            self.home = home_of(piece.data, self.home)
            datagram = Datagram(piece.data, self.home, S, TCP, "lan0")
            verdict = self.ladder.alg.receive_message(datagram, self.ladder.now)
            if verdict.commands:
                assert self.ladder.kernel.run(verdict.commands) is None
                self.ladder.alg.commands_done(verdict.token, self.ladder.now)
            out += verdict.payload
        return out


def test_case_27_unsplit() -> None:
    stream = Stream()
    assert stream.put(INVITE) == OUTSIDE
    assert stream.ladder.mapped[f"{P}:5060"] == f"{N}:5060"
    assert stream.ladder.mapped[f"{P}:10000"] == f"{N}:10000"


@pytest.mark.parametrize(
    "place",
    [1, INVITE.index(b"Contact:"), INVITE.index(b"\r\n\r\n") + 2, INVITE.index(b"Content-Length: ") + 17],
    ids=["after the 1st byte", "before Contact", "at the blank line", "inside the digits"],
)
def test_case_27_split(place: int) -> None:
    stream = Stream()
    assert stream.put(INVITE[:place]) == b""
    assert stream.put(INVITE[place:]) == OUTSIDE


def test_case_27_split_at_every_byte() -> None:
    stream = Stream()
    for place in range(1, len(INVITE)):
        assert stream.put(INVITE[:place]) == b""
        assert stream.put(INVITE[place:]) == OUTSIDE


def test_case_27_two_and_a_half_messages_at_once_behind_a_keep_alive() -> None:
    stream = Stream()
    assert stream.put(KEEP_ALIVE + INVITE * 2 + INVITE[:300]) == KEEP_ALIVE + OUTSIDE * 2
    assert stream.put(INVITE[300:]) == OUTSIDE
