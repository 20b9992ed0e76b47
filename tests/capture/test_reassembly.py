from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.reading import Frame
from sipalg.capture.reassembly import MOST_PIECES, MOST_WAITING, Reassembly

BODY = bytes(range(200))


def frame(number: int, time_ns: int = 0) -> Frame:
    return Frame(number, time_ns, b"", 0, 1, 0)


@given(order=st.permutations([0, 1, 2, 3, 3]))
def test_any_order_and_any_piece_twice(order: list[int]) -> None:
    fragments = Reassembly()
    found = []
    for number, piece in enumerate(order):
        at = piece * 56
        found.append(fragments.add(b"key", at, piece < 3, BODY[at : at + 56], frame(number)))
    whole = [done for done in found if done is not None]
    assert [body for body, _ in whole] == [BODY]
    assert len(whole[0][1]) == 4


def test_hole_and_overlap_are_no_datagram() -> None:
    fragments = Reassembly()
    assert fragments.add(b"key", 0, True, BODY[:16], frame(1)) is None
    assert fragments.add(b"key", 8, True, BODY[:16], frame(2)) is None
    assert fragments.add(b"key", 24, False, BODY[:8], frame(3)) is None


def test_what_waits_too_long_begins_anew() -> None:
    fragments = Reassembly()
    assert fragments.add(b"key", 0, True, BODY[:8], frame(1)) is None
    assert fragments.add(b"key", 8, False, BODY[8:], frame(2, 31_000_000_000)) is None
    assert fragments.add(b"key", 0, True, BODY[:8], frame(3, 31_000_000_000)) == (BODY, (2, 3))


def test_memory_is_bounded() -> None:
    fragments = Reassembly()
    for number in range(MOST_WAITING + 1):
        fragments.add(b"%d" % number, 0, True, BODY[:8], frame(number))
    assert fragments.add(b"0", 8, False, BODY[8:], frame(1)) is None
    assert fragments.add(b"%d" % MOST_WAITING, 8, False, BODY[8:], frame(2)) == (BODY, (MOST_WAITING, 2))
    for number in range(MOST_PIECES + 1):
        fragments.add(b"many", number * 8, True, BODY[:8], frame(number))
    assert fragments.add(b"many", (MOST_PIECES + 1) * 8, False, b"", frame(1)) is None
    assert fragments.add(b"large", 65528, False, BODY, frame(1)) is None
