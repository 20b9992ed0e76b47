from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis import rtp
from sipalg.analysis.messages import Messages
from sipalg.analysis.rtp import Heard, Stream, Streams, Way, media_ends
from sipalg.capture.decode import Segment
from sipalg.codec.datagram import host_bytes
from sipalg.engine.verdict import Endpoint

PHONE, FAR = Endpoint("192.168.33.10", 16000), Endpoint("203.0.113.60", 4000)


def segment(payload: bytes, number: int = 1, source: Endpoint = PHONE, destination: Endpoint = FAR) -> Segment:
    ends = host_bytes(source.host) + host_bytes(destination.host) + struct.pack("!HH", source.port, destination.port)
    return Segment(number, number * 20, 17, source, destination, payload, ends, 0, 0, True, (), 0)


def voice(sequence: int, ssrc: int = 7, payload_type: int = 8) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, 160, ssrc) + bytes(160)


def report(kind: int = 200, ssrc: int = 7, words: int = 6) -> bytes:
    return struct.pack("!BBHI", 0x80, kind, words, ssrc) + bytes(words * 4 - 4)


def named(sdp: str) -> list[Endpoint]:
    body = sdp.replace("\n", "\r\n").encode()
    head = "INVITE sip:b@c SIP/2.0\r\nCall-ID: a@b\r\nContent-Type: application/sdp\r\n"
    payload = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    (message,) = Messages().take(segment(payload))
    return list(media_ends(message))


def fed(streams: Streams, sequences: list[int]) -> list[Stream]:
    for number, sequence in enumerate(sequences, 1):
        streams.take(segment(voice(sequence), number))
    return streams.all


def counts(streams: Streams) -> list[int]:
    return [stream.tally.count for stream in streams.all]


@given(start=st.integers(0, 65535), steps=st.lists(st.integers(-40_000, 40_000), max_size=60))
def test_a_known_stream_has_every_packet_that_comes(start: int, steps: list[int]) -> None:
    sequences = [start, start + 1, start + 2, *(start + step for step in steps)]
    (stream,) = fed(Streams(), sequences)
    assert (stream.tally.ssrc, stream.tally.count) == (b"\0\0\0\7", len(sequences))
    assert (stream.first, stream.first_ns) == (1, 20)
    assert (stream.tally.last, stream.tally.last_ns) == (len(sequences), 20 * len(sequences))


@pytest.mark.parametrize("sequences", [[1, 2], [1, 900, 70, 4000], [9, 9, 4], [1, 2, 900, 901]])
def test_stream_that_nobody_announced_needs_three_in_order(sequences: list[int]) -> None:
    assert fed(Streams(), sequences) == []


def test_three_in_order_may_have_losses_and_pass_the_highest_number() -> None:
    assert counts_of([65530, 1, 40]) == [3]


def counts_of(sequences: list[int]) -> list[int]:
    streams = Streams()
    fed(streams, sequences)
    return counts(streams)


@pytest.mark.parametrize("end", [PHONE, FAR])
def test_announced_stream_is_believed_at_once(end: Endpoint) -> None:
    streams = Streams()
    streams.announce(end)
    assert streams.take(segment(voice(9)))
    assert counts(streams) == [1]


def test_candidate_that_is_announced_later_keeps_its_count() -> None:
    streams = Streams()
    assert not streams.take(segment(voice(1)))
    streams.announce(FAR)
    assert streams.take(segment(voice(2), 2))
    assert [(stream.tally.count, stream.first) for stream in streams.all] == [(2, 1)]


def test_another_ssrc_is_another_stream_and_the_reader_counts_the_latest() -> None:
    streams = Streams()
    streams.announce(FAR)
    ends = segment(b"").ends
    for ssrc, sequence in ((7, 1), (8, 1), (7, 2), (8, 2), (8, 3)):
        assert streams.take(segment(voice(sequence, ssrc)))
        assert streams.tallies[ends].ssrc == ssrc.to_bytes(4, "big")
    assert counts(streams) == [2, 3]


def test_ends_that_a_description_names() -> None:
    line = "m=audio 4000 RTP/AVP 8\n"
    here = "c=IN IP4 192.0.2.7\n"
    assert named(f"v=0\n{here}{line}") == [Endpoint("192.0.2.7", 4000), Endpoint("192.0.2.7", 4001)]
    assert named(f"v=0\n{here}{line}a=rtcp:4999 IN IP4 192.0.2.9\n")[1] == Endpoint("192.0.2.9", 4999)
    assert named(f"v=0\n{here}m=image 4000 udptl t38\n") == [Endpoint("192.0.2.7", 4000)]
    for nothing in ("", "no description", f"v=0\n{here}m=audio 0 RTP/AVP 8\n", f"v=0\n{line}"):
        assert named(nothing) == []


def test_rtcp_is_a_stream_of_its_own() -> None:
    streams = Streams()
    for number, payload in enumerate((report(), report(), report(201, ssrc=8)), 1):
        assert streams.take(segment(payload, number))
    assert [(stream.tally.ssrc[-1], stream.tally.count, stream.reports_ns) for stream in streams.all] == [
        (7, 2, (20, 40)),
        (8, 1, (60,)),
    ]
    assert (streams.packets(is_rtcp=True), streams.packets(is_rtcp=False)) == (3, 0)


