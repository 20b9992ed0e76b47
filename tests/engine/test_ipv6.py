"""IPv6 in its three ways out: as it is behind a firewall, to one address, and by prefix; and both versions at once."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from tests.engine.ladder import Ladder, Phone
from tests.engine.wire import audio, request, response, sdp, sip

from sipalg.engine.settings import Ipv6
from sipalg.engine.verdict import UDP, AdmitPeer, Endpoint, EstablishFlow, Flow, Mapping, OpenMapping

PREFIX = IPv6Network("fd00:1::/64")
INSIDE = (IPv4Network("192.168.33.0/24"), PREFIX)
P, P2 = "fd00:1::10", "fd00:1::11"
N, S, M = "2001:db8::1", "2001:db8:5::50", Endpoint("2001:db8:5::60", 30000)
PREFIXED, PREFIXED2 = "2001:db8:1::10", "2001:db8:1::11"
AS_IT_IS = Ipv6()
MASQUERADE = Ipv6(nat_address=N, advertised_address=N)
BY_PREFIX = Ipv6(prefixes=((IPv6Network("fd00:1::/64"), IPv6Network("2001:db8:1::/64")),))

INVITE = """
    INVITE sip:bob@[2001:db8:5::50] SIP/2.0
    Via: SIP/2.0/UDP [{host}]{port};branch=z9hG4bK-1;rport
    Max-Forwards: 70
    From: "[fd00:1::10]" <sip:alice@[fd00:1::10]>;tag=fd00:1::10
    To: <sip:bob@[2001:db8:5::50]>
    Call-ID: 1-1@[fd00:1::10]
    CSeq: 1 INVITE
    Contact: "A, B" <sip:alice@[{host}]{port}>;expires=60
    User-Agent: phone at [fd00:1::10]:5060
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP6 {host}
    s=fd00:1::10
    c=IN IP6 {host}
    t=0 0
    m=audio {rtp} RTP/AVP 0
    a=rtcp:{rtcp} IN IP6 {host}
    a=rtpmap:0 PCMU/8000
    """
OK = """
    SIP/2.0 200 OK
    Via: SIP/2.0/UDP [{host}]{port};branch=z9hG4bK-1;received={received};rport={rport}
    From: "[fd00:1::10]" <sip:alice@[fd00:1::10]>;tag=fd00:1::10
    To: <sip:bob@[2001:db8:5::50]>;tag=b
    Call-ID: 1-1@[fd00:1::10]
    CSeq: 1 INVITE
    Contact: <sip:bob@[2001:db8:5::50]>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP6 2001:db8:5::60
    s=-
    c=IN IP6 2001:db8:5::60
    t=0 0
    m=audio 30000 RTP/AVP 0
    """


def invite(host: str, port: str = ":5060", rtp: int = 10000) -> bytes:
    return sip(INVITE, host=host, port=port, rtp=rtp, rtcp=rtp + 1)


def ok(host: str, received: str, port: int = 5060) -> bytes:
    return sip(OK, host=host, port=f":{port}", received=received, rport=port)


def is_called(ladder: Ladder, phone: Phone) -> bytes | None:
    """An INVITE for the phone from the server's other port."""
    public = ladder.public_of(phone)
    message = request("INVITE", uri=f"sip:a@{public}", via=f"[{S}]:5060", call="in", body=sdp(M.host, audio(M.port)))
    return ladder.server(S, 5080).sends(message, public)


# As it is: nothing of it is edited, and its flows are made all the same.


def test_a_call_through_a_firewall_stays_as_it_is_and_its_media_are_let_in() -> None:
    ladder = Ladder(ipv6=AS_IT_IS)
    phone, server = ladder.phone(P), ladder.server(S)
    assert phone.sends(invite(P), server) == invite(P)
    assert ladder.reason == "nothing-to-edit"
    own = Endpoint(P, 5060)
    mapping = Mapping(UDP, own, own, "sip")
    assert ladder.commands[:2] == [OpenMapping(mapping, 7200.0), AdmitPeer(mapping, S, 7200.0)]
    assert server.sends(ok(P, P), own) == ok(P, P)
    flows = [command.flow for command in ladder.commands if isinstance(command, EstablishFlow)]
    rtp, rtcp = Endpoint(P, 10000), Endpoint(P, 10001)
    assert flows == [Flow(UDP, rtp, rtp, M), Flow(UDP, rtcp, rtcp, Endpoint(M.host, 30001))]
    assert ladder.media_enters(M, rtp) == rtp
    assert ladder.media_enters(Endpoint("2001:db8:6::1", 4000), rtp) is None
    ladder.finish()


