"""SIP over TCP through the relay of a running sipalg, between a phone and a server in namespaces."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from collections.abc import Iterator

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, register, until

from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

#: How long nothing may come before a test says that nothing does: packets take some microseconds.
_NOTHING_S = 0.001
_IP_TRANSPARENT = 19
#: SO_LINGER of a socket that ends with a reset, and so leaves its port at once.
_RESET = struct.pack("ii", 1, 0)
#: The port that a phone always connects from.
_FIXED = 5062
_SDP = f"v=0\r\no=- 1 1 IN IP4 {PHONE}\r\ns=-\r\nc=IN IP4 {PHONE}\r\nt=0 0\r\nm=audio 10000 RTP/AVP 0\r\n"
_INVITE = (
    f"INVITE sip:200@{SERVER} SIP/2.0\r\nVia: SIP/2.0/TCP {PHONE}:5060;branch=z9hG4bKinv;rport\r\n"
    f"From: <sip:100@{SERVER}>;tag=1\r\nTo: <sip:200@{SERVER}>\r\nCall-ID: split@x\r\nCSeq: 1 INVITE\r\n"
    f"Contact: <sip:100@{PHONE}:5060;transport=tcp>\r\nContent-Type: application/sdp\r\n"
    f"Content-Length: {len(_SDP)}\r\n\r\n{_SDP}"
).encode()


def over_tcp(message: bytes) -> bytes:
    return message.replace(b"/UDP", b"/TCP").replace(b":5060>", b":5060;transport=tcp>")


class Ends:
    """The phone's and the server's sockets of one test."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.stack = contextlib.ExitStack()

    def listen(self, host: str, address: str) -> socket.socket:
        sock = self.stack.enter_context(self.router.net.socket(host, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, 5060))
        sock.listen()
        sock.settimeout(PATIENCE_S)
        return sock

    def connect(self, host: str, address: tuple[str, int], port: int = 0) -> socket.socket:
        sock = self.stack.enter_context(self.router.net.socket(host, socket.SOCK_STREAM))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE_S)
        if port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.bind((ADDRESS[host], port))
        sock.connect(address)
        return sock

    def pair(self, first: bytes = b"", port: int = 0) -> tuple[socket.socket, socket.socket]:
        """A connection of the phone's to the server; `first` is what it sends, which it may need to get there.

        With `port` it is the phone's, and the phone leaves with a reset.
        """
        with self.listen("server", SERVER) as listener:
            phone = self.connect("phone1", (SERVER, 5060), port)
            if first:
                phone.sendall(first)
            server, _ = listener.accept()
        self.stack.enter_context(server)
        server.settimeout(PATIENCE_S)
        return phone, server


@pytest.fixture
def ends(router: Router) -> Iterator[Ends]:
    ends = Ends(router)
    with ends.stack:
        yield ends


