"""One line an event, whatever the event's facts hold."""

from __future__ import annotations

import io
import logging
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.service.log import LineHandler, event_line, is_journal
from sipalg.engine.verdict import Event


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def record(level: int, message: str, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("sipalg", level, __file__, 1, message, None, info)


def test_an_events_line() -> None:
    line = event_line("mapping-opened", [("private", "192.168.33.10:5060"), ("aor", "sip:100@example.com")])
    assert line == "mapping-opened private=192.168.33.10:5060 aor=sip:100@example.com"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", '""'), ("two words", '"two words"'), ("a=b", '"a=b"'), ("\x1b[2J", '"\\u001b[2J"'), ('"', '"\\""')],
)
def test_values_that_could_be_mistaken_are_quoted(value: str, shown: str) -> None:
    assert event_line("x", [("key", value)]) == f"x key={shown}"


@given(st.text())
def test_no_value_breaks_the_line(value: str) -> None:
    line = event_line("x", [("key", value)])
    assert line.isascii()
    assert line.isprintable()


def test_a_line_for_each_record_and_a_priority_for_the_journal() -> None:
    plain, journal = io.StringIO(), io.StringIO()
    for stream, priorities in ((plain, False), (journal, True)):
        handler = LineHandler(stream, priorities=priorities)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            handler.emit(record(level, "two\nlines"))
    assert plain.getvalue() == "two lines\n" * 5
    assert [line[:3] for line in journal.getvalue().splitlines()] == ["<7>", "<6>", "<4>", "<3>", "<3>"]


def test_lines_may_have_the_time_of_day() -> None:
    stream = io.StringIO()
    handler = LineHandler(stream, times=True)
    handler.event(Event("registered", ()))
    handler.emit(record(logging.INFO, "stopped"))
    for line, word in zip(stream.getvalue().splitlines(), ("registered", "stopped"), strict=True):
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d {word}", line)


def test_an_exception_is_in_the_same_line() -> None:
    stream = io.StringIO()
    try:
        raise KeyError("no\nsuch key")
    except KeyError as error:
        LineHandler(stream).emit(record(logging.ERROR, "fault where=packet", error))
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().startswith("fault where=packet error=")
    assert "KeyError" in stream.getvalue()
    assert "at=test_log.py:" in stream.getvalue()


def test_a_flood_is_cut_and_said() -> None:
    stream, clock = io.StringIO(), Clock()
    handler = LineHandler(stream, priorities=True, clock=clock)
    for _ in range(250):
        handler.emit(record(logging.INFO, "flood"))
    assert stream.getvalue().count("\n") == 200
    clock.now += 1.0
    handler.emit(record(logging.INFO, "quiet"))
    assert stream.getvalue().splitlines()[200:] == ["<4>log-lines-left-out count=50", "<6>quiet"]
    clock.now += 1.0
    handler.emit(record(logging.INFO, "quiet"))
    assert stream.getvalue().splitlines()[202:] == ["<6>quiet"]


def test_events_have_their_priority_and_share_the_limit() -> None:
    stream, clock = io.StringIO(), Clock()
    handler = LineHandler(stream, priorities=True, clock=clock)
    for _ in range(150):
        handler.event(Event("registered", (("private", "192.168.33.10:5060"),)))
        handler.event(Event("address-lost", ()))
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["<6>registered private=192.168.33.10:5060", "<4>address-lost"]
    assert len(lines) == 200
    plain = io.StringIO()
    LineHandler(plain, clock=clock).event(Event("registered", ()))
    assert plain.getvalue() == "registered\n"


def test_whether_another_event_has_room_is_told_and_counted() -> None:
    stream, clock = io.StringIO(), Clock()
    handler = LineHandler(stream, clock=clock)
    for _ in range(200):
        assert handler.has_room()
        handler.event(Event("registered", ()))
    assert not handler.has_room()
    assert not handler.has_room()
    clock.now += 1.0
    assert handler.has_room()
    handler.event(Event("registered", ()))
    assert stream.getvalue().splitlines()[200:] == ["log-lines-left-out count=2", "registered"]


def test_a_stream_that_is_gone_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    LineHandler(stream).emit(record(logging.INFO, "x"))
    assert stream.closed


def test_the_journal_is_known_by_its_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(named, stream.fileno())
        assert not is_journal({"JOURNAL_STREAM": "1:1"}, stream.fileno())
        assert not is_journal({}, stream.fileno())
        gone = stream.fileno()
    assert not is_journal(named, gone)


def test_a_reader_that_does_not_read_is_not_waited_for() -> None:
    clock = Clock()
    end, begin = os.pipe()
    with os.fdopen(end, "rb") as reader, os.fdopen(begin, "w") as stream:
        handler = LineHandler(stream, clock=clock)
        for _ in range(100):
            # More than a pipe holds, and each line longer than it has to have room for.
            handler.emit(record(logging.INFO, "x" * 5000))
        held = reader.read1(1 << 20).count(b"\n")
        assert 0 < held < 100
        clock.now += 1.0
        handler.emit(record(logging.INFO, "again"))
        assert reader.read1(1 << 20) == f"log-lines-left-out count={100 - held}\nagain\n".encode()
