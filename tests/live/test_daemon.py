"""`sipalg run` as its users have it: a process on a router between a phone and a server."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, exchange, register, until

from sipalg.control.socket.client import ControlError, ask
from sipalg.datapath.nfqueue import PacketQueue
from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]



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
    router.running[0].terminate()
    assert router.running[0].wait(PATIENCE_S) == 0
    assert "sipalg" not in router.rules()
    last = router.logged()[-1]
    assert last == "stopped: table ip sipalg was taken away, and nothing else had been changed"


def test_observing_spares_what_an_earlier_process_left(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    for mode in ("enforce", "observe"):
        process = router.run("--mode", mode)
        if mode == "enforce":
            exchange(phone, server, register())
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert f"{PHONE} . 5060" in router.rules()


def test_edits_are_logged_where_that_is_wanted(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--log-edits")
    exchange(phone, server, register())
    router.ask("status")
    (line,) = [line for line in router.logged() if line.startswith("edited ")]
    assert line.startswith(f"edited message=REGISTER call_id=1@x direction=out source={PHONE}:5060 ")
    assert {"via", "contact"} <= set(line.partition("rules=")[2].split(","))


def test_strangers_at_a_phones_port_are_counted(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    exchange(phone, server, register())
    assert router.ask("status")["notes"] == []
    # From the server's host, which is let in, and from another, which isn't.
    router.net.run("server", "ip", "address", "add", "203.0.113.77/24", "dev", "eth0", check=False)
    with router.net.socket("server") as stranger:
        stranger.bind(("203.0.113.77", 5060))
        for end in (server, stranger):
            end.sendto(b"OPTIONS sip:100@x SIP/2.0\r\n\r\n", (PUBLIC_ADDRESS, 5060))
    assert until(lambda: router.ask("status")["counters"]["packets_not_let_in"] == {"from_unknown_peers": 1})
    assert "--trusted-peers" in router.ask("status")["notes"][0]


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
    assert "queue num" not in rules
    assert "ct timeout set" not in rules
    log = router.logged()
    assert log[-1] == (
        "stopped: table ip sipalg stays, so that standing calls go on; to remove it: nft delete table ip sipalg"
    )
    assert any(line.startswith("mapping-opened private=192.168.33.10:5060") for line in log)
    # What comes now is for the next process, if there soon is one, ...
    # TCP may stand before it.
    assert re.search(r"set served \{.*elements = \{[^}]*udp timeout 8s expires [1-7]s", rules, re.DOTALL)
    phone.sendto(register(2), (SERVER, 5060))
    # ... and then plain NAT's, by the mapping that is still there.
    router.wait_no_longer()
    assert exchange(phone, server, register(3)) == (register(3), (PUBLIC_ADDRESS, 5060))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_message_leaves_unseen_between_two_processes(
    router: Router, phone: socket.socket, server: socket.socket, number: signal.Signals
) -> None:
    process = router.run()
    received, _ = exchange(phone, server, register(1))
    process.send_signal(number)
    process.wait(PATIENCE_S)
    phone.sendto(register(2), (SERVER, 5060))
    router.run()
    # The first that comes is the repetition, since the one before has been dropped.
    again, _ = exchange(phone, server, register(3))
    assert again == received.replace(b"z9hG4bK1;", b"z9hG4bK3;").replace(b"Call-ID: 1@", b"Call-ID: 3@")


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
    router.wait_no_longer()
    assert exchange(phone, server, register(3)) == (register(3), public)
    router.run()
    assert (f"{PHONE}:5060", f"{PUBLIC_ADDRESS}:{public[1]}") in router.mappings()
    received, source = exchange(phone, server, register(4))
    assert source == public
    assert f"Contact: <sip:100@{PUBLIC_ADDRESS}:{public[1]}>".encode() in received
    log = router.log.read_text()
    assert f"mapping-kept private={PHONE}:5060" in log
    assert "mapping-opened" not in log


def test_a_firewall_that_keeps_some_out_is_a_note_with_the_command_that_opens_it(router: Router) -> None:
    firewall.load(router.net, firewall.rules("strict"))
    process = router.run()
    (note,) = [line for line in router.logged() if line.startswith("note: ordinary calls work")]
    assert router.ask("status")["warnings"] == []
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    router.net.run("router", *note.rpartition(": ")[2].split())
    router.run()
    assert "ordinary calls" not in router.log.read_text()


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


# What is in the way


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "inside: is missing; name the interface with the phones"),
        (("--inside", "lan9"), "inside lan9: no such interface; there are: "),
        (("--inside", "wan0"), "outside: wan0 is also in inside; it can only be one of them"),
        (("--inside", "lan0", "--media-ports", "30000-20000"), "begins above its end"),
        (("--inside", "lan0", "--ports", "5060-5070"), "ranges aren't taken"),
        (("--inside", "lan0", "--sip-timeout", "soon"), "'soon' is no time; examples: 01:00:00"),
        (("--inside", "lan0", "--ports", "1,2,3,4,5,6,7,8,9"), "up to 8"),
        (("--inside", "lan0", "--except", "10.0.0.1/8"), "10.0.0.0/8"),
        (("--inside", "lan0", "--public", "example.com"), "'example.com' is no IPv4 address"),
        (("--inside", "lan0", "--queue", "65529"), "'65529' is no queue number; it is one from 0 to 65528, since 8 "),
        (("--inside", "lan0", "--socket", "/proc/sipalg/sock"), "sock: there is no directory /proc/sipalg"),
    ],
)
def test_bad_arguments_are_one_line_and_change_nothing(router: Router, arguments: tuple[str, ...], said: str) -> None:
    before = router.rules()
    assert said in router.fail("run", "--outside", "wan0", *arguments)
    assert router.rules() == before


@pytest.mark.parametrize("queue", ["5060", "5061"])
def test_a_second_sipalg_is_told_about_the_first(router: Router, queue: str) -> None:
    first = router.run()
    other = router.net.directory / "other.sock"
    line = router.fail("run", "--inside", "lan0", "--outside", "wan0", "--socket", str(other), "--queue", queue)
    if router.ask("status")["status"]["kernel"][0] == "table with owner":
        assert line == f"sipalg: table ip sipalg belongs to another running sipalg (pid {first.pid}); stop it first\n"
    else:
        assert "sipalg" in line.removeprefix("sipalg")


def test_a_queue_that_another_program_has_is_one_line_and_changes_nothing(router: Router) -> None:
    before = router.rules()
    with contextlib.closing(router.net.inside("router", lambda: PacketQueue(5064))):
        line = router.fail("run", "--inside", "lan0", "--outside", "wan0", "--socket", str(router.socket))
    assert line == "sipalg: queue 5064 belongs to another program; stop it, or choose another number with --queue\n"
    assert router.rules() == before


def test_nobody_there_is_one_line(router: Router) -> None:
    for command in ("status", "mappings", "calls"):
        assert "no sipalg is running" in router.fail(command, "--socket", str(router.socket))


def test_a_stuck_process_is_told_and_its_packets_pass(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    process = router.run()
    process.send_signal(signal.SIGSTOP)
    phone.sendto(register(), (SERVER, 5060))
    line = router.fail("status", "--socket", str(router.socket))
    assert line == f"sipalg: sipalg (pid {process.pid}) holds the socket {router.socket} but doesn't answer\n"
    process.send_signal(signal.SIGCONT)
    received, _ = server.recvfrom(65535)
    assert PHONE.encode() not in received
    assert router.ask("status")["counters"]["packets"] == {"replaced": 1}


def test_a_stuck_process_changes_nothing_for_one_that_gave_up(router: Router) -> None:
    process = router.run()
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(ControlError) as caught:
        ask(router.socket, "set", 0.3, {"values": {"ports": "5070"}, "save": False})
    assert caught.value.asked
    process.send_signal(signal.SIGCONT)
    # Questions are heard in their order.
    assert router.ask("status")["status"]["ports"] == [5060, 5061]


def test_behind_a_stuck_process_sip_is_plain_nat_after_some_seconds(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    process = router.run()
    process.send_signal(signal.SIGSTOP)
    server.settimeout(0.5)

    def passes_unseen() -> bool:
        with contextlib.suppress(TimeoutError):
            return exchange(phone, server, register())[0] == register()
        return False

    assert until(passes_unseen)
    process.send_signal(signal.SIGCONT)
    # What it held until then goes on, and what comes next is its own again.
    assert until(lambda: not passes_unseen())
    assert until(lambda: router.ask("status")["counters"]["packets"].get("replaced", 0) > 1)


def test_an_observer_that_is_killed_drops_nothing(router: Router, phone: socket.socket, server: socket.socket) -> None:
    process = router.run()
    # It was enforcing a moment ago.
    ask(router.socket, "set", arguments={"values": {"mode": "observe"}, "save": False})
    process.kill()
    process.wait(PATIENCE_S)
    assert exchange(phone, server, register())[0] == register()
