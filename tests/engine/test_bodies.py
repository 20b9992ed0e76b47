"""Several descriptions in one body: all are edited or none, and every length stays exact."""

from __future__ import annotations

import re

import pytest
from tests.engine.ladder import Ladder
from tests.engine.wire import audio, sdp, sip

from sipalg.engine.verdict import Endpoint

P, N = "192.168.33.10", "203.0.113.1"
M = Endpoint("203.0.113.60", 30000)
HEAD = """INVITE sip:b@203.0.113.50 SIP/2.0
Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-1
From: <sip:a@203.0.113.50>;tag=a
To: <sip:b@203.0.113.50>
Call-ID: c1
CSeq: 1 INVITE
Contact: <sip:a@{own}:5060>
Content-Type: multipart/mixed;boundary=x
Content-Length: #

"""
TEXT = "Content-Type: text/plain\n\nc=IN IP4 192.168.33.10\n"


def part(body: str, *fields: str) -> str:
    """A part with a description, whose Content-Length is the right one where it has one (`#`)."""
    head = "".join(f"{field}\n" for field in fields).replace("#", str(len(body.replace("\n", "\r\n"))))
    return f"Content-Type: application/sdp\n{head}\n{body}"


def mixed(*parts: str, boundary: str = "x") -> str:
    return "".join(f"--{boundary}\n{one}" for one in parts) + f"--{boundary}--\n"


def message(own: str, *parts: str) -> bytes:
    return sip(HEAD + mixed(*parts), own=own)