def test_an_odd_port_and_a_port_that_the_router_has_itself_stay() -> None:
    ladder = Ladder(5060, 10001, ipv6=AS_IT_IS)
    phone = ladder.phone(P)
    assert phone.sends(invite(P, rtp=10001), ladder.server(S)) == invite(P, rtp=10001)
    assert ladder.mapped[f"[{P}]:10001"] == f"[{P}]:10001"
    other = ladder.phone(P2)
    assert other.sends(invite(P2, rtp=10001), ladder.server(S)) == invite(P2, rtp=10001)
    assert ladder.mapped[f"[{P2}]:10001"] == f"[{P2}]:10001"


@pytest.mark.parametrize("text", ["FD00:1::10", "fd00:1:0:0:0:0:0:10", "fd00:0001::0010"])
def test_another_text_of_the_address_stays_as_it_is_and_counts(text: str) -> None:
    ladder = Ladder(ipv6=AS_IT_IS)
    message = invite(text, port="")
    assert ladder.phone(P).sends(message, ladder.server(S)) == message
    assert f"[{P}]:10000" in ladder.mapped


def test_a_registered_phone_is_rung_and_its_other_port_has_a_flow() -> None:
    ladder = Ladder(ipv6=AS_IT_IS)
    phone, server = ladder.phone(P), ladder.server(S)
    contact = f"<sip:a@[{P}]:5070>"
    message = request("REGISTER", via=f"[{P}]:5060", contact=contact, more="Expires: 600\n")
    assert phone.sends(message, server) == message
    assert (f"[{P}]:5070", f"[{P}]:5070", f"[{S}]:5060") in ladder.flows
    answer = response(200, "REGISTER", via=f"[{P}]:5060", contact=f"{contact};expires=600")
    assert server.sends(answer, Endpoint(P, 5060)) == answer
    ladder.wait(500)
    public = Endpoint(P, 5070)
    call = request("INVITE", uri=f"sip:a@{public}", via=f"[{S}]:5060", call="in")
    assert server.sends(call, public) == call
    assert ladder.arrived_at == public


def test_a_description_without_media_of_ours_passes() -> None:
    ladder = Ladder(ipv6=AS_IT_IS)
    for body in (sdp("192.168.33.10", audio(10000)), sdp("phone.lan", audio(10000))):
        ladder.phone(P).sends(request("INVITE", via=f"[{P}]", contact=f"<sip:a@[{P}]>", body=body), ladder.server(S))
        assert ladder.reason == "sdp-address-foreign"
    body = sdp("2001:db8:5::99", audio(10000))
    ladder.phone(P).sends(request("INVITE", via=f"[{P}]", contact=f"<sip:a@[{P}]>", body=body), ladder.server(S))
    assert ladder.reason == "nothing-to-edit"
    assert not ladder.flows


def test_without_ipv6_it_passes() -> None:
    ladder = Ladder()
    assert ladder.phone(P).sends(invite(P), ladder.server(S)) == invite(P)
    assert ladder.reason == "no-public-address"
    assert ladder.server(S).sends(ok(P, P), Endpoint(P, 5060)) is None
    assert not ladder.mapped


def test_without_ipv4_it_is_served() -> None:
    ladder = Ladder(nat_address="", ipv6=AS_IT_IS)
    phone = ladder.phone(P)
    phone.sends(invite(P), ladder.server(S))
    assert ladder.mapped[f"[{P}]:5060"] == f"[{P}]:5060"
    ladder.phone("192.168.33.10").sends(request("OPTIONS"), ladder.server("203.0.113.50"))
    assert ladder.reason == "no-public-address"


# Translated to one address.


