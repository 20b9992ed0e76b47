"""Settings changed while sipalg runs, seen from outside: by packets, conntrack's timeouts, and the settings file."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, exchange, register, until

from sipalg.control.settings.file import load
from sipalg.control.socket.client import ControlError, ask
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

FILE = """\
# Ours.
inside = ["lan0"]
outside = "wan0"
ports = [5060]  # one
"""
PUBLIC = f"{PUBLIC_ADDRESS}:5060"


def change(router: Router, **values: str) -> dict[str, Any]:
    given = {key.replace("_", "-"): text for key, text in values.items()}
    return ask(router.socket, "set", PATIENCE_S, {"values": given})


def answers(server: socket.socket, received: bytes, public: tuple[str, int], phone: socket.socket) -> bytes:
    """Have the server answer a request that came, and return what the phone gets."""
    server.sendto(b"SIP/2.0 200 OK\r\n" + received.partition(b"\r\n")[2], public)
    return phone.recv(65535)


def left(router: Router, *match: str) -> list[int]:
    """What conntrack has left for the phone's SIP flows, seconds."""
    of_phone = ("-p", "udp", "-s", PHONE, "--sport", "5060")
    listed = router.net.run("router", "conntrack", "-L", *of_phone, *match, check=False)
    return [int(seconds) for seconds in re.findall(r"^udp\s+17 (\d+) ", listed, re.MULTILINE)]


def is_translated(message: bytes) -> bool:
    return PHONE.encode() not in message and f"<sip:100@{PUBLIC}>".encode() in message


def test_a_change_is_in_force_at_once_and_in_the_file(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.settings.write_text(FILE)
    router.run()
    assert change(router, sip_timeout="90m", ports="5060,5070", disabled="no") == {
        "version": 1,
        "ok": True,
        "changed": ["ports", "sip-timeout"],
        "saved": str(router.settings),
    }
    assert router.settings.read_text() == FILE.replace("[5060]  #", "[5060, 5070]  #") + (
        'sip-timeout = "1h30m"\ndisabled = false\n'
    )
    settings = ask(router.socket, "settings")
    assert settings["settings"]["sip-timeout"] == "1h30m"
    assert (settings["from"]["ports"], settings["from"]["inside"]) == ("file", "command line")
    assert "5060, 5070" in router.net.run("router", "nft", "list", "set", "ip", "sipalg", "sip_ports")
    assert is_translated(exchange(phone, server, register())[0])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ports": "1,2,3,4,5,6,7,8,9"}, "ports: 9 ports are too many"),
        ({"sip_timeout": "abc", "ports": "5070"}, "sip-timeout: 'abc' is no time"),
        ({"outside": "lan1"}, "outside: can't be changed while sipalg runs; write it into .* and restart"),
        ({"queue": "7", "ports": "5070"}, "queue: can't be changed while sipalg runs"),
    ],
)
def test_what_cannot_be_changes_nothing(router: Router, values: dict[str, str], said: str) -> None:
    router.run()
    before = router.rules()
    with pytest.raises(ControlError, match=said):
        change(router, **values)
    assert router.rules() == before
    assert not router.settings.exists()


