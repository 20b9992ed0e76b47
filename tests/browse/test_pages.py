from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.conftest import PHONE, SERVER, Talk, Write

from sipalg.analysis.files import Captures
from sipalg.analysis.messages import SipMessage
from sipalg.browse import pages
from sipalg.browse.pages import (
    COME,
    GONE,
    HEAD,
    HERE,
    Cursor,
    Difference,
    Ladder,
    Line,
    Page,
    Raw,
    Table,
    Text,
    Whole,
    help_page,
)
from sipalg.browse.sources import CapturedCalls, Row

KEYS = ["up", "down", "j", "k", "pageup", "pagedown", "home", "end", "g", "G", "x"]


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for _, text in line).rstrip() for line in lines]


def here(lines: list[Line]) -> list[str]:
    return ["".join(text for _, text in line).rstrip() for line in lines if line[0][0] == HERE]


def gone_to(page: Page | None, kind: type) -> Page:
    assert isinstance(page, kind)
    assert page is not None
    return page


class Growing:
    """A source whose calls are told by a number."""

    version = 0
    name = "test"

    def __init__(self, count: int) -> None:
        self.count = count

    def rows(self) -> list[Row]:
        return [
            {"number": number, "call_id": f"id-{number}", "from": f"phone{number}", "kind": "call", "to": "",
             "state": "sent", "failure": ""}
            for number in range(1, self.count + 1)
        ]  # fmt: skip

    def methods(self) -> dict[str, str]:
        return {}

    def messages(self, call_ids: frozenset[str]) -> list[SipMessage]:
        assert call_ids
        return []

    def save(self, call_ids: frozenset[str], path: Path) -> int:
        raise NotImplementedError(call_ids, path)


@given(st.lists(st.sampled_from(KEYS)), st.integers(1, 30), st.integers(1, 12))
def test_the_cursor_is_always_seen(keys: list[str], count: int, height: int) -> None:
    cursor = Cursor()
    for key in keys:
        cursor.press(key, count)
        seen = cursor.window(count, height)
        assert cursor.at in seen
        assert seen.start >= 0
        assert seen.stop <= count
        assert len(seen) == min(count, height)


def test_keys_that_move() -> None:
    cursor = Cursor()
    cursor.window(100, 10)
    for key, at in (("down", 1), ("j", 2), ("up", 1), ("pagedown", 11), ("pageup", 1), ("end", 99), ("down", 99),
                    ("home", 0), ("G", 99), ("g", 0), ("up", 0)):  # fmt: skip
        cursor.press(key, 100)
        assert cursor.at == at, key


def test_table_and_its_filter(calls: CapturedCalls) -> None:
    table = Table(calls)
    lines = texts(table.draw(100, 20))
    assert lines[0].split()[:3] == ["#", "kind", "from"]
    assert ["registration" in lines[1], "call" in lines[2], len(lines)] == [True, True, 3]
    assert here(table.draw(100, 20)) == lines[1:2]
    assert table.title() == "Calls of a.pcap: 2"
    table.wanted = "CALL@x"
    assert [row["call_id"] for row in table.rows()] == ["call@x"]
    assert table.title() == "Calls of a.pcap: 1 of 2, with 'CALL@x'"
    assert table.calls() == {"call@x"}
    table.wanted = "nothing"
    assert texts(table.draw(100, 20)) == ["No call has this text."]
    assert (table.calls(), table.press("enter"), table.press(" ")) == (frozenset(), None, None)


def test_selected_calls_are_seen_together(calls: CapturedCalls) -> None:
    table = Table(calls)
    table.press(" ")
    assert (table.cursor.at, table.title()) == (1, "Calls of a.pcap: 2, 1 selected")
    assert table.calls() == {"reg@x"}
    table.press(" ")
    assert [line[0] for line in texts(table.draw(100, 20))] == [" ", "*", "*"]
    both = gone_to(table.press("enter"), Ladder)
    assert both.title() == "2 calls"
    assert len(both.draw(100, 20)) == 8
    table.press(" ")
    assert table.calls() == {"reg@x"}


