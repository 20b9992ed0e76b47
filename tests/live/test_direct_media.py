"""sip-direct-media on the wire: a refusal in the server's name, and media straight to another device inside."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router

from sipalg.control.socket import client
from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

#: The inside server is on phone1's host, the device whose media it offers on phone2's.
DEVICE = ADDRESS["phone2"]
MEDIA_PORT = 30000


def description(host: str, port: int) -> str:
    return f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"


def message(start: str, method: str, number: int, *, to_tag: str, via: str, body: str = "") -> bytes:
    head = (
        f"{start}\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{number};rport\r\n"
        f"From: <sip:1@x>;tag=a\r\nTo: <sip:2@x>{to_tag and ';tag='}{to_tag}\r\nCall-ID: c\r\n"
        f"CSeq: {number} {method}\r\nContact: <sip:1@{via}>\r\n"
    )
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return f"{head}{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def request(method: str, number: int, *, to_tag: str = "b", body: str = "") -> bytes:
    start = f"{method} sip:2@{SERVER} SIP/2.0"
    return message(start, method, number, to_tag=to_tag, via=f"{PHONE}:5060", body=body)


class Call:
    """A call that the inside server has made, so far that it may be changed."""

    def __init__(self, pbx: socket.socket, server: socket.socket) -> None:
        self.pbx, self.server = pbx, server
        self.sends(request("INVITE", 1, to_tag="", body=description(PHONE, 10000)))
        self.is_answered(1)
        self.sends(request("ACK", 1))

    def sends(self, payload: bytes) -> bytes:
        """Send from the inside server; what came to the server outside."""
        self.pbx.sendto(payload, (SERVER, 5060))
        return self.server.recv(65535)

    def is_answered(self, number: int) -> bytes:
        """Answer 200 from the server outside; what came to the one inside."""
        via = f"{PUBLIC_ADDRESS}:5060"
        body = description(SERVER, MEDIA_PORT)
        answer = message("SIP/2.0 200 OK", "INVITE", number, to_tag="b", via=via, body=body)
        self.server.sendto(answer, (PUBLIC_ADDRESS, 5060))
        return self.pbx.recv(65535)


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology(("phone1", "phone2", "server", "far1")) as topology:
        yield topology


def flows(router: Router) -> int:
    """How many UDP flows the router's conntrack has."""
    return router.net.run("router", "conntrack", "-L", "-p", "udp").count("\n")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refusal_comes_from_the_servers_address_and_port(
    router: Router, phone: socket.socket, server: socket.socket, method: str
) -> None:
    firewall.load(router.net, firewall.rules("strict"))
    router.run("--sip-direct-media", "no")
    call = Call(phone, server)
    before = flows(router)
    offer = request(method, 2, body=description(DEVICE, 20000))
    for _ in range(2):
        phone.sendto(offer, (SERVER, 5060))
        answer, source = phone.recvfrom(65535)
        assert source == (SERVER, 5060)
        assert answer.startswith(b"SIP/2.0 488 Not Acceptable Here\r\n")
        assert b"\r\nWarning: 399 " in answer
        assert b";tag=b\r\n" in answer
    if method == "INVITE":
        phone.sendto(request("ACK", 2), (SERVER, 5060))
    # Neither offer nor ACK has left: what the server hears next is what was sent next.
    assert b"OPTIONS " in call.sends(request("OPTIONS", 3))
    assert flows(router) == before
    assert router.ask("status")["counters"]["refusals"]["direct-media-refused"] == 2
    # The call goes on through the inside server.
    assert PUBLIC_ADDRESS.encode() in call.sends(request("INVITE", 4, body=description(PHONE, 10000)))