def goes_out_as(ladder: Ladder, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    sent = ladder.phone(P).sends(message(P, *before), ladder.server("203.0.113.50"))
    assert sent == message(N, *after)


def test_every_description_is_edited() -> None:
    ladder = Ladder(10002)
    before = part(sdp(P, audio(10000))), TEXT, part(sdp(P, audio(10002)))
    after = part(sdp(N, audio(10000))), TEXT, part(sdp(N, audio(16384)))
    goes_out_as(ladder, before, after)
    assert ladder.mapped[f"{P}:10002"] == f"{N}:16384"


def test_lengths_of_parts_stay_exact() -> None:
    for fields in (("Content-Length: #",), ("l:#", "Content-Disposition: session;handling=required")):
        one = tuple(part(sdp(host, audio(10000)), *fields) for host in (P, N))
        goes_out_as(Ladder(), (one[0],), (one[1],))


def test_lengths_of_nested_parts_stay_exact() -> None:
    # 87 bytes become 85, 102 become 98, and the multipart around goes from three digits to two or not.
    for filler in ("", "a=" + "x" * 9 + "\n", "a=" + "x" * 13 + "\n"):
        nested = []
        for host in (P, N):
            inner = mixed(part(sdp(host, audio(10000) + "\n" + filler.rstrip()), "Content-Length: #"), boundary="y")
            length = len(inner.replace("\n", "\r\n"))
            nested.append(f"Content-Type: multipart/alternative;boundary=y\nContent-Length: {length}\n\n{inner}")
        goes_out_as(Ladder(), (nested[0],), (nested[1],))


def test_a_digit_more_inside_makes_the_length_around_grow() -> None:
    ladder = Ladder(nat_address="203.113.213.111", advertised_address="203.113.213.111")
    body = sdp("192.168.3.1", "m=audio 1024 RTP/AVP 0", "a=1").replace("\n", "\r\n")
    assert len(body) == 96
    inner = f"--y\r\nContent-Type: application/sdp\r\nContent-Length: 96\r\n\r\n{body}--y--\r\n"
    outer = "--x\r\nContent-Type: multipart/alternative;boundary=y\r\n"
    outer += f"Content-Length: {len(inner)}\r\n\r\n{inner}--x--\r\n"
    head = (
        "INVITE sip:b@h SIP/2.0\r\nCall-ID: c1\r\nContent-Type: multipart/mixed;boundary=x\r\n"
        f"Content-Length: {len(outer)}\r\n\r\n"
    )
    sent = ladder.phone("192.168.3.1").sends((head + outer).encode(), ladder.server("203.0.113.50"))
    lengths = [int(length) for length in re.findall(rb"Content-Length: (\d+)", sent)]
    assert lengths == [len(outer) + 9, len(inner) + 9, 104]
    assert len(sent.partition(b"\r\n\r\n")[2]) == lengths[0]
    nested = sent.partition(b"boundary=y\r\n")[2].partition(b"\r\n\r\n")[2]
    assert nested.index(b"--x--") == lengths[1]


def test_a_length_that_says_too_little_gets_no_sign() -> None:
    before, after = (part(sdp(host, audio(10000)), f"Content-Length: {length}") for host, length in ((P, 1), (N, 0)))
    goes_out_as(Ladder(), (before,), (after,))


def test_a_length_without_anything_to_edit_stays() -> None:
    foreign = part(sdp("203.0.113.60", audio(10000)), "Content-Length: 999")
    goes_out_as(Ladder(), (foreign,), (foreign,))


def test_one_that_cant_be_served_lets_all_pass() -> None:
    ladder = Ladder()
    both = (part(sdp(P, audio(10000))), part(sdp(P, audio(900))))
    sent = ladder.phone(P).sends(message(P, *both), ladder.server("203.0.113.50"))
    assert sent == message(P, *both)
    assert (ladder.reason, ladder.mapped) == ("sdp-port-privileged", {})


@pytest.mark.parametrize("early_first", [True, False])
def test_early_media_of_a_session_of_its_own(early_first: bool) -> None:
    ladder = Ladder()
    early = "Content-Disposition: early-session"
    before, after = ([part(sdp(host, audio(10000))), part(sdp(host, audio(10010)), early)] for host in (P, N))
    if early_first:
        before.reverse()
        after.reverse()
    goes_out_as(ladder, tuple(before), tuple(after))
    answer = """
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-1
        From: <sip:a@203.0.113.50>;tag=a
        To: <sip:b@203.0.113.50>;tag=b
        Call-ID: c1
        CSeq: 1 INVITE
        Content-Type: application/sdp

        v=0
        c=IN IP4 203.0.113.60
        m=audio 30000 RTP/AVP 0
        """
    ladder.server("203.0.113.50").sends(sip(answer))
    assert {private for private, _, _ in ladder.flows} == {f"{P}:10000", f"{P}:10001"}, "of the call alone"
    anybody = ladder.media_enters(M, Endpoint(N, 10010), strict=False)
    assert anybody == Endpoint(P, 10010)
    ladder.finish()


def test_only_early_media() -> None:
    ladder = Ladder()
    one = tuple(part(sdp(host, audio(10010)), "Content-Disposition: early-session") for host in (P, N))
    goes_out_as(ladder, (one[0],), (one[1],))
    dialog = next(iter(ladder.alg.calls.dialogs.values()))
    assert dialog.offer is None


def test_what_comes_in_parts_goes_back_in_parts() -> None:
    ladder = Ladder()
    server = ladder.server("203.0.113.50")
    ladder.phone(P).sends(message(P, part(sdp(P, audio(10000)))), server)
    back = message(N, part(sdp(N, audio(10000)), "l: #"), TEXT, part(sdp(N, audio(10000)), "l: #"))
    inside = message(P, part(sdp(P, audio(10000)), "l: #"), TEXT, part(sdp(P, audio(10000)), "l: #"))
    arrived = server.sends(back)
    assert arrived is not None
    assert arrived.partition(b"\r\n\r\n")[2] == inside.partition(b"\r\n\r\n")[2]
    length = re.search(rb"Content-Length: (\d+)", arrived)
    assert length is not None
    assert int(length[1]) == len(inside.partition(b"\r\n\r\n")[2])


def test_a_length_that_stays_is_left_alone() -> None:
    ladder = Ladder(10000)
    body = sdp("203.0.113.8", audio(10000))
    head = "INVITE sip:b@h SIP/2.0\nCall-ID: c1\nContact: <sip:203.0.113.8>\n"
    text = sip(f"{head}Content-Type: application/sdp\nContent-Length: #\n\n{body}")
    ladder.phone("203.0.113.8").sends(text, ladder.server("203.0.113.50"))
    assert ladder.rules == ["contact", "sdp-o", "sdp-c", "sdp-m"]
