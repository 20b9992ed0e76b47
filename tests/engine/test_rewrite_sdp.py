from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, request, sdp

from sipalg.engine.verdict import Endpoint

P, N = "192.168.33.10", "203.0.113.1"
ZERO = ".".join("0000")


def outward(ladder: Ladder, body: str) -> str:
    """A description as it leaves in a phone's INVITE."""
    sent = ladder.phone(P).sends(request("INVITE", body=body), ladder.server("203.0.113.50"))
    return sent.partition(b"\r\n\r\n")[2].decode().replace("\r\n", "\n")


def inward(ladder: Ladder, body: str, host: str = P) -> str:
    """A description as it arrives at a phone."""
    public = ladder.public_of(ladder.phone(host))
    message = request("INVITE", uri=f"sip:a@{public}", via="203.0.113.50", call="in", body=body)
    arrived = ladder.server("203.0.113.50").sends(message, public)
    assert arrived is not None
    return arrived.partition(b"\r\n\r\n")[2].decode().replace("\r\n", "\n")


def two_phones(other_interface: str = "lan0") -> Ladder:
    """P offers audio on 10000, another phone on the same, which is 16384 outside."""
    ladder = Ladder(inside_interfaces=frozenset(("lan0", "lan1")))
    server = ladder.server("203.0.113.50")
    ladder.phone(P).sends(request("INVITE", body=sdp(P, audio(10000))), server)
    other = ladder.phone("192.168.33.11", interface=other_interface)
    message = request("INVITE", via=str(other.endpoint), call="c2", body=sdp("192.168.33.11", audio(10000)))
    other.sends(message, server)
    assert ladder.mapped["192.168.33.11:10000"] == f"{N}:16386"
    return ladder


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(sdp(P, audio(10000)), sdp(N, audio(10000)), id="session c="),
        pytest.param(
            sdp(ZERO, f"m=audio 10000 RTP/AVP 0\nc=IN IP4 {P}", origin=P),
            sdp(ZERO, f"m=audio 10000 RTP/AVP 0\nc=IN IP4 {N}", origin=N),
            id="media c=",
        ),
        pytest.param(
            sdp("198.51.100.9", audio(10000), f"m=audio 10002 RTP/AVP 0\nc=IN IP4 {P}", origin=P),
            sdp("198.51.100.9", audio(10000), f"m=audio 10002 RTP/AVP 0\nc=IN IP4 {N}", origin=N),
            id="one of two lines",
        ),
        pytest.param(
            sdp(P, "m=audio 10000 RTP/AVP 0\nc=IN IP4 phone.lan", audio(10002)),
            sdp(N, "m=audio 10000 RTP/AVP 0\nc=IN IP4 phone.lan", audio(10002)),
            id="a host name beside an address",
        ),
        pytest.param(sdp(P, audio(0)), sdp(N, audio(0)), id="refused"),
        pytest.param(sdp(P), sdp(N), id="no media"),
        pytest.param(
            sdp("198.51.100.9", audio(10000), origin=P), sdp("198.51.100.9", audio(10000), origin=P), id="o="
        ),
        pytest.param(sdp(P, audio(10000), origin="phone.lan"), sdp(N, audio(10000), origin="phone.lan"), id="o= name"),
        pytest.param(
            sdp(P, "m=audio 10001/2 RTP/AVP 0"), sdp(N, "m=audio 16384/2 RTP/AVP 0"), id="several ports in one line"
        ),
        pytest.param(sdp(P, "m=image 10001 udptl t38"), sdp(N, "m=image 10001 udptl t38"), id="not RTP"),
        pytest.param(
            sdp(P, audio(10000, "a=candidate:1 1 UDP 1 192.168.33.10 10000 typ srflx")),
            sdp(P, audio(10000, "a=candidate:1 1 UDP 1 192.168.33.10 10000 typ srflx")),
            id="ICE: the description whole",
        ),
        pytest.param("hello 192.168.33.10\n", "hello 192.168.33.10\n", id="no description"),
    ],
)
def test_outward(before: str, after: str) -> None:
    ladder = Ladder()
    assert outward(ladder, before) == after
    assert ladder.reason == "", "the header is translated in any case"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(audio(10001), id="no block"),
        pytest.param(audio(10000, "a=rtcp:10005"), id="no port for RTCP"),
        pytest.param("m=image 10001 udptl t38", id="no port"),
    ],
)
def test_no_free_port_passes_whole(lines: str) -> None:
    ladder = Ladder(10001, 10002, 10005, media_ports=(10001, 10002))
    message = request("INVITE", body=sdp(P, lines))
    assert ladder.phone(P).sends(message, ladder.server("203.0.113.50")) == message
    assert ladder.reason == "no-free-port"
    assert ladder.mapped == {}