def test_times_of_few_reports_are_kept() -> None:
    streams = Streams()
    for number in range(1, 20):
        streams.take(segment(report(), number))
    assert streams.all[0].reports_ns == tuple(20 * number for number in range(1, 9))


def test_rtp_and_rtcp_on_one_port_are_counted_apart() -> None:
    for first, second in ((voice(1), report(201)), (report(201), voice(1))):
        streams = Streams()
        streams.announce(FAR)
        for payload in (first, second, first, second, second):
            assert streams.take(segment(payload))
        assert sorted(counts(streams)) == [2, 3]


def test_rtcp_that_is_none() -> None:
    streams = Streams()
    resolver = Endpoint("198.51.100.53", 53)
    assert not streams.take(segment(report(words=6)[:-1]))
    assert not streams.take(segment(report(205)))
    assert not streams.take(segment(report(), destination=resolver))
    assert not streams.is_announced(FAR)
    streams.announce(FAR)
    streams.announce(resolver)
    assert streams.is_announced(FAR)
    assert streams.take(segment(report(205)))
    assert streams.take(segment(report(), destination=resolver))


def test_what_only_looks_a_little_like_media_isnt() -> None:
    streams = Streams()
    streams.announce(FAR)
    for payload in (b"", b"\x80", voice(1)[:11], report()[:7], b"\x80\xc9\x00\x09" + bytes(4), b"INVITE sip:a@b"):
        assert not streams.take(segment(payload))
    assert streams.all == []


def test_what_came_is_counted_at_an_end_or_at_another_port_of_its_host() -> None:
    streams = Streams()
    streams.announce(FAR)
    streams.take(segment(voice(1), 5))
    streams.take(segment(voice(1, 8), 6, FAR, Endpoint(PHONE.host, 4444)))
    streams.take(segment(report(), 7, FAR, PHONE))
    assert streams.came(Way({FAR}, {PHONE}, FAR.host, 0), is_rtcp=False) == Heard(1, 100, 5)
    assert streams.came(Way({PHONE}, {FAR}, PHONE.host, 0), is_rtcp=False) == Heard(1, 120, 6)
    assert streams.came(Way({PHONE}, {FAR}, "192.168.33.77", 0), is_rtcp=False) == Heard(0, 0, 0)
    assert streams.came(Way({PHONE}, {FAR}, PHONE.host, 0), is_rtcp=True) == Heard(1, 140, 7)


def test_what_came_from_elsewhere_counts_at_the_port_that_the_own_media_leaves_from() -> None:
    streams, named = Streams(), Endpoint("203.0.113.1", 16000)
    streams.announce(FAR)
    streams.announce(PHONE)
    elsewhere = Endpoint("203.0.113.99", 7010)
    streams.take(segment(voice(1, 9), 2, elsewhere, PHONE))
    way = Way({named}, {FAR}, PHONE.host, 3)
    assert streams.came(way, is_rtcp=False).packets == 0
    streams.take(segment(voice(1, 7), 4))
    streams.take(segment(voice(1, 8), 5, elsewhere, PHONE))
    assert streams.came(way, is_rtcp=False) == Heard(1, 100, 5)
    # What began before the call is another's.
    assert streams.came(way._replace(since=0), is_rtcp=False).packets == 2
    assert streams.came(way._replace(since=5), is_rtcp=False).packets == 0
    assert streams.came(way._replace(host=""), is_rtcp=False).packets == 0


@given(payloads=st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_raise(payloads: list[bytes]) -> None:
    streams = Streams()
    streams.announce(FAR)
    for payload in payloads:
        streams.take(segment(b"\x80" + payload))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("MOST_STREAMS", "MOST_CANDIDATES", "MOST_ANNOUNCED"):
        monkeypatch.setattr(rtp, bound, 2)
    streams = Streams()
    for ssrc in range(9):
        streams.announce(Endpoint("192.0.2.7", ssrc))
        streams.take(segment(voice(1, ssrc)))
        streams.take(segment(report(ssrc=ssrc)))
    assert len(streams.all) == len(streams._candidates) == len(streams._announced) == 2


def test_stream_that_is_seen_on_both_sides_of_a_nat_came_once() -> None:
    streams = Streams()
    streams.announce(FAR)
    public = Endpoint("203.0.113.1", 16384)
    for number in range(1, 9, 2):
        streams.take(segment(voice(number), number))
        streams.take(segment(voice(number), number + 1, public))
    assert streams.came(Way({FAR}, set(), "", 0), is_rtcp=False) == Heard(4, 140, 7)
    # Later, and from elsewhere, it is another part of it.
    for number in (20, 21):
        streams.take(segment(voice(number), number, Endpoint("203.0.113.1", 9)))
    assert streams.came(Way({FAR}, set(), "", 0), is_rtcp=False) == Heard(6, 420, 21)