def test_rows_that_come_are_shown_and_the_place_stays() -> None:
    source = Growing(0)
    table = Table(source)
    assert texts(table.draw(80, 10)) == ["No SIP yet."]
    source.count, source.version = 3, 1
    table.press("down")
    assert "phone2" in here(table.draw(80, 10))[0]
    source.count, source.version = 50, 2
    assert "phone2" in here(table.draw(80, 10))[0]
    table.press("end")
    assert "phone50" in here(table.draw(80, 10))[0]
    table.wanted = "PHONE4"
    assert [row["number"] for row in table.rows()] == [4, *range(40, 50)]
    source.count, source.version = 45, 3
    assert [row["number"] for row in table.rows()] == [4, *range(40, 46)]
    table.wanted = ""
    source.count, source.version = 1, 4
    assert table.calls() == {"id-1"}
    assert "phone1" in here(table.draw(80, 10))[0]
    ladder = Ladder(source, frozenset({"id-1"}))
    assert texts(ladder.draw(80, 10)) == ["Its messages have gone to make room for newer ones."]
    assert ladder.press("enter") is None


@given(st.lists(st.integers(0, 99), max_size=12), st.integers(2, 60))
def test_the_row_at_the_cursor_is_shown_in_a_table_of_any_length(places: list[int], height: int) -> None:
    table = Table(Growing(100))
    with patch.object(pages, "_ROWS_AT_ONCE", 20):
        for place in places:
            table.cursor.at = place
            assert here(table.draw(80, height))[0].split()[0] == str(place + 1)


def test_ladder_and_messages(calls: CapturedCalls) -> None:
    ladder = Ladder(calls, frozenset({"call@x"}))
    assert ladder.title().startswith("call 2, alice@example.com → bob@example.com: ended, Call-ID call@x")
    lines = texts(ladder.draw(80, 20))
    assert lines[0].split() == [PHONE.split(":")[0], SERVER.split(":")[0]]
    assert ["INVITE (SDP)" in lines[1], "200 OK" in lines[5], len(lines)] == [True, True, 6]
    ladder.press("down")
    whole = gone_to(ladder.press("enter"), Whole)
    assert whole.title() == "Message 2 of 5"
    first = texts(whole.draw(100, 30))
    assert first[0].startswith("packet 5, ")
    assert first[2] == "SIP/2.0 200 OK"
    assert whole.calls() == {"call@x"}
    for key, title in (("n", 3), ("right", 4), ("left", 3), ("p", 2), ("p", 1), ("p", 1)):
        whole.press(key)
        assert whole.title() == f"Message {title} of 5"
    whole.press("down")
    assert texts(whole.draw(100, 5))[0] == ""
    whole.press("n")
    assert texts(whole.draw(100, 5))[0].startswith("packet 5, ")
    assert whole.press("enter") is None


def test_all_messages_one_after_the_other(calls: CapturedCalls) -> None:
    table = Table(calls)
    table.press("down")
    for page in (table, Ladder(calls, frozenset({"call@x"}))):
        raw = gone_to(page.press("r"), Raw)
        assert raw.title() == "5 messages"
        lines = texts(raw.draw(100, 200))
        assert [line for line in lines if line.startswith("CSeq")] == [
            *["CSeq: 1 INVITE"] * 2, "CSeq: 1 ACK", *["CSeq: 2 BYE"] * 2,
        ]  # fmt: skip
        assert sum(line.startswith("packet ") for line in lines) == 5
    assert Table(Growing(0)).press("r") is None