def test_inward_an_inside_phones_public_address_becomes_private() -> None:
    ladder = two_phones()
    assert inward(ladder, sdp(N, audio(16386))) == sdp("192.168.33.11", audio(10000))
    assert inward(ladder, sdp(N, audio(10000))) == sdp(P, audio(10000))
    assert inward(ladder, sdp(N, audio(10000)), "192.168.33.11") == sdp(P, audio(10000))


def test_inward_rtcp_too() -> None:
    ladder = two_phones()
    assert inward(ladder, sdp(N, audio(16386, f"a=rtcp:16387 IN IP4 {N}"))) == sdp(
        "192.168.33.11", audio(10000, "a=rtcp:10001 IN IP4 192.168.33.11")
    )
    assert inward(ladder, sdp(N, audio(10000, "a=rtcp:10001"))) == sdp(P, audio(10000, "a=rtcp:10001"))
    other = sdp(N, audio(16386, "a=rtcp:10001"))
    assert inward(ladder, other) == other, "RTCP of another phone: not by halves"
    nobodys = sdp(N, audio(16386, "a=rtcp:9999"))
    assert inward(ladder, nobodys) == nobodys
    foreign = "a=rtcp:9 IN IP4 198.51.100.9"
    assert inward(ladder, sdp(N, audio(16386, foreign))) == sdp("192.168.33.11", audio(10000, foreign))


def test_inward_not_by_halves() -> None:
    ladder = two_phones()
    for body in (
        sdp(N, audio(16386), audio(10000)),
        sdp(N, audio(16386), audio(9999)),
        sdp(N, *[audio(10000)] * 33),
        sdp(N, "m=audio x RTP/AVP 0"),
        sdp(N, audio(0)),
        sdp(N, "m=message 10000 TCP/MSRP *"),
        sdp(N, audio(9999)),
    ):
        assert inward(ladder, body) == body


def test_inward_each_line_by_itself() -> None:
    ladder = two_phones()
    lines = f"{audio(16386)}\nc=IN IP4 {N}\n{audio(30000)}\nc=IN IP4 198.51.100.9"
    assert inward(ladder, sdp(ZERO, lines, origin=N)) == sdp(
        ZERO, lines.replace(N, "192.168.33.11").replace("16386", "10000"), origin="192.168.33.11"
    )
    two = f"{audio(16386)}\nc=IN IP4 {N}\n{audio(10000)}\nc=IN IP4 {N}"
    assert inward(ladder, sdp(ZERO, two, origin=N)) == sdp(
        ZERO, f"{audio(10000)}\nc=IN IP4 192.168.33.11\n{audio(10000)}\nc=IN IP4 {P}", origin=N
    ), "whose origin it is can't be told"


def test_inward_a_phone_on_another_interface_stays_public() -> None:
    ladder = two_phones("lan1")
    assert inward(ladder, sdp(N, audio(16386))) == sdp(N, audio(16386))


def test_outside_ends_that_are_no_ipv4_have_no_flow() -> None:
    for connection in ("media.example.org", ZERO, P, "192.168.33.11"):
        ladder = two_phones()
        call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
        call.is_answered(200, body=sdp(connection, audio(30000)))
        assert ladder.flows == set(), connection


def test_an_outside_line_without_connection_has_no_flow() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.invite()
    call.is_answered(200, body="v=0\ns=-\nt=0 0\nm=audio 30000 RTP/AVP 0\n")
    assert ladder.flows == set()


def test_an_outside_line_that_is_no_rtp_has_no_rtcp() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.asks("INVITE", body=sdp(P, "m=image 10000 udptl t38"))
    call.is_answered(200, body=sdp(M.host, "m=image 30000 udptl t38"))
    assert ladder.flows == {(f"{P}:10000", f"{N}:10000", "203.0.113.60:30000")}