def received(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        assert piece, data
        data += piece
    return data


def test_an_invite_split_at_every_byte_comes_out_the_same(router: Router, ends: Ends) -> None:
    router.run()
    phone, server = ends.pair(over_tcp(register()))
    expected = over_tcp(register()).replace(PHONE.encode(), PUBLIC_ADDRESS.encode())
    assert received(server, len(expected)) == expected
    assert server.getpeername() == (PUBLIC_ADDRESS, 5060), "the port that the Contact names"
    assert phone.getpeername() == (SERVER, 5060)
    translated = _INVITE.replace(PHONE.encode(), PUBLIC_ADDRESS.encode())
    shorter = len(_INVITE) - len(translated)
    body = _SDP.replace(PHONE, PUBLIC_ADDRESS)
    translated = translated.replace(b"Content-Length: %d" % len(_SDP), b"Content-Length: %d" % len(body))
    assert len(translated) == len(_INVITE) - shorter
    for place in range(1, len(_INVITE)):
        phone.sendall(_INVITE[:place])
        server.settimeout(_NOTHING_S)
        with pytest.raises(TimeoutError):
            server.recv(1)
        server.settimeout(PATIENCE_S)
        phone.sendall(_INVITE[place:])
        assert received(server, len(translated)) == translated
    # Case 27: keep-alives, two and a half messages at once, the rest.
    phone.sendall(b"\r\n\r\n" + _INVITE * 2 + _INVITE[:200])
    assert received(server, 4 + 2 * len(translated)) == b"\r\n\r\n" + translated * 2
    phone.sendall(_INVITE[200:])
    assert received(server, len(translated)) == translated
    counters = router.ask("status")["counters"]
    assert counters["tcp_connections"] == {"accepted": 1}
    assert counters["tcp_messages"]["replaced"] == len(_INVITE) + 3
    assert router.ask("status")["status"]["tcp_connections"] == 1


def test_what_is_not_sip_is_untouched(router: Router, ends: Ends) -> None:
    router.run()
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + over_tcp(register())
    phone, server = ends.pair(hello)
    assert received(server, len(hello)) == hello
    server.sendall(hello)
    assert received(phone, len(hello)) == hello
    assert server.getpeername()[0] == PUBLIC_ADDRESS
    assert router.mappings() == []
    assert router.ask("status")["counters"]["tcp_streams_untouched"] == {"not-sip": 1}


def test_the_forward_filter_judges_each_connection(router: Router, ends: Ends) -> None:
    router.run()
    rule = "insert rule ip filter forward ip saddr 192.168.33.10 tcp dport 5060 reject with tcp reset"
    router.net.run("router", "nft", *rule.split())
    with ends.listen("server", SERVER), pytest.raises(ConnectionRefusedError):
        ends.connect("phone1", (SERVER, 5060))
    assert router.ask("status")["counters"]["tcp_connections"] == {}


def test_the_server_connects_to_the_contacts_port(router: Router, ends: Ends) -> None:
    router.run()
    firewall.load(router.net, firewall.rules("relay"))
    phone, server = ends.pair(over_tcp(register()))
    received(server, 100)
    phone.close()
    server.close()
    listener = ends.listen("phone1", PHONE)
    caller = ends.connect("server", (PUBLIC_ADDRESS, 5060))
    request = f"OPTIONS sip:100@{PUBLIC_ADDRESS}:5060;transport=tcp SIP/2.0\r\nContent-Length: 0\r\n\r\n".encode()
    caller.sendall(request)
    called, (host, _) = listener.accept()
    ends.stack.enter_context(called)
    called.settimeout(PATIENCE_S)
    assert host == SERVER, "the phone sees the server"
    expected = request.replace(PUBLIC_ADDRESS.encode(), PHONE.encode())
    assert received(called, len(expected)) == expected
    called.shutdown(socket.SHUT_WR)
    assert caller.recv(1) == b""
    stranger = router.net.socket("server", socket.SOCK_STREAM)
    with stranger:
        router.net.run("server", "ip", "address", "add", "203.0.113.99/24", "dev", "eth0")
        stranger.bind(("203.0.113.99", 0))
        stranger.settimeout(0.2)
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            stranger.connect((PUBLIC_ADDRESS, 5060))
    router.net.run("server", "ip", "address", "delete", "203.0.113.99/24", "dev", "eth0")


def test_one_phone_reaches_another_by_its_public_address(router: Router, ends: Ends) -> None:
    router.run()
    second = ADDRESS["phone2"]
    phone, server = ends.pair(over_tcp(register()))
    received(server, 100)
    with ends.listen("server", SERVER) as listener:
        other = ends.connect("phone2", (SERVER, 5060))
        other.sendall(over_tcp(register(2, second)))
        far, (host, port) = listener.accept()
        ends.stack.enter_context(far)
    assert (host, port != 5060) == (PUBLIC_ADDRESS, True), "the other phone has another public port"
    neighbour = ends.listen("phone2", second)
    caller = ends.connect("phone1", (PUBLIC_ADDRESS, port))
    caller.sendall(
        _INVITE.replace(f"sip:200@{SERVER} ".encode(), f"sip:200@{PUBLIC_ADDRESS}:{port};transport=tcp ".encode())
    )
    called, address = neighbour.accept()
    ends.stack.enter_context(called)
    called.settimeout(PATIENCE_S)
    assert address == (PUBLIC_ADDRESS, 5060)
    message = received(called, 300)
    assert message.startswith(f"INVITE sip:200@{second}:5060;transport=tcp SIP/2.0\r\n".encode())
    assert f"Contact: <sip:100@{PUBLIC_ADDRESS}:5060;transport=tcp>".encode() in message
    assert phone.getpeername() == (SERVER, 5060)


def test_after_a_kill_nothing_is_swallowed_and_the_next_process_cleans(router: Router, ends: Ends) -> None:
    process = router.run()
    phone, server = ends.pair(over_tcp(register()))
    received(server, 100)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    assert server.recv(65535) != b"" or server.recv(1) == b"", "the kernel ends what the process had"
    with contextlib.suppress(ConnectionResetError):
        assert phone.recv(1) == b""

    def refused() -> bool:
        try:
            phone.sendall(b"x")
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False

    assert until(refused), "a phone that goes on is told"
    router.wait_no_longer()
    plain, far = ends.pair()
    plain.sendall(over_tcp(register()))
    assert received(far, len(over_tcp(register()))) == over_tcp(register()), "plain NAT"
    router.run()
    lines = router.net.run("router", "ip", "rule").splitlines()
    assert sum("proto 150" in line for line in lines) == 2
    plain.sendall(b"more")
    assert received(far, 4) == b"more", "what is plain NAT stays so"
    phone, server = ends.pair(over_tcp(register()))
    assert PHONE.encode() not in received(server, 100)
    router.end()
    assert "proto 150" not in router.net.run("router", "ip", "rule")
    with pytest.raises(ConnectionResetError):
        phone.recv(1)


def test_an_input_filter_that_drops_it_makes_it_plain_nat_and_is_told(router: Router, ends: Ends) -> None:
    router.net.run("router", "nft", "insert", "rule", "ip", "filter", "input", "tcp", "dport", "5060", "drop")
    router.run()
    phone, server = ends.pair()
    phone.sendall(over_tcp(register()))
    assert received(server, 50) == over_tcp(register())[:50]
    status = router.ask("status")
    warning = "SIP over TCP isn't translated in connections from inside: the INPUT filter drops them; "
    assert [line for line in status["warnings"] if line.startswith(warning)]
    assert status["status"]["tcp"] == "relay", "from outside nobody has tried"
    firewall.load(router.net, firewall.rules("loose"))
    assert until(lambda: not any("INPUT" in line for line in router.ask("status")["warnings"]))


def test_what_others_use_is_left_to_them(router: Router, ends: Ends) -> None:
    run = router.net.run
    run("router", "ip", "rule", "add", "fwmark", "0x2000000/0x2000000", "table", "77", "priority", "50")
    run("router", "ip", "route", "add", "unreachable", "192.0.2.0/24", "table", "50600")
    try:
        router.run()
        assert "proto 150" not in run("router", "ip", "rule"), "nobody has come yet"
        assert "tcp_relay" not in run("router", "nft", "list", "chains")
        _, server = ends.pair(over_tcp(register()))
        assert PHONE.encode() not in received(server, 100)
        rules = run("router", "ip", "rule")
        assert "51:\tfrom all fwmark 0x8000000/0x8000000 iif lan0 lookup 50601 proto 150" in rules
        answer = run("router", "nft", "list", "chain", "ip", "sipalg", "tcp_relay")
        assert "0x08000000" in answer
        router.end()
        assert "unreachable 192.0.2.0/24" in run("router", "ip", "route", "show", "table", "50600")
        assert "lookup 77" in run("router", "ip", "rule")
    finally:
        run("router", "ip", "rule", "delete", "priority", "50")
        run("router", "ip", "route", "flush", "table", "50600")


def test_plain_is_plain(router: Router, ends: Ends) -> None:
    router.run("--tcp", "plain")
    phone, server = ends.pair()
    phone.sendall(over_tcp(register()))
    assert received(server, len(over_tcp(register()))) == over_tcp(register())
    status = router.ask("status")
    assert status["status"]["tcp"] == "plain"
    assert not any("TCP" in line for line in status["warnings"])
    assert "proto 150" not in router.net.run("router", "ip", "rule")


@pytest.mark.parametrize("how", ["killed", "ended", "shut out"])
def test_a_phone_that_always_has_the_same_port_gets_plain_nat_after_the_relay(
    router: Router, ends: Ends, how: str
) -> None:
    process = router.run()
    phone, server = ends.pair(over_tcp(register()), _FIXED)
    assert PHONE.encode() not in received(server, len(over_tcp(register())) - 30)
    phone.close()
    server.close()
    if how == "killed":
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
        router.wait_no_longer()
    elif how == "ended":
        router.end()
    else:
        router.net.run("router", "nft", "insert", "rule", "ip", "filter", "input", "tcp", "dport", "5060", "drop")
    for _ in range(2):
        phone, server = ends.pair(over_tcp(register()), _FIXED)
        assert received(server, len(over_tcp(register()))) == over_tcp(register()), "plain NAT"
        phone.sendall(b"more")
        assert received(server, 4) == b"more"
        phone.close()
        server.close()


def test_sockets_of_other_programs_are_not_the_relays(router: Router, ends: Ends) -> None:
    router.run()
    run = router.net.run
    run("router", "ip", "rule", "add", "fwmark", "0x1/0x1", "table", "78", "priority", "60")
    run("router", "ip", "route", "add", "local", "default", "dev", "lo", "table", "78")
    run("router", "nft", "add", "table", "ip", "squid")
    run("router", "nft", "add chain ip squid pre { type filter hook prerouting priority -150; }")
    run("router", "nft", "add rule ip squid pre tcp dport 80 tproxy to 127.0.0.1:3129 meta mark set 1 accept")
    try:
        squid = ends.stack.enter_context(router.net.socket("router", socket.SOCK_STREAM))
        squid.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        squid.bind(("127.0.0.1", 3129))
        squid.listen()
        squid.settimeout(PATIENCE_S)
        phone = ends.connect("phone1", (SERVER, 80))
        taken, _ = squid.accept()
        with taken:
            phone.sendall(b"GET")
            taken.settimeout(PATIENCE_S)
            assert received(taken, 3) == b"GET"
            assert "elements" not in run("router", "nft", "list", "set", "ip", "sipalg", "tcp_relayed")
        _, server = ends.pair(over_tcp(register()))
        received(server, 100)
        assert "elements" in run("router", "nft", "list", "set", "ip", "sipalg", "tcp_relayed")
    finally:
        run("router", "nft", "delete", "table", "ip", "squid")
        run("router", "ip", "rule", "delete", "priority", "60")
        run("router", "ip", "route", "flush", "table", "78")


def test_a_port_forward_is_the_mapping(router: Router, ends: Ends) -> None:
    chain = "type nat hook prerouting priority dstnat;"
    forward = f'iifname "wan0" tcp dport 5070 dnat to {PHONE}:5060'
    rules = firewall.rules("relay")
    assert chain in rules
    firewall.load(router.net, rules.replace(chain, f"{chain}\n{forward}", 1))
    router.run()
    assert router.mappings() == [(f"{PHONE}:5060", "203.0.113.1:5070")]
    _, server = ends.pair(over_tcp(register()))
    assert b"Contact: <sip:100@203.0.113.1:5070;transport=tcp>" in received(server, 250)
    assert server.getpeername() == ("203.0.113.1", 5070)
