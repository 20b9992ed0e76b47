"""Case 20: all host candidates change along with c= and m=, or the description stays whole; never half of it."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import Outgoing
from tests.engine.wire import audio, sdp

from sipalg.engine.verdict import Endpoint

P, P2, N = "192.168.33.10", "192.168.33.11", "203.0.113.1"
#: The address of a description whose candidates come later.
ZERO = ".".join("0000")
HOST = "a=candidate:{f} {component} UDP 2130706431 {host} {port} typ host"
TAIL = ("a=ice-ufrag:192a", "a=ice-pwd:168b", "a=setup:actpass", "a=fingerprint:sha-256 19:21:68:33:10")


def host(address: str, port: int, component: int = 1, f: str = "1") -> str:
    return HOST.format(f=f, component=component, host=address, port=port)


def call(ladder: Ladder, address: str = P, name: str = "c1", interface: str = "lan0") -> Outgoing:
    return Outgoing(ladder.phone(address, interface=interface), ladder.server("203.0.113.50"), call=name)


def outward(ladder: Ladder, body: str) -> str:
    """A description as it leaves in an INVITE."""
    return call(ladder).asks("INVITE", body=body).partition(b"\r\n\r\n")[2].decode().replace("\r\n", "\n")


def test_all_candidates_change_with_the_lines() -> None:
    ladder = Ladder(10000)
    own = sdp(P, audio(10000, "a=rtcp:10001", host(P, 10000), host(P, 10001, 2), *TAIL))
    assert outward(ladder, own) == sdp(N, audio(16384, "a=rtcp:16385", host(N, 16384), host(N, 16385, 2), *TAIL))
    assert ladder.mapped == {
        f"{P}:5060": f"{N}:5060",
        f"{P}:10000": f"{N}:16384",
        f"{P}:10001": f"{N}:16385",
    }
    ladder.finish()


def test_a_candidate_that_no_line_names_stays_open_while_the_call_stands() -> None:
    ladder = Ladder()
    more = host(P, 20002, f="2").replace("typ host", f"typ host raddr {P} rport 20004 generation 0")
    public = more.replace(P, N)
    one = call(ladder)
    body = sdp(P, audio(10000, "a=rtcp-mux", host(P, 10000), more))
    sent = one.asks("INVITE", body=body)
    assert sent.endswith(sdp(N, audio(10000, "a=rtcp-mux", host(N, 10000), public)).replace("\n", "\r\n").encode())
    one.ok()
    one.ack()
    ladder.wait(3600)
    assert {f"{P}:20002", f"{P}:20004"} <= set(ladder.mapped)
    check = ladder.media_enters(Endpoint("198.51.100.7", 40000), Endpoint(N, 20002), strict=False)
    assert check == Endpoint(P, 20002), "a connectivity check from anywhere"
    assert len(ladder.flows) == 2, "of the line alone"
    one.hangs_up()
    ladder.finish()


def test_what_isnt_ipv4_over_udp_stays_beside_those_that_change() -> None:
    lines = (
        "a=candidate:2 1 UDP 1 2001:db8::10 10000 typ host",
        "a=candidate:3 1 UDP 1 8d4f2a6c.local 10000 typ host",
        f"a=candidate:4 1 TCP 1 {P} 9 typ host tcptype active",
    )
    body = sdp(P, audio(10002, host(P, 10002), *lines))
    assert outward(Ladder(), body) == sdp(N, audio(10002, host(N, 10002), *lines))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            sdp(P, audio(10000, host(P, 10000), f"a=candidate:2 1 UDP 1 {N} 62000 typ srflx raddr {P} rport 10000")),
            id="server reflexive",
        ),
        pytest.param(
            sdp(P, audio(10000, host(P, 10000), "a=candidate:2 1 UDP 1 198.51.100.9 3478 typ relay")), id="relayed"
        ),
        pytest.param(sdp(N, audio(62000, host(P, 10000)), origin=P), id="c= is public"),
        pytest.param(sdp(ZERO, audio(9, host(P, 10000)), origin=P), id="c= is zero: trickle"),
        pytest.param(sdp(P, audio(10000, host(P, 10000), host("10.0.0.9", 10000))), id="another of the phone's"),
        pytest.param(sdp(P, audio(10000, host(P, 10000), host(P2, 10000))), id="another inside host's"),
        pytest.param(sdp(P, audio(10000, host(P, 22))), id="a system's port"),
        pytest.param(sdp(P, audio(10000, "a=candidate:3 1 UDP 1 8d4f2a6c.local 10000 typ host")), id="mDNS alone"),
        pytest.param(sdp(P, audio(10000, host(P, 10000), "a=candidate:x")), id="one that can't be read"),
        pytest.param(sdp(P, audio(900, host(P, 10000))), id="the line can't be served"),
        pytest.param(
            sdp(P, audio(10000, host(P, 10000)), f"m=audio 10002 RTP/AVP 0\nc=IN IP4 {P2}"), id="another's line"
        ),
        pytest.param(sdp(P, audio(10000, *(host(P, 10000 + n) for n in range(65)))), id="too many"),
    ],
)
def test_the_description_stays_whole(body: str) -> None:
    ladder = Ladder()
    ladder.phone(P2).sends(
        b"OPTIONS sip:b@h SIP/2.0\r\nContact: <sip:192.168.33.11>\r\n\r\n", ladder.server("203.0.113.50")
    )
    assert outward(ladder, body) == body
    assert ladder.reason == "", "the header is translated in any case"
    assert set(ladder.mapped) == {f"{P}:5060", f"{P2}:5060"}, "and nothing is opened"


@pytest.mark.parametrize("related", ["", f" raddr {P} rport 20002"])
def test_no_port_for_one_candidate_leaves_no_mapping_for_the_others(related: str) -> None:
    taken = (20000, 20002, *range(16386, 16390)) if not related else (20002, *range(16386, 16390))
    ladder = Ladder(*taken, media_ports=(16386, 16389))
    body = sdp(P, audio(10000, host(P, 10000), host(P, 20000, f="2") + related))
    assert outward(ladder, body) == body
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}
    ladder.finish()


def test_what_the_far_end_chose_of_our_candidates_is_the_phones_own_again() -> None:
    ladder = Ladder(10000)
    one = call(ladder)
    one.asks("INVITE", body=sdp(P, audio(10000, "a=rtcp-mux", host(P, 10000))))
    far = ("a=candidate:1 1 UDP 1 203.0.113.60 30000 typ srflx raddr 10.9.9.9 rport 30000", "a=rtcp-mux")
    one.is_answered(200, body=sdp("203.0.113.60", audio(30000, *far)))
    one.ack()
    chosen = "a=remote-candidates:1 {} 2 203.0.113.99 7"
    again = one.is_asked("INVITE", 2, body=sdp("203.0.113.60", audio(30000, *far, chosen.format(f"{N} 16384"))))
    assert again is not None
    body = sdp("203.0.113.60", audio(30000, *far, chosen.format(f"{P} 10000")))
    assert again.endswith(body.replace("\n", "\r\n").encode())
    one.hangs_up()
    ladder.finish()


def test_two_phones_inside_see_each_others_candidates() -> None:
    ladder = Ladder(inside_interfaces=frozenset(("lan0", "lan1")))
    caller, other, third = call(ladder), call(ladder, P2, "c2"), call(ladder, "192.168.44.9", "c3", "lan1")
    # The other's are the same ports, so that they aren't outside.
    related = f" raddr {N} rport 10001"
    caller.asks("INVITE", body=sdp(P, audio(10000, host(P, 10000), host(P, 10001, 2))))
    public = sdp(N, audio(10000, host(N, 10000) + related, host(N, 10001, 2)))
    for callee in (other, third):
        callee.asks("OPTIONS")
    private = sdp(P, audio(10000, host(P, 10000) + related.replace(N, P), host(P, 10001, 2)))
    arrived = other.is_asked("INVITE", body=public)
    assert arrived is not None
    assert arrived.endswith(private.replace("\n", "\r\n").encode())
    arrived = third.is_asked("INVITE", body=public)
    assert arrived is not None
    assert arrived.endswith(public.replace("\n", "\r\n").encode()), "behind another interface it goes by NAT"

    # What the called one chose of the caller's candidates it knows by the private address only.
    chosen = "a=remote-candidates:1 {} 10000 2 {} 77"
    answer = other.answers(200, "INVITE", body=sdp(P2, audio(10000, host(P2, 10000), chosen.format(P, P))))
    assert answer.endswith(sdp(N, audio(16386, host(N, 16386), chosen.format(N, P))).replace("\n", "\r\n").encode())


@pytest.mark.parametrize("candidate", [host(N, 10009), "a=candidate:x"])
def test_candidates_that_are_nobodys_leave_the_description_public(candidate: str) -> None:
    ladder = Ladder()
    call(ladder).asks("INVITE", body=sdp(P, audio(10000)))
    other = call(ladder, P2, "c2")
    other.asks("OPTIONS")
    public = sdp(N, audio(10000, host(N, 10000), candidate, "a=remote-candidates:1 203.0.113.1 9"))
    arrived = other.is_asked("INVITE", body=public)
    assert arrived is not None
    assert arrived.endswith(public.replace("\n", "\r\n").encode())


def test_an_offer_as_browsers_write_it() -> None:
    lines = (
        "a=rtcp:9 IN IP4 {zero}",
        "a=candidate:2530089836 1 udp 2122260223 {own} {port} typ host generation 0 network-id 1 network-cost 10",
        "a=candidate:559267639 1 udp 2122202367 2001:db8::33 50002 typ host generation 0 network-id 2",
        "a=candidate:3762152412 1 tcp 1518280447 192.168.33.10 9 typ host tcptype active generation 0 network-id 1",
        "a=end-of-candidates",
        "a=ice-options:trickle",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        *TAIL,
    )

    def offer(own: str, first: int, second: int) -> str:
        sections = [
            audio(port, *(line.format(own=own, port=port, zero=ZERO) for line in lines)) for port in (first, second)
        ]
        return sdp(own, "a=group:BUNDLE 0 1", "a=msid-semantic: WMS x", *sections)

    ladder = Ladder(50000)
    one = call(ladder)
    sent = one.asks("INVITE", body=offer(P, 50000, 50010))
    public = offer(N, 16384, 50010)
    assert sent.partition(b"\r\n\r\n")[2].decode() == public.replace("\n", "\r\n")
    one.ok()
    one.hangs_up()
    ladder.finish()
