"""Cases whose point is in the packets, over real ones.

Another port than the packet's (7), many lines, and RTCP where it is said (18, 19), messages that grow past the MTU or
come in fragments (28). Others are scenarios of `sipalg lab`: 1 `call-out`, 2 and 30 `register-silence-called`,
3 `two-insides`, 20 `ice`, 21 `hold-and-resume`, 22 `same-port-at-once`, 23 `media-server`, 24 `bye-of-one`,
25 `early-media`, 26 `fax`, 31 `hairpin`, 32 `not-natted`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, exchange, register

from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

#: Linux's socket option against fragments, and its value for "never" (linux/in.h).
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_PMTUDISC_DONT = 10, 2, 0


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology(("phone1", "phone2", "server")) as topology:
        yield topology


@pytest.fixture
def strict(router: Router) -> Router:
    """A router that forwards established and related flows only, with sipalg."""
    firewall.load(router.net, firewall.rules("strict"))
    router.run()
    return router


def bound(net: Topology, host: str, port: int) -> socket.socket:
    end = net.socket(host)
    end.bind((ADDRESS[host], port))
    end.settimeout(PATIENCE_S)
    return end


def invite(via: str, contact: str, body: str = "", more: str = "") -> bytes:
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"INVITE sip:2@{SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK1\r\n"
        f"From: <sip:1@x>;tag=a\r\nTo: <sip:2@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: {contact}\r\n"
        f"{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def test_case_07_a_call_to_another_port_than_the_packets(
    strict: Router, phone: socket.socket, server: socket.socket
) -> None:
    message = register().replace(
        f"Contact: <sip:100@{PHONE}:5060>".encode(), f"Contact: <sip:100@{PHONE}:5070>".encode()
    )
    with bound(strict.net, "phone1", 5070) as listening:
        sent, _ = exchange(phone, server, message)
        assert f"Contact: <sip:100@{PUBLIC_ADDRESS}:5070>".encode() in sent
        call = invite(f"{SERVER}:5060", f"<sip:2@{SERVER}>").replace(f"sip:2@{SERVER} ".encode(), b"sip:100@%b:5070 ")
        server.sendto(call.replace(b"%b", PUBLIC_ADDRESS.encode()), (PUBLIC_ADDRESS, 5070))
        assert listening.recv(65535).startswith(f"INVITE sip:100@{PHONE}:5070 SIP/2.0\r\n".encode())


def test_cases_18_and_19_every_line_and_its_rtcp_is_open(
    strict: Router, phone: socket.socket, server: socket.socket
) -> None:
    lines = "m=audio {} RTP/AVP 0\r\na=rtcp:{}\r\nm=video {} RTP/AVP 31\r\nm=image {} udptl t38\r\n"
    lines += "m=text {} RTP/AVP 98\r\n"
    ports = (10000, 10007, 10002, 10004, 10010)

    def description(host: str, ports: tuple[int, ...]) -> str:
        return f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n" + lines.format(*ports)

    offer = invite(f"{PHONE}:5060", f"<sip:1@{PHONE}:5060>", description(PHONE, ports))
    sent, _ = exchange(phone, server, offer)
    assert sent.endswith(description(PUBLIC_ADDRESS, ports).encode())
    far = tuple(port + 20000 for port in ports)
    body = description(SERVER, far)
    head = sent.partition(b"Contact:")[0].replace(f"INVITE sip:2@{SERVER} SIP/2.0".encode(), b"SIP/2.0 200 OK")
    head = head.replace(b"To: <sip:2@x>", b"To: <sip:2@x>;tag=b")
    server.sendto(head + f"Content-Type: application/sdp\r\n\r\n{body}".encode(), (PUBLIC_ADDRESS, 5060))
    assert phone.recv(65535).startswith(b"SIP/2.0 200")
    for port, remote in [*zip(ports, far, strict=True), (10003, 30003), (10011, 30011)]:
        with bound(strict.net, "phone1", port) as listening, bound(strict.net, "server", remote) as sending:
            sending.sendto(b"media", (PUBLIC_ADDRESS, port))
            assert listening.recv(100) == b"media", f"{remote} to {port}"
            listening.sendto(b"back", (SERVER, remote))
            assert sending.recvfrom(100) == (b"back", (PUBLIC_ADDRESS, port))


@pytest.mark.parametrize(("size_bytes", "fragments"), [(1470, IP_PMTUDISC_DO), (3000, IP_PMTUDISC_DONT)])
def test_case_28_what_grows_past_the_mtu_arrives_whole(
    strict: Router, phone: socket.socket, server: socket.socket, size_bytes: int, fragments: int
) -> None:
    # The other phone has the port, so that this one's address gets longer by it.
    with bound(strict.net, "phone2", 5060) as other:
        exchange(other, server, register(host=ADDRESS["phone2"]))
    contacts = ",".join(f"<sip:{number}@{PHONE}>" for number in range(12))
    before = invite(PHONE, contacts, more="X: #\r\n")
    before = before.replace(b"#", b"x" * (size_bytes - len(before) + 1))
    assert len(before) == size_bytes
    phone.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, fragments)
    after, source = exchange(phone, server, before)
    assert after == before.replace(PHONE.encode(), f"{PUBLIC_ADDRESS}:{source[1]}".encode())
    assert len(after) == size_bytes + 13 * (len(f"{PUBLIC_ADDRESS}:{source[1]}") - len(PHONE)) > 1472
