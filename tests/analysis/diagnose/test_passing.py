from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story, found, host, sdp

from sipalg.analysis.diagnose.verdict import HARMFUL, NEEDED

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"
PUBLIC_MEDIA = f"{host(PUBLIC)}:4000"
SIDES = ((PHONE, MEDIA), (PUBLIC, PUBLIC_MEDIA))


def called() -> Story:
    """A call through an ALG, seen on both sides: each message inside, then outside."""
    story = Story()
    for phone, media in SIDES:
        story.request("INVITE", phone, SERVER, branch="z9hG4bKone", body=sdp(media))
    for phone, _ in reversed(SIDES):
        story.response(200, "INVITE", SERVER, phone, branch="z9hG4bKone", body=sdp(FAR_MEDIA))
    return story


def held_and_resumed(story: Story) -> None:
    for cseq, line in ((2, "a=inactive"), (3, "a=sendrecv")):
        for phone, media in SIDES:
            story.request("INVITE", phone, SERVER, cseq=cseq, to_tag="there", body=sdp(media, line))
        for phone, _ in reversed(SIDES):
            story.response(200, "INVITE", SERVER, phone, cseq=cseq, body=sdp(FAR_MEDIA, line))
        story.wait(1)


def through(story: Story, count: int) -> None:
    """RTP both ways, through the router."""
    for _ in range(count):
        for phone, far in ((MEDIA, FAR_MEDIA), (PUBLIC_MEDIA, FAR_MEDIA)):
            story.rtp(phone, far, 1)
            story.rtp(far, phone, 1)


def hung_up(story: Story) -> None:
    for phone, _ in SIDES:
        story.request("BYE", phone, SERVER, cseq=9, to_tag="there")


def test_audio_that_reaches_the_router_only_is_one_finding(tmp_path: Path) -> None:
    story = called()
    story.rtp(FAR_MEDIA, PUBLIC_MEDIA, 126)
    hung_up(story)
    diagnosis = story.diagnosis(tmp_path)
    (finding,) = diagnosis.findings
    assert (finding.severity, finding.check) == ("broken", "not-passed-on")
    assert finding.text == (
        "call call: one-way audio: 126 RTP packets reached the router at 75.142.151.49:4000, "
        "0 were passed to the phone"
    )
    assert "ended" not in finding.advice
    assert diagnosis.phones[0].alg == HARMFUL


def test_audio_that_isnt_passed_on_after_a_hold_is_found(tmp_path: Path) -> None:
    story = called()
    through(story, 40)
    held_and_resumed(story)
    story.rtp(FAR_MEDIA, PUBLIC_MEDIA, 101)
    hung_up(story)
    diagnosis = story.diagnosis(tmp_path)
    (finding,) = diagnosis.findings
    assert (finding.severity, finding.check) == ("broken", "not-passed-on")
    assert "101 RTP packets reached the router" in finding.text
    assert diagnosis.phones[0].alg == HARMFUL


def test_capture_inside_that_may_have_ended_is_said(tmp_path: Path) -> None:
    story = called()
    through(story, 40)
    held_and_resumed(story)
    story.rtp(FAR_MEDIA, PUBLIC_MEDIA, 101)
    diagnosis = story.diagnosis(tmp_path)
    (finding,) = diagnosis.findings
    assert (finding.severity, finding.check) == ("warning", "not-passed-on")
    assert finding.advice.endswith("see whether the capture there had ended")
    assert diagnosis.phones[0].alg == NEEDED


@pytest.mark.parametrize("count", [5, 126])
def test_audio_that_is_passed_on_or_a_few_packets_are_none(count: int, tmp_path: Path) -> None:
    story = called()
    if count > 10:
        through(story, count)
    story.rtp(FAR_MEDIA, PUBLIC_MEDIA, 5)
    story.wait(5)
    hung_up(story)
    assert found(story.diagnosis(tmp_path), "not-passed-on") == []
