from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.fragments import Fragments, is_fragment
from sipalg.codec.datagram import checksums_right, fill_checksums, parse_udp, replace_payload

A, B = "192.168.33.10:5060", "203.0.113.50:5060"

Build = Callable[..., bytes]
Cut = Callable[[bytes, int], list[bytes]]


def test_only_fragments_are_fragments(udp: Build, fragmented: Cut) -> None:
    whole = udp(A, B, bytes(100))
    assert not is_fragment(whole)
    assert all(is_fragment(part) for part in fragmented(whole, 48))


def test_datagram_is_complete_with_its_last_part_in_any_order(udp: Build, fragmented: Cut) -> None:
    payload = bytes(range(200))
    parts = fragmented(udp(A, B, payload), 48)
    waiting = Fragments[int]()
    for number in (4, 0, 3, 1):
        assert waiting.add(parts[number], number, 0.0) is None
    group = waiting.add(parts[2], 2, 0.0)
    assert group is not None
    whole = group.datagram()
    assert whole is not None
    assert not is_fragment(whole)
    parsed = parse_udp(whole)
    assert not isinstance(parsed, str)
    assert parsed.payload == payload


def test_grown_datagram_is_cut_at_the_same_places(udp: Build, fragmented: Cut) -> None:
    parts = fragmented(udp(A, B, bytes(range(100))), 48)
    waiting = Fragments[str]()
    group = [waiting.add(part, f"place {number}", 0.0) for number, part in enumerate(parts)][-1]
    assert group is not None
    whole = group.datagram()
    assert whole is not None
    longer = fill_checksums(replace_payload(whole, bytes(range(120))))
    pieces = group.cut(longer)
    assert pieces is not None
    cut = {tag: piece for piece, tag in pieces}
    assert list(cut) == ["place 0", "place 1", "place 2"]
    assert [len(piece) for piece in cut.values()] == [68, 68, 20 + 128 - 96]
    assert all(checksums_right(piece) for piece in cut.values())
    again = Fragments[int]()
    regrouped = [again.add(piece, 0, 0.0) for piece in cut.values()][-1]
    assert regrouped is not None
    assert fill_checksums(regrouped.datagram() or b"") == longer


def test_datagram_too_short_for_so_many_parts_isnt_cut(udp: Build, fragmented: Cut) -> None:
    parts = fragmented(udp(A, B, bytes(100)), 48)
    waiting = Fragments[int]()
    group = [waiting.add(part, 0, 0.0) for part in parts][-1]
    assert group is not None
    assert group.cut(udp(A, B, bytes(88))) is None
    assert group.cut(udp(A, B, bytes(89))) is not None


def test_repeated_part_is_one_part(udp: Build, fragmented: Cut) -> None:
    parts = fragmented(udp(A, B, bytes(60)), 48)
    waiting = Fragments[int]()
    waiting.add(parts[0], 0, 0.0)
    waiting.add(parts[0], 1, 0.0)
    group = waiting.add(parts[1], 2, 0.0)
    assert group is not None
    pieces = group.cut(group.datagram() or b"")
    assert pieces is not None
    assert [tag for _, tag in pieces] == [0, 1, 2]


def test_parts_that_overlap_and_differ_are_no_datagram(udp: Build, fragmented: Cut) -> None:
    parts = fragmented(udp(A, B, bytes(60)), 48)
    other = fragmented(udp(A, B, b"\1" * 60), 48)
    waiting = Fragments[int]()
    assert waiting.add(parts[0], 0, 0.0) is None
    assert waiting.add(other[0], 1, 0.0) is None
    assert waiting.add(parts[1], 2, 0.0) is None


def test_parts_that_leave_a_hole_or_overlap_are_no_datagram(udp: Build, fragmented: Cut) -> None:
    whole = udp(A, B, bytes(120))
    thin, thick = fragmented(whole, 16), fragmented(whole, 48)
    waiting = Fragments[int]()
    assert [waiting.add(part, 0, 0.0) for part in (thick[0], thin[2], thick[2])] == [None] * 3


def test_more_than_a_packet_can_hold_is_no_datagram(udp: Build) -> None:
    def part(offset: int, more: bool, size: int) -> bytes:
        header = udp(A, B)[:20]
        return header[:6] + struct.pack("!H", offset // 8 | more << 13) + header[8:] + bytes(size)

    waiting = Fragments[int]()
    assert waiting.add(part(0, True, 65528), 0, 0.0) is None
    assert waiting.add(part(65528, False, 100), 0, 0.0) is None


def test_what_stays_incomplete_is_given_up(udp: Build, fragmented: Cut) -> None:
    part = fragmented(udp(A, B, bytes(100)), 48)[0]
    waiting = Fragments[int]()
    waiting.add(part, 5, 10.0)
    assert waiting.expired(40.0) == []
    (group,) = waiting.expired(40.1)
    assert group.parts == [(part, 5)]
    assert waiting.expired(float("inf")) == []


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_any_fragments_are_survived(parts: list[tuple[int, bytes]]) -> None:
    waiting = Fragments[int]()
    for number, (field, body) in enumerate(parts):
        packet = struct.pack("!BBHHHBBH8s", 0x45, 0, 20 + len(body), 7, field, 64, 17, 0, bytes(8)) + body
        group = waiting.add(packet, number, 0.0)
        if group is not None:
            whole = group.datagram()
            assert whole is not None
            pieces = group.cut(whole)
            assert pieces is None or len(list(pieces)) == len(group.parts)
