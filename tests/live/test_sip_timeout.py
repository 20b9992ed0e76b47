"""sip-timeout in conntrack: new flows and those older than sipalg, looked at after a further packet each way."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, exchange, register, until

from sipalg.control.socket.client import ask
from sipalg.lab.topology import PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

TIMEOUT_S = 1200
#: How much later than the packet conntrack may be looked at, on a busy machine.
LATE_S = 10
#: A SIP flow that is older than sipalg is refreshed at most every tenth of sip-timeout.
TENTH_S = TIMEOUT_S // 10
KERNEL_UNREPLIED_S = 30
CRLF = b"\r\n\r\n"

_LEFT = re.compile(r"^udp +\d+ (\d+) .*? sport=(\d+) dport=(\d+) ")


def answer(register: bytes) -> bytes:
    return b"SIP/2.0 200 OK\r\n" + register.partition(b"\r\n")[2]


def timeouts(router: Router) -> dict[tuple[int, int], int]:
    """Seconds left of the UDP flows with the server, by the ports of who began it and of the other end."""
    lines = router.net.run("router", "conntrack", "-L", "-p", "udp").splitlines()
    found = [_LEFT.match(line) for line in lines if SERVER in line]
    return {(int(match[2]), int(match[3])): int(match[1]) for match in found if match}


def both_ways(phone: socket.socket, server: socket.socket, public: tuple[str, int]) -> None:
    """One further packet from the phone, and one from the server."""
    phone.sendto(CRLF, (SERVER, server.getsockname()[1]))
    assert server.recv(100) == CRLF
    server.sendto(CRLF, public)
    assert phone.recv(100) == CRLF


def is_assured_by(router: Router, phone: socket.socket, server: socket.socket, public: tuple[str, int]) -> bool:
    """Whether the flow counts as a stream after one further packet each way."""
    both_ways(phone, server, public)
    flows = router.net.run("router", "conntrack", "-L", "-p", "udp").splitlines()
    port = server.getsockname()[1]
    return any("[ASSURED]" in flow for flow in flows if f"port={port} " in flow)


def left(router: Router, ports: tuple[int, int]) -> int:
    return timeouts(router)[ports]


def test_a_new_flow_has_sip_timeout_after_each_packet(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run("--sip-timeout", "20m")
    phone.sendto(register(), (SERVER, 5060))
    request, public = server.recvfrom(65535)
    assert TIMEOUT_S - LATE_S <= left(router, (5060, 5060)) <= TIMEOUT_S
    server.sendto(answer(request), public)
    phone.recv(65535)
    assert TIMEOUT_S - LATE_S <= left(router, (5060, 5060)) <= TIMEOUT_S
    # The kernel takes a flow for a stream, with another of its timeouts, when it is two seconds old.
    assert until(lambda: is_assured_by(router, phone, server, public))
    assert TIMEOUT_S - LATE_S <= left(router, (5060, 5060)) <= TIMEOUT_S


def test_a_flow_older_than_sipalg_has_it_from_the_start_and_after_its_packets(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    _, public = exchange(phone, server, register())
    assert left(router, (5060, 5060)) <= KERNEL_UNREPLIED_S, "control: the kernel's own"
    router.run("--sip-timeout", "20m")
    assert TIMEOUT_S - LATE_S <= left(router, (5060, 5060)) <= TIMEOUT_S
    both_ways(phone, server, public)
    assert TIMEOUT_S - TENTH_S - LATE_S <= left(router, (5060, 5060)) <= TIMEOUT_S
    request, _ = exchange(phone, server, register(2))
    server.sendto(answer(request), public)
    phone.recv(65535)
    assert TIMEOUT_S - TENTH_S - LATE_S <= left(router, (5060, 5060)) <= TIMEOUT_S


def test_empty_datagrams_refresh_a_flow_older_than_sipalg(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    _, public = exchange(phone, server, register())
    router.run("--sip-timeout", "10")
    assert until(lambda: left(router, (5060, 5060)) <= 7), "a fixed timeout runs down"
    server.sendto(CRLF, public)
    assert phone.recv(100) == CRLF
    assert until(lambda: left(router, (5060, 5060)) >= 8)
    assert until(lambda: left(router, (5060, 5060)) <= 7)
    phone.sendto(CRLF, (SERVER, 5060))
    assert server.recv(100) == CRLF
    assert until(lambda: left(router, (5060, 5060)) >= 8)


@pytest.fixture
def other(router: Router) -> Iterator[socket.socket]:
    """The server on another port, which opens flows of its own."""
    with router.net.socket("server") as end:
        end.bind((SERVER, 6000))
        end.settimeout(PATIENCE_S)
        yield end


def test_a_flow_from_outside_has_it_once_it_is_replied_and_the_kernels_until_then(
    router: Router, phone: socket.socket, server: socket.socket, other: socket.socket
) -> None:
    router.run("--sip-timeout", "20m")
    _, public = exchange(phone, server, register())
    other.sendto(CRLF, public)
    assert phone.recv(100) == CRLF
    assert left(router, (6000, 5060)) <= KERNEL_UNREPLIED_S
    assert until(lambda: is_assured_by(router, phone, other, public))
    assert TIMEOUT_S - LATE_S <= left(router, (6000, 5060)) <= TIMEOUT_S


@pytest.mark.parametrize("before", ["20m", "30m"])
@pytest.mark.parametrize("opened_by", ["phone", "server"])
def test_after_a_restart_every_flow_has_what_is_set_now(
    router: Router, phone: socket.socket, server: socket.socket, other: socket.socket, before: str, opened_by: str
) -> None:
    process = router.run("--sip-timeout", before)
    request, public = exchange(phone, server, register())
    server.sendto(answer(request), public)
    phone.recv(65535)
    if opened_by == "server":
        other.sendto(CRLF, public)
        phone.recv(100)
    assert until(lambda: is_assured_by(router, phone, other, public))
    process.terminate()
    process.wait(PATIENCE_S)
    router.run("--sip-timeout", "20m")
    for end in (server, other):
        both_ways(phone, end, public)
        # One that was opened from outside has been turned around: it is the phone's now.
        assert TIMEOUT_S - TENTH_S - LATE_S <= left(router, (5060, end.getsockname()[1])) <= TIMEOUT_S


def test_mappings_follow(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--sip-timeout", "20m")
    request, public = exchange(phone, server, register())
    (mapping,) = router.ask("mappings")["mappings"]
    assert TIMEOUT_S - LATE_S <= mapping["ends_in_s"] <= TIMEOUT_S
    server.sendto(answer(request), public)
    phone.recv(65535)
    assert until(lambda: router.ask("mappings")["mappings"][0]["holders"] == 1)
    status = router.ask("status")
    assert 3600 - LATE_S <= status["contacts"][0]["kept_for_s"] <= 3600, "the granted hour, which is longer"
    assert [(row["private"], row["registration_s"], row["sip_timeout_needed_s"]) for row in status["phones"]] == [
        (f"{PHONE}:5060", 3600.0, 5400)
    ]
    assert any("sip-timeout=1h30m would do" in warning for warning in status["warnings"])
    elements = router.net.run("router", "nft", "list", "map", "ip", "sipalg", "dnat_map")
    assert f"udp . {PUBLIC_ADDRESS} . 5060 timeout 40m" in elements


@pytest.mark.parametrize("opened_by", ["phone", "server"])
def test_after_a_change_every_flow_has_what_is_set_now(
    router: Router, phone: socket.socket, server: socket.socket, other: socket.socket, opened_by: str
) -> None:
    router.run("--sip-timeout", "30m")
    _, public = exchange(phone, server, register())
    if opened_by == "server":
        other.sendto(CRLF, public)
        phone.recv(100)
    assert until(lambda: is_assured_by(router, phone, other, public))
    ask(router.socket, "set", PATIENCE_S, {"values": {"sip-timeout": "20m"}})
    for end in (server, other):
        both_ways(phone, end, public)
        assert TIMEOUT_S - TENTH_S - LATE_S <= left(router, (5060, end.getsockname()[1])) <= TIMEOUT_S


def test_the_value_that_the_warning_names_ends_it(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run()
    request, public = exchange(phone, server, register())
    server.sendto(answer(request), public)
    phone.recv(65535)
    assert until(lambda: router.ask("status")["phones"] != [])
    (warning,) = router.ask("status")["warnings"]
    named = re.search(r"sip-timeout=(\w+) would do", warning)
    assert named is not None, warning
    ask(router.socket, "set", PATIENCE_S, {"values": {"sip-timeout": named[1]}})
    status = router.ask("status")
    assert status["warnings"] == []
    assert [row["sip_timeout_needed_s"] for row in status["phones"]] == [None]
