"""Candidates among other lines: there and back, twice the same, never by halves. Case 20 has the single ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.ladder import Ladder, N
from tests.engine.wire import audio, request, sdp

P = "192.168.33.10"
HOST = "a=candidate:1 1 UDP 1 {} {} typ host raddr {} rport {}"


def offered(ladder: Ladder, *lines: str) -> bytes:
    """A description with audio on port 10000 and these lines as it leaves."""
    body = sdp(P, audio(10000, *lines))
    return ladder.phone(P).sends(request("INVITE", body=body), ladder.server("203.0.113.50"))


def test_a_related_address_has_a_port_of_its_own() -> None:
    ladder = Ladder(20000)
    sent = offered(ladder, HOST.format(P, 10000, P, 20000))
    assert HOST.format(N, 10000, N, 16384).encode() in sent
    message = request(
        "OPTIONS", via="203.0.113.50", call="c2", body=sdp(N, audio(10000, HOST.format(N, 10000, N, 16384)))
    )
    arrived = ladder.server("203.0.113.50").sends(message)
    assert arrived is not None
    assert HOST.format(P, 10000, P, 20000).encode() in arrived


def test_a_candidate_of_tcp_stays_beside_those_that_change() -> None:
    other = f"a=candidate:6 1 TCP 1 {P} 9 typ host tcptype active"
    sent = offered(Ladder(), HOST.format(P, 10000, P, 10000), other)
    assert HOST.format(N, 10000, N, 10000).encode() in sent
    assert other.encode() in sent


def test_candidates_change_their_ports_where_theirs_are_taken() -> None:
    sent = offered(Ladder(10000, 20000), HOST.format(P, 10000, P, 10000), HOST.format(P, 20000, P, 10000))
    written = re.findall(rb"(?m)^a=candidate:.* (\S+) (\d+) typ host raddr (\S+) rport (\d+)", sent)
    (one, first, beside, related), (_, second, _, of_second) = written
    assert one == beside == N.encode()
    assert first == related == of_second
    assert len({first, second, b"10000", b"20000"}) == 4


def test_a_related_address_of_another_host_stays() -> None:
    related = "198.51.100.9"
    assert HOST.format(N, 10000, related, 10000).encode() in offered(Ladder(), HOST.format(P, 10000, related, 10000))


def test_a_related_address_with_a_port_of_the_systems_leaves_all_as_it_is() -> None:
    line = HOST.format(P, 10000, P, 9)
    ladder = Ladder()
    sent = offered(ladder, line)
    assert sent.endswith(request("INVITE", body=sdp(P, audio(10000, line))).partition(b"\r\n\r\n")[2])
    assert f"{P}:10000" not in ladder.mapped


def test_a_related_address_that_is_nobodys_stays_public() -> None:
    ladder = Ladder()
    offered(ladder)
    message = request("OPTIONS", via="203.0.113.50", call="c2", body=sdp(N, audio(10000, HOST.format(N, 10000, N, 9))))
    arrived = ladder.server("203.0.113.50").sends(message)
    assert arrived is not None
    assert HOST.format(P, 10000, N, 9).encode() in arrived


def test_remote_candidates_that_are_nobodys_stay() -> None:
    ladder = Ladder()
    sent = offered(ladder, HOST.format(P, 10000, P, 10000), "a=remote-candidates:1 192.168.33.99 10000 2 10.0.0.9 1")
    assert b"a=remote-candidates:1 192.168.33.99 10000 2 10.0.0.9 1\r\n" in sent
    body = sdp("203.0.113.60", audio(30000, "a=remote-candidates:1 203.0.113.1 10000 2 203.0.113.1 9"))
    arrived = ladder.server("203.0.113.50").sends(request("OPTIONS", via="203.0.113.50", call="c2", body=body))
    assert arrived is not None
    assert b"a=remote-candidates:1 192.168.33.10 10000 2 203.0.113.1 9\r\n" in arrived


@pytest.mark.parametrize("candidate", [HOST.format(P, 20000, P, 10000), HOST.format(P, 10000, P, 20000)])
def test_without_a_port_for_all_of_them_the_description_stays_whole(candidate: str) -> None:
    ladder = Ladder(20000, *range(16386, 16390), media_ports=(16386, 16389))
    body = sdp(P, audio(10000, HOST.format(P, 10000, P, 10000), candidate)).replace("\n", "\r\n").encode()
    assert offered(ladder, HOST.format(P, 10000, P, 10000), candidate).endswith(body)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}


def test_a_line_that_cant_be_served_leaves_candidates_and_all_as_they_are() -> None:
    ladder = Ladder()
    body = sdp(P, audio(10000, HOST.format(P, 10000, P, 10000)), "m=audio 900 RTP/AVP 0")
    message = request("INVITE", body=body)
    sent = ladder.phone(P).sends(message, ladder.server("203.0.113.50"))
    assert sent.endswith(body.replace("\n", "\r\n").encode())
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}


def test_remote_candidates_of_another_inside_phone_are_public_outside() -> None:
    ladder = Ladder()
    other = "192.168.33.11"
    message = request("INVITE", via=other, call="c2", contact=f"<sip:{other}>", body=sdp(other, audio(20000)))
    ladder.phone(other).sends(message, ladder.server("203.0.113.50"))
    sent = offered(ladder, HOST.format(P, 10000, P, 10000), f"a=remote-candidates:1 {other} 20000 2 {other} 9")
    assert f"a=remote-candidates:1 {N} 20000 2 {other} 9\r\n".encode() in sent


_LINES = st.sampled_from(
    [
        f"a=candidate:1 1 UDP 1 {P} 10000 typ host",
        f"a=candidate:1 2 UDP 1 {P} 10001 typ host",
        f"a=candidate:2 1 UDP 1 {P} 20000 typ host raddr {P} rport 20002",
        f"a=candidate:3 1 UDP 1 {P} 80 typ host",
        f"a=candidate:4 1 UDP 1 {N} 62000 typ srflx raddr {P} rport 10000",
        "a=candidate:5 1 UDP 1 192.168.33.99 10000 typ host",
        f"a=candidate:6 1 TCP 1 {P} 9 typ host tcptype active",
        "a=candidate:7 1 UDP 1 x.local 10000 typ host",
        f"a=remote-candidates:1 {P} 10000",
        "a=candidate:nonsense",
        "a=rtcp:10001",
        "a=rtcp-mux",
        "a=inactive",
    ]
)
_PRIVATE = re.compile(rb"(?:IP4 |UDP 1 )192\.168\.33\.10\b")


@given(st.lists(_LINES, max_size=6, unique=True), st.sampled_from([P, N, "198.51.100.9"]), st.booleans())
@settings(max_examples=60)
def test_all_or_nothing_there_and_back(lines: list[str], connection: str, taken: bool) -> None:
    ladder = Ladder(*((10000, 20000) if taken else ()))
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    body = sdp(connection, audio(10000, *lines)).replace("\n", "\r\n").encode()
    message = request("INVITE", body=sdp(connection, audio(10000, *lines)))
    sent = phone.sends(message, server)
    shown = sent.partition(b"\r\n\r\n")[2]
    if shown != body:
        assert _PRIVATE.search(shown) is None, "half of the addresses are the phone's still"
    assert phone.sends(message, server) == sent
    public = ladder.public_of(phone)
    answer = request("OPTIONS", via="203.0.113.50", call="c2", body=shown.decode().replace("\r\n", "\n"))
    arrived = server.sends(answer, public)
    assert arrived is not None
    if shown != body:
        assert arrived.partition(b"\r\n\r\n")[2] == body
    assert phone.sends(sent, server) == sent
    ladder.finish()
