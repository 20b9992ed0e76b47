from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.marks import COLOURED, PLAIN, Style, diff_lines, marked_lines, text_of
from sipalg.engine.verdict import Edit

MESSAGE = b"REGISTER sip:s SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060\r\nContact: <sip:a@10.0.0.1:5060>\r\n\r\n"
VIA = MESSAGE.index(b"10.0.0.1:5060")
CONTACT = MESSAGE.rindex(b"10.0.0.1:5060")


def test_edits_are_marked_and_named_in_their_lines() -> None:
    edits = (Edit(VIA, 13, b"203.0.113.1:1024", "via"), Edit(CONTACT, 13, b"203.0.113.1:1024", "contact"))
    assert list(marked_lines(MESSAGE, edits, PLAIN)) == [
        "REGISTER sip:s SIP/2.0",
        "Via: SIP/2.0/UDP [-10.0.0.1:5060-]{+203.0.113.1:1024+}    # via",
        "Contact: <sip:a@[-10.0.0.1:5060-]{+203.0.113.1:1024+}>    # contact",
        "",
    ]


def test_several_edits_of_a_line_share_it_and_name_each_rule_once() -> None:
    edits = (Edit(0, 1, b"x", "r"), Edit(2, 1, b"y", "r"), Edit(4, 1, b"z", "s"))
    assert list(marked_lines(b"a,b,c\nd", edits, PLAIN)) == ["[-a-]{+x+},[-b-]{+y+},[-c-]{+z+}    # r, s", "d"]


def test_edit_that_only_strikes_or_only_puts_in_has_one_mark() -> None:
    edits = (Edit(0, 1, b"", "r"), Edit(3, 0, b"new", "r"))
    assert list(marked_lines(b"a,b", edits, PLAIN)) == ["[-a-],b{+new+}    # r"]


def test_edit_over_a_line_end_stands_where_it_begins() -> None:
    assert list(marked_lines(b"ab\ncd\nef", (Edit(1, 3, b"-", "r"),), PLAIN)) == ["a[-b\\nc-]{+-+}d    # r", "ef"]
    assert list(marked_lines(b"ab\ncd", (Edit(1, 3, b"-", "r"),), PLAIN)) == ["a[-b\\nc-]{+-+}d    # r"]


def test_edit_at_the_end_is_shown() -> None:
    assert list(marked_lines(b"ab", (Edit(2, 0, b"c", "r"),), PLAIN)) == ["ab{+c+}    # r"]
    assert list(marked_lines(b"ab\n", (Edit(3, 0, b"c", "r"),), PLAIN)) == ["ab", "{+c+}    # r"]


def test_colours_are_taken_back() -> None:
    (line,) = marked_lines(b"ab", (Edit(0, 1, b"c", "r"),), COLOURED)
    assert line == "\x1b[31;9ma\x1b[0m→\x1b[32mc\x1b[0mb    \x1b[2m← r\x1b[0m"


def test_notes_stand_behind_lines_without_edits() -> None:
    edits = (Edit(0, 1, b"x", "r"),)
    lines = list(marked_lines(b"a\nb\nc", edits, PLAIN, {0: "unused", 2: "left"}))
    assert lines == ["[-a-]{+x+}    # r", "b    # left", "c"]


def test_diff_has_edited_lines_twice() -> None:
    edits = (Edit(VIA, 13, b"203.0.113.1:1024", "via"),)
    assert list(diff_lines(MESSAGE, edits, coloured=False)) == [
        "  REGISTER sip:s SIP/2.0",
        "- Via: SIP/2.0/UDP 10.0.0.1:5060",
        "+ Via: SIP/2.0/UDP 203.0.113.1:1024",
        "  Contact: <sip:a@10.0.0.1:5060>",
        "",
    ]
    lines = list(diff_lines(b"a", (Edit(0, 1, b"b", "r"),), coloured=True))
    assert lines == ["\x1b[31m- a\x1b[0m", "\x1b[32m+ b\x1b[0m"]


def test_terminal_gets_no_control_characters_of_the_messages() -> None:
    assert text_of(b"\x1b[2J\x00\tplain \xc3\xa9 \xff \xe2\x80\xae") == "\\x1b[2J\\x00\tplain é \\xff \\u202e"


@given(st.binary(max_size=80), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.binary(max_size=5))))
def test_without_the_marks_the_text_is_before_or_after(message: bytes, steps: list[tuple[int, int, bytes]]) -> None:
    edits, position = [], 0
    for gap, length, replacement in steps:
        if position + gap + length > len(message):
            break
        edits.append(Edit(position + gap, length, replacement, "rule"))
        position += gap + length
    lines = list(marked_lines(message, edits, Style(("", ""), "", ("\x01", "\x02"), ("\x03", "\x04"))))
    assert not any("\r" in line for line in lines)
    expected = sum(
        bool(edit.replacement) and edit.replacement != message[edit.offset : edit.offset + edit.length]
        for edit in edits
    )
    assert "".join(lines).count("\x01") == expected
