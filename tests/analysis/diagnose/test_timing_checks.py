from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, SERVER, Story, found

from sipalg.analysis.diagnose.findings import Finding


def timing(story: Story, tmp_path: Path, sip_timeout_s: float = 3600.0) -> list[Finding]:
    diagnosis = story.diagnosis(tmp_path, sip_timeout_s=sip_timeout_s)
    return [*found(diagnosis, "sip-timeout"), *found(diagnosis, "plain-nat-timeout")]


@pytest.mark.parametrize(("expires_s", "over"), [(29, 0), (31, 30), (121, 120), (600, 180)])
def test_lifetime_against_what_a_nat_does_alone(expires_s: int, over: int, tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=expires_s)
    texts = [finding.text.rpartition("this is ")[2] for finding in timing(story, tmp_path)]
    assert texts == ([f"longer than {over} s"] if over else [])


def test_lifetime_longer_than_sip_timeout_loses_calls(tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=7200)
    (finding,) = timing(story, tmp_path)
    assert (finding.severity, finding.check, finding.packets) == ("warning", "sip-timeout", (2,))
    assert "registers for 2 h, no keep-alive seen, and sip-timeout is 1 h" in finding.text
    assert [finding.check for finding in timing(story, tmp_path, 10_000.0)] == ["plain-nat-timeout"]


@pytest.mark.parametrize(
    "payload", [b"\r\n\r\n", b"\0", b"jaK\0", b"hello", bytes.fromhex("000100002112a442") + bytes(12)]
)
def test_keep_alives_count_for_more_than_the_lifetime(payload: bytes, tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=7200)
    for _ in range(5):
        story.wait(25)
        story.udp(PHONE, SERVER, payload)
    assert timing(story, tmp_path) == []


def test_options_of_the_server_keep_a_flow_too(tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=7200)
    for number in range(3):
        story.wait(60)
        story.request("OPTIONS", SERVER, PHONE, call_id=f"ping{number}")
    (finding,) = timing(story, tmp_path)
    assert finding.check == "plain-nat-timeout"
    assert "keep-alives leave silences of 1 min" in finding.text


def test_registrations_that_come_earlier_count(tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=7200)
    story.wait(1000)
    story.register(expires_s=7200, cseq=2)
    (finding,) = timing(story, tmp_path)
    assert "registrations leave silences of 1000 s" in finding.text
    assert finding.packets == (2, 3)


def test_silence_that_was_seen_counts_where_it_is_longer(tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=60)
    story.wait(200)
    story.request("OPTIONS", PHONE, SERVER, call_id="late")
    (finding,) = timing(story, tmp_path)
    assert "a silence of 200 s" in finding.text


def test_phone_next_to_its_server_has_no_nat_to_keep_open(tmp_path: Path) -> None:
    story = Story()
    story.register(server="10.0.0.5:5060", expires_s=7200)
    assert timing(story, tmp_path) == []


def test_unregistering_is_no_registration(tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=0)
    assert timing(story, tmp_path) == []
