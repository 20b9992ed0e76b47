from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.streams import MOST_HELD_SEGMENTS, SEARCHED_BYTES, Framed, Streams
from sipalg.capture.decode import FIN, SYN, Segment
from sipalg.engine.verdict import Endpoint

FIRST = b"REGISTER sip:example.com SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 4\r\n\r\nbo\r\n"
SECOND = b"SIP/2.0 200 OK\r\nCall-ID: 2\r\n\r\n"
THIRD = b"INVITE sip:b@example.com SIP/2.0\r\nl: 0\r\n\r\n"
TALK = FIRST + SECOND + b"\r\n\r\n" + THIRD


def segment(number: int, sequence: int, payload: bytes, flags: int = 0, *, whole: bool = True) -> Segment:
    ends = Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5060)
    return Segment(number, number, 6, *ends, payload, b"ends", sequence % (1 << 32), flags, whole, (), 0)


def fed(*segments: Segment) -> list[Framed]:
    streams = Streams()
    found = [framed for one in segments for framed in streams.add(one)]
    return found + [framed for _, framed in streams.rest()]


def data(found: list[Framed]) -> list[bytes]:
    return [framed.data for framed in found]


@given(cuts=st.lists(st.integers(1, len(TALK) - 1), max_size=6, unique=True), start=st.integers(0, (1 << 32) - 1))
def test_messages_however_they_are_cut(cuts: list[int], start: int) -> None:
    bounds = [0, *sorted(cuts), len(TALK)]
    pieces = [
        segment(number, start + at, TALK[at:end])
        for number, (at, end) in enumerate(itertools.pairwise(bounds), 1)
    ]
    assert data(fed(*pieces)) == [FIRST, SECOND, THIRD]


@given(order=st.permutations(range(8)))
def test_order_and_repetitions_change_nothing(order: list[int]) -> None:
    size = len(TALK) // 7
    pieces = [segment(n + 2, 101 + n * size, TALK[n * size : (n + 1) * size]) for n in range(8)]
    shuffled = [pieces[n] for n in order]
    begin = segment(1, 100, b"", SYN)
    assert data(fed(begin, *shuffled, *pieces)) == [FIRST, SECOND, THIRD]


