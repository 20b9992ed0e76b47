from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story, found, host, sdp

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"
RTCP, FAR_RTCP = "192.168.20.100:4001", "207.252.1.148:9001"


def audio(story: Story, tmp_path: Path) -> list[tuple[str, str]]:
    found_ = story.diagnosis(tmp_path).findings
    return [(finding.severity, finding.check) for finding in found_ if finding.check.endswith("-audio")]


def test_call_with_audio_both_ways_is_well(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 50)
    story.hang_up()
    diagnosis = story.diagnosis(tmp_path)
    assert [finding.check for finding in diagnosis.findings] == []
    assert (diagnosis.facts.media_packets, diagnosis.facts.streams) == (100, 2)


def test_nothing_that_comes_back_is_one_way_audio(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 150)
    story.hang_up()
    (finding,) = found(story.diagnosis(tmp_path), "one-way-audio")
    assert finding.severity == "broken"
    assert finding.text == (
        "call call: one-way audio: 150 RTP packets came to 207.252.1.148:9000, none to 192.168.20.100:4000, "
        "a private address"
    )
    assert finding.packets == (1, 2)


def test_rtcp_that_comes_shows_that_the_way_is_open(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 150)
    story.rtcp(FAR_RTCP, RTCP)
    story.hang_up()
    (finding,) = found(story.diagnosis(tmp_path), "one-way-audio")
    assert finding.severity == "warning"


def test_server_that_sends_to_the_source_is_heard_on_another_port(tmp_path: Path) -> None:
    story = Story()
    story.call("75.142.151.49:4000", FAR_MEDIA, names=PUBLIC)
    story.talk("192.168.20.100:4444", FAR_MEDIA, 50)
    story.hang_up()
    assert audio(story, tmp_path) == []


def test_call_without_any_rtp_among_others_with_it_has_no_audio(tmp_path: Path) -> None:
    story = Story()
    story.call("75.142.151.49:4000", FAR_MEDIA, names=PUBLIC)
    story.wait(10)
    story.hang_up()
    story.call("192.168.20.100:4002", "207.252.1.148:9002", call_id="other")
    story.talk("192.168.20.100:4002", "207.252.1.148:9002", 50)
    story.hang_up(call_id="other")
    (finding,) = found(story.diagnosis(tmp_path), "no-audio")
    assert (finding.severity, finding.packets) == ("broken", (1, 2))
    assert "call call: no audio: it stood for 10 s" in finding.text


