"""What `bench.compared_calls` sends and reads; its plays are the lab's."""

from __future__ import annotations

from bench.compared_calls import PHONE, answer, audio_port, invite


def test_an_invite_has_its_length_and_its_audio() -> None:
    message = invite(PHONE, 2, more="X: y\r\n")
    head, _, body = message.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"CSeq: 2 INVITE\r\n" in head
    assert audio_port(message) == "10000"


def test_an_answer_keeps_what_names_the_request() -> None:
    request = invite(PHONE)
    refused = answer(request, "401 Unauthorized", "x")
    assert refused.startswith(b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP " + PHONE.encode())
    assert audio_port(refused) == "none"
    assert refused.endswith(b"Content-Length: 0\r\n\r\n")
    assert audio_port(answer(request, "183 Session Progress", "f1", 30000)) == "30000"
