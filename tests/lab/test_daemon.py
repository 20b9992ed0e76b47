"""`sipalg run` as its users have it: a process on a router between a phone and a server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipalg.control.options import Options
from sipalg.control.service import Service
from sipalg.datapath import nft_table
from sipalg.datapath.netlink import NetlinkSocket
from sipalg.datapath.nft_rules import Features
from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, NETNS_DIRECTORY, OTHER_PUBLIC_ADDRESS, PUBLIC_ADDRESS, Topology, _enter

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

PHONE = ADDRESS["phone1"]
SERVER = ADDRESS["server"]
#: How long a test waits for what must come; never how long it takes.
PATIENCE_S = 15.0


def register(number: int = 1, host: str = PHONE, port: int = 5060) -> bytes:
    return (
        f"REGISTER sip:{SERVER} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{number};rport\r\n"
        f"From: <sip:100@{SERVER}>;tag=1\r\nTo: <sip:100@{SERVER}>\r\nCall-ID: {number}@x\r\n"
        f"CSeq: 1 REGISTER\r\nContact: <sip:100@{host}:{port}>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class Router:
    """The router's namespace, and sipalg in it."""

    def __init__(self, net: Topology) -> None:
        self.net = net
        self.socket = net.directory / "run" / "sipalg.sock"
        self.log = net.directory / "log"
        self.running: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `sipalg run` and wait for its `ready`."""
        argv = (sys.executable, "-m", "sipalg", "run", "--inside", "lan0", "--outside", "wan0")
        command = self.net.command("router", *argv, "--socket", self.socket, *arguments)
        with self.log.open("w") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(environment or {})}
            )
        self.running.append(process)
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        assert readable, self.log.read_text()
        assert process.stdout.readline() == "ready\n", self.log.read_text()
        return process

    def fail(self, *arguments: str) -> str:
        """Run a command that must fail with one line and code 2; return the line."""
        argv = self.net.command("router", sys.executable, "-m", "sipalg", *arguments)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("sipalg")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def ask(self, command: str) -> dict[str, Any]:
        output = self.net.run("router", sys.executable, "-m", "sipalg", command, "--json", "--socket", self.socket)
        answer: dict[str, Any] = json.loads(output)
        return answer

    def mappings(self) -> list[tuple[str, str]]:
        return [(row["private"], row["public"]) for row in self.ask("mappings")["mappings"]]

    def rules(self) -> str:
        """The rule set without its counters and clocks."""
        listing = self.net.run("router", "nft", "list", "ruleset")
        return re.sub(r"expires \w+|packets \d+ bytes \d+", "", listing)

    def end(self) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
            process.wait(PATIENCE_S)
            if process.stdout is not None:
                process.stdout.close()
        self.running.clear()


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology(("phone1", "phone2", "server")) as topology:
        yield topology


@pytest.fixture
def router(net: Topology) -> Iterator[Router]:
    """A router with its administrator's rules, no flows and no sipalg, whatever the test before left."""
    firewall.load(net, firewall.rules("loose"))
    router = Router(net)
    yield router
    router.end()
    net.run("router", "nft", "delete", "table", "ip", "sipalg", check=False)
    net.run("router", "conntrack", "-F", check=False)


@pytest.fixture
def phone(net: Topology) -> Iterator[socket.socket]:
    with net.socket("phone1") as end:
        end.bind((PHONE, 5060))
        end.settimeout(PATIENCE_S)
        yield end


@pytest.fixture
def server(net: Topology) -> Iterator[socket.socket]:
    with net.socket("server") as end:
        end.bind((SERVER, 5060))
        end.settimeout(PATIENCE_S)
        yield end


def exchange(phone: socket.socket, server: socket.socket, message: bytes) -> tuple[bytes, tuple[str, int]]:
    """Send from the phone; what came to the server, and from where."""
    phone.sendto(message, (SERVER, 5060))
    received, source = server.recvfrom(65535)
    return received, source


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# Its work


