"""`sipalg doctor` on real routers: a clear way, and several things that stand in it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest
from tests.live.router import PATIENCE_S, SERVER, Router, exchange, register, until

from sipalg.control.socket.client import ask
from sipalg.lab import firewall
from sipalg.lab.topology import EXEMPT_NETWORK, SITE_ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

SIDES = ("--inside", "lan0", "--inside", "lan1", "--outside", "wan0", "--except", EXEMPT_NETWORK)


def doctor(router: Router, *arguments: str, user: tuple[str, ...] = ()) -> dict[str, Any]:
    argv = (*user, sys.executable, "-m", "sipalg", "doctor", "--json", "--socket", str(router.socket), *arguments)
    command = router.net.command("router", *argv)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["verdict"] == done.returncode
    return answer


def codes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding["severity"], finding["code"]) for finding in answer["findings"]]


def test_all_well_with_a_running_alg(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--inside", "lan1", "--except", EXEMPT_NETWORK)
    exchange(phone, server, register())
    answer = doctor(router)
    assert codes(answer) == []
    assert answer["verdict"] == 0
    assert answer["not_looked_at"] == []
    assert answer["settings_of"] == f"the running sipalg (pid {router.running[0].pid})"


def test_a_textbook_firewall_is_well(router: Router) -> None:
    firewall.load(router.net, firewall.rules("strict"))
    router.run("--inside", "lan1", "--except", EXEMPT_NETWORK)
    answer = doctor(router)
    assert (codes(answer), answer["verdict"]) == ([("advice", "dnat-not-accepted")], 0)


def test_a_process_that_hangs_is_told_of_once(router: Router) -> None:
    process = router.run()
    process.send_signal(signal.SIGSTOP)
    found = doctor(router, *SIDES)["findings"]
    assert [one["code"] for one in found if one["severity"] == "error"] == ["daemon-silent"]
    assert f"(pid {process.pid})" in found[0]["text"]


def test_before_the_first_start(router: Router) -> None:
    before = router.rules()
    answer = doctor(router, *SIDES)
    assert codes(answer) == [("warning", "not-running")]
    assert answer["verdict"] == 1
    assert router.rules() == before


def test_the_kernel_s_helper_and_a_filter_that_keeps_media_out(router: Router) -> None:
    firewall.load(router.net, firewall.rules("strict", kernel_helper=True))
    answer = doctor(router, *SIDES)
    assert codes(answer) == [("error", "kernel-helper"), ("warning", "not-running"), ("advice", "dnat-not-accepted")]
    assert answer["verdict"] == 2
    # The remedies are commands.
    for finding in (answer["findings"][0], answer["findings"][2]):
        remedy = finding["text"].rpartition("nft ")[2]
        router.net.run("router", "nft", *remedy.split())
    assert codes(doctor(router, *SIDES)) == [("warning", "not-running")]


def test_a_filter_that_lets_nothing_out(router: Router) -> None:
    sides = ("--inside", "lan0", "--outside", "wan0")
    firewall.load(
        router.net,
        firewall.rules("loose")
        + "table ip fw { chain forward { type filter hook forward priority 0; policy drop;"
        + " ct state established,related accept\n }\n }\n",
    )
    found = doctor(router, *sides)["findings"][0]
    assert (found["severity"], found["code"]) == ("error", "forward-closed")
    assert "the forward chain doesn't accept SIP from lan0 to wan0" in found["text"]
    router.run()
    assert "warning: table ip fw chain forward: the forward chain doesn't accept SIP" in router.log.read_text()
    # The remedy is a command, and what runs hears of it.
    router.net.run("router", "sh", "-c", found["text"].rpartition("; ")[2])
    assert until(lambda: not any("forward chain" in line for line in router.ask("status")["warnings"]))
    assert ("error", "forward-closed") not in codes(doctor(router, *sides))
    # With ports that the rule doesn't name it is closed again.
    ask(router.socket, "set", arguments={"values": {"ports": "5080"}, "save": False})
    assert until(lambda: any("forward chain" in line for line in router.ask("status")["warnings"]))


def test_flows_that_the_kernel_s_helper_has_after_its_rule_is_gone(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    firewall.load(router.net, firewall.rules("loose", kernel_helper=True))
    exchange(phone, server, register())
    firewall.load(router.net, firewall.rules("loose"))
    assert ("error", "helped-flows") in codes(doctor(router, *SIDES))
    router.net.run("router", "conntrack", "-D", "-p", "udp", "--dport", "5060")
    assert ("error", "helped-flows") not in codes(doctor(router, *SIDES))


def test_an_exemption_that_isnt_in_except(router: Router) -> None:
    nets = "{ 192.168.33.0/24 }"
    router.net.run("router", "nft", "insert", "rule", "ip", "nat", "postrouting", "ip", "saddr", nets, "ip", "daddr",
                   "10.50.0.0/16", "accept")  # fmt: skip
    answer = doctor(router, *SIDES)
    (text,) = [finding["text"] for finding in answer["findings"] if finding["code"] == "exemption"]
    assert "--except 10.50.0.0/16" in text


def test_sip_that_the_nat_leaves_as_it_is(router: Router, phone: socket.socket) -> None:
    phone.sendto(b"OPTIONS sip:x SIP/2.0\r\n\r\n", (SITE_ADDRESS, 5060))
    sides = SIDES[:-2]
    assert until(lambda: ("warning", "leaves-untranslated") in codes(doctor(router, *sides)))
    assert codes(doctor(router, *SIDES)) == [("warning", "not-running")]


def test_forwarding_that_is_off(router: Router) -> None:
    router.net.sysctl("router", "net.ipv4.ip_forward", 0)
    try:
        answer = doctor(router, *SIDES)
    finally:
        router.net.sysctl("router", "net.ipv4.ip_forward", 1)
    assert codes(answer)[0] == ("error", "forwarding-off")
    assert answer["verdict"] == 2


def test_phones_that_use_another_port(router: Router, net: Topology) -> None:
    router.run("--inside", "lan1", "--except", EXEMPT_NETWORK)
    with net.socket("phone2") as phone, net.socket("server") as other:
        other.bind((SERVER, 5080))
        other.settimeout(PATIENCE_S)
        phone.sendto(b"REGISTER x SIP/2.0\r\n\r\n", (SERVER, 5080))
        other.recv(65535)
    (finding,) = doctor(router)["findings"]
    assert finding["code"] == "other-port"
    assert finding["text"].endswith("set ports=5060,5061,5080")


def test_a_server_that_sees_another_address(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--inside", "lan1", "--except", EXEMPT_NETWORK, "--sip-timeout", "2h")
    received, source = exchange(phone, server, register())
    answer = b"SIP/2.0 200 OK\r\n" + received.partition(b"\r\n")[2]
    server.sendto(answer.replace(b";rport", b";received=198.51.100.77;rport=4711"), source)
    phone.recv(65535)
    answer_of_doctor = doctor(router)
    assert codes(answer_of_doctor) == [("warning", "nat-ahead")] * 2
    assert "servers see address 198.51.100.77 " in answer_of_doctor["findings"][0]["text"]


def test_without_rights_it_says_what_it_couldn_t_look_at(router: Router) -> None:
    router.run("--inside", "lan1", "--except", EXEMPT_NETWORK)
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")
    answer = doctor(router, *SIDES, user=drop)
    # Which it may be, by other tests: of a helper that is loaded only root knows whether a rule uses it.
    assert set(codes(answer)) <= {("warning", "helper-loaded")}
    missed = [one["what"] for one in answer["not_looked_at"]]
    assert missed == ["firewall rules", "connection tracker", "kernel features"]
