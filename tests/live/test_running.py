"""What a running ALG does besides packets: takes over what it finds, and follows what the administrator changes."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, exchange, register, until

from sipalg.control.service.running import Service
from sipalg.control.settings.model import Settings
from sipalg.control.settings.options import Options
from sipalg.control.socket.client import ask
from sipalg.datapath.netlink import NetlinkError, NetlinkSocket
from sipalg.datapath.nft_features import Features, find_features
from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, NETNS_DIRECTORY, OTHER_PUBLIC_ADDRESS, PUBLIC_ADDRESS, enter

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

PHONE2 = ADDRESS["phone2"]
EXCEPT = ("ip", "sipalg", "except")


def kill(router: Router) -> None:
    router.running[-1].kill()
    assert router.running[-1].wait(PATIENCE_S) == -signal.SIGKILL


def forward(router: Router, port: int, host: str) -> None:
    """Forward the port to a host's SIP port; it takes the place of every other forward."""
    rule = f"iifname wan0 udp dport {port} dnat to {host}:5060"
    router.net.run("router", "nft", f"flush chain ip nat prerouting; add rule ip nat prerouting {rule}")


# What it finds


def test_a_flow_that_is_older_than_sipalg_keeps_its_port(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.net.run("router", "nft", "insert", "rule", "ip", "nat", "postrouting", "oifname", "wan0", "udp", "sport",
                   "5060", "masquerade", "to", ":31000-31000")  # fmt: skip
    _, public = exchange(phone, server, register(1))
    assert public == (PUBLIC_ADDRESS, 31000)
    router.run()
    assert router.mappings() == [(f"{PHONE}:5060", f"{PUBLIC_ADDRESS}:31000")]
    received, source = exchange(phone, server, register(2))
    assert source == public
    assert f"Contact: <sip:100@{PUBLIC_ADDRESS}:31000>".encode() in received


def test_flows_of_an_address_that_changed_meanwhile_are_ended(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run()
    assert exchange(phone, server, register(1))[1] == (PUBLIC_ADDRESS, 5060)
    kill(router)
    before = router.net.public_address
    router.net.change_public_address(OTHER_PUBLIC_ADDRESS)
    try:
        router.run()
        received, source = exchange(phone, server, register(2))
        assert source == (OTHER_PUBLIC_ADDRESS, 5060)
        assert f"Contact: <sip:100@{OTHER_PUBLIC_ADDRESS}:5060>".encode() in received
        assert "flows-of-a-lost-address-ended flows=1" in router.log.read_text()
    finally:
        router.end()
        router.net.change_public_address(before)


def sdp(host: str, port: int) -> str:
    return f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"


def in_call(first: str, via: str, host: str, port: int, tag: str = "") -> bytes:
    """One message of the call's INVITE, with a description."""
    body = sdp(host, port)
    return (
        f"{first}\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bKcall\r\nFrom: <sip:100@{SERVER}>;tag=1\r\n"
        f"To: <sip:200@{SERVER}>{tag}\r\nCall-ID: call@x\r\nCSeq: 1 INVITE\r\nContact: <sip:1@{host}:5060>\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def test_the_media_of_a_call_that_outlived_a_process_is_kept(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    # So that flows are looked at every second.
    router.net.sysctl("router", "net.netfilter.nf_conntrack_udp_timeout_stream", 3)

    def flows() -> str:
        return router.net.run("router", "conntrack", "-L", "-p", "udp", "--dport", "20000", check=False)

    def rows() -> list[dict[str, Any]]:
        return [row for row in router.ask("mappings")["mappings"] if row["purpose"] == "media"]

    try:
        router.run()
        received, public = exchange(phone, server, in_call(f"INVITE sip:200@{SERVER} SIP/2.0", PHONE, PHONE, 10000))
        assert b"m=audio 10000" in received
        server.sendto(in_call("SIP/2.0 200 OK", public[0], SERVER, 20000, ";tag=2"), public)
        phone.recv(65535)
        kill(router)
        # Without it, the calls are as unknown as those of an earlier version.
        router.journal.unlink(missing_ok=True)
        router.run()
        assert {row["interface"] for row in rows()} == {"lan0"}
        assert router.ask("calls")["calls"] == []
        (warning,) = (one for one in router.ask("status")["warnings"] if "media flows" in one)
        assert warning.startswith("2 media flows of calls that began before this start, kept open")
        # As the kernel does after a silence.
        router.net.run("router", "conntrack", "-D", "-p", "udp", "--dport", "20000")
        assert until(lambda: f"src={SERVER} dst={PUBLIC_ADDRESS} sport=20000 dport=10000" in flows())
    finally:
        router.end()
        router.net.sysctl("router", "net.netfilter.nf_conntrack_udp_timeout_stream", 120)


def test_media_mappings_without_flows_live_for_minutes_only(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run()
    exchange(phone, server, in_call(f"INVITE sip:200@{SERVER} SIP/2.0", PHONE, PHONE, 10000))
    kill(router)
    router.journal.unlink(missing_ok=True)
    router.run()
    media = [row for row in router.ask("mappings")["mappings"] if row["purpose"] == "media"]
    assert len(media) == 2
    assert all(500 < row["ends_in_s"] <= 600 for row in media)


def test_a_call_goes_on_in_the_next_process(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    _, public = exchange(phone, server, in_call(f"INVITE sip:200@{SERVER} SIP/2.0", PHONE, PHONE, 10000))
    answer = in_call("SIP/2.0 200 OK", public[0], SERVER, 20000, ";tag=2")
    server.sendto(answer, public)
    phone.recv(65535)
    (before,) = router.ask("calls")["calls"]
    assert until(lambda: b'"confirmed":true' in router.journal.read_bytes())
    kill(router)
    router.run()
    (after,) = router.ask("calls")["calls"]
    assert after | {"ends_in_s": 0} == before | {"ends_in_s": 0}
    assert "state-resumed contacts=0 calls=1 left_out=0" in router.log.read_text()
    assert "media-inherited" not in router.log.read_text()
    bye = in_call(f"BYE sip:200@{SERVER} SIP/2.0", PHONE, PHONE, 10000, ";tag=2").replace(b"1 INVITE", b"2 BYE")
    exchange(phone, server, bye)
    server.sendto(answer.replace(b"1 INVITE", b"2 BYE"), public)
    phone.recv(65535)
    assert router.ask("calls")["calls"] == []
    assert router.net.run("router", "conntrack", "-L", "-p", "udp", "--dport", "20000") == ""
    # A clean end writes down at once what there is.
    router.running[-1].terminate()
    assert router.running[-1].wait(PATIENCE_S) == 0
    dialogs = [line for line in router.journal.read_bytes().splitlines() if b'["dialog"' in line]
    assert dialogs[-1].endswith(b"\tnull"), "it is gone"
    router.run()
    assert router.ask("calls")["calls"] == []


def test_a_network_that_the_rules_do_not_translate_is_excepted(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    rule = f"insert rule ip nat postrouting ip daddr {SERVER} accept"
    server_network = f"{SERVER}/32"

    def excepted() -> tuple[bool, bool]:
        """Whether it is, as the ALG says and as its table says."""
        networks = router.ask("status")["status"]["except_by_the_rules"]
        return server_network in networks, SERVER in router.net.run("router", "nft", "list", "set", *EXCEPT)

    router.net.run("router", "nft", rule)
    router.run()
    received, source = exchange(phone, server, register())
    assert (received, source) == (register(), (PHONE, 5060))
    assert excepted() == (True, True)
    assert f"rules-exempt networks={server_network}" in router.log.read_text()
    firewall.load(router.net, firewall.rules("loose"))
    assert until(lambda: excepted() == (False, False))
    router.net.run("router", "nft", rule)
    assert until(lambda: excepted() == (True, True))


def test_reserved_ports_are_no_public_ones(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--reserved-ports", "5000-5999,16384")
    assert exchange(phone, server, register())[1] == (PUBLIC_ADDRESS, 16385)


# What the administrator changes


def test_a_port_forward_is_its_hosts_mapping_now_and_when_it_is_added(router: Router) -> None:
    rule = f"add rule ip nat prerouting iifname wan0 udp dport {{}} dnat to {ADDRESS['phone2']}:{{}}"
    router.net.run("router", "nft", rule.format(5062, 5060))
    router.run()
    assert router.mappings() == [(f"{ADDRESS['phone2']}:5060", f"{PUBLIC_ADDRESS}:5062")]
    router.net.run("router", "nft", rule.format(5063, 5061))
    assert until(lambda: (f"{ADDRESS['phone2']}:5061", f"{PUBLIC_ADDRESS}:5063") in router.mappings())


def test_rules_that_get_in_the_way_later_are_told(router: Router) -> None:
    router.run()
    assert not any("SIP helper" in warning for warning in router.ask("status")["warnings"])
    firewall.load(router.net, firewall.rules("loose", kernel_helper=True))
    assert until(lambda: any("SIP helper" in warning for warning in router.ask("status")["warnings"]))
    assert "SIP helper" in router.log.read_text()
    firewall.load(router.net, firewall.rules("loose"))
    assert until(lambda: not any("SIP helper" in warning for warning in router.ask("status")["warnings"]))


def test_another_outside_address_is_written_from_the_next_packet_on(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run()
    exchange(phone, server, register(1))
    before = router.net.public_address
    router.net.change_public_address(OTHER_PUBLIC_ADDRESS)
    try:
        assert until(lambda: router.ask("status")["status"]["nat_address"] == OTHER_PUBLIC_ADDRESS)
        assert router.mappings() == []
        received, source = exchange(phone, server, register(2))
        assert source == (OTHER_PUBLIC_ADDRESS, 5060)
        assert f"Contact: <sip:100@{OTHER_PUBLIC_ADDRESS}:5060>".encode() in received
        assert "outside-address-changed before=203.0.113.1 now=" in router.log.read_text()
    finally:
        router.end()
        router.net.change_public_address(before)


def test_sip_leaves_by_the_address_that_the_administrators_rules_name(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    net = router.net
    net.run("router", "ip", "address", "add", f"{OTHER_PUBLIC_ADDRESS}/24", "dev", "wan0")
    snat = f'oifname "wan0" snat to {OTHER_PUBLIC_ADDRESS}\n'
    other = firewall.rules("loose").replace('oifname "wan0" masquerade\n', snat)
    try:
        firewall.load(net, other)
        router.run()
        received, source = exchange(phone, server, register(1))
        assert source == (OTHER_PUBLIC_ADDRESS, 5060)
        assert f"Contact: <sip:100@{OTHER_PUBLIC_ADDRESS}:5060>".encode() in received
        # Rules that change are followed.
        firewall.load(net, firewall.rules("loose"))
        assert until(lambda: router.ask("status")["status"]["nat_address"] == PUBLIC_ADDRESS)
        assert exchange(phone, server, register(2))[1] == (PUBLIC_ADDRESS, 5060)
        # Of two, one is used, and the other one told of.
        firewall.load(net, other.replace(snat, f"ip saddr {PHONE2} {snat} oifname wan0 masquerade\n"))
        assert until(lambda: any(OTHER_PUBLIC_ADDRESS in line for line in router.ask("status")["warnings"]))
        # To choose it is to leave by it.
        ask(router.socket, "set", arguments={"values": {"public": OTHER_PUBLIC_ADDRESS}, "save": False})
        status = router.ask("status")
        assert status["status"]["nat_address"] == status["status"]["advertised_address"] == OTHER_PUBLIC_ADDRESS
        assert not any(OTHER_PUBLIC_ADDRESS in line for line in status["warnings"])
        assert exchange(phone, server, register(3))[1] == (OTHER_PUBLIC_ADDRESS, 5060)
    finally:
        router.end()
        net.run("router", "ip", "address", "del", f"{OTHER_PUBLIC_ADDRESS}/24", "dev", "wan0")


def test_a_forward_that_moves_or_goes_takes_its_mapping_along(router: Router) -> None:
    forward(router, 5062, PHONE2)
    router.run()
    assert router.mappings() == [(f"{PHONE2}:5060", f"{PUBLIC_ADDRESS}:5062")]
    forward(router, 5062, PHONE)
    assert until(lambda: router.mappings() == [(f"{PHONE}:5060", f"{PUBLIC_ADDRESS}:5062")])
    router.net.run("router", "nft", "flush", "chain", "ip", "nat", "prerouting")
    assert until(lambda: router.mappings() == [])
    assert "5060" not in router.net.run("router", "nft", "list", "map", "ip", "sipalg", "snat_map")


def test_a_forward_is_stronger_than_a_phones_mapping(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run()
    assert exchange(phone, server, register(1))[1] == (PUBLIC_ADDRESS, 5060)
    forward(router, 5060, PHONE2)
    assert until(lambda: router.mappings() == [(f"{PHONE2}:5060", f"{PUBLIC_ADDRESS}:5060")])
    _, source = exchange(phone, server, register(2))
    assert source[1] != 5060
    with router.net.socket("phone2") as pbx:
        pbx.bind((PHONE2, 5060))
        assert exchange(pbx, server, register(3, PHONE2))[1] == (PUBLIC_ADDRESS, 5060)


def test_a_forward_is_its_hosts_mapping_on_another_outside_address_too(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    forward(router, 5062, PHONE)
    router.run()
    before = router.net.public_address
    router.net.change_public_address(OTHER_PUBLIC_ADDRESS)
    try:
        assert until(lambda: router.mappings() == [(f"{PHONE}:5060", f"{OTHER_PUBLIC_ADDRESS}:5062")])
        assert exchange(phone, server, register())[1] == (OTHER_PUBLIC_ADDRESS, 5062)
    finally:
        router.end()
        router.net.change_public_address(before)


# Its table


def test_a_table_that_somebody_removes_comes_back_with_its_mappings(
    router: Router, phone: socket.socket, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On kernels whose tables have no owners; so this one's are left out."""

    found = find_features

    def without_owner(sock: NetlinkSocket) -> Features:
        return found(sock)._replace(owner_persist=False)

    monkeypatch.setattr("sipalg.control.service.running.find_features", without_owner)
    settings = Settings(inside=("lan0",), outside="wan0", ports=(5060,))
    options = Options(settings, router.socket, router.net.directory / "sipalg.toml", {})
    started, ending = threading.Event(), threading.Event()

    def work() -> None:
        enter(NETNS_DIRECTORY / router.net.namespace("router"))
        service = Service(options, [], lambda _: None)
        try:
            service.start()
            started.set()
            while not ending.is_set():
                service.loop.step(0.05)
        finally:
            service.stop()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        before, _ = exchange(phone, server, register(1))
        assert PHONE.encode() not in before
        assert f"{PHONE} . 5060" in router.rules()
        # Its file begins with `flush ruleset`.
        firewall.load(router.net, firewall.rules("loose"))
        assert until(lambda: f"{PHONE} . 5060" in router.rules())
        after, _ = exchange(phone, server, register(1))
        assert after == before
    finally:
        ending.set()
        thread.join()


def test_a_table_that_can_not_be_told_that_it_is_served_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    refusals = [errno.ENOMEM, errno.ENOMEM, 0, errno.ENOMEM]

    def serve() -> None:
        number = refusals.pop(0)
        if number:
            raise NetlinkError(number)

    service = cast("Service", SimpleNamespace(table=SimpleNamespace(serve=serve), _unserved=False))
    while refusals:
        Service.serve(service)
    assert caplog.text.count("queue-not-served") == 2
    assert "consequence=plain-nat" in caplog.text
