"""RouterOS's commands on a running ALG: what its users type, and what they see."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, exchange, register

from sipalg.lab.topology import PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]


def run(router: Router, *words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "sipalg", *words, "--socket", str(router.socket))
    command = router.net.command("router", *argv)
    return subprocess.run(command, capture_output=True, text=True, input=typed, timeout=PATIENCE_S, check=False)


def shown(router: Router, *words: str, typed: str | None = None) -> list[str]:
    done = run(router, *words, typed=typed)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def items(router: Router, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads("\n".join(shown(router, *words, "--json")))
    return found


def test_flows_with_their_flags_and_the_time_left(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.run("--sip-timeout", "30m")
    assert shown(router, "/ip firewall connection print")[3:] == []
    received, public = exchange(phone, server, register())
    flags, columns, heads, row = shown(router, "/ip firewall connection print")
    assert flags.startswith("Flags: S - SEEN-REPLY; A - ASSURED; C - CONFIRMED;")
    assert columns == "Columns: PROTOCOL, SRC-ADDRESS, DST-ADDRESS, REPLY-DST-ADDRESS, TIMEOUT, CONNECTION-TYPE"
    assert heads.split() == ["#", *columns.removeprefix("Columns: ").split(", ")]
    number, letters, protocol, *ends, timeout, kind = row.split()
    assert (number, letters, protocol, kind) == ("0", "Cs", "udp", "sip")
    assert ends == [f"{PHONE}:5060", f"{SERVER}:5060", f"{PUBLIC_ADDRESS}:5060"]
    assert re.fullmatch(r"30m|29m\d+s", timeout)
    server.sendto(b"SIP/2.0 200 OK\r\n" + received.partition(b"\r\n")[2], public)
    phone.recv(65535)
    assert shown(router, "/ip", "firewall", "connection", "print", "count-only", "where", "seen-reply") == ["1"]
    assert shown(router, "/ip firewall connection print count-only where timeout<1m") == ["0"]
    (item,) = items(router, "/ip firewall connection print")
    assert (item["reply-dst-address"], item["seen-reply"], item["dstnat"]) == (f"{PUBLIC_ADDRESS}:5060", True, False)


def test_what_the_table_does_as_rules(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    exchange(phone, server, register())
    out, back = items(router, "/ip firewall nat print where action!=accept")
    assert (out["chain"], out["src-address"], out["src-port"]) == ("srcnat", PHONE, "5060")
    assert (out["to-addresses"], out["to-ports"], out["dynamic"]) == (PUBLIC_ADDRESS, "5060", True)
    assert (back["chain"], back["src-address"], back["dst-address"]) == ("dstnat", SERVER, PUBLIC_ADDRESS)
    assert (back["to-addresses"], back["in-interface"]) == (PHONE, "wan0")
    row = shown(router, "/ip/firewall/nat/print where comment=sip and chain=srcnat")[-1]
    assert row.split()[1:4] == ["D", "srcnat", "src-nat"]


def test_a_mistake_is_one_line_and_changes_nothing(router: Router) -> None:
    router.run()
    before = router.rules()
    done = run(router, "/ip firewall nat print where colour=red")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sipalg: bad property colour (line 1 column 30): there are chain")
    assert router.rules() == before


def test_console_and_script(router: Router, phone: socket.socket, server: socket.socket, tmp_path: Path) -> None:
    router.run()
    exchange(phone, server, register())
    commands = "/ip firewall\nconnection print count-only\nnat\nprint count-only where chain=dstnat\n"
    assert shown(router, "console", typed=commands) == ["1", "1"]
    (tmp_path / "script.rsc").write_text(commands)
    assert shown(router, "script", str(tmp_path / "script.rsc")) == ["1", "1"]


# Settings of a running ALG

P = "/ip firewall service-port "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sipalg.toml"
    path.write_text("# mine\nports = [5060, 5061]  # the provider's\n")
    return path


def test_the_lectures_session_on_a_running_alg(
    router: Router, phone: socket.socket, server: socket.socket, file: Path
) -> None:
    router.run("--config", str(file))
    exchange(phone, server, register(1))
    mappings = router.mappings()
    line = P + "set sip ports=5060,5061 sip-direct-media=yes sip-timeout=01:00:00 disabled=no"
    assert shown(router, line) == []
    assert shown(router, P + "print") == [
        "Flags: X - DISABLED; I - INVALID",
        "Columns: NAME, PORTS",
        "#  NAME  PORTS",
        "0  sip    5060",
        "          5061",
    ]
    assert shown(router, P + "set sip ports=5080 sip-timeout=30m") == []
    (item,) = items(router, P + "print")
    assert (item["ports"], item["sip-timeout"], item["disabled"]) == ("5080", "30m", False)
    assert "# mine" in file.read_text()
    assert "5080" in file.read_text()
    shown(router, P + "disable sip")
    assert shown(router, P + "print")[3] == "0 X  sip    5080"
    shown(router, P + "enable sip")
    shown(router, P + "set [find ports=5080] ports=5060,5061")
    typed = [P, line.removeprefix(P), "enable sip", "get sip sip-timeout", "set sip sip-timeout=30m"]
    assert shown(router, "console", typed="\n".join(typed)) == ["1h"]
    # Neither the mapping nor the registration was lost on the way.
    assert router.mappings() == mappings
    assert exchange(phone, server, register(2))[1][1] == 5060
    assert shown(router, P + "export")[-1] == "set sip inside=lan0 outside=wan0 sip-timeout=30m"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("set sip ports=1,2,3,4,5,6,7,8,9", "9 ports are too many"),
        ("set sip ports=5060-5070", "ranges aren't taken"),
        ("set sip ports=0", "'0' is no port"),
        ("set sip sip-timeout=abc", "value of sip-timeout"),
        ("set sip colour=red", "bad parameter colour"),
        ("set h323 ports=5060", "no such item h323"),
        ("set sip ports=5070 queue=1", "queue: can't be changed while sipalg runs"),
    ],
)
def test_what_is_wrong_changes_nothing(router: Router, file: Path, command: str, named: str) -> None:
    router.run("--config", str(file))
    before = (router.rules(), file.read_bytes(), items(router, P + "print"))
    done = run(router, P + command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert (router.rules(), file.read_bytes(), items(router, P + "print")) == before


def test_disable_now_ends_what_stands(
    router: Router, phone: socket.socket, server: socket.socket, file: Path
) -> None:
    router.run("--config", str(file))
    exchange(phone, server, register())
    assert len(shown(router, "/ip firewall nat print where chain=srcnat and action=src-nat")) > 2
    assert shown(router, "/ip", "firewall", "service-port", "disable", "sip", "--now") == []
    assert router.mappings() == []
    assert shown(router, "/ip firewall nat print terse where action=src-nat") == []


def test_an_interface_that_is_gone_makes_the_entry_invalid(router: Router) -> None:
    router.net.run("router", "ip", "link", "add", "lan9", "type", "veth", "peer", "name", "lan9b")
    try:
        router.run("--inside", "lan9")
        assert shown(router, P + "print")[3].startswith("0  sip")
    finally:
        router.net.run("router", "ip", "link", "del", "lan9")
    assert shown(router, P + "print")[3].startswith("0 I  sip")
