"""`sipalg calls --device` on a router, with a phone inside and a server outside."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from tests.live.lecture import PHONE, PUBLIC, SERVER, Lecture

from sipalg.analysis.ladder import draw
from sipalg.browse.device import Device, listen
from sipalg.lab.topology import NETNS_DIRECTORY, enter

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

REGISTER = (
    f"REGISTER sip:{SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE}:5060;branch=z9hG4bK1\r\nFrom: <sip:1@x>;tag=1\r\n"
    f"To: <sip:1@x>\r\nCall-ID: one\r\nCSeq: 1 REGISTER\r\nContact: <sip:1@{PHONE}>\r\nContent-Length: 0\r\n\r\n"
).encode()
OK = b"SIP/2.0 200 OK" + REGISTER[REGISTER.index(b"\r\n") :]


def talk(lecture: Lecture) -> None:
    """Voice, which nobody wants to see, a REGISTER on ports of its own and its 200."""
    with lecture.end("phone", PHONE, 5999) as phone, lecture.end("server", SERVER, 7060) as server:
        phone.sendto(b"\x80\x00" + bytes(170), (SERVER, 7060))
        server.recv(65535)
        phone.sendto(REGISTER, (SERVER, 7060))
        _, public = server.recvfrom(65535)
        server.sendto(OK, public)
        assert phone.recv(65535) == OK


def test_both_sides_of_a_router_while_it_happens(tmp_path: Path) -> None:
    lecture = Lecture(tmp_path)
    with lecture.up():
        argv = lecture._command("calls", "-d", "vlan20", "-d", "ether1-gateway", "--json")
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "sipalg calls: listening to vlan20, ether1-gateway; Ctrl-C ends it\n"
            talk(lecture)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    answer = json.loads(out)
    assert answer["dropped"] == 0
    (row,) = answer["calls"]
    assert (row["state"], row["sip_packets"], row["private_addresses"]) == ("registered", 4, [PHONE])


def test_ladder_has_the_router_in_the_middle(tmp_path: Path) -> None:
    lecture = Lecture(tmp_path)
    made: list[Device] = []

    def begin() -> None:
        enter(NETNS_DIRECTORY / lecture.name("router"))
        made.append(Device(["any"]))

    def speak() -> None:
        talk(lecture)
        signal.raise_signal(signal.SIGTERM)

    with lecture.up():
        lecture.within(begin)
        device = made[0]
        try:
            listen(device, speak)
        finally:
            device.close()
    messages = device.calls.messages(frozenset({"one"}))
    assert draw(messages, 80)[0].split() == [PHONE, PUBLIC, SERVER]
    assert len(messages) == 4
    assert device.calls.save(frozenset({"one"}), tmp_path / "out.pcap") == 4