def test_a_phone_registers_and_never_notices(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    received, source = exchange(phone, server, register())
    assert source == (PUBLIC_ADDRESS, 5060)
    assert PHONE.encode() not in received
    assert f"Contact: <sip:100@{PUBLIC_ADDRESS}:5060>".encode() in received
    head = b"SIP/2.0 200 OK\r\n"
    server.sendto(head + received.partition(b"\r\n")[2], source)
    assert phone.recv(65535) == head + register().partition(b"\r\n")[2]
    assert router.mappings() == [(f"{PHONE}:5060", f"{PUBLIC_ADDRESS}:5060")]
    status = router.ask("status")
    assert status["counters"]["messages"] == {"200": 1, "REGISTER": 1}
    assert status["counters"]["packets"] == {"replaced": 2}
    assert status["counters"]["queue"]["passed_unseen"] == 0
    assert [contact["private"] for contact in status["contacts"]] == [f"{PHONE}:5060"]
    assert status["status"]["nat_address"] == PUBLIC_ADDRESS
    assert router.ask("calls")["calls"] == []


def test_the_tables_are_for_people(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--public", "198.51.100.7", "--sip-timeout", "30m")
    received, _ = exchange(phone, server, register())
    assert b"<sip:100@198.51.100.7:5060>" in received
    shown = {
        command: router.net.run("router", sys.executable, "-m", "sipalg", command, "--socket", router.socket)
        for command in ("status", "mappings", "calls")
    }
    assert "198.51.100.7" in shown["status"]
    assert "30m" in shown["status"]
    assert f"{PHONE}:5060" in shown["mappings"]
    assert shown["calls"] == "No calls.\n"
    assert "\x1b" not in "".join(shown.values())


def test_observing_changes_nothing(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--mode", "observe")
    received, _ = exchange(phone, server, register())
    assert received == register()
    assert router.mappings() == [(f"{PHONE}:5060", f"{PUBLIC_ADDRESS}:5060")]
    assert router.ask("status")["counters"]["packets"] == {"accepted": 1}
    rules = router.net.run("router", "nft", "list", "table", "ip", "sipalg")
    assert "192.168.33" not in rules
    assert "ct timeout" not in rules


def test_an_excepted_network_passes(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--except", "203.0.113.0/24")
    received, _ = exchange(phone, server, register())
    assert received == register()


# Start and end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_end_leaves_mappings_and_takes_the_queue_away(
    router: Router, phone: socket.socket, server: socket.socket, number: signal.Signals
) -> None:
    process = router.run()
    exchange(phone, server, register())
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    assert not router.socket.exists()
    rules = router.net.run("router", "nft", "list", "table", "ip", "sipalg")
    assert re.search(rf"{PHONE} \. 5060 .*: {PUBLIC_ADDRESS} \. 5060", rules)
    assert "goto outbound" not in rules
    log = router.log.read_text().splitlines()
    assert log[-1] == "stopped"
    assert any(line.startswith("mapping-opened private=192.168.33.10:5060") for line in log)
    # Plain NAT, by the mapping that is still there.
    assert exchange(phone, server, register(2)) == (register(2), (PUBLIC_ADDRESS, 5060))


def test_a_restart_after_a_kill_goes_on_with_the_same_mappings(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    # Phone 2 got phone 1's port, so that phone 1's mapping isn't what anybody would choose again.
    router.run()
    with router.net.socket("phone2") as other:
        other.bind((ADDRESS["phone2"], 5060))
        exchange(other, server, register(1, ADDRESS["phone2"]))
    _, public = exchange(phone, server, register(2))
    assert public[1] != 5060
    router.running[0].kill()
    assert router.running[0].wait(PATIENCE_S) == -signal.SIGKILL
    assert exchange(phone, server, register(3)) == (register(3), public)
    router.run()
    assert (f"{PHONE}:5060", f"{PUBLIC_ADDRESS}:{public[1]}") in router.mappings()
    received, source = exchange(phone, server, register(4))
    assert source == public
    assert f"Contact: <sip:100@{PUBLIC_ADDRESS}:{public[1]}>".encode() in received


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


def test_the_service_manager_is_told(router: Router, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        process = router.run(environment=environment)
        assert manager.recv(999).startswith(b"READY=1\nSTATUS=translating lan0 to wan0\n")
        assert manager.recv(999) == b"WATCHDOG=1"
        process.terminate()
        while (state := manager.recv(999)) == b"WATCHDOG=1":
            pass
        assert state == b"STOPPING=1"


def test_a_table_that_somebody_removes_comes_back_with_its_mappings(
    router: Router, phone: socket.socket, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On kernels whose tables have no owners; so this one's are left out."""

    found = nft_table.find_features

    def without_owner(sock: NetlinkSocket) -> Features:
        return found(sock)._replace(owner_persist=False)

    monkeypatch.setattr("sipalg.control.service.find_features", without_owner)
    options = Options(
        inside=("lan0",),
        outside="wan0",
        public=None,
        ports=(5060,),
        media_ports=(16384, 32767),
        sip_timeout_s=3600.0,
        exempt=(),
        trusted_peers=(),
        mode="enforce",
        socket=router.socket,
        queue_number=5060,
        allow_offload=False,
    )
    started, ending = threading.Event(), threading.Event()

    def work() -> None:
        _enter(NETNS_DIRECTORY / router.net.namespace("router"))
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


# What is in the way


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--inside"),
        (("--inside", "lan9"), "--inside lan9: no such interface; there are: "),
        (("--inside", "wan0"), "--outside wan0: is also given as --inside"),
        (("--inside", "lan0", "--media-ports", "30000-20000"), "--media-ports"),
        (("--inside", "lan0", "--sip-timeout", "soon"), "'soon' is no time; examples: 01:00:00"),
        (("--inside", "lan0", "--ports", "1,2,3,4,5,6,7,8,9"), "up to 8"),
        (("--inside", "lan0", "--except", "10.0.0.1/8"), "10.0.0.0/8"),
        (("--inside", "lan0", "--public", "example.com"), "'example.com' is no IPv4 address"),
        (("--inside", "lan0", "--socket", "/proc/sipalg/sock"), "/proc/sipalg/sock: can't make the control socket"),
    ],
)
def test_bad_arguments_are_one_line_and_change_nothing(router: Router, arguments: tuple[str, ...], said: str) -> None:
    before = router.rules()
    assert said in router.fail("run", "--outside", "wan0", *arguments)
    assert router.rules() == before


def test_a_second_sipalg_is_told_about_the_first(router: Router) -> None:
    router.run()
    line = router.fail("run", "--inside", "lan0", "--outside", "wan0", "--socket", str(router.socket))
    assert "queue 5060 is in use" in line
    line = router.fail(
        "run", "--inside", "lan0", "--outside", "wan0", "--socket", str(router.socket), "--queue", "5061"
    )
    assert f"another sipalg (pid {router.running[0].pid}) is running" in line
    assert router.ask("calls")["calls"] == []


def test_nobody_there_is_one_line(router: Router) -> None:
    for command in ("status", "mappings", "calls"):
        assert "no sipalg is running" in router.fail(command, "--socket", str(router.socket))


def test_a_stuck_process_is_told_and_its_packets_pass(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    process = router.run()
    process.send_signal(signal.SIGSTOP)
    line = router.fail("status", "--socket", str(router.socket))
    assert line == f"sipalg: sipalg (pid {process.pid}) holds the socket {router.socket} but doesn't answer\n"
    phone.sendto(register(), (SERVER, 5060))
    process.send_signal(signal.SIGCONT)
    received, _ = server.recvfrom(65535)
    assert PHONE.encode() not in received
    assert router.ask("status")["counters"]["packets"] == {"replaced": 1}
