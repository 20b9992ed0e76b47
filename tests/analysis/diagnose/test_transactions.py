from __future__ import annotations

from pathlib import Path

from tests.analysis.diagnose.story import PHONE, SERVER, Story

from sipalg.analysis.diagnose.facts import Server


def the_server(story: Story, tmp_path: Path) -> Server:
    (server,) = story.diagnosis(tmp_path).facts.servers.values()
    return server


def test_request_counts_once_however_often_it_is_sent(tmp_path: Path) -> None:
    story = Story()
    for _ in range(3):
        story.request("OPTIONS", PHONE, SERVER)
    story.response(200, "OPTIONS", SERVER, PHONE)
    server = the_server(story, tmp_path)
    assert (server.requests, server.resent.packets, server.unanswered.packets) == (1, [2, 3], [])


def test_packet_that_was_captured_twice_isnt_sent_again(tmp_path: Path) -> None:
    story = Story()
    for _ in range(3):
        story.request("OPTIONS", PHONE, SERVER)
        story.now -= 0.01
    story.wait(0.5)
    story.request("OPTIONS", PHONE, SERVER)
    server = the_server(story, tmp_path)
    assert (server.requests, server.resent.packets) == (1, [4])


def test_any_answer_answers(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER)
    story.response(100, "INVITE", SERVER, PHONE)
    story.wait(60)
    story.register()
    assert the_server(story, tmp_path).unanswered.packets == []


def test_answer_to_another_request_answers_nothing(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER)
    story.response(200, "INVITE", SERVER, PHONE, cseq=9)
    story.wait(60)
    story.register()
    assert the_server(story, tmp_path).unanswered.packets == [1]


def test_ack_wants_no_answer_and_servers_requests_arent_the_phones(tmp_path: Path) -> None:
    story = Story()
    story.request("ACK", PHONE, SERVER)
    story.request("OPTIONS", SERVER, PHONE)
    story.wait(60)
    story.register()
    server = the_server(story, tmp_path)
    assert (server.requests, server.unanswered.packets) == (1, [])


def test_what_falls_out_of_memory_is_judged_then(tmp_path: Path) -> None:
    story = Story()
    story.request("OPTIONS", PHONE, SERVER, call_id="first")
    story.wait(60)
    for number in range(8200):
        story.request("OPTIONS", PHONE, SERVER, call_id=f"c{number}")
        story.response(200, "OPTIONS", SERVER, PHONE, call_id=f"c{number}")
    assert the_server(story, tmp_path).unanswered.packets == [1]


def test_answer_at_the_vias_port_answers_whoever_sends_from_another(tmp_path: Path) -> None:
    story = Story()
    story.request("REGISTER", "192.168.20.100:50123", SERVER, via=PHONE)
    story.response(200, "REGISTER", SERVER, PHONE, via=PHONE)
    story.wait(60)
    story.request("OPTIONS", PHONE, SERVER, call_id="last")
    assert the_server(story, tmp_path).unanswered.packets == []
