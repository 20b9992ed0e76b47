"""A server inside names a device's address for media: translated where it belongs to a call, refused, left alone."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import M, Outgoing
from tests.engine.wire import audio, request, sdp, sip

from sipalg.engine import direct_media
from sipalg.engine.verdict import (
    ACCEPT,
    DROP,
    CloseMapping,
    Command,
    Endpoint,
    EstablishFlow,
    OpenMapping,
    Reply,
)

N, PBX, P = "203.0.113.1", "192.168.33.20", "192.168.33.10"
LAN = IPv4Network("192.168.33.0/24")
SERVER = Endpoint("203.0.113.50", 5060)
M2 = Endpoint("203.0.113.61", 30002)
DEVICE = sdp(P, audio(20000))


def call_of_a_pbx(**settings: Any) -> tuple[Ladder, Outgoing]:
    ladder = Ladder(inside_networks=(LAN,), **settings)
    return ladder, Outgoing(ladder.phone(PBX), ladder.server(SERVER.host))


def standing(**settings: Any) -> tuple[Ladder, Outgoing]:
    """A call that the PBX made, with its 2xx and ACK; the next request is number 2."""
    ladder, call = call_of_a_pbx(**settings)
    call.stands()
    call.number = 2
    return ladder, call


def rings(call: Outgoing, body: str = "") -> Outgoing:
    """A call from outside, its INVITE sent."""
    incoming = Outgoing(call.phone, call.server, call="c2", own_tag="")
    incoming.is_asked("INVITE", 5, body=body)
    incoming.own_tag = "a"
    return incoming


def is_left_alone(ladder: Ladder, sent: bytes) -> bool:
    event = ladder.alg.take_events()[-1]
    assert event.name == "sdp-of-another-host"
    assert event.facts == (("private", f"{PBX}:5060"), ("remote", str(SERVER)))
    assert (ladder.reason, ladder.verdict.action) == ("sdp-of-another-host", ACCEPT)
    return f"IN IP4 {P}".encode() in sent


# sip-direct-media=yes


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_devices_media_go_straight_once_the_call_stands(method: str) -> None:
    ladder, call = standing()
    sent = call.asks(method, to_tag="b", body=DEVICE)
    assert sdp(N, audio(20000)).replace("\n", "\r\n").encode() in sent
    assert ladder.mapped[f"{P}:20000"] == f"{N}:20000"
    assert ladder.media_enters(M, Endpoint(N, 20000), strict=False) is None, "no flow yet, and nobody is let in"
    call.is_answered(200, method, body=sdp(M.host, audio(M.port)))
    assert (f"{P}:20000", f"{N}:20000", str(M)) in ladder.flows
    assert (f"{P}:20001", f"{N}:20001", f"{M.host}:{M.port + 1}") in ladder.flows
    if method == "INVITE":
        call.ack()
    assert ladder.media_enters(M, Endpoint(N, 20000)) == Endpoint(P, 20000)
    assert ladder.media_leaves(Endpoint(P, 20000), M) == Endpoint(N, 20000)
    assert ladder.media_enters(M2, Endpoint(N, 20000), strict=False) is None, "a 5-tuple, no open port"
    assert not any(private.startswith(PBX) for private, _, _ in ladder.flows), "the server has left the media"
    call.hangs_up()
    ladder.finish()


def test_media_come_from_every_address_that_the_other_side_names() -> None:
    ladder, call = standing()
    call.asks("INVITE", to_tag="b", body=sdp(P, audio(20000), audio(20002)))
    call.is_answered(200, body=sdp(M.host, audio(M.port), f"{audio(M2.port)}\nc=IN IP4 {M2.host}"))
    call.ack()
    assert ladder.media_enters(M, Endpoint(N, 20000)) == Endpoint(P, 20000)
    assert ladder.media_enters(M2, Endpoint(N, 20002)) == Endpoint(P, 20002)
    call.is_hung_up()
    ladder.finish()


def test_the_server_takes_the_media_back() -> None:
    ladder, call = standing()
    before = ladder.flows
    call.asks("INVITE", to_tag="b", body=DEVICE)
    call.ok()
    call.ack()
    call.number = 3
    call.invite(to_tag="b")
    call.ok()
    call.ack()
    assert ladder.flows == before
    ladder.wait(60)
    assert f"{P}:20000" not in ladder.mapped
    call.hangs_up()
    ladder.finish()


def test_two_hosts_in_one_description() -> None:
    ladder, call = standing()
    video, chat = "m=video 20000 RTP/AVP 31", "m=message 2855 TCP/MSRP *"
    mixed = sdp(PBX, audio(10000), f"{video}\nc=IN IP4 {P}", f"{chat}\nc=IN IP4 {P}")
    sent = call.asks("INVITE", to_tag="b", body=mixed)
    expected = mixed.replace(PBX, N).replace(P, N)
    assert sent.endswith(expected.replace("\n", "\r\n").encode())
    assert ladder.rules.count("sdp-c") == 3
    assert f"{P}:2855" not in ladder.mapped
    call.is_answered(488)
    call.ack()
    ladder.wait(40)
    assert f"{P}:20000" not in ladder.mapped, "nothing of a refused offer stays"
    call.hangs_up()
    ladder.finish()


@pytest.mark.parametrize("acknowledged", [False, True])
def test_the_call_has_to_be_acknowledged(acknowledged: bool) -> None:
    ladder, call = call_of_a_pbx()
    call.invite()
    call.ok()
    if acknowledged:
        call.ack()
    call.number = 2
    sent = call.asks("INVITE", to_tag="b", body=DEVICE)
    assert acknowledged != (ladder.reason == "sdp-of-another-host")
    assert acknowledged == (P.encode() not in sent)
    ladder.finish()


def test_a_call_from_outside_stands_likewise() -> None:
    ladder, call = standing()
    call.hangs_up()
    incoming = rings(call, sdp(M.host, audio(M.port)))
    incoming.answers(200, "INVITE", 5, body=sdp(PBX, audio(10000)))
    offer = request("INVITE", call="c2", via=f"{PBX}:5060", contact=f"<sip:a@{PBX}>", tags=("a", "b"), body=DEVICE)
    assert is_left_alone(ladder, call.phone.sends(offer, call.server))
    incoming.is_asked("ACK", 5)
    assert P.encode() not in call.phone.sends(offer, call.server)
    incoming.is_hung_up()
    ladder.finish()


def test_a_first_invite_names_no_other_host() -> None:
    ladder, call = call_of_a_pbx()
    sent = call.asks("INVITE", body=DEVICE)
    assert is_left_alone(ladder, sent)
    assert ladder.mapped == {}
    assert ladder.alg.snapshot(ladder.now)["passes"] == {"sdp-of-another-host": 1}
    ladder.finish()


def test_an_unknown_call_names_no_other_host() -> None:
    ladder, call = call_of_a_pbx()
    assert is_left_alone(ladder, call.asks("UPDATE", to_tag="b", body=DEVICE))


def test_a_call_that_is_being_hung_up_names_no_other_host() -> None:
    ladder, call = standing()
    call.bye()
    call.number = 3
    assert is_left_alone(ladder, call.asks("INVITE", to_tag="b", body=DEVICE))


def test_an_address_outside_of_the_inside_networks_is_left_in_peace() -> None:
    ladder, call = standing()
    sent = call.asks("INVITE", to_tag="b", body=sdp("10.0.0.9", audio(20000)))
    assert b"c=IN IP4 10.0.0.9" in sent
    assert "via" in ladder.rules


def test_a_host_that_has_a_mapping_is_inside_whatever_the_networks() -> None:
    ladder = Ladder()
    other = ladder.phone("10.1.1.1")
    call = Outgoing(ladder.phone(PBX), ladder.server(SERVER.host))
    Outgoing(other, call.server, call="c9").stands()
    sent = call.asks("INVITE", body=sdp("10.1.1.1", audio(20000)))
    assert b"10.1.1.1" in sent
    assert ladder.reason == "sdp-of-another-host"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(sdp(P, audio(900)), "sdp-of-another-host", id="privileged"),
        pytest.param(sdp(P, audio(5060)), "sdp-of-another-host", id="it signals there"),
        pytest.param(sdp(P, audio(20000, "a=rtcp:5060")), "no-free-port", id="it signals where RTCP is to go"),
        pytest.param(sdp(P, audio(20000, "a=rtcp:900")), "sdp-port-privileged", id="RTCP is privileged"),
        pytest.param(sdp(P, "m=image 5059/2 udptl t38"), "no-free-port", id="it signals within the block"),
        pytest.param(
            sdp(P, f"m=audio 20000 RTP/AVP 0\nc=IN IP4 {P}\nc=IN IP4 {PBX}"), "sdp-of-another-host", id="two hosts"
        ),
    ],
)
def test_what_no_device_has_for_media_is_not_opened(body: str, reason: str) -> None:
    ladder, call = standing()
    ladder.phone(P).sends(request("OPTIONS", via=f"{P}:5060", contact=f"<sip:a@{P}>"), call.server)
    before = ladder.mapped
    assert f"IN IP4 {P}".encode() in call.asks("INVITE", to_tag="b", body=body)
    assert (ladder.reason, ladder.verdict.action) == (reason, ACCEPT)
    assert ladder.mapped == before
    call.hangs_up()
    ladder.finish()


def test_a_block_does_not_grow_into_a_signalling_port() -> None:
    ladder, call = standing()
    ladder.phone(P, 5070).sends(request("OPTIONS", via=f"{P}:5070", contact=f"<sip:a@{P}:5070>"), call.server)
    call.asks("INVITE", to_tag="b", body=sdp(P, "m=image 5069 udptl t38"))
    assert (ladder.mapped[f"{P}:5069"], ladder.mapped[f"{P}:5070"]) == (f"{N}:5069", f"{N}:5070")
    call.number = 3
    call.asks("INVITE", to_tag="b", body=sdp(P, "m=image 5069/2 udptl t38"))
    assert ladder.reason == "no-free-port"


def test_an_inside_server_names_a_phone_in_the_first_offer_and_answer() -> None:
    ladder, call = call_of_a_pbx(inside_servers=(IPv4Network(f"{PBX}/32"),))
    assert P.encode() not in call.asks("INVITE", body=DEVICE)
    call.ok()
    call.ack()
    assert ladder.media_enters(M, Endpoint(N, 20000)) == Endpoint(P, 20000)
    call.hangs_up()
    incoming = rings(call, sdp(M.host, audio(M.port)))
    assert P.encode() not in incoming.answers(200, "INVITE", 5, body=DEVICE)
    incoming.is_asked("ACK", 5)
    assert ladder.media_enters(M, Endpoint(N, 20000)) == Endpoint(P, 20000)
    incoming.is_hung_up()
    ladder.finish()


def test_an_answer_goes_on_naming_what_the_call_has() -> None:
    ladder, call = standing()
    call.asks("INVITE", to_tag="b", body=DEVICE)
    call.ok()
    call.ack()
    flows = ladder.flows
    call.is_asked("INVITE", 5, body=sdp(M.host, audio(M.port)))
    assert P.encode() not in call.answers(200, "INVITE", 5, body=DEVICE)
    call.is_asked("ACK", 5)
    assert ladder.flows == flows
    call.is_asked("INVITE", 6, body=sdp(M.host, audio(M.port)))
    assert is_left_alone(ladder, call.answers(200, "INVITE", 6, body=sdp(P, audio(20002))))
    call.hangs_up()
    ladder.finish()


def test_another_process_goes_on_with_direct_media() -> None:
    ladder, call = standing()
    call.asks("INVITE", to_tag="b", body=DEVICE)
    call.ok()
    call.ack()
    flows = ladder.flows
    ladder.restart()
    assert ladder.flows == flows
    assert ladder.media_enters(M2, Endpoint(N, 20000), strict=False) is None
    call.is_asked("INVITE", 5, body=sdp(M.host, audio(M.port)))
    assert P.encode() not in call.answers(200, "INVITE", 5, body=DEVICE)
    call.is_asked("ACK", 5)
    call.number = 3
    assert P.encode() not in call.asks("INVITE", to_tag="b", body=sdp(P, audio(20002)))
    call.is_answered(200, body=sdp(M.host, audio(M.port)))
    call.ack()
    assert ladder.media_enters(M, Endpoint(N, 20002)) == Endpoint(P, 20002)
    call.hangs_up()
    ladder.finish()


def test_a_device_that_calls_by_itself_opens_its_port_wide() -> None:
    ladder, call = standing()
    call.asks("INVITE", to_tag="b", body=DEVICE)
    call.ok()
    call.ack()
    own = Outgoing(ladder.phone(P), call.server, call="c2", port=20000)
    own.invite()
    assert [type(command) for command in ladder.commands if command[0] and "20000" in str(command)][:2] == [
        CloseMapping,
        OpenMapping,
    ]
    assert ladder.media_enters(M2, Endpoint(N, 20000), strict=False) == Endpoint(P, 20000)
    own.ok(M2)
    own.ack()
    call.hangs_up()
    assert ladder.media_enters(M2, Endpoint(N, 20000)) == Endpoint(P, 20000)
    own.hangs_up()
    ladder.finish()


def test_a_refused_flow_of_a_widened_port_leaves_the_port_as_it_is() -> None:
    ladder, call = standing()
    call.asks("INVITE", to_tag="b", body=DEVICE)
    call.ok()
    call.ack()
    # The phone answers a call from outside on that port: mapping and flow are in one transaction.
    phone = ladder.phone(P)
    phone.sends(request("OPTIONS", via=f"{P}:5060", contact=f"<sip:a@{P}>"), call.server)
    own = Outgoing(phone, call.server, call="c2", port=20000)
    own.is_asked("INVITE", 5, body=sdp(M2.host, audio(M2.port)))
    ladder.kernel.refuse = refuse_flows
    sent = own.answers(200, "INVITE", 5, body=sdp(P, audio(20000)))
    assert b"m=audio 20000 " in sent
    assert ladder.mapped[f"{P}:20000"] == f"{N}:20000"
    assert ladder.media_enters(M2, Endpoint(N, 20000), strict=False) == Endpoint(P, 20000)


def refuse_flows(command: Command) -> str:
    return "port-taken" if isinstance(command, EstablishFlow) else ""


# sip-direct-media=no


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_offer_of_another_hosts_media_is_refused_and_does_not_leave(method: str) -> None:
    ladder, call = standing(direct_media=False)
    before = ladder.mapped, ladder.flows
    ladder.alg.take_events()
    assert call.asks(method, to_tag="b", body=DEVICE) == b""
    assert (ladder.verdict.action, ladder.reason) == (DROP, "direct-media-refused")
    (reply,) = ladder.replies
    assert (reply.source, reply.destination) == (SERVER, Endpoint(PBX, 5060))
    assert reply.payload == sip(
        """
        SIP/2.0 488 Not Acceptable Here
        Via: SIP/2.0/UDP 192.168.33.20:5060;branch=z9hG4bK2{method}
        From: <sip:a@example.org>;tag=a
        To: <sip:b@example.org>;tag=b
        Call-ID: c1
        CSeq: 2 {method}
        Warning: 399 203.0.113.1 "sip-direct-media=no: offer the server's own address for media"
        Content-Length: 0
        """,
        method=method,
    )
    assert (ladder.mapped, ladder.flows) == before
    (event,) = ladder.alg.take_events()
    assert event.name == "direct-media-refused"
    assert ladder.alg.snapshot(ladder.now)["refusals"] == {"direct-media-refused": 1}
    assert ladder.media_enters(M, Endpoint(N, 10000)) == Endpoint(PBX, 10000), "the call goes on through the server"
    call.number = 3
    assert call.invite(to_tag="b") != b"", "and may be changed"
    call.ok()
    call.ack()
    call.hangs_up()
    ladder.finish()


def test_a_retransmission_gets_the_same_for_32_s_and_the_ack_is_absorbed() -> None:
    ladder, call = standing(direct_media=False)
    call.asks("INVITE", to_tag="b", body=DEVICE)
    ladder.wait(31)
    call.asks("INVITE", to_tag="b", body=DEVICE)
    assert len(ladder.replies) == 2
    assert ladder.replies[0] == ladder.replies[1]
    ack = request("ACK", via=f"{PBX}:5060", number=2, tags=("a", "b"), contact=None).replace(b"2ACK", b"2INVITE")
    assert call.phone.sends(ack, call.server) == b""
    assert (ladder.verdict.action, ladder.reason) == (DROP, "direct-media-refusal-acknowledged")
    assert ladder.verdict.commands == ()
    assert call.phone.sends(ack.replace(b"2INVITE", b"other"), call.server) != b"", "another branch"
    assert ladder.alg.direct.refused
    ladder.wait(1.5)
    assert not ladder.alg.direct.refused
    assert call.phone.sends(ack, call.server) != b""
    call.hangs_up()
    ladder.finish()


def test_what_was_refused_stays_refused_after_a_change_of_settings() -> None:
    ladder, call = standing(direct_media=False)
    call.asks("INVITE", to_tag="b", body=DEVICE)
    ladder.alg._passage.change(Ladder().settings)
    assert call.asks("INVITE", to_tag="b", body=DEVICE) == b""
    assert ladder.replies[0] == ladder.replies[1]
    call.number = 3
    assert P.encode() not in call.asks("INVITE", to_tag="b", body=DEVICE) != b""
    assert call.asks("OPTIONS", to_tag="b") != b""


def test_the_reply_goes_where_the_via_says() -> None:
    ladder, call = standing(direct_media=False)
    offer = request("INVITE", via=f"{PBX}:5070", number=2, tags=("a", "b"), contact=f"<sip:a@{PBX}>", body=DEVICE)
    call.phone.sends(offer, call.server)
    assert ladder.replies[-1].destination == Endpoint(PBX, 5070)
    call.phone.sends(offer.replace(b"z9hG4bK", b"other;rport;x="), call.server)
    assert ladder.replies[-1].destination == Endpoint(PBX, 5060)


def test_a_phone_behind_another_interface_is_answered_for_by_its_public_address() -> None:
    ladder, call = standing(direct_media=False, inside_interfaces=frozenset(("lan0", "lan1")))
    other = ladder.phone("192.168.34.10", interface="lan1")
    other.sends(request("OPTIONS", via="192.168.34.10:5060", contact="<sip:c@192.168.34.10>"), call.server)
    public = ladder.public_of(other)
    offer = request("INVITE", via=f"{PBX}:5060", number=2, tags=("a", "b"), contact=f"<sip:a@{PBX}>", body=DEVICE)
    assert call.phone.sends(offer, public) == b""
    assert ladder.replies[-1].source == public


def test_a_refusal_that_cannot_be_sent_lets_the_request_pass() -> None:
    ladder, call = standing(direct_media=False)
    ladder.kernel.refuse = lambda command: "reply-failed" if isinstance(command, Reply) else ""
    sent = call.asks("INVITE", to_tag="b", body=DEVICE)
    assert b"c=IN IP4 " + P.encode() in sent
    assert (ladder.verdict.action, ladder.reason) == (ACCEPT, "reply-failed")
    assert not ladder.alg.direct.refused
    ladder.wait(10)
    ladder.kernel.refuse = lambda _: ""
    assert call.asks("INVITE", to_tag="b", body=DEVICE) == b""
    ladder.wait(30)
    assert ladder.alg.direct.refused, "32 s from the refusal on that was sent"
    call.hangs_up()
    ladder.finish()


def test_a_request_that_cannot_be_answered_passes() -> None:
    ladder, call = standing(direct_media=False)
    offer = request("INVITE", via=f"{PBX}:5060", number=2, tags=("a", "b"), contact=f"<sip:a@{PBX}>", body=DEVICE)
    assert is_left_alone(ladder, call.phone.sends(offer.replace(b"Via:", b"X:"), call.server))
    ladder.alg.take_events()
    assert is_left_alone(ladder, call.phone.sends(offer.replace(b"SIP/2.0/UDP", b"?"), call.server))


def test_without_direct_media_a_first_invite_and_an_answer_name_no_other_host() -> None:
    ladder, call = call_of_a_pbx(direct_media=False, inside_servers=(LAN,))
    assert is_left_alone(ladder, call.asks("INVITE", body=DEVICE))
    call.stands()
    call.is_asked("INVITE", 5, body=sdp(M.host, audio(M.port)))
    assert is_left_alone(ladder, call.answers(200, "INVITE", 5, body=DEVICE))
    assert ladder.replies == []


@pytest.mark.interpreted
def test_a_flood_of_refusals_only_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_media, "MAX_REFUSALS", 2)
    ladder, call = standing(direct_media=False)
    for call.number in (2, 3, 4):
        call.asks("INVITE", to_tag="b", body=DEVICE)
    assert [key[-1] for key in ladder.alg.direct.refused] == [3, 4]
    call.hangs_up()
    ladder.finish()


# From where media may come with sip-direct-media=no


def test_media_come_from_the_sip_peer_and_what_the_outside_named_until_the_2xx() -> None:
    ladder, call = call_of_a_pbx(direct_media=False)
    call.invite()
    assert ladder.media_enters(Endpoint(SERVER.host, 777), Endpoint(N, 10000), strict=False) == Endpoint(PBX, 10000)
    call.ok(Endpoint("203.0.113.62", 9000), status=183)
    call.ok()
    call.ack()
    for host in (SERVER.host, M.host, "203.0.113.62"):
        assert ladder.media_enters(Endpoint(host, 999), Endpoint(N, 10000), strict=False) == Endpoint(PBX, 10000)
        assert ladder.media_enters(Endpoint(host, 999), Endpoint(N, 10001), strict=False) == Endpoint(PBX, 10001)
    assert ladder.media_enters(Endpoint(M2.host, 999), Endpoint(N, 10000), strict=False) is None
    assert (f"{PBX}:10000", f"{N}:10000", str(M)) in ladder.flows
    ladder.wait(20000)
    assert ladder.media_enters(Endpoint(M.host, 998), Endpoint(N, 10000), strict=False) is None, "the call is over"
    ladder.finish()


def test_a_standing_calls_peers_stay_let_in() -> None:
    ladder, _ = standing(direct_media=False, sip_timeout_s=60.0)
    for _ in range(4):
        ladder.wait(4000)
        ladder.alg.media_seen(next(iter(ladder.kernel.asked_for)), ladder.now)
        assert ladder.media_enters(Endpoint(M.host, 998), Endpoint(N, 10000), strict=False) == Endpoint(PBX, 10000)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_later_address_is_passed_and_counted_and_gets_no_flow(method: str) -> None:
    ladder, call = standing(direct_media=False)
    arrived = call.is_asked(method, 5, body=sdp(M2.host, audio(M2.port)))
    assert arrived is not None
    assert f"c=IN IP4 {M2.host}".encode() in arrived
    assert ladder.alg.snapshot(ladder.now)["refusals"] == {"media-address-refused": 1}
    event = ladder.alg.take_events()[-1]
    assert event.facts == (("call", "c1"), ("private", f"{PBX}:5060"), ("remote", M2.host))
    call.answers(200, method, 5, body=sdp(PBX, audio(10000)))
    assert not any(remote.startswith(M2.host) for _, _, remote in ladder.flows)
    assert ladder.media_enters(M2, Endpoint(N, 10000), strict=False) is None
    call.is_asked("ACK", 5)
    # Another port of an address that was named before is no other address.
    call.is_asked(method, 6, body=sdp(M.host, audio(30500)))
    call.answers(200, method, 6, body=sdp(PBX, audio(10000)))
    assert (f"{PBX}:10000", f"{N}:10000", f"{M.host}:30500") in ladder.flows
    assert ladder.alg.refusals == {"media-address-refused": 1}
    call.hangs_up()
    ladder.finish()


def test_the_first_description_counts_even_if_it_is_the_ack_that_has_it() -> None:
    ladder, call = standing(direct_media=False)
    call.hangs_up()
    incoming = rings(call)
    incoming.answers(200, "INVITE", 5, body=sdp(PBX, audio(10000)))
    incoming.is_asked("ACK", 5, body=sdp(M2.host, audio(M2.port)))
    assert ladder.media_enters(M2, Endpoint(N, 10000)) == Endpoint(PBX, 10000)
    incoming.is_hung_up()
    ladder.finish()


def test_with_direct_media_a_later_address_gets_its_flow_and_keeps_it_after_a_change() -> None:
    ladder, call = standing()
    call.is_asked("INVITE", 5, body=sdp(M2.host, audio(M2.port)))
    call.answers(200, "INVITE", 5, body=sdp(PBX, audio(10000)))
    call.is_asked("ACK", 5)
    assert ladder.media_enters(M2, Endpoint(N, 10000)) == Endpoint(PBX, 10000)
    flows = ladder.flows
    ladder.alg._passage.change(Ladder(direct_media=False).settings)
    call.is_asked("UPDATE", 6, body=sdp(M2.host, audio(M2.port)))
    call.answers(200, "UPDATE", 6, body=sdp(PBX, audio(10000)))
    assert ladder.flows == flows
    assert ladder.alg.refusals == {}
    call.hangs_up()
    ladder.finish()


def test_one_call_has_few_addresses_for_media() -> None:
    ladder, call = call_of_a_pbx(direct_media=False)
    call.invite()
    for number in range(20):
        call.ok(Endpoint(f"203.0.113.{100 + number}", 9000), status=183)
    (dialog,) = (one for one in ladder.alg.calls.dialogs.values() if one.sources)
    assert len(dialog.sources) == 16
    ladder.finish()