def test_large_message_in_tiny_pieces() -> None:
    body = bytes(range(65, 91)) * 4000
    whole = FIRST.replace(b"Content-Length: 4\r\n\r\nbo\r\n", b"Content-Length: %d\r\n\r\n" % len(body)) + body
    pieces = [segment(n, n * 7, whole[n * 7 : n * 7 + 7]) for n in range(len(whole) // 7 + 1)]
    found = fed(*pieces, segment(99_999, len(whole), THIRD))
    assert data(found) == [whole, THIRD]
    assert len(found[0].frames) == len(pieces)


def test_frames_of_each_message_are_known() -> None:
    whole = FIRST + SECOND
    found = fed(segment(1, 0, whole[:20]), segment(2, 20, whole[20 : len(FIRST) + 20]))
    assert found == [Framed(FIRST, (1, 2), True), Framed(SECOND[:20], (2,), False)]
    found = fed(segment(4, 0, whole[:90]), segment(5, 90, whole[90:]))
    assert found == [Framed(FIRST, (4,), True), Framed(SECOND, (4, 5), True)]


@given(cuts=st.lists(st.integers(1, len(TALK) - 1), max_size=9, unique=True))
def test_frames_are_those_whose_bytes_it_has(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(TALK)]
    places = list(itertools.pairwise(bounds))
    for framed in fed(*(segment(n, at, TALK[at:end]) for n, (at, end) in enumerate(places))):
        begin = TALK.index(framed.data)
        end = begin + len(framed.data)
        assert framed.frames == tuple(n for n, (at, stop) in enumerate(places) if at < end and stop > begin)


def test_capture_that_begins_in_the_middle() -> None:
    assert data(fed(segment(1, 5, TALK[40:]))) == [SECOND, THIRD]


def test_hole_is_given_up_and_the_rest_is_read() -> None:
    lost = len(FIRST)
    pieces = [segment(1, 0, FIRST[:50])]
    pieces += [segment(2 + n, lost + n * len(SECOND), SECOND) for n in range(MOST_HELD_SEGMENTS + 1)]
    found = fed(*pieces)
    assert found[0] == Framed(FIRST[:50], (1,), False)
    assert data(found[1:]) == [SECOND] * (MOST_HELD_SEGMENTS + 1)


def test_segment_cut_by_the_capture_ends_its_message() -> None:
    found = fed(segment(1, 0, FIRST[:50], whole=False), segment(2, len(FIRST), SECOND))
    assert found == [Framed(FIRST[:50], (1,), False), Framed(SECOND, (2,), True)]


def test_end_of_the_connection_gives_what_there_is() -> None:
    streams = Streams()
    found = [*streams.add(segment(1, 0, FIRST[:-1])), *streams.add(segment(2, len(FIRST) - 1, b"", FIN))]
    assert found == [Framed(FIRST[:-1], (1,), False)]
    # The same ports again, without a SYN in the capture.
    assert data(list(streams.add(segment(3, 7000, THIRD)))) == [THIRD]


def test_new_connection_between_the_same_ends() -> None:
    assert data(fed(segment(1, 0, FIRST), segment(2, 9, b"", SYN), segment(3, 10, THIRD))) == [FIRST, THIRD]


def test_other_protocols_are_forgotten() -> None:
    streams = Streams()
    piece = b"x" * 4096
    for number in range(SEARCHED_BYTES // 10):
        assert list(streams.add(segment(number, number * len(piece), piece))) == []
        if number > 100:
            break
    assert streams._streams[b"ends"] is None or streams._streams[b"ends"].searched > 0
    assert list(streams.rest()) == []


def test_what_waits_at_the_end_is_given() -> None:
    torn = segment(4, 2 * len(FIRST) + 10, SECOND[:20])
    found = fed(segment(1, 0, FIRST), segment(2, len(FIRST) + 5, THIRD), torn)
    assert found == [
        Framed(FIRST, (1,), True),
        Framed(THIRD, (2,), True),
        Framed(SECOND[:20], (4,), False),
    ]


def test_what_waits_behind_a_hole_is_given_at_the_end_of_the_connection() -> None:
    streams = Streams()
    ahead = len(FIRST) + 5
    assert [*streams.add(segment(1, 0, FIRST)), *streams.add(segment(2, ahead, THIRD))] == [Framed(FIRST, (1,), True)]
    assert list(streams.add(segment(3, ahead + len(THIRD), b"", FIN))) == [Framed(THIRD, (2,), True)]


def test_the_rest_comes_with_the_last_segment() -> None:
    streams = Streams()
    pieces = [segment(1, 0, FIRST[:20]), segment(2, 20, FIRST[20:50])]
    assert [framed for one in pieces for framed in streams.add(one)] == []
    assert [(last.number, framed.frames) for last, framed in streams.rest()] == [(2, (1, 2))]
    assert list(streams.rest()) == []


def test_all_connections_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipalg.analysis.streams.MOST_BYTES", 1000)
    streams = Streams()
    for number in range(30):
        torn = segment(number, 0, FIRST[:50])._replace(ends=b"%d" % number)
        held = segment(number, 100, FIRST[:50])._replace(ends=b"%d" % number)
        assert [*streams.add(torn), *streams.add(held)] == []
        assert streams._bytes == sum(one.size_bytes for one in streams._streams.values() if one) <= 1000
    assert [last.number for last, _ in streams.rest()] == [number for number in range(20, 30) for _ in range(2)]


def test_endless_header_is_not_held() -> None:
    head = b"REGISTER sip:example.com SIP/2.0\r\n"
    pieces = [segment(1, 0, head)]
    pieces += [segment(2 + n, len(head) + n * 1000, b"X: " + b"y" * 995 + b"\r\n") for n in range(70)]
    found = fed(*pieces)
    assert found[0].whole is False
    assert 65536 < len(found[0].data) < 68000


@given(payloads=st.lists(st.binary(max_size=60), max_size=6), sequences=st.lists(st.integers(0, 200), max_size=6))
def test_no_bytes_raise(payloads: list[bytes], sequences: list[int]) -> None:
    streams = Streams()
    for number, (payload, at) in enumerate(zip(payloads, sequences, strict=False)):
        list(streams.add(segment(number, at, payload)))
        assert streams._bytes == sum(one.size_bytes for one in streams._streams.values() if one)
    list(streams.rest())
