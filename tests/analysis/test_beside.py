from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.beside import rows, side_by_side

BEFORE = b"INVITE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060\r\nTo: <sip:a>\r\n\r\nm=audio 1000 RTP/AVP 0\r\n"
AFTER = BEFORE.replace(b"10.0.0.1:5060\r\n", b"192.0.2.1:1024\r\nX: y\r\n").replace(b"1000", b"2000")


def test_marks_in_plain_text() -> None:
    assert list(side_by_side(BEFORE, AFTER, 90, coloured=False)) == [
        "INVITE sip:a SIP/2.0                        │ INVITE sip:a SIP/2.0",
        "Via: SIP/2.0/UDP [-10.0.0.1-]:[-5060-]      │ Via: SIP/2.0/UDP {+192.0.2.1+}:{+1024+}",
        "                                            │ {+X: y+}",
        "To: <sip:a>                                 │ To: <sip:a>",
        "                                            │",
        "m=audio [-1000-] RTP/AVP 0                  │ m=audio {+2000+} RTP/AVP 0",
    ]


def test_marks_in_colour_take_no_room() -> None:
    lines = list(side_by_side(BEFORE, AFTER, 90, coloured=True))
    assert "\x1b[31m10.0.0.1\x1b[0m:\x1b[31m5060\x1b[0m" in lines[1]
    assert lines[1].replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "").index("│") == 44


def test_long_lines_are_folded() -> None:
    lines = list(side_by_side(b"a" * 70, b"a" * 70, 63, coloured=False))
    assert lines == [f"{'a' * 30} │ {'a' * 30}"] * 2 + [f"{'a' * 10}{' ' * 20} │ {'a' * 10}"]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_nothing_is_lost_and_nothing_moves_the_cursor(before: bytes, after: bytes) -> None:
    for column, message in ((0, before), (1, after)):
        text = ["".join(piece for piece, _ in row[column]) for row in rows(before, after)]
        assert all(char.isprintable() or char == "\t" for line in text for char in line)
        assert sum(bool(line) for line in text) >= bool(message.strip())


@given(st.binary(max_size=200))
def test_what_is_the_same_has_no_marks(message: bytes) -> None:
    assert not any(differs for row in rows(message, message) for pieces in row for _, differs in pieces)


def test_addresses_are_not_cut_in_two() -> None:
    before = b"Contact: <sip:525-a-long-name@192.168.120.100:50600>;q=1\r\n"
    after = b"Contact: <sip:525-a-long-name@203.100.113.100:50601>;q=1\r\n" + b"x" * 100
    for coloured in (False, True):
        for width in range(66, 120):
            lines = "\n".join(side_by_side(before, after, width, coloured=coloured))
            assert "192.168.120.100" in lines
            assert "203.100.113.100" in lines
            assert lines.count("x") == 100