def test_a_call_by_masquerade() -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    phone, server = ladder.phone(P), ladder.server(S)
    assert phone.sends(invite(P), server) == invite(N)
    assert ladder.rules == ["via", "contact", "content-length", "sdp-o", "sdp-c", "sdp-rtcp"]
    public = ladder.public_of(phone)
    assert public == Endpoint(N, 5060)
    assert server.sends(ok(N, f"[{N}]"), public) == ok(P, f"[{P}]")
    assert ladder.rules == ["via", "via-received", "via-rport"]
    assert ladder.media_enters(M, Endpoint(N, 10000)) == Endpoint(P, 10000)
    ladder.finish()


@pytest.mark.parametrize("received", [N, "2001:DB8:0::1", f"[{N}]", "[2001:db8:0:0::1]"])
def test_received_in_every_text(received: str) -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(invite(P), server)
    came = server.sends(ok(N, received), Endpoint(N, 5060))
    assert came is not None
    assert f";received={P};".encode() in came.replace(b"[" + P.encode() + b"];rport", P.encode() + b";rport")


def test_received_from_elsewhere_is_another_nat() -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(invite(P), server)
    server.sends(ok(N, "2001:db8:9::9"), Endpoint(N, 5060))
    assert ladder.alg.counts()["seen_as"] == {"2001:db8:9::9": 1}


def test_two_phones_on_one_port_have_two_and_what_the_router_has_is_nobodys() -> None:
    ladder = Ladder(10000, ipv6=MASQUERADE)
    first, second, server = ladder.phone(P), ladder.phone(P2), ladder.server(S)
    assert first.sends(invite(P), server) == invite(N, rtp=16384)
    assert second.sends(invite(P2, port=""), server) == invite(N, port=":16386", rtp=16388)
    # Both families have all ports: the same phone's IPv4 is no neighbour of its IPv6.
    ladder.phone("192.168.33.10").sends(request("OPTIONS"), ladder.server("203.0.113.50"))
    assert ladder.mapped["192.168.33.10:5060"] == "203.0.113.1:5060"
    came = is_called(ladder, second)
    assert came is not None
    assert came.startswith(f"INVITE sip:a@[{P2}] SIP/2.0\r\n".encode())
    assert ladder.public_of(second) == Endpoint(N, 16386)


def test_what_is_written_behind_another_nat() -> None:
    ladder = Ladder(ipv6=Ipv6(nat_address="fd00:9::1", advertised_address=N))
    phone, server = ladder.phone(P), ladder.server(S)
    assert phone.sends(invite(P), server) == invite(N)
    assert ladder.public_of(phone) == Endpoint("fd00:9::1", 5060)
    assert server.sends(ok(N, f"[{N}]"), Endpoint("fd00:9::1", 5060)) == ok(P, f"[{P}]")


def test_a_phone_that_knows_its_public_address_is_left_alone() -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    message = request("OPTIONS", via=f"[{P}]:5060", contact="<sip:a@[2001:DB8::1]:5060>")
    assert ladder.phone(P).sends(message, ladder.server(S)) == message
    assert ladder.reason == "nat-aware"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (f"c=IN IP6 {P}", f"c=IN IP6 [{P}]", "sdp-line-malformed"),
        (f"c=IN IP6 {P}", "c=IN IP6 [FD00:1:0::10]", "sdp-line-malformed"),
        (f"c=IN IP6 {P}", f"c=IN IP4 {P}", "sdp-line-malformed"),
        (
            "m=audio 10000 RTP/AVP 0\r\na=rtcp:",
            f"m=audio 10000 RTP/AVP 0\r\nc=IN IP6 [{P}]\r\na=rtcp:",
            "sdp-line-malformed",
        ),
        (f"UDP [{P}]", f"UDP [{P}%25eth0]", "address-with-zone"),
        (f"<sip:alice@[{P}]:", f"<sip:alice@[{P}%eth0]:", "address-with-zone"),
    ],
)
def test_an_address_in_a_form_that_nobody_reads_leaves_the_message_whole(before: str, after: str, reason: str) -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    written = invite(P).replace(before.encode(), after.encode())
    head, _, body = written.partition(b"\r\n\r\n")
    length = len(invite(P).partition(b"\r\n\r\n")[2])
    message = head.replace(b"Content-Length: %d" % length, b"Content-Length: %d" % len(body)) + b"\r\n\r\n" + body
    assert message != invite(P)
    assert ladder.phone(P).sends(message, ladder.server(S)) == message
    assert ladder.reason == reason
    assert not ladder.mapped


