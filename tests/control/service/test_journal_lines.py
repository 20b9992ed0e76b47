"""The journal's format: what is written is read again, what is torn is left, what is damaged is told."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.service import journal_lines
from sipalg.control.service.journal_lines import JournalError
from sipalg.engine.records import RecordKey
from sipalg.engine.resuming import PlainRecord
from sipalg.engine.verdict import UDP, Endpoint

BOOT = "0b00t"
CONTACT: RecordKey = ("contact", ((UDP, Endpoint("192.168.33.10", 5060)), b"sip:a\xff@x", "203.0.113.50"))
DIALOG: RecordKey = ("dialog", ("192.168.33.10", b"c\n1", b"a", b""))


def written(*lines: bytes, first: bytes = journal_lines.header(BOOT)) -> bytes:
    return b"".join((first, *lines))


def read(tmp_path: Path, text: bytes) -> list[PlainRecord]:
    path = tmp_path / "sipalg.journal"
    path.write_bytes(text)
    path.chmod(0o600)
    return journal_lines.read(path, BOOT)


def test_the_last_line_about_a_thing_counts(tmp_path: Path) -> None:
    text = written(
        journal_lines.line(CONTACT, {"until": 1.0}),
        journal_lines.line(DIALOG, {"x": 1}),
        journal_lines.line(CONTACT, {"until": 0.1 + 0.2}),
        journal_lines.line(DIALOG, None),
        journal_lines.line(DIALOG, None),
    )
    key = (UDP, "192.168.33.10", 5060, "sip:a\xff@x", "203.0.113.50")
    assert read(tmp_path, text) == [PlainRecord("contact", key, {"until": 0.1 + 0.2})]


@given(st.binary(), st.floats(0, 1e9), st.data())
def test_a_last_line_without_its_end_is_left(
    tmp_path_factory: pytest.TempPathFactory, call_id: bytes, until: float, data: st.DataObject
) -> None:
    key: RecordKey = ("removal", ("192.168.33.10", call_id, 1))
    line = journal_lines.line(key, {"until": until})
    torn = line[: data.draw(st.integers(0, len(line) - 1))]
    found = read(tmp_path_factory.getbasetemp(), written(line, torn))
    assert found == [PlainRecord("removal", ("192.168.33.10", call_id.decode("latin-1"), 1), {"until": until})]


def test_no_file_and_another_boot_are_nothing(tmp_path: Path) -> None:
    assert journal_lines.read(tmp_path / "none", BOOT) == []
    line = journal_lines.line(CONTACT, {"until": 1.0})
    assert read(tmp_path, written(line, first=journal_lines.header("another"))) == []


def checked(text: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(text), text)


LINE = journal_lines.line(CONTACT, {"until": 1.0})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "it doesn't begin as a journal does"),
        (b"sipalg-journal 1 0b00t", "it doesn't begin as a journal does"),
        (b"\xff 1 x\n", "it doesn't begin as a journal does"),
        (b"sipalg-journal 2 0b00t\n", "it is of version 2, and this is version 1"),
        (written(LINE.replace(b"1.0", b"2.0"), LINE), "line 2 is damaged"),
        (written(LINE, b"\n"), "line 3 is damaged"),
        (written(LINE, LINE[3:]), "line 3 is damaged"),
        (written(checked(b"5")), "line 2 is damaged"),
        (written(checked(b"5\t5")), "a line isn't of this version"),
        (written(checked(b'["contact",[1]]\t{')), "a line isn't of this version"),
        (written(checked(b"[" * 100_000 + b"\t{}")), "a line isn't of this version"),
    ],
)
def test_what_can_not_be_relied_on_is_told(tmp_path: Path, text: bytes, why: str) -> None:
    with pytest.raises(JournalError) as error:
        read(tmp_path, text)
    assert str(error.value) == why


def test_a_file_that_others_can_write_to_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "sipalg.journal"
    path.write_bytes(written(LINE))
    path.chmod(0o620)
    with pytest.raises(JournalError, match="others can write to it"):
        journal_lines.read(path, BOOT)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(JournalError, match="no regular file"):
        journal_lines.read(path, BOOT)
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(OSError, match=r"(?i)symbolic links"):
        journal_lines.read(path, BOOT)


def test_a_boot_has_a_name() -> None:
    assert len(journal_lines.boot_id()) == 36
