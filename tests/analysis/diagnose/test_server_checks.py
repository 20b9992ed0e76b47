from __future__ import annotations

from pathlib import Path

from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story, found, sdp

OTHER_PORT = "207.252.1.148:5080"


def test_port_that_the_alg_doesnt_look_at_is_named(tmp_path: Path) -> None:
    story = Story()
    story.register(server=OTHER_PORT)
    (finding,) = found(story.diagnosis(tmp_path), "ports")
    assert finding.text == "server 207.252.1.148:5080 speaks SIP on port 5080, and the ports set are 5060,5061"
    assert finding.advice.startswith("set ports=5060,5061,5080")
    assert finding.packets == (2,)


def test_eight_ports_are_the_most(tmp_path: Path) -> None:
    story = Story()
    story.register(server=OTHER_PORT)
    (finding,) = found(story.diagnosis(tmp_path, ports=tuple(range(5060, 5068))), "ports")
    assert finding.advice.startswith("put 5080 in the place of")


def test_port_that_is_set_is_well(tmp_path: Path) -> None:
    story = Story()
    story.register(server=OTHER_PORT)
    assert found(story.diagnosis(tmp_path, ports=(5080,)), "ports") == []


def test_server_on_the_phones_own_side_may_have_any_port(tmp_path: Path) -> None:
    story = Story()
    story.register(server="10.0.0.5:5080")
    assert found(story.diagnosis(tmp_path), "ports") == []


def test_whom_a_call_was_handed_to_may_have_any_port(tmp_path: Path) -> None:
    story = Story()
    story.register()
    story.request("ACK", PHONE, OTHER_PORT, to_tag="there")
    story.request("BYE", OTHER_PORT, PHONE, to_tag="here")
    assert found(story.diagnosis(tmp_path), "ports") == []


def test_server_that_opens_a_tcp_connection_has_any_port(tmp_path: Path) -> None:
    ping = (
        b"OPTIONS sip:a@192.168.20.100 SIP/2.0\r\nVia: SIP/2.0/TCP 207.252.1.148:5060;branch=z9hG4bKp\r\n"
        b"From: <sip:b@x>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: p\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    for source, destination, ports in (("207.252.1.148:40000", PHONE, 0), (PHONE, "207.252.1.148:40000", 1)):
        story = Story()
        story.tcp(source, destination, ping)
        assert len(found(story.diagnosis(tmp_path), "ports")) == ports


def test_server_that_never_answers_breaks_calls(tmp_path: Path) -> None:
    story = Story()
    for _ in range(4):
        story.request("REGISTER", PHONE, SERVER)
    diagnosis = story.diagnosis(tmp_path)
    (finding,) = found(diagnosis, "no-answer")
    assert (finding.severity, finding.packets) == ("broken", (1,))
    assert "never answers: 1 of 1 request without answer" in finding.text
    assert found(diagnosis, "retransmissions")[0].packets == (2, 3, 4)


def test_one_request_without_answer_is_a_warning(tmp_path: Path) -> None:
    story = Story()
    story.register()
    story.request("OPTIONS", PHONE, SERVER, call_id="lost")
    story.wait(6)
    story.register(cseq=2)
    (finding,) = found(story.diagnosis(tmp_path), "no-answer")
    assert (finding.severity, finding.packets) == ("warning", (3,))


def test_last_request_of_a_capture_may_still_be_answered(tmp_path: Path) -> None:
    story = Story()
    story.register()
    story.request("OPTIONS", PHONE, SERVER, call_id="late")
    assert found(story.diagnosis(tmp_path), "no-answer") == []


def test_few_retransmissions_of_many_requests_arent_worth_a_word(tmp_path: Path) -> None:
    story = Story()
    for cseq in range(1, 50):
        story.register(cseq=cseq)
    for _ in range(3):
        story.request("OPTIONS", PHONE, SERVER)
    story.response(200, "OPTIONS", SERVER, PHONE)
    assert found(story.diagnosis(tmp_path), "retransmissions") == []


def test_server_that_names_a_private_address_isnt_nat_aware(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, body=sdp("192.168.20.100:4000"))
    number = story.response(200, "INVITE", SERVER, PHONE, contact="10.0.0.5:5060", body=sdp("10.0.0.5:9000"))
    (finding,) = found(story.diagnosis(tmp_path), "server-private")
    assert (finding.severity, finding.packets) == ("broken", (number,))
    assert finding.text == "server 207.252.1.148:5060 isn't NAT aware: its Contact and SDP name 10.0.0.5"


def test_server_whose_contact_alone_is_private_is_a_warning(tmp_path: Path) -> None:
    story = Story()
    story.request("OPTIONS", SERVER, PHONE, contact="10.0.0.5:5060")
    assert found(story.diagnosis(tmp_path), "server-private")[0].severity == "warning"


def test_registrar_that_repeats_the_phones_contact_names_none_of_its_own(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names=PHONE)
    assert found(story.diagnosis(tmp_path), "server-private") == []


def test_tls_is_named_where_sip_would_be(tmp_path: Path) -> None:
    story = Story()
    hello = bytes.fromhex("160301000501000001ff")
    number = story.tcp("192.168.20.100:40000", "207.252.1.148:5061", hello)
    story.tcp("192.168.20.100:40001", "207.252.1.148:443", hello)
    (finding,) = found(story.diagnosis(tmp_path), "encrypted")
    assert (finding.severity, finding.packets) == ("note", (number,))
