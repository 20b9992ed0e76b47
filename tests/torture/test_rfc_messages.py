"""The torture messages of RFC 4475 and RFC 5118: the table has a verdict for each, and tshark has the last word.

They are read from the public corpora beside the checkout and skip where those aren't.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.torture.independent import check_reading, expected_changes, needs_tshark, read
from tests.torture.judged import Row, judge, rows

CORPORA = Path(__file__).parents[2] / "../shared/corpora"
FOLDERS = (CORPORA / "torture-rfc4475/canonical", CORPORA / "torture-rfc5118/canonical")
TABLE = rows(Path(__file__).with_name("rfc_messages.tsv"))
#: How many messages the RFCs have.
NUMBERS = (49, 12)
#: These are ambiguous: whoever opens something for them may open it for the wrong reading.
AMBIGUOUS = ("multi01.dat", "mcl01.dat", "badinv01.dat")

#: tshark doesn't read a field with blanks before its colon.
UNREAD = {"wsinv.dat": ("via", "content-length")}

needs_corpora = pytest.mark.skipif(
    not all(folder.is_dir() for folder in FOLDERS),
    reason="the RFCs' torture messages aren't beside the checkout (../shared/corpora)",
)


def message(row: Row) -> bytes:
    (path,) = (folder / row.file for folder in FOLDERS if (folder / row.file).is_file())
    return path.read_bytes()


@needs_corpora
def test_every_message_has_a_verdict() -> None:
    for folder, number in zip(FOLDERS, NUMBERS, strict=True):
        files = {path.name for path in folder.iterdir()}
        assert len(files) == number
        assert files <= {row.file for row in TABLE}
    assert all(row.why for row in TABLE)


@needs_corpora
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.file}-{row.way}-{row.address}")
def test_verdict(row: Row) -> None:
    judged = judge(row, message(row))
    assert judged.by == row.by
    assert (judged.after != judged.before) == (row.verdict == "edited")
    if row.file in AMBIGUOUS:
        assert (row.verdict, judged.opened) == ("passes", 0)


@needs_corpora
@needs_tshark
def test_an_independent_reader_finds_what_was_meant(tmp_path: Path) -> None:
    judged = [judge(row, message(row)) for row in TABLE]
    before = read([one.before for one in judged], tmp_path / "before.pcap")
    after = read([one.after for one in judged], tmp_path / "after.pcap")
    accepted = 0
    for row, one, old, new in zip(TABLE, judged, before, after, strict=True):
        if row.verdict == "passes":
            assert new == old
        elif old["sip.Method"] or old["sip.Status-Code"]:
            accepted += 1
            expected = expected_changes(one.rules, UNREAD.get(row.file, ()))
            assert check_reading(old, new, one.own, one.written) == expected, row.file
    assert accepted == sum(row.verdict == "edited" for row in TABLE)
