"""`sipalg compare` on captures that tcpdump makes on both sides of a router: sipalg, Linux's own helper, a proxy."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, register

from sipalg import cli
from sipalg.lab import firewall
from sipalg.lab.packets import read_capture
from sipalg.lab.programs import Capture, missing_packages, wait_until
from sipalg.lab.scenarios.calls import call_out
from sipalg.lab.stage import Mode, Needs, Stage
from sipalg.lab.topology import ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

#: The phone's ports are never the public ones, as on the lecture's router.
OTHER_PORTS = ("--reserved-ports", "5060,10000-10999")

SDP = f"v=0\r\no=- 1 1 IN IP4 {PHONE}\r\ns=-\r\nc=IN IP4 {PHONE}\r\nt=0 0\r\nm=audio 10000 RTP/AVP 0\r\n"
MULTIPART = (
    "--b\r\nContent-Type: application/sdp\r\n\r\n" + SDP + "\r\n--b\r\n"
    "Content-Type: text/plain\r\n\r\nHello\r\n--b--\r\n"
)


def invite(
    call: str, contact: str = f"<sip:100@{PHONE}>", body: str = SDP, kind: str = "application/sdp"
) -> bytes:
    return (
        f"INVITE sip:200@{SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE}:5060;branch=z9hG4bK{call};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:100@{SERVER}>;tag={call}\r\nTo: <sip:200@{SERVER}>\r\n"
        f"Call-ID: {call}@{PHONE}\r\nCSeq: 1 INVITE\r\nContact: {contact}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


#: The cases by number: what the phone sends, and what Linux's own helper makes of it.
CASES: dict[int, tuple[bytes, str]] = {
    4: (
        invite("four", f"<sip:a@{PHONE}:5060>, <sip:b@{PHONE}:5060>;q=0.5, <sip:c@{PHONE}:5060>"),
        "contact-private",
    ),
    5: (invite("five", f"<sip:a@phone.lan>, <sip:b@{PHONE}>"), "contact-private"),
    12: (invite("twelve", body=MULTIPART, kind="multipart/mixed;boundary=b"), "content-length-wrong"),
    15: (invite("fifteen").replace(b"\r\n", b"\n").replace(b"Content-Length: 96", b"Content-Length: 90"),
         "sdp-connection-private"),
    21: (invite("twentyone", body=SDP.replace(f"c=IN IP4 {PHONE}", "c=IN IP4 0.0.0.0")), "sdp-origin-zero"),
}


def compared(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    code = cli.main(["compare", str(before), str(after), "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    result: dict[str, Any] = json.loads(out)
    assert code == (result["result"] == "poor")
    return result


def poor_rules(result: dict[str, Any]) -> list[str]:
    return [finding["rule"] for finding in result["findings"] if finding["level"] == "poor"]


def sent(net: Topology, phone: socket.socket, server: socket.socket, messages: Sequence[bytes]) -> tuple[Path, Path]:
    """Send messages from the phone to the server; return the captures of both sides."""
    with Capture(net, "router", "lan0") as before, Capture(net, "router", "wan0") as after:
        for data in messages:
            phone.sendto(data, (SERVER, 5060))
            server.recv(65536)
        # tcpdump reads its own copy of a packet, and may be behind.
        paths = before.path, after.path
        assert wait_until(lambda: all(len(list(read_capture(path))) >= len(messages) for path in paths), PATIENCE_S)
    return paths


@pytest.mark.parametrize("number", CASES)
def test_linuxs_own_helper_is_caught(
    number: int,
    net: Topology,
    router: Router,
    phone: socket.socket,
    server: socket.socket,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert router.net is net
    firewall.load(net, firewall.rules("loose", kernel_helper=True))
    data, rule = CASES[number]
    result = compared(*sent(net, phone, server, [register(number), data]), capsys)
    assert result["result"] == "poor"
    assert rule in poor_rules(result)


def test_sipalg_in_the_same_cases_hears_no_word(
    net: Topology,
    router: Router,
    phone: socket.socket,
    server: socket.socket,
    capsys: pytest.CaptureFixture[str],
) -> None:
    router.run(*OTHER_PORTS)
    result = compared(*sent(net, phone, server, [register(), *(data for data, _ in CASES.values())]), capsys)
    # Only that nobody spoke.
    assert (result["result"], [finding["rule"] for finding in result["findings"]]) == ("good", ["media-unseen"])
    assert result["changed"] == ["Via", "Contact", "o=", "c=", "m=", "Content-Length"]


@pytest.fixture(scope="module")
def programs() -> None:
    missing = missing_packages()
    if missing:
        pytest.skip(f"programs are missing: apt-get install {' '.join(missing)}")


Played = Callable[[Mode], dict[str, Any]]


@pytest.fixture
def played(programs: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Played:
    """played(mode): a phone registers, calls and hangs up; what compare says of the router's two sides."""

    def play(mode: Mode) -> dict[str, Any]:
        assert programs is None
        with Stage(mode, Needs(options=OTHER_PORTS), tmp_path) as stage:
            if mode == "none":
                stage.phone("101", "phone1", 440)
            else:
                call_out(stage)
        return compared(tmp_path / "router-lan0.pcap", tmp_path / "router-wan0.pcap", capsys)

    return play


def test_a_register_and_a_call_through_sipalg(played: Played) -> None:
    result = played("sipalg")
    assert (result["result"], result["findings"]) == ("good", [])
    assert result["changed"] == ["Via", "Contact", "o=", "c=", "m=", "Content-Length"]
    assert all(pair["before"]["call_id"] == pair["after"]["call_id"] for pair in result["pairs"])
    messages = {pair["message"] for pair in result["pairs"]}
    assert {"REGISTER", "200 REGISTER", "INVITE", "200 INVITE", "ACK", "BYE"} <= messages


def test_a_register_through_plain_nat(played: Played) -> None:
    result = played("none")
    assert (result["result"], result["findings"], result["changed"]) == ("none", [], [])


def test_a_call_through_linuxs_own_helper(played: Played) -> None:
    """Where the phone speaks first and plainly, it does well, and nothing else is said of it."""
    result = played("kernel")
    assert (result["result"], poor_rules(result)) == ("good", [])


def test_kamailio_between_is_a_proxy(
    programs: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ends outside: what the server hears of one phone, and what the other one hears of the server."""
    assert programs is None
    with Stage("none", Needs(hosts=("server", "far1", "far2"), listen_at=("far1", "far2")), tmp_path) as stage:
        called = stage.phone("201", "far1", 1000, rtp_port=20000)
        caller = stage.phone("202", "far2", 440, rtp_port=22000)
        stage.call(caller, called)
        stage.hang_up(caller, called)
    result = compared(tmp_path / "far2-eth0.pcap", tmp_path / "far1-eth0.pcap", capsys)
    assert (result["result"], result["proxy"], poor_rules(result)) == ("none", True, [])
    assert {"INVITE", "200 INVITE", "BYE"} <= {pair["message"] for pair in result["pairs"]}
    assert ADDRESS["server"] in result["pairs"][0]["before"]["destination"]
