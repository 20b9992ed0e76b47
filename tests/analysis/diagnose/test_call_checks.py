from __future__ import annotations

from pathlib import Path

from tests.analysis.diagnose.story import PHONE, SERVER, Story, found, host, sdp

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"


def answered_again_and_again(story: Story) -> None:
    story.request("INVITE", PHONE, SERVER, body=sdp(MEDIA))
    for wait_s in (0, 0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4):
        story.wait(wait_s)
        story.response(200, "INVITE", SERVER, PHONE, body=sdp(FAR_MEDIA))


def test_call_whose_ack_never_comes_ends_after_32_s(tmp_path: Path) -> None:
    story = Story()
    answered_again_and_again(story)
    story.request("BYE", SERVER, PHONE, cseq=9, to_tag="here")
    (finding,) = found(story.diagnosis(tmp_path), "lost-ack")
    assert finding.severity == "broken"
    assert "sent 11 times, since no ACK comes, and after 32 s 207.252.1.148 hung up" in finding.text
    assert finding.packets[0] == 2


def test_ack_that_is_sent_but_doesnt_arrive_is_told_apart(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, body=sdp(MEDIA))
    for _ in range(5):
        story.response(200, "INVITE", SERVER, PHONE, body=sdp(FAR_MEDIA))
        story.request("ACK", PHONE, SERVER, to_tag="there", uri="sip:b@10.1.1.1")
        story.wait(3)
    (finding,) = found(story.diagnosis(tmp_path), "lost-ack")
    assert "its ACK goes to a private address, while the call stands" in finding.text


def test_ack_that_goes_to_another_host_than_the_invite_did_is_the_calls(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, body=sdp(MEDIA))
    for _ in range(5):
        story.response(200, "INVITE", SERVER, PHONE, contact="10.1.1.1:5060", body=sdp(FAR_MEDIA))
        number = story.request("ACK", PHONE, "10.1.1.1:5060", to_tag="there", uri="sip:b@10.1.1.1")
        story.wait(3)
    (finding,) = found(story.diagnosis(tmp_path), "lost-ack")
    assert "its ACK goes to a private address" in finding.text
    assert number - 2 in finding.packets


def test_ack_to_a_public_address_may_be_lost_too(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, body=sdp(MEDIA))
    for _ in range(5):
        story.response(200, "INVITE", SERVER, PHONE, body=sdp(FAR_MEDIA))
        story.request("ACK", PHONE, SERVER, to_tag="there")
        story.wait(3)
    (finding,) = found(story.diagnosis(tmp_path), "lost-ack")
    assert "its ACK doesn't arrive" in finding.text


