"""Torture messages of our own, in the spirit of RFC 4475, for what an ALG meets and the RFCs' messages lack.

TCP in URIs, ICE, multipart, several Vias in a line, digest URIs and Call-IDs that hold the private address, lookalikes
of the address, bytes behind the body. The table has a verdict for each, and tshark has the last word.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.torture.independent import check_reading, expected_changes, needs_tshark, read
from tests.torture.judged import Row, judge, rows

FOLDER = Path(__file__).with_name("own")
TABLE = rows(Path(__file__).with_name("own_messages.tsv"))
#: tshark reads no address in a Contact that begins with a star, nor in one whose name a tab follows,
#: and no number that a blank follows.
UNREAD = {
    "contact-star-in-list.sip": ("contact",),
    "folded.sip": ("contact",),
    "length-style.sip": ("content-length", "sdp-o", "sdp-c", "sdp-m"),
}


def test_every_message_has_a_verdict() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {row.file for row in TABLE}
    assert all(row.why for row in TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.file)
def test_verdict(row: Row) -> None:
    message = (FOLDER / row.file).read_bytes()
    judged = judge(row, message)
    assert judged.by == row.by
    assert (judged.after != message) == (row.verdict == "edited")
    if row.verdict == "passes":
        assert judged.opened == 0


@needs_tshark
def test_an_independent_reader_finds_what_was_meant(tmp_path: Path) -> None:
    judged = [judge(row, (FOLDER / row.file).read_bytes()) for row in TABLE]
    before = read([one.before for one in judged], tmp_path / "before.pcap")
    after = read([one.after for one in judged], tmp_path / "after.pcap")
    for row, one, old, new in zip(TABLE, judged, before, after, strict=True):
        if row.verdict == "passes":
            assert new == old
        else:
            expected = expected_changes(one.rules, UNREAD.get(row.file, ()))
            assert check_reading(old, new, one.own, one.written) == expected, row.file
