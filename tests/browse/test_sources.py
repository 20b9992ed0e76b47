from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.conftest import Talk, Write

from sipalg.analysis.files import Captures
from sipalg.browse.sources import CapturedCalls
from sipalg.capture import progress

ALL = frozenset({"reg@x", "call@x"})


@pytest.mark.parametrize("most_bytes", [0, 1 << 20])
def test_messages_are_the_same_kept_or_read_again(talk: Talk, write: Write, most_bytes: int, tmp_path: Path) -> None:
    # The second file is the earlier one.
    calls = CapturedCalls(Captures([write(talk, "a.pcap", begin_ns=1), write(talk[3:], "b.pcap")]), most_bytes)
    assert [(row["number"], row["call_id"]) for row in calls.rows()] == [(1, "call@x"), (2, "reg@x")]
    names = [message.name for message in calls.messages(frozenset({"call@x"}))]
    assert names == ["INVITE", "200 OK", "ACK", "INVITE", "200 OK", "ACK", "BYE", "200 OK", "BYE", "200 OK"]
    times = [message.time_ns for message in calls.messages(ALL)]
    assert times == sorted(times)
    assert len(times) == 12
    assert calls.save(frozenset({"reg@x"}), tmp_path / "out.pcap") == 2
    assert (calls.name, calls.version) == ("a.pcap, b.pcap", 0)


def test_no_bar_is_drawn_over_the_screen(
    capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "BAR_FROM_BYTES", 1)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    calls = CapturedCalls(Captures([capture]), 0)
    assert capture.name in capsys.readouterr().err
    assert len(calls.messages(ALL)) == 7
    assert capsys.readouterr().err == ""