def test_the_highest_port_has_no_rtcp_above() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.invite()
    call.ok(Endpoint("203.0.113.60", 65535))
    assert all(int(remote.rpartition(":")[2]) <= 65535 for _, _, remote in ladder.flows)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (sdp(P, *[audio(10000)] * 33), "sdp-too-many-sections"),
        (sdp(P, audio(900)), "sdp-port-privileged"),
        (sdp(P, audio(10000, "a=rtcp:900")), "sdp-port-privileged"),
        (sdp(P, "m=audio 65534/2 RTP/AVP 0"), "sdp-port-privileged"),
        (sdp(P, "m=audio 10000/9 RTP/AVP 0"), "sdp-port-privileged"),
        (sdp("phone.lan", audio(10000)), "sdp-address-foreign"),
        (sdp(P, audio(10000)).replace(f"c=IN IP4 {P}\n", ""), "sdp-without-connection"),
        (sdp(P, "m=audio 65536 RTP/AVP 0"), "sdp-port-malformed"),
    ],
)
def test_reasons_to_pass_whole(body: str, reason: str) -> None:
    ladder = Ladder()
    message = request("INVITE", body=body)
    assert ladder.phone(P).sends(message, ladder.server("203.0.113.50")) == message
    assert ladder.reason == reason
    assert ladder.mapped == {}


def test_rtcp_outward() -> None:
    assert outward(Ladder(10005), sdp(P, audio(10000, f"a=rtcp:10005 IN IP4 {P}"))) == sdp(
        N, audio(10000, f"a=rtcp:16384 IN IP4 {N}")
    )
    assert outward(Ladder(), sdp(P, audio(10000, "a=rtcp:10005"))) == sdp(N, audio(10000, "a=rtcp:10005"))
    assert outward(Ladder(), sdp(P, audio(10001, "a=rtcp:10001"))) == sdp(N, audio(16384, "a=rtcp:16384"))
    foreign = "a=rtcp:900 IN IP4 198.51.100.9"
    assert outward(Ladder(), sdp(P, audio(10000, foreign))) == sdp(N, audio(10000, foreign))


def test_a_tcp_sections_port_hinders_nothing() -> None:
    lines = "m=application 9 TCP/BFCP *"
    assert outward(Ladder(), sdp(P, audio(10000), lines)) == sdp(N, audio(10000), lines)


def test_hold_keeps_a_zero_address_and_o_follows() -> None:
    assert outward(Ladder(), sdp(ZERO, audio(10000), origin=P)) == sdp(ZERO, audio(10000), origin=N)


def test_each_section_with_a_connection_of_its_own() -> None:
    own, public = (f"m=audio 10000 RTP/AVP 0\nc=IN IP4 {host}" for host in (P, N))
    session = f"c=IN IP4 {P}\n"
    assert outward(Ladder(), sdp(P, own).replace(session, "", 1)) == sdp(N, public).replace(f"c=IN IP4 {N}\n", "", 1)


def test_an_address_of_ours_that_is_said_to_be_ipv6_leaves_all_as_it_is() -> None:
    body = sdp(ZERO, f"m=audio 10000 RTP/AVP 0\nc=IN IP6 {P}\nm=audio 10002 RTP/AVP 0\nc=IN IP4 {P}", origin=P)
    ladder = Ladder()
    assert outward(ladder, body) == body
    assert ladder.reason == "sdp-line-malformed"


def test_an_origin_that_is_said_to_be_ipv6_stays_alone() -> None:
    before, after = (sdp(host, audio(10000), origin=P).replace("o=- 1 1 IN IP4", "o=- 1 1 IN IP6") for host in (P, N))
    assert outward(Ladder(), before) == after


def test_inward_without_a_connection_for_the_session() -> None:
    ladder = two_phones()
    body = sdp(N, audio(16386)).replace(f"c=IN IP4 {N}\n", "") + f"c=IN IP4 {N}\n"
    assert inward(ladder, body) == body.replace(N, "192.168.33.11").replace("16386", "10000")


def test_a_call_goes_on_without_rtcp_if_the_port_beside_is_anothers_now() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.invite("a=rtcp-mux")
    call.is_answered(200, body=sdp(M.host, audio(M.port, "a=rtcp-mux")))
    call.ack()
    ladder.wait(65)
    other = ladder.phone("192.168.33.11")
    fax = sdp("192.168.33.11", "m=image 10001 udptl t38")
    other.sends(request("INVITE", via=str(other.endpoint), call="c2", body=fax), ladder.server("203.0.113.50"))
    assert ladder.mapped["192.168.33.11:10001"] == f"{N}:10001"
    again = call.invite("a=rtcp-mux", to_tag=call.tag)
    assert f"c=IN IP4 {N}".encode() in again
    assert b"m=audio 10000 " in again