@pytest.mark.parametrize("of_another", [f"<sip:alice@[{P2}%25eth0]>", "<sip:alice%20a@phone.lan>"])
def test_another_ones_zone_and_another_percent_sign_hinder_nothing(of_another: str) -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    message = request("OPTIONS", via=f"[{P}]:5060", contact=of_another)
    assert f"Via: SIP/2.0/UDP [{N}]:5060".encode() in ladder.phone(P).sends(message, ladder.server(S))


def test_what_leaves_as_it_is_may_have_a_zone() -> None:
    ladder = Ladder(ipv6=AS_IT_IS)
    message = invite(P).replace(f"UDP [{P}]".encode(), f"UDP [{P}%25eth0]".encode())
    assert ladder.phone(P).sends(message, ladder.server(S)) == message
    assert f"[{P}]:10000" in ladder.mapped


def test_a_flow_between_two_phones_is_not_opened() -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    first, second, server = ladder.phone(P), ladder.phone(P2), ladder.server(S)
    first.sends(invite(P), server)
    second.sends(request("OPTIONS", via=f"[{P2}]", contact=f"<sip:a@[{P2}]>"), server)
    public = ladder.public_of(second)
    body = sdp(N, audio(10000))
    came = server.sends(request("INVITE", uri=f"sip:a@{public}", call="c2", body=body), public)
    assert came is not None
    # The other phone's own address, which is reached directly.
    assert f"c=IN IP6 {P}\r\n".encode() in came
    assert not ladder.flows


def test_the_address_changes_and_ipv4_goes_on() -> None:
    ladder = Ladder(ipv6=MASQUERADE)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(invite(P), server)
    server.sends(ok(N, N), Endpoint(N, 5060))
    ladder.phone("192.168.33.10").sends(request("OPTIONS"), ladder.server("203.0.113.50"))
    ladder.changes(ipv6=Ipv6(nat_address="2001:db8::2", advertised_address="2001:db8::2"))
    assert list(ladder.mapped) == ["192.168.33.10:5060"]
    assert not ladder.flows
    assert [event.name for event in ladder.alg.take_events()].count("address-lost") == 3
    assert phone.sends(invite(P), server) == invite("2001:db8::2")
    ladder.moves_to("203.0.113.2")
    assert "192.168.33.10:5060" not in ladder.mapped
    assert f"[{P}]:5060" in ladder.mapped


# By prefix.


def test_a_call_by_prefix() -> None:
    ladder = Ladder(5060, 10000, ipv6=BY_PREFIX)
    phone, server = ladder.phone(P), ladder.server(S)
    assert phone.sends(invite(P), server) == invite(PREFIXED)
    assert ladder.phone(P2).sends(invite(P2), server) == invite(PREFIXED2)
    own = Endpoint(PREFIXED, 5060)
    assert server.sends(ok(PREFIXED, PREFIXED), own) == ok(P, P)
    assert ladder.media_enters(M, Endpoint(PREFIXED, 10000)) == Endpoint(P, 10000)
    assert ladder.alg.private_of(UDP, own) == Endpoint(P, 5060)
    assert ladder.alg.private_of(UDP, Endpoint(P, 5060)) is None
    # A host that no prefix translates leaves as it is.
    assert ladder.phone("fd00:2::10").sends(invite("fd00:2::10"), server) == invite("fd00:2::10")


def test_another_phones_public_address_is_no_way_out() -> None:
    ladder = Ladder(ipv6=BY_PREFIX)
    first, second, server = ladder.phone(P), ladder.phone(P2), ladder.server(S)
    first.sends(invite(P), server)
    offer = request("INVITE", via=f"[{P2}]", call="c2", contact=f"<sip:a@[{P2}]>", body=sdp(P2, audio(10000)))
    second.sends(offer, server)
    public = ladder.public_of(second)
    answer = response(200, "INVITE", via=str(public), call="c2", body=sdp(PREFIXED, audio(10000)))
    came = server.sends(answer, public)
    assert came is not None
    assert f"c=IN IP6 {PREFIXED}\r\n".encode() in came
    assert not ladder.flows


