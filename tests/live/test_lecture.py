"""The lecture's session from end to end: two captures by its own commands, compared, and a verdict from the first."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.lecture import PHONE, PUBLIC, SERVER, Lecture
from tests.live.router import PATIENCE_S, until
from tests.live.test_runs import AFTER, BEFORE

from sipalg import cli
from sipalg.sniffer.runs import Runs

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

#: The lecture's phone gets port 1024 of the router, and its media another port than its own.
RESERVED = "5060,14254-14255"
PHONE_RTP = 14254
SERVER_RTP = 19032
RTP_PACKETS = 40
DIALOG = ("Via", "From", "To", "Call-ID", "CSeq")


def request(method: str, number: int, more: str = "", body: str = "", call: str = "9c8a315e-419d32d1") -> bytes:
    """A message of the lecture's Cisco phone: its own address everywhere, and no rport."""
    tag = ";tag=as6d45b1" if method in ("ACK", "BYE") else ""
    user, uri = ("100", f"sip:{SERVER}") if method == "REGISTER" else ("*98", f"sip:*98@{SERVER}")
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE}:5060;branch=z9hG4bK-{number}{method}\r\n"
        f'From: "100" <sip:100@{SERVER}>;tag=36d71bb091995583o1\r\nTo: <sip:{user}@{SERVER}>{tag}\r\n'
        f"Call-ID: {call}@{PHONE}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n{more}"
        f'Contact: "100" <sip:100@{PHONE}:5060>\r\nUser-Agent: Cisco/SPA504G-7.6.2b\r\n{kind}'
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def answer(received: bytes, status: str, more: str = "", body: str = "") -> bytes:
    """What the server says: to the Via it got, without a look at where the packet came from."""
    lines = received.decode().split("\r\n")
    kept = [line for line in lines if line.partition(":")[0] in DIALOG]
    kept = [f"{line};tag=as6d45b1" if line.startswith("To:") and ";tag=" not in line else line for line in kept]
    kind = "Content-Type: application/sdp\r\n" if body else ""
    head = "\r\n".join([f"SIP/2.0 {status}", *kept])
    return f"{head}\r\n{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def description(address: str, port: int) -> str:
    return (
        f"v=0\r\no=- 176664 176664 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def rtp(number: int, source: int) -> bytes:
    return (
        b"\x80\x00" + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big") + source.to_bytes(4, "big")
    ) + bytes(160)


def rtcp(source: int) -> bytes:
    """A receiver report without blocks."""
    return b"\x80\xc9\x00\x01" + source.to_bytes(4, "big")


class Session:
    """The phone and its provider's server, with or without sipalg between them."""

    def __init__(self, lecture: Lecture, phone: socket.socket, server: socket.socket) -> None:
        self.lecture = lecture
        self.phone = phone
        self.server = server

    def transact(self, message: bytes, status: str, more: str = "", body: str = "") -> bytes:
        """Send a request; what the server got. It answers to where the Via says: `more` has braces for that."""
        self.phone.sendto(message, (SERVER, 5060))
        received = self.server.recv(65535)
        if status:
            via = re.search(rb"^Via: SIP/2.0/UDP ([\d.]+):(\d+)", received, re.MULTILINE)
            assert via is not None
            end = via[1].decode(), int(via[2])
            self.server.sendto(answer(received, status, more.format(*end), body), end)
        return received

    def listen(self, status: bytes) -> None:
        assert self.phone.recv(65535).startswith(b"SIP/2.0 " + status)

    def register_and_call(self) -> None:
        """REGISTER, 401, REGISTER, 200; INVITE, 200, ACK; audio there and back; BYE, 200."""
        more = "Expires: 3600\r\n"
        challenge = 'WWW-Authenticate: Digest algorithm=MD5, realm="asterisk", nonce="01a48834"\r\n'
        self.transact(request("REGISTER", 60159, more, call="6593bf0b"), "401 Unauthorized", challenge)
        self.listen(b"401")
        more += 'Authorization: Digest username="100",realm="asterisk",nonce="01a48834",response="36cd"\r\n'
        bound = 'Contact: "100" <sip:100@{}:{}>;expires=3600\r\n'
        self.transact(request("REGISTER", 60160, more, call="6593bf0b"), "200 OK", bound)
        self.listen(b"200")
        contact = f"Contact: <sip:*98@{SERVER}:5060>\r\n"
        offer = description(PHONE, PHONE_RTP)
        got = self.transact(
            request("INVITE", 101, body=offer), "200 OK", contact, description(SERVER, SERVER_RTP)
        ).decode()
        self.listen(b"200")
        self.transact(request("ACK", 101), "")
        self.talk(got)
        self.transact(request("BYE", 102), "200 OK")
        self.listen(b"200")

    def talk(self, offer: str) -> None:
        """Audio both ways with its reports, the server's to where the offer that it got says."""
        address = offer.partition("c=IN IP4 ")[2].partition("\r\n")[0]
        port = int(offer.partition("m=audio ")[2].partition(" ")[0])
        voices = [rtp(number, 1) for number in range(RTP_PACKETS)], [rtp(number, 2) for number in range(RTP_PACKETS)]
        for step, packets in ((0, voices), (1, ([rtcp(1)], [rtcp(2)]))):
            with (
                self.lecture.end("phone", PHONE, PHONE_RTP + step) as near,
                self.lecture.end("server", SERVER, SERVER_RTP + step) as far,
            ):
                for out, back in zip(*packets, strict=True):
                    near.sendto(out, (SERVER, SERVER_RTP + step))
                    assert far.recv(65535) == out
                    far.sendto(back, (address, port + step))
                    assert near.recv(65535) == back


@pytest.fixture
def lecture(tmp_path: Path) -> Iterator[Lecture]:
    lecture = Lecture(tmp_path)
    with lecture.up():
        yield lecture


@pytest.fixture
def session(lecture: Lecture) -> Iterator[Session]:
    with lecture.end("phone", PHONE, 5060) as phone, lecture.end("server", SERVER, 5060) as server:
        yield Session(lecture, phone, server)


@pytest.fixture
def alg(lecture: Lecture) -> Iterator[None]:
    """`sipalg run` on the router."""
    options = ("--inside", "vlan20", "--outside", "ether1-gateway", "--reserved-ports", RESERVED)
    process = lecture.begin("run", *options)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.terminate()
        process.communicate(timeout=15)


class Sniffers:
    """The lecture's two captures at once, each in a directory of its own: one sniffer makes one file at a time."""

    def __init__(self, lecture: Lecture, directory: Path) -> None:
        self._lecture = lecture
        self._directory = directory
        self.captures = {"before": directory / "before", "after": directory / "after"}
        for name, path in self.captures.items():
            (directory / f"{name}.toml").write_text(f'captures = "{path}"\n')

    def type(self, name: str, command: str) -> subprocess.CompletedProcess[str]:
        places = ("--config", str(self._directory / f"{name}.toml"), "--socket", str(self._directory / "no.sock"))
        return self._lecture.sipalg(command, *places)

    def around(self, session: Session) -> tuple[Path, Path]:
        """The two files that the lecture's commands make of a register and a call."""
        try:
            for name, command in (("before", BEFORE), ("after", AFTER)):
                self.type(name, command)
                self.type(name, "/tool sniffer start")
            session.register_and_call()
            for name in self.captures:
                assert "0 dropped by the kernel" in self.type(name, "/tool sniffer stop").stderr
        finally:
            for path in self.captures.values():
                Runs(path).stop()
        return self.captures["before"] / "before-ALG.pcap", self.captures["after"] / "after-ALG.pcap"


def read(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = cli.main([*words, "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return code, found


@pytest.mark.usefixtures("alg")
def test_a_register_and_a_call_through_the_alg(
    lecture: Lecture, session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = Sniffers(lecture, tmp_path).around(session)
    code, compared = read(capsys, "compare", str(before), str(after))
    # Nobody spoke, and nothing else is said of it.
    rules = [finding["rule"] for finding in compared["findings"]]
    assert (code, compared["result"], rules) == (0, "good", ["media-unseen"])
    assert compared["changed"] == ["Via", "Contact", "o=", "c=", "m=", "Content-Length"]
    pairs = compared["pairs"]
    assert [pair["message"] for pair in pairs] == [
        "REGISTER", "401 REGISTER", "REGISTER", "200 REGISTER", "INVITE", "200 INVITE", "ACK", "BYE", "200 BYE",
    ]  # fmt: skip
    assert all(PHONE in pair["before"]["call_id"] for pair in pairs)
    assert all(pair["before"]["call_id"] == pair["after"]["call_id"] for pair in pairs)
    assert pairs[0]["after"]["source"].startswith(PUBLIC)
    assert not pairs[0]["after"]["source"].endswith(":5060")

    assert cli.main(["calls", str(before), "--json"]) == 0
    calls = json.loads(capsys.readouterr().out)["calls"]
    assert [(one["kind"], one["state"]) for one in calls] == [("registration", "registered"), ("call", "ended")]

    code, diagnosed = read(capsys, "diagnose", str(before))
    (phone,) = diagnosed["phones"]
    # That it needs one is a warning; from this side nothing tells that one is at work.
    assert (code, phone["aware"], phone["alg"], diagnosed["alg"]) == (1, "not NAT aware", "needed", "needed")
    assert phone["why"][0]["text"] == f"names the private address {PHONE} in Via, Contact and SDP"
    assert [finding for finding in diagnosed["findings"] if finding["severity"] != "note"] == []


@pytest.mark.usefixtures("alg")
def test_what_the_alg_itself_tells_is_compared_as_well(
    lecture: Lecture, session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sipalg trace` writes what the ALG was given and what it made: each file has both directions of it."""
    given, made = tmp_path / "given.pcap", tmp_path / "made.pcap"
    trace = lecture.begin("trace", str(given), str(made), "--count", "9")
    try:
        # The file is there when the ALG has begun to tell.
        assert until(made.exists)
        session.register_and_call()
        trace.wait(PATIENCE_S)
    finally:
        trace.kill()
        trace.communicate()
    code, compared = read(capsys, "compare", str(given), str(made))
    # Nobody spoke, and nothing else is said of it.
    rules = [finding["rule"] for finding in compared["findings"]]
    assert (code, compared["result"], rules) == (0, "good", ["media-unseen"])
    assert compared["changed"] == ["Via", "Contact", "o=", "c=", "m=", "Content-Length"]
    assert len(compared["pairs"]) == 9


def test_a_register_without_an_alg(
    lecture: Lecture, session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control: the server's answer goes to the phone's private address, and is never seen again."""
    sniffers = Sniffers(lecture, tmp_path)
    lecture.inside("server", "ip", "route", "add", "default", "dev", "eth0")

    class Alone(Session):
        def register_and_call(self) -> None:
            for number in (60159, 60160):
                self.transact(request("REGISTER", number, "Expires: 3600\r\n"), "401 Unauthorized")

    before, after = sniffers.around(Alone(lecture, session.phone, session.server))
    code, compared = read(capsys, "compare", str(before), str(after))
    assert (code, compared["result"], compared["changed"]) == (0, "none", [])
    code, diagnosed = read(capsys, "diagnose", str(before))
    (phone,) = diagnosed["phones"]
    assert (code, phone["aware"], phone["alg"]) == (1, "not NAT aware", "needed")