def test_rows_with_a_failure_are_told_apart(talk: Talk, write: Write) -> None:
    refused = (*talk[1][:2], talk[1][2].replace(b"200 OK", b"403 No"))
    table = Table(CapturedCalls(Captures([write([talk[0], refused, *talk[3:]])])))
    table.press("down")
    assert [line[0][0] for line in table.draw(100, 20)] == [HEAD, GONE, HERE]
    table.press("up")
    table.press(" ")
    assert table.draw(100, 20)[1][0][0] == f"{HEAD} {GONE}"


def test_two_marked_messages_are_compared(calls: CapturedCalls) -> None:
    ladder = Ladder(calls, frozenset({"call@x"}))
    ladder.press(" ")
    assert texts(ladder.draw(80, 20))[1].startswith("* 1")
    assert ladder.press(" ") is None
    assert ladder.mark is None
    ladder.press(" ")
    ladder.press("down")
    difference = gone_to(ladder.press(" "), Difference)
    assert ladder.mark is None
    assert difference.title() == "INVITE and 200 OK"
    lines = difference.draw(100, 50)
    assert [(GONE, "- INVITE sip:bob@example.com SIP/2.0")] in lines
    assert [(COME, "+ SIP/2.0 200 OK")] in lines
    assert [("", "  Call-ID: call@x")] in lines


def test_wide_terminal_has_the_message_beside_the_ladder(calls: CapturedCalls) -> None:
    ladder = Ladder(calls, frozenset({"call@x"}))
    lines = texts(ladder.draw(160, 20))
    assert len(lines) == 20
    assert "┃ INVITE sip:bob@example.com SIP/2.0" in lines[3]
    assert all(line[97:98] == "┃" for line in lines)
    ladder.press("end")
    assert "┃ SIP/2.0 200 OK" in texts(ladder.draw(160, 20))[3]


def test_colours_tell_answers_apart(talk: Talk, write: Write) -> None:
    ok = talk[1]
    rows = [talk[0], *((*ok[:2], ok[2].replace(b"200 OK", new)) for new in (b"100 Trying", b"200 OK", b"403 No"))]
    ladder = Ladder(CapturedCalls(Captures([write(rows)])), frozenset({"reg@x"}))
    ladder.press("end")
    assert [line[0][0] for line in ladder.draw(80, 20)[1:]] == ["ansiblue", "ansiyellow", COME, HERE]


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=40), max_size=20),
       st.lists(st.sampled_from([*KEYS, " "]), max_size=20), st.integers(1, 20), st.integers(1, 10))  # fmt: skip
def test_text_is_folded_and_nothing_of_it_is_lost(lines: list[str], keys: list[str], width: int, height: int) -> None:
    text = Text("Title", [("", line) for line in lines], frozenset())
    for key in keys:
        assert text.press(key) is None
        assert len(text.draw(width, height)) <= height
    text.press("home")
    everything = text.draw(width, 10_000)
    assert "".join(part for line in everything for _, part in line) == "".join(line.expandtabs(8) for line in lines)
    assert all(len(line[0][1]) <= width for line in everything)


def test_text_is_folded_behind_blanks() -> None:
    text = Text("", [("", "one two three"), ("", "aaaaaaaaaaaa b"), ("", "")], frozenset())
    assert [line[0][1] for line in text.draw(8, 20)] == ["one two ", "three", "aaaaaaaa", "aaaa b", ""]


def test_help_names_the_keys() -> None:
    page = help_page(frozenset({"a"}))
    assert page.title() == "Keys"
    assert page.calls() == {"a"}
    assert "Space" in "\n".join(texts(page.draw(80, 40)))
    assert len(page.draw(80, 40)) == len(page.draw(200, 40))


@pytest.mark.parametrize("height", [1, 2, 3, 100])
def test_no_page_is_higher_than_the_screen(height: int, calls: CapturedCalls) -> None:
    ladder = Ladder(calls, frozenset({"call@x"}))
    for page in (Table(calls), ladder, Whole(ladder.messages, frozenset(), 0), help_page(frozenset())):
        assert len(page.draw(80, height)) <= max(2, height)
