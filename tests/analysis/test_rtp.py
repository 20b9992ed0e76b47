from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis import rtp
from sipalg.analysis.messages import sip_messages
from sipalg.analysis.rtp import RTCP, RTP, RtpStream, RtpStreams
from sipalg.capture.decode import Segment
from sipalg.engine.verdict import Endpoint

PHONE, FAR = Endpoint("192.168.33.10", 16000), Endpoint("203.0.113.60", 4000)


def segment(payload: bytes, number: int = 1, source: Endpoint = PHONE, destination: Endpoint = FAR) -> Segment:
    ends = repr((source, destination)).encode()
    return Segment(number, number * 20, 17, source, destination, payload, ends, 0, 0, True, (), 0)


def voice(sequence: int, ssrc: int = 7, payload_type: int = 8) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, 160, ssrc) + bytes(160)


def report(kind: int = 200, ssrc: int = 7, words: int = 6) -> bytes:
    return struct.pack("!BBHI", 0x80, kind, words, ssrc) + bytes(words * 4 - 4)


def announce(streams: RtpStreams, sdp: str, call_id: str = "a@b") -> None:
    body = sdp.replace("\n", "\r\n").encode()
    head = f"INVITE sip:b@c SIP/2.0\r\nCall-ID: {call_id}\r\nContent-Type: application/sdp\r\n"
    payload = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    for message in sip_messages([segment(payload)]):
        streams.announce(message)


def fed(streams: RtpStreams, sequences: list[int]) -> list[RtpStream]:
    for number, sequence in enumerate(sequences, 1):
        streams.add(segment(voice(sequence), number))
    return streams.streams()


@given(start=st.integers(0, 65535), gaps=st.lists(st.sampled_from([1, 1, 1, 2, 5, 9000]), min_size=3, max_size=60))
def test_loss_is_what_the_numbers_tell(start: int, gaps: list[int]) -> None:
    sequences = [start, start + 1, start + 2]
    for gap in gaps:
        sequences.append(sequences[-1] + gap)
    (stream,) = fed(RtpStreams(), sequences)
    assert (stream.kind, stream.ssrc, stream.payload_type, stream.packets) == (RTP, 7, 8, len(sequences))
    assert stream.lost == sequences[-1] - start + 1 - len(sequences)
    assert (stream.first_number, stream.last_number) == (1, len(sequences))
    assert stream.payload_bytes == 172 * len(sequences)
    assert stream.first_sequence == start


def test_late_packet_is_not_lost() -> None:
    (stream,) = fed(RtpStreams(), [1, 2, 3, 5, 4, 6])
    assert (stream.packets, stream.lost) == (6, 0)


def test_stream_that_nobody_announced_needs_three_in_order() -> None:
    assert fed(RtpStreams(), [1, 2]) == []
    assert fed(RtpStreams(), [1, 900, 70, 4000]) == []
    (stream,) = fed(RtpStreams(), [1, 2, 3])
    assert not stream.announced


@pytest.mark.parametrize("end", [f"c=IN IP4 {PHONE.host}", f"c=IN IP4 {FAR.host}"])
def test_announced_stream_is_believed_at_once(end: str) -> None:
    streams = RtpStreams()
    port = PHONE.port if PHONE.host in end else FAR.port
    announce(streams, f"v=0\n{end}\nm=audio {port} RTP/AVP 8\n")
    (stream,) = fed(streams, [9])
    assert (stream.call_ids, stream.packets) == (["a@b"], 1)
    assert streams.announced(Endpoint(end.split()[-1], port)) == ["a@b"]
    assert streams.announced(Endpoint(end.split()[-1], port + 1)) == ["a@b"]


def test_candidate_that_is_announced_later_keeps_its_count() -> None:
    streams = RtpStreams()
    assert fed(streams, [1]) == []
    announce(streams, f"v=0\nc=IN IP4 {FAR.host}\nm=audio {FAR.port} RTP/AVP 8\n")
    streams.add(segment(voice(2), 2))
    assert [(stream.packets, stream.first_number) for stream in streams.streams()] == [(2, 1)]


def test_two_calls_with_one_end() -> None:
    streams = RtpStreams()
    for call_id in ("one", "two", "one"):
        announce(streams, f"v=0\nc=IN IP4 {FAR.host}\nm=audio {FAR.port} RTP/AVP 8\n", call_id)
    assert fed(streams, [1])[0].call_ids == ["one", "two"]


@pytest.mark.parametrize(
    "sdp", ["", "no description", "v=0\nc=IN IP4 203.0.113.60\nm=audio 0 RTP/AVP 8\n", "v=0\nm=audio 4000 RTP/AVP 8\n"]
)
def test_description_that_announces_nothing(sdp: str) -> None:
    streams = RtpStreams()
    announce(streams, sdp)
    assert fed(streams, [1]) == []


def test_rtcp_where_the_attribute_says() -> None:
    streams = RtpStreams()
    announce(streams, f"v=0\nc=IN IP4 {FAR.host}\nm=audio 4000 RTP/AVP 8\na=rtcp:4999 IN IP4 192.0.2.9\n")
    assert streams.announced(Endpoint("192.0.2.9", 4999)) == ["a@b"]
    assert streams.announced(Endpoint(FAR.host, 4001)) == []


def test_rtcp_is_a_stream_of_its_own() -> None:
    streams = RtpStreams()
    for payload in (report(), report(), report(201, ssrc=8)):
        streams.add(segment(payload))
    assert [(stream.kind, stream.ssrc, stream.packets, stream.lost) for stream in streams.streams()] == [
        (RTCP, 7, 2, 0),
        (RTCP, 8, 1, 0),
    ]


def test_rtcp_that_is_none() -> None:
    streams = RtpStreams()
    assert streams.add(segment(report(words=6)[:-1])) is None
    assert streams.add(segment(report(205))) is None
    assert streams.streams() == []
    announce(streams, f"v=0\nc=IN IP4 {FAR.host}\nm=audio {FAR.port - 1} RTP/AVP 8\n")
    found = streams.add(segment(report(205)))
    assert found is not None
    assert found.payload_type == 205


def test_other_payload_types_are_noted() -> None:
    streams = RtpStreams()
    fed(streams, [1, 2, 3])
    streams.add(segment(voice(4, payload_type=0x80 | 101)))
    assert streams.streams()[0].others == {101}


@given(payloads=st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_raise(payloads: list[bytes]) -> None:
    streams = RtpStreams()
    for payload in payloads:
        streams.add(segment(b"\x80" + payload))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("MOST_STREAMS", "MOST_CANDIDATES", "MOST_ANNOUNCED"):
        monkeypatch.setattr(rtp, bound, 2)
    streams = RtpStreams()
    for ssrc in range(9):
        announce(streams, f"v=0\nc=IN IP4 {FAR.host}\nm=audio {5000 + ssrc * 2} RTP/AVP 8\n")
        streams.add(segment(voice(1, ssrc)))
        streams.add(segment(report(ssrc=ssrc)))
    assert len(streams._streams) == len(streams._candidates) == len(streams._announced) == 2