def test_capture_without_rtp_says_nothing_about_audio(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.wait(10)
    story.hang_up()
    diagnosis = story.diagnosis(tmp_path)
    assert audio(story, tmp_path) == []
    assert found(diagnosis, "no-rtp")[0].severity == "note"


@pytest.mark.parametrize("line", ["a=sendonly", "a=inactive"])
def test_call_on_hold_may_be_silent(line: str, tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.request("INVITE", PHONE, SERVER, cseq=2, to_tag="there", body=sdp(MEDIA, line))
    story.rtp(MEDIA, FAR_MEDIA, 150)
    story.hang_up()
    assert audio(story, tmp_path) == []


def test_short_call_isnt_judged(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 50)
    story.hang_up()
    assert audio(story, tmp_path) == []


def test_ports_that_are_used_again_are_counted_for_each_call(tmp_path: Path) -> None:
    story = Story()
    for call_id in ("first", "second"):
        story.call(MEDIA, FAR_MEDIA, call_id=call_id)
        story.rtp(MEDIA, FAR_MEDIA, 150)
        if call_id == "first":
            story.rtp(FAR_MEDIA, MEDIA, 150)
        story.hang_up(call_id=call_id)
    (finding,) = found(story.diagnosis(tmp_path), "one-way-audio")
    assert finding.text.startswith("call second: one-way audio: 150 RTP packets")


def test_call_that_the_capture_doesnt_see_end_is_judged_up_to_its_end(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 150)
    assert len(audio(story, tmp_path)) == 1


def talk_with_rtcp(story: Story, *ways: tuple[str, str]) -> None:
    story.call(MEDIA, FAR_MEDIA)
    for _ in range(3):
        story.talk(MEDIA, FAR_MEDIA, 50)
        for way in ways:
            story.rtcp(*way)
    story.hang_up()


def test_rtcp_both_ways_is_well(tmp_path: Path) -> None:
    story = Story()
    talk_with_rtcp(story, (RTCP, FAR_RTCP), (FAR_RTCP, RTCP))
    assert [finding for finding in story.diagnosis(tmp_path).findings if "rtcp" in finding.check] == []


def test_rtcp_on_rtps_own_ports_counts_too(tmp_path: Path) -> None:
    story = Story()
    talk_with_rtcp(story, (MEDIA, FAR_MEDIA), (FAR_MEDIA, MEDIA))
    diagnosis = story.diagnosis(tmp_path)
    assert [finding for finding in diagnosis.findings if "rtcp" in finding.check] == []
    assert (diagnosis.facts.media_packets, diagnosis.facts.rtcp_packets) == (300, 6)


def test_rtcp_one_way_is_a_warning_and_none_at_all_a_note(tmp_path: Path) -> None:
    story = Story()
    talk_with_rtcp(story, (RTCP, FAR_RTCP))
    assert found(story.diagnosis(tmp_path), "rtcp-one-way")[0].severity == "warning"
    story = Story()
    talk_with_rtcp(story)
    assert found(story.diagnosis(tmp_path), "rtcp-missing")[0].severity == "note"


def test_rtp_to_a_private_address_that_never_speaks_is_lost(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names=PHONE)
    story.call(MEDIA, FAR_MEDIA, phone=PUBLIC, names=PHONE)
    first = story.udp(FAR_MEDIA, MEDIA, bytes.fromhex("8000000100000000aabbccdd") + bytes(160))
    story.rtp(FAR_MEDIA, MEDIA, 99)
    story.rtp(f"{host(PUBLIC)}:4000", FAR_MEDIA, 100)
    story.hang_up(phone=PUBLIC)
    (finding,) = found(story.diagnosis(tmp_path), "rtp-to-private")
    assert finding.text == "100 RTP packets from 207.252.1.148:9000 go to the private address 192.168.20.100:4000"
    assert finding.packets == (first,)


def test_every_stream_to_a_private_address_is_told(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names=PHONE)
    for number in range(30):
        story.rtp(FAR_MEDIA, f"192.168.20.100:{4000 + 2 * number}", 3)
    assert len(found(story.diagnosis(tmp_path), "rtp-to-private")) == 30


def stops(story: Story, tmp_path: Path) -> list[tuple[str, str]]:
    return [(finding.severity, finding.text) for finding in found(story.diagnosis(tmp_path), "audio-stops")]


def stopping(*, after: int = 100, rest_s: float = 8.0, sparse: int = 1, rtcp: bool = False) -> Story:
    """A call in which the far end isn't heard any more after a while; `sparse`: only one packet of so many came."""
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    for number in range(after):
        story.rtp(MEDIA, FAR_MEDIA, 1, every_s=0.1)
        if number % sparse == 0:
            story.rtp(FAR_MEDIA, MEDIA, 1, every_s=0.0)
    story.rtp(MEDIA, FAR_MEDIA, round(rest_s * 10), every_s=0.1)
    if rtcp:
        story.rtcp(FAR_RTCP, RTCP)
    story.hang_up()
    return story


def test_audio_that_stops_in_the_middle_of_a_call_is_found(tmp_path: Path) -> None:
    diagnosis = stopping().diagnosis(tmp_path)
    (finding,) = found(diagnosis, "audio-stops")
    assert (finding.severity, finding.call) == ("broken", "call")
    assert finding.text == (
        "call call: audio stops: nothing comes to 192.168.20.100:4000 any more after 10 s, 8 s before the end, while "
        "207.252.1.148:9000 still gets RTP"
    )
    # The INVITE, the last packet that came, and the BYE.
    assert finding.packets == (1, 203, 284)


def test_audio_to_the_far_end_may_stop_too(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 50)
    story.rtp(FAR_MEDIA, MEDIA, 100, every_s=0.1)
    ((_, text),) = stops(story, tmp_path)
    assert "nothing comes to 207.252.1.148:9000 any more after 5 s, 10 s before the end" in text


def test_short_silence_before_the_end_is_nothing(tmp_path: Path) -> None:
    assert stops(stopping(rest_s=4.5), tmp_path) == []


def test_silence_on_both_sides_tells_nothing(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 50)
    story.wait(60)
    story.hang_up()
    assert stops(story, tmp_path) == []


def test_silence_with_rtcp_or_after_pauses_is_a_warning(tmp_path: Path) -> None:
    ((severity, _),) = stops(stopping(rtcp=True), tmp_path)
    assert severity == "warning"
    ((severity, _),) = stops(stopping(sparse=3), tmp_path)
    assert severity == "warning"


def test_call_that_ends_on_hold_may_be_silent(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 50)
    story.request("INVITE", PHONE, SERVER, cseq=2, to_tag="there", body=sdp(MEDIA, "a=sendonly"))
    story.rtp(MEDIA, FAR_MEDIA, 100, every_s=0.1)
    story.hang_up()
    assert stops(story, tmp_path) == []


HOST, REFLEXIVE = (
    "a=candidate:1 1 UDP 2130706431 192.168.20.100 4000 typ host",
    "a=candidate:2 1 UDP 1694498815 75.142.151.49 4000 typ srflx raddr 192.168.20.100 rport 4000",
)


def offered(story: Story, *answered: str) -> None:
    """A call whose description names another end than the one where its media comes, with candidates."""
    story.request("INVITE", PHONE, SERVER, contact=PUBLIC, body=sdp("75.142.151.49:4000", HOST, REFLEXIVE))
    story.response(200, "INVITE", SERVER, PHONE, body=sdp(FAR_MEDIA, *answered))
    story.request("ACK", PHONE, SERVER, to_tag="there")
    story.rtp(MEDIA, "192.168.20.7:4002", 75)
    story.rtp("192.168.20.7:4002", MEDIA, 75)
    story.hang_up()


def test_what_ice_chose_is_in_no_description_so_silence_there_proves_nothing(tmp_path: Path) -> None:
    story = Story()
    offered(story, "a=candidate:1 1 UDP 2130706431 192.168.20.7 4002 typ host")
    assert audio(story, tmp_path) == []
    # Without an answer that has candidates it is no ICE.
    story = Story()
    offered(story)
    assert audio(story, tmp_path) == [("broken", "no-audio")]


@pytest.mark.parametrize("far_source", ["207.252.1.148:9010", "198.51.100.77:9000"])
def test_phone_that_names_its_public_end_hears_from_whichever_end_the_far_side_sends(
    far_source: str, tmp_path: Path
) -> None:
    story = Story()
    story.call("75.142.151.49:4000", FAR_MEDIA, names=PUBLIC)
    story.rtp(MEDIA, FAR_MEDIA, 100)
    story.rtp(far_source, MEDIA, 100)
    story.hang_up()
    diagnosis = story.diagnosis(tmp_path)
    assert audio(story, tmp_path) == []
    assert [(call.caller.got, call.called.got) for call in diagnosis.facts.calls] == [(100, 100)]


def test_rtp_that_a_nat_has_delivered_to_a_listener_is_not_lost(tmp_path: Path) -> None:
    story = Story()
    story.tcp("192.168.20.100:50000", "207.252.1.148:5061", bytes.fromhex("16030100050000000000"))
    story.rtp(FAR_MEDIA, MEDIA, 50)
    assert story.diagnosis(tmp_path).findings[0].check == "encrypted"
    assert found(story.diagnosis(tmp_path), "rtp-to-private") == []


def test_rtp_to_a_private_end_that_a_description_names_is_lost_inside_too(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, "10.9.9.9:9000")
    story.rtp("198.51.100.77:9000", "10.9.9.9:9000", 10)
    assert len(found(story.diagnosis(tmp_path), "rtp-to-private")) == 1


def test_one_way_audio_may_be_a_muted_phone(tmp_path: Path) -> None:
    story = Story()
    story.call("75.142.151.49:4000", FAR_MEDIA, names=PUBLIC)
    story.rtp(FAR_MEDIA, MEDIA, 150)
    story.hang_up()
    (finding,) = found(story.diagnosis(tmp_path), "one-way-audio")
    assert finding.advice.endswith("looks the same: ask whether it was silent")


def hold(story: Story, *, media: str = MEDIA, phone: str = PHONE, cseq: int = 2) -> None:
    """Put the far end on hold, as old phones do, and be answered."""
    told = sdp("0.0.0.0:4000", "a=inactive")
    story.request("INVITE", phone, SERVER, contact=media, cseq=cseq, to_tag="there", body=told)
    story.response(200, "INVITE", SERVER, phone, cseq=cseq, body=sdp(FAR_MEDIA))


def test_hold_doesnt_hide_that_nothing_ever_came(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 120)
    hold(story)
    story.wait(3)
    story.hang_up()
    (finding,) = found(story.diagnosis(tmp_path), "one-way-audio")
    assert finding.severity == "broken"
    assert "120 RTP packets came to 207.252.1.148:9000, none to 192.168.20.100:4000, a private" in finding.text


def test_call_with_audio_both_ways_before_a_hold_is_well(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 30)
    hold(story)
    story.rtp(MEDIA, FAR_MEDIA, 200, every_s=0.1)
    story.hang_up()
    diagnosis = story.diagnosis(tmp_path)
    assert diagnosis.findings == []
    # It heard something: an ALG, or nat=yes, is at work.
    assert diagnosis.phones[0].why[-1].advice.startswith("enable the ALG, or keep it")


def test_short_talk_before_a_hold_isnt_judged(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 50)
    hold(story)
    story.wait(9)
    story.hang_up()
    assert audio(story, tmp_path) == []


def test_music_on_hold_shows_that_the_way_is_open(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.wait(3)
    story.request("INVITE", PHONE, SERVER, cseq=2, to_tag="there", body=sdp(MEDIA, "a=recvonly"))
    story.rtp(FAR_MEDIA, MEDIA, 50)
    story.hang_up()
    assert audio(story, tmp_path) == []


def test_silence_in_all_talks_of_a_call_with_a_hold_is_no_audio(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.wait(3)
    hold(story)
    story.hang_up()
    other = "192.168.20.100:4002"
    story.call(other, "207.252.1.148:9002", call_id="other")
    story.talk(other, "207.252.1.148:9002", 50)
    (finding,) = found(story.diagnosis(tmp_path), "no-audio")
    assert finding.text.endswith("no RTP came to either side; one of them names a private address")


@pytest.mark.parametrize("wait_s", [0, 10])
def test_answered_call_without_rtp_always_has_the_note(wait_s: int, tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.wait(wait_s)
    (finding,) = found(story.diagnosis(tmp_path), "no-rtp")
    assert finding.advice.startswith("capture without a filter for ports")