@pytest.mark.parametrize("named", [PREFIXED2, "2001:db8:1::99"])
def test_an_address_of_a_translated_prefix_is_no_way_out_even_without_a_mapping(named: str) -> None:
    ladder = Ladder(ipv6=BY_PREFIX)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(invite(P), server)
    answer = ok(PREFIXED, PREFIXED).replace(M.host.encode(), named.encode())
    server.sends(answer, Endpoint(PREFIXED, 5060))
    assert len(ladder.alg.calls.by_call) == 1
    assert not any(private == f"[{P}]:10000" for private, _, _ in ladder.flows)


def test_other_prefixes_count_at_once() -> None:
    ladder = Ladder(ipv6=BY_PREFIX)
    direct = ladder.alg.direct
    assert not direct.is_inside_lately(b"[2001:db8:2::11]", 0.0)
    direct.change(replace(direct.settings, ipv6=Ipv6(prefixes=((PREFIX, IPv6Network("2001:db8:2::/64")),))))
    assert direct.is_inside_lately(b"[2001:db8:2::11]", 0.0)


def test_a_port_that_the_kernel_refuses_is_none() -> None:
    ladder = Ladder(ipv6=BY_PREFIX)
    ladder.kernel.refuse = lambda command: "port-taken" if isinstance(command, OpenMapping) else ""
    assert ladder.phone(P).sends(invite(P), ladder.server(S)) == invite(P)
    assert ladder.reason == "no-free-port"


def test_calls_go_on_in_the_next_process() -> None:
    ladder = Ladder(ipv6=BY_PREFIX)
    phone, server = ladder.phone(P), ladder.server(S)
    phone.sends(invite(P), server)
    server.sends(ok(PREFIXED, PREFIXED), Endpoint(PREFIXED, 5060))
    before = ladder.mapped
    for emptied in (False, True):
        ladder.restart(emptied=emptied)
        assert ladder.mapped == before
        assert len(ladder.alg.calls.by_call) == 1
    ladder.finish()


# Both families at once.


def test_media_of_the_other_family_is_translated_by_that_familys_nat() -> None:
    """A PBX hands a call over to a phone that speaks the other family; each address goes out as its family does."""
    ladder = Ladder(ipv6=MASQUERADE, inside_servers=(IPv6Network("fd00:1::/64"),), inside_networks=INSIDE)
    body = sdp("192.168.33.10", audio(10000))
    message = request("INVITE", via=f"[{P}]", contact=f"<sip:a@[{P}]>", body=body)
    sent = ladder.phone(P).sends(message, ladder.server(S))
    assert b"c=IN IP4 203.0.113.1\r\n" in sent
    assert b"Via: SIP/2.0/UDP [2001:db8::1];" in sent
    assert ladder.mapped["192.168.33.10:10000"] == "203.0.113.1:10000"


def test_media_of_the_other_family_stays_where_that_has_no_nat() -> None:
    ladder = Ladder(ipv6=AS_IT_IS, inside_servers=(IPv6Network("fd00:1::/64"),), inside_networks=INSIDE)
    body = sdp("192.168.33.10", f"m=audio 10000 RTP/AVP 0\nc=IN IP6 {P2}", audio(10002), origin=P)
    message = request("INVITE", via="192.168.33.10", body=body)
    sent = ladder.phone("192.168.33.10").sends(message, ladder.server("203.0.113.50"))
    assert sent == message
    assert ladder.reason == "sdp-of-another-host"


def test_alternative_addresses_are_left_alone() -> None:
    """ALTC (RFC 6947) and the ANAT grouping of two lines: the line of the sender's own family is translated."""
    ladder = Ladder(ipv6=MASQUERADE)
    body = (
        f"v=0\no=- 1 1 IN IP6 {P}\ns=-\nt=0 0\na=group:ANAT 1 2\n"
        f"m=audio 10000 RTP/AVP 0\nc=IN IP6 {P}\na=mid:1\na=altc:1 IP6 {P} 10000\na=altc:2 IP4 192.168.33.10 10000\n"
        "m=audio 10002 RTP/AVP 0\nc=IN IP4 192.168.33.10\na=mid:2\n"
    )
    message = request("INVITE", via=f"[{P}]", contact=f"<sip:a@[{P}]>", body=body)
    sent = ladder.phone(P).sends(message, ladder.server(S))
    assert sent.partition(b"\r\n\r\n")[2].decode().replace("\r\n", "\n") == (
        body.replace(f"IN IP6 {P}", f"IN IP6 {N}")
    )
