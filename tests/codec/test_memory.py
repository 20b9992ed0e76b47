from __future__ import annotations

from sipalg.codec.memory import LONGEST_REMEMBERED, SAME, Memory


def test_a_text_is_read_once() -> None:
    read: list[bytes] = []

    def length(text: bytes) -> int:
        read.append(text)
        return len(text)

    memory = Memory(length, 10)
    assert [memory[text] for text in (b"a", b"bc", b"a")] == [1, 2, 1]
    assert read == [b"a", b"bc"]


def test_a_flood_empties_it() -> None:
    memory = Memory(len, 3)
    for number in range(10):
        assert memory[b"%d" % number] == 1
        assert len(memory) <= 3
    assert list(memory) == [b"9"]


def test_long_texts_are_read_each_time() -> None:
    memory = Memory(len, 3)
    assert memory[b"x" * LONGEST_REMEMBERED] == LONGEST_REMEMBERED
    assert memory[b"x" * (LONGEST_REMEMBERED + 1)] == LONGEST_REMEMBERED + 1
    assert list(memory) == [b"x" * LONGEST_REMEMBERED]


def test_equal_texts_become_one_object() -> None:
    first, second = bytes(bytearray(b"192.168.20.10")), bytes(bytearray(b"192.168.20.10"))
    assert first is not second
    assert SAME[first] is SAME[second]