def test_answer_that_is_sent_twice_is_a_lost_packet_and_no_lost_ack(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.response(200, "INVITE", SERVER, PHONE, body=sdp(FAR_MEDIA))
    story.wait(20)
    story.hang_up()
    assert found(story.diagnosis(tmp_path), "lost-ack") == []


def test_request_that_comes_back_with_fewer_forwards_is_a_loop(tmp_path: Path) -> None:
    story = Story()
    for round_ in range(3):
        story.request("INVITE", PHONE, SERVER, branch=f"z9hG4bK{round_}", max_forwards=70 - 2 * round_)
    (finding,) = found(story.diagnosis(tmp_path), "loop")
    assert (finding.severity, finding.packets) == ("broken", (2, 3))


def test_answers_that_speak_of_loops_are_taken_at_their_word(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER)
    story.response(483, "INVITE", SERVER, PHONE)
    assert found(story.diagnosis(tmp_path), "loop")[0].packets == (2,)


def test_retransmission_and_a_fork_are_no_loops(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER)
    story.request("INVITE", PHONE, SERVER)
    story.request("INVITE", PHONE, SERVER, branch="z9hG4bKfork")
    assert found(story.diagnosis(tmp_path), "loop") == []


def test_big_messages_and_fragments(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, more="X: " + "x" * 1000 + "\r\n")
    story.request("INVITE", PHONE, SERVER, call_id="big", more="X: " + "x" * 1100 + "\r\n")
    story.request("INVITE", PHONE, SERVER, call_id="cut", more="X: " + "x" * 1400 + "\r\n")
    diagnosis = story.diagnosis(tmp_path)
    (big,), (cut,) = found(diagnosis, "big-messages"), found(diagnosis, "fragments")
    assert (big.severity, big.packets) == ("note", (2,))
    assert (cut.severity, cut.packets) == ("warning", (3,))


def test_length_that_isnt_there_is_a_poor_algs_work(tmp_path: Path) -> None:
    story = Story()
    story.udp(
        SERVER,
        PHONE,
        b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 1.2.3.4;branch=z9hG4bK1\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nContent-Length: 300\r\n\r\nv=0\r\n",
    )
    (finding,) = found(story.diagnosis(tmp_path), "content-length")
    assert (finding.severity, finding.packets) == ("broken", (1,))


def reinvited(story: Story, media: str) -> None:
    story.call(MEDIA, FAR_MEDIA)
    story.request("INVITE", SERVER, PHONE, cseq=7, to_tag="here", body=sdp(media))
    story.response(200, "INVITE", PHONE, SERVER, cseq=7, body=sdp(MEDIA))
    story.request("ACK", SERVER, PHONE, cseq=7, to_tag="here")


def test_calls_that_are_refused_are_counted_by_status(tmp_path: Path) -> None:
    story = Story()
    for number, status in enumerate((503, 486, 503, 408)):
        story.request("INVITE", PHONE, SERVER, call_id=f"c{number}")
        story.response(status, "INVITE", SERVER, PHONE, call_id=f"c{number}")
    refused = found(story.diagnosis(tmp_path), "refused")
    assert [(one.severity, one.text, one.packets) for one in refused] == [
        ("warning", "1 of 4 calls refused with 408", (8,)),
        ("warning", "2 of 4 calls refused with 503", (2, 6)),
    ]


def test_reinvite_that_moves_the_media_is_named(tmp_path: Path) -> None:
    story = Story()
    reinvited(story, "198.51.100.77:9000")
    (finding,) = found(story.diagnosis(tmp_path), "direct-media")
    assert (finding.severity, finding.packets) == ("note", (4,))
    assert finding.text == "call call: a re-INVITE moves the media to 198.51.100.77"


def test_media_moved_to_a_private_address_is_a_warning(tmp_path: Path) -> None:
    story = Story()
    reinvited(story, "10.9.9.9:9000")
    (finding,) = found(story.diagnosis(tmp_path), "direct-media")
    assert finding.severity == "warning"


def test_media_handed_to_another_device_inside_is_told_what_it_needs(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.request("INVITE", PHONE, SERVER, cseq=7, to_tag="there", body=sdp("192.168.20.7:9000"))
    (finding,) = found(story.diagnosis(tmp_path), "direct-media")
    assert (finding.severity, finding.packets) == ("note", (4,))
    assert "sip-direct-media=yes only" in finding.advice


def test_media_moved_on_the_inside_itself_needs_nothing(tmp_path: Path) -> None:
    story = Story()
    inside = "192.168.20.5:5060"
    story.call(MEDIA, "192.168.20.5:9000", server=inside)
    story.request("INVITE", inside, PHONE, cseq=7, to_tag="here", body=sdp("192.168.20.7:9000"))
    (finding,) = found(story.diagnosis(tmp_path), "direct-media")
    assert finding.severity == "note"


def test_reinvite_with_the_same_media_host_and_hold_move_nothing(tmp_path: Path) -> None:
    story = Story()
    reinvited(story, f"{host(SERVER)}:9100")
    story.request("INVITE", SERVER, PHONE, cseq=8, to_tag="here", body=sdp("0.0.0.0:9100"))
    assert found(story.diagnosis(tmp_path), "direct-media") == []