def test_a_removed_port_is_served_for_its_mappings_and_no_new_phone(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run("--ports", "5060")
    received, public = exchange(phone, server, register())
    answers(server, received, public, phone)
    change(router, ports="5070")
    # The standing flow, both ways.
    received, source = exchange(phone, server, register(2))
    assert is_translated(received)
    assert source == public
    assert PHONE.encode() in answers(server, received, public, phone)
    # The server's own requests, by the standing flow and by a new one of its host.
    ping = f"OPTIONS sip:100@{PUBLIC} SIP/2.0\r\nVia: SIP/2.0/UDP {SERVER}:5060;branch=z9hG4bKo\r\n\r\n".encode()
    with router.net.socket("server") as other:
        other.bind((SERVER, 5062))
        for end in (server, other):
            end.sendto(ping, public)
            assert f"OPTIONS sip:100@{PHONE}:5060".encode() in phone.recv(65535)
    # Another phone has no mapping there, and gets none.
    with router.net.socket("phone2") as new:
        new.bind((ADDRESS["phone2"], 5060))
        message = register(3, ADDRESS["phone2"])
        assert exchange(new, server, message)[0] == message
    assert router.mappings() == [(f"{PHONE}:5060", PUBLIC)]
    change(router, ports="5060")
    assert is_translated(exchange(phone, server, register(4))[0])


def test_conntracks_timeout_is_sip_timeout_before_and_after_a_change(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run("--sip-timeout", "600")
    received, public = exchange(phone, server, register())
    answers(server, received, public, phone)
    assert [590 <= seconds <= 600 for seconds in left(router)] == [True]
    for text, seconds in (("1200", 1200), ("2h", 7200), ("300", 300)):
        change(router, sip_timeout=text)
        assert [seconds - 10 <= found <= seconds for found in left(router)] == [True]
        # A further packet each way.
        received, source = exchange(phone, server, register(seconds))
        assert source == public
        answers(server, received, public, phone)
        assert [0.9 * seconds <= found <= seconds for found in left(router)] == [True]
    # And a flow that is new.
    with router.net.socket("server") as other:
        other.bind((SERVER, 5061))
        phone.sendto(register(9), (SERVER, 5061))
        other.recv(65535)
    assert [290 <= found <= 300 for found in left(router, "--dport", "5061")] == [True]
    rules = router.net.run("router", "nft", "list", "table", "ip", "sipalg")
    assert set(re.findall(r'ct timeout set "(\S+)"', rules)) == {"sip-300-300", "sip-30-300"}
    # Nothing that waited in the queue was lost by it.
    assert router.ask("status")["counters"]["queue"]["verdicts_refused"] == 0


def test_disabled_serves_what_stands_and_now_ends_it(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run()
    exchange(phone, server, register())
    assert ask(router.socket, "disable", PATIENCE_S)["changed"] == ["disabled"]
    assert is_translated(exchange(phone, server, register(2))[0])
    with router.net.socket("phone2") as new:
        new.bind((ADDRESS["phone2"], 5060))
        message = register(3, ADDRESS["phone2"])
        assert exchange(new, server, message)[0] == message
        assert router.ask("status")["counters"]["passes"]["disabled"] == 1
        ended = ask(router.socket, "disable", PATIENCE_S, {"now": True})
        assert ended["ended"] == {"mappings": 1, "calls": 0}
        assert router.mappings() == []
        assert exchange(phone, server, register(4))[0] == register(4)
        assert "disabled = true" in router.settings.read_text()
        # Enabled, the flows that stand are taken over with the ports that they have.
        change(router, disabled="no")
        assert {private for private, _ in router.mappings()} == {f"{PHONE}:5060", f"{ADDRESS['phone2']}:5060"}
        received, public = exchange(new, server, register(5, ADDRESS["phone2"]))
        assert f"{PUBLIC_ADDRESS}:{public[1]}>".encode() in received


def test_observing_begins_and_ends(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    exchange(phone, server, register())
    change(router, mode="observe")
    assert exchange(phone, server, register(2))[0] == register(2)
    with router.net.socket("phone2") as new:
        new.bind((ADDRESS["phone2"], 5060))
        message = register(3, ADDRESS["phone2"])
        received, public = exchange(new, server, message)
        assert received == message
        # The kernel still has the one mapping, and the engine imagines another.
        assert ADDRESS["phone2"] not in router.net.run("router", "nft", "list", "map", "ip", "sipalg", "snat_map")
        change(router, mode="enforce")
        received, source = exchange(new, server, register(4, ADDRESS["phone2"]))
        assert source == public
        assert f"<sip:100@{PUBLIC_ADDRESS}:{public[1]}>".encode() in received
    assert is_translated(exchange(phone, server, register(5))[0])
    assert [3500 <= seconds <= 3600 for seconds in left(router)] == [True]


def test_a_lost_file_is_made_so_that_it_can_be_started_with(router: Router) -> None:
    router.settings.write_text(FILE)
    router.run()
    router.settings.unlink()
    (note,) = change(router, sip_timeout="3h")["notes"]
    assert note.startswith(f"there was no {router.settings}: it is made")
    made = load(router.settings)
    assert (made.inside, made.outside, made.ports, made.sip_timeout_s) == (("lan0",), "wan0", (5060,), 10800.0)


def test_the_file_is_read_again_on_sighup(
    router: Router, phone: socket.socket, server: socket.socket, tmp_path: Path
) -> None:
    router.settings.write_text(FILE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        process = router.run(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(999).startswith(b"READY=1")
        exchange(phone, server, register())
        before = router.ask("status")["status"]
        for text, line in (
            ("ports = [0]\n", "reload-refused why="),
            (FILE.replace("wan0", "lan1"), ""),
            (FILE + "sip-timeout = 1800\n", "reloaded file="),
        ):
            router.settings.write_text(text)
            process.send_signal(signal.SIGHUP)
            assert manager.recv(999).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(999).startswith(b"READY=1\nSTATUS=translating lan0 to wan0\n")
            assert line in router.log.read_text().splitlines()[-1]
            status = router.ask("status")["status"]
            assert (status["pid"], status["mappings"]) == (before["pid"], 1)
        assert status["sip_timeout_s"] == 1800
    assert is_translated(exchange(phone, server, register(2))[0])


def test_a_follower_hears_what_happens_and_one_who_sleeps_is_in_nobodys_way(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run()
    with socket.socket(socket.AF_UNIX) as follower, socket.socket(socket.AF_UNIX) as sleeper:
        for end in (follower, sleeper):
            end.connect(str(router.socket))
            end.sendall(b'{"version": 1, "command": "events"}\n')
        follower.settimeout(PATIENCE_S)
        lines = follower.makefile()
        assert '"stream":"events"' in lines.readline()
        exchange(phone, server, register())
        heard = lines.readline()
        assert '"event": "mapping-opened"' in heard
        assert f'"private": "{PHONE}:5060"' in heard
        change(router, log_edits="yes")
        while "settings-changed" not in heard:
            heard = lines.readline()
        assert '"log-edits": "yes"' in heard
        for number in range(3000):
            exchange(phone, server, register(number))
        assert until(lambda: router.ask("status")["counters"]["packets"]["replaced"] >= 3000)
