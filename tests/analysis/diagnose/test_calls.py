from __future__ import annotations

from pathlib import Path

from tests.analysis.diagnose.story import PHONE, SERVER, Story, sdp

from sipalg.analysis.diagnose.facts import Call

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"


def the_call(story: Story, tmp_path: Path) -> Call:
    (call,) = story.diagnosis(tmp_path).facts.calls
    return call


def test_call_from_invite_to_bye(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, body=sdp(MEDIA))
    story.response(180, "INVITE", SERVER, PHONE)
    story.response(200, "INVITE", SERVER, PHONE, body=sdp(FAR_MEDIA))
    story.request("ACK", PHONE, SERVER, to_tag="there")
    story.wait(5)
    story.hang_up()
    call = the_call(story, tmp_path)
    assert [proof.packets for proof in (call.invite, call.answered, call.acked, call.bye)] == [
        [1], [3], [4], [5],
    ]  # fmt: skip
    assert (call.caller.host, call.called.host, call.bye_from) == ("192.168.20.100", "207.252.1.148", "192.168.20.100")
    assert round(call.talked_s) == 5


def test_challenge_isnt_the_end(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER)
    story.response(407, "INVITE", SERVER, PHONE)
    story.request("INVITE", PHONE, SERVER, cseq=2)
    story.response(486, "INVITE", SERVER, PHONE, cseq=2)
    call = the_call(story, tmp_path)
    assert (call.sequence, call.failed, call.failed_at.packets) == (2, 486, [4])


def test_dialog_that_began_before_the_capture_isnt_judged(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, to_tag="there", body=sdp(MEDIA))
    story.hang_up()
    assert story.diagnosis(tmp_path).facts.calls == []


def test_proxy_shows_a_call_twice_with_a_record_each(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER)
    story.request("INVITE", SERVER, "198.51.100.7:5060")
    calls = story.diagnosis(tmp_path).facts.calls
    assert [(call.caller.host, call.called.host) for call in calls] == [
        ("192.168.20.100", "207.252.1.148"), ("207.252.1.148", "198.51.100.7"),
    ]  # fmt: skip


def test_two_sockets_of_one_host_are_two_sides(tmp_path: Path) -> None:
    one, other = "127.0.0.1:5060", "127.0.0.1:5070"
    story = Story()
    story.call("127.0.0.1:4000", "127.0.0.1:9000", phone=one, server=other)
    story.rtp("127.0.0.1:4000", "127.0.0.1:9000", 20)
    story.rtp("127.0.0.1:9000", "127.0.0.1:4000", 30)
    story.hang_up(phone=one, server=other)
    call = the_call(story, tmp_path)
    assert (call.caller.got, call.called.got) == (30, 20)


def test_media_is_added_up_over_new_ports(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(FAR_MEDIA, MEDIA, 20)
    story.request("INVITE", PHONE, SERVER, cseq=2, to_tag="there", body=sdp("192.168.20.100:4002"))
    story.rtp(FAR_MEDIA, "192.168.20.100:4002", 10)
    story.rtcp("207.252.1.148:9001", "192.168.20.100:4003")
    story.hang_up()
    call = the_call(story, tmp_path)
    assert (call.caller.got, call.caller.got_rtcp, call.called.got) == (30, 1, 0)
    assert call.caller.media[0].port == 4002


def test_reinvite_of_the_called_side_counts_from_a_number_of_its_own(tmp_path: Path) -> None:
    story = Story()
    story.call(MEDIA, FAR_MEDIA)
    story.wait(9)
    for message in (
        "INVITE sip:a@192.168.20.100 SIP/2.0\r\n", "SIP/2.0 200 OK\r\n", "ACK sip:a@192.168.20.100 SIP/2.0\r\n",
    ):  # fmt: skip
        text = (
            f"{message}Via: SIP/2.0/UDP {SERVER};branch=z9hG4bKre\r\nFrom: <sip:b@example.com>;tag=there\r\n"
            "To: <sip:a@example.com>;tag=here\r\nCall-ID: call\r\n"
            f"CSeq: 1 {'ACK' if message.startswith('ACK') else 'INVITE'}\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        ends = (PHONE, SERVER) if message.startswith("SIP") else (SERVER, PHONE)
        # Each packet is captured twice.
        story.udp(*ends, text)
        story.udp(*ends, text)
    call = the_call(story, tmp_path)
    assert (call.answered.packets, call.acked.packets) == ([2], [3])