def test_a_refusal_that_the_routers_filter_drops_lets_the_request_pass(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run("--sip-direct-media", "no")
    call = Call(phone, server)
    drop = "chain o { type filter hook output priority 0\nip daddr 192.168.0.0/16 udp sport 5060 drop\n}"
    router.net.run("router", "nft", "-f", "-", text=f"table ip out {{\n{drop}\n}}\n")
    try:
        assert f"c=IN IP4 {DEVICE}".encode() in call.sends(request("INVITE", 2, body=description(DEVICE, 20000)))
    finally:
        router.net.run("router", "nft", "delete", "table", "ip", "out")
    assert router.ask("status")["counters"]["passes"]["reply-failed"] == 1


def test_media_go_straight_to_another_device(router: Router, phone: socket.socket, server: socket.socket) -> None:
    firewall.load(router.net, firewall.rules("strict"))
    router.run()
    call = Call(phone, server)
    offer = call.sends(request("INVITE", 2, body=description(DEVICE, 20000)))
    assert f"c=IN IP4 {PUBLIC_ADDRESS}".encode() in offer
    public = (PUBLIC_ADDRESS, int(offer.partition(b"m=audio ")[2].split()[0]))
    call.is_answered(2)
    call.sends(request("ACK", 2))
    net = router.net
    with net.socket("phone2") as device, net.socket("server") as media, net.socket("server") as stranger:
        device.bind((DEVICE, 20000))
        media.bind((SERVER, MEDIA_PORT))
        stranger.bind((SERVER, MEDIA_PORT + 7))
        device.settimeout(PATIENCE_S)
        media.settimeout(PATIENCE_S)
        # Before the device has sent anything, through a filter that lets in what is established.
        stranger.sendto(b"from another port", public)
        media.sendto(b"RTP", public)
        assert device.recvfrom(100) == (b"RTP", (SERVER, MEDIA_PORT))
        device.sendto(b"RTP back", (SERVER, MEDIA_PORT))
        assert media.recvfrom(100) == (b"RTP back", public)
    assert [row["purpose"] for row in router.ask("mappings")["mappings"]].count("direct") == 2
    # The next process knows what it finds.
    router.end()
    router.run()
    assert [row["purpose"] for row in router.ask("mappings")["mappings"]].count("direct") == 2


def test_a_change_takes_effect_at_once_and_in_networks_behind_other_routers_inside(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    beyond = "10.55.0.7"
    router.net.run("router", "ip", "route", "add", "10.55.0.0/16", "via", DEVICE)
    try:
        router.run("--config", str(router.net.directory / "sipalg.toml"))
        call = Call(phone, server)
        offer = call.sends(request("INVITE", 2, body=description(beyond, 20000)))
        assert f"c=IN IP4 {PUBLIC_ADDRESS}".encode() in offer
        call.is_answered(2)
        call.sends(request("ACK", 2))
        client.ask(router.socket, "set", arguments={"values": {"sip-direct-media": "no"}})
        phone.sendto(request("INVITE", 3, body=description(beyond, 20002)), (SERVER, 5060))
        assert phone.recv(65535).startswith(b"SIP/2.0 488 ")
        client.ask(router.socket, "set", arguments={"values": {"sip-direct-media": "yes"}})
        offer = call.sends(request("INVITE", 4, body=description(beyond, 20002)))
        assert f"c=IN IP4 {PUBLIC_ADDRESS}".encode() in offer
        # What is outside is nobody's business.
        assert b"c=IN IP4 192.0.2.7" in call.sends(request("INVITE", 5, body=description("192.0.2.7", 20002)))
    finally:
        router.net.run("router", "ip", "route", "del", "10.55.0.0/16")


@pytest.mark.parametrize("setting", [("--sip-direct-media", "no"), ("--media-filter", "yes")], ids=str)
def test_only_a_calls_own_addresses_send_media(
    router: Router, phone: socket.socket, server: socket.socket, setting: tuple[str, str]
) -> None:
    router.run(*setting)
    Call(phone, server)
    net = router.net
    with net.socket("phone1") as listener, net.socket("server") as near, net.socket("far1") as stranger:
        listener.bind((PHONE, 10000))
        listener.settimeout(PATIENCE_S)
        near.bind((SERVER, MEDIA_PORT + 7))
        stranger.bind((ADDRESS["far1"], MEDIA_PORT))
        stranger.sendto(b"from a stranger", (PUBLIC_ADDRESS, 10000))
        near.sendto(b"from another port", (PUBLIC_ADDRESS, 10000))
        assert listener.recv(100) == b"from another port"
