"""The sniffer as its users have it: RouterOS's commands typed on a router, real packets, files that tshark reads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.lecture import PHONE, PUBLIC, SERVER, Lecture
from tests.live.router import PATIENCE_S
from tests.sniffer.packets import ethernet, udp

from sipalg.capture.records import Captured, Pcap
from sipalg.sniffer.directory import CapturesError
from sipalg.sniffer.runs import Runs

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

BEFORE = (
    "/tool sniffer set only-headers=no file-name=before-ALG.pcap file-limit=4096 filter-interface=vlan20"
    " filter-ip-address=192.168.20.100/32 filter-direction=any"
)
AFTER = (
    "/tool sniffer set only-headers=no file-name=after-ALG.pcap file-limit=4096 filter-interface=ether1-gateway"
    " filter-ip-address=207.252.1.148/32 filter-port=5060 filter-direction=any"
)
REGISTER = (
    f"REGISTER sip:{SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE}:5060;branch=z9hG4bK1\r\nFrom: <sip:1@x>;tag=1\r\n"
    f"To: <sip:1@x>\r\nCall-ID: one\r\nCSeq: 1 REGISTER\r\nContact: <sip:1@{PHONE}>\r\nContent-Length: 0\r\n\r\n"
).encode()
OK = b"SIP/2.0 200 OK" + REGISTER[REGISTER.index(b"\r\n") :]


@pytest.fixture
def lecture(tmp_path: Path) -> Iterator[Lecture]:
    lecture = Lecture(tmp_path)
    with lecture.up():
        yield lecture
        Runs(lecture.captures).stop()


@pytest.fixture
def phone(lecture: Lecture) -> Iterator[socket.socket]:
    with lecture.end("phone", PHONE, 5060) as end:
        yield end


@pytest.fixture
def server(lecture: Lecture) -> Iterator[socket.socket]:
    with lecture.end("server", SERVER, 5060) as end:
        yield end


def talk(phone: socket.socket, server: socket.socket, times: int = 1) -> None:
    """REGISTER and its 200, there and back."""
    for _ in range(times):
        phone.sendto(REGISTER, (SERVER, 5060))
        request, public = server.recvfrom(65535)
        assert (request, public[0]) == (REGISTER, PUBLIC)
        server.sendto(OK, public)
        assert phone.recv(65535) == OK


def tshark(path: Path, *fields: str, options: tuple[str, ...] = ()) -> list[list[str]]:
    """The fields of each packet; tshark must find nothing wrong with the file."""
    argv = ["tshark", "-r", str(path), *options, "-T", "fields", *(word for name in fields for word in ("-e", name))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def rows(lecture: Lecture, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lecture.sipalg(*words, "--json").stdout)
    return found


def state_when(runs: Runs, key: str, least: int) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (state := runs.state())[key] < least:
        assert time.monotonic() < deadline, state
    return state


def test_the_lecture_s_two_captures_as_typed(lecture: Lecture, phone: socket.socket, server: socket.socket) -> None:
    for command in (BEFORE, AFTER):
        assert lecture.sipalg(command).stdout == ""
        assert lecture.sipalg("/tool sniffer start").stdout == ""
        # Neither port nor address of the second one's filter.
        with lecture.end("phone", PHONE, 7000) as other:
            other.sendto(b"not SIP", (SERVER, 7000))
        talk(phone, server)
        stopped = lecture.sipalg("/tool sniffer stop")
        assert "0 dropped by the kernel" in stopped.stderr
    fields = ("ip.src", "ip.dst", "udp.dstport", "sip.Method", "sip.Status-Code")
    before = [row for row in tshark(lecture.captures / "before-ALG.pcap", *fields) if row[2] == "5060"]
    after = tshark(lecture.captures / "after-ALG.pcap", *fields)
    assert before == [[PHONE, SERVER, "5060", "REGISTER", ""], [SERVER, PHONE, "5060", "", "200"]]
    assert after == [[PUBLIC, SERVER, "5060", "REGISTER", ""], [SERVER, PUBLIC, "5060", "", "200"]]
    names = [row["name"] for row in rows(lecture, "/file print")]
    assert names == ["after-ALG.pcap", "before-ALG.pcap"]
    with (lecture.captures / "got").open("wb") as target:
        target.write((lecture.captures / "after-ALG.pcap").read_bytes())
    assert lecture.sipalg("file", "get", "after-ALG.pcap", "--output", str(lecture.captures / "got2")).stdout == ""
    assert (lecture.captures / "got2").read_bytes() == (lecture.captures / "got").read_bytes()
    assert lecture.sipalg("/file remove before-ALG.pcap").stdout == ""
    assert not (lecture.captures / "before-ALG.pcap").exists()


def test_tables_while_it_runs_and_after(lecture: Lecture, phone: socket.socket, server: socket.socket) -> None:
    lecture.sipalg("sniffer", "set", "filter-interface=vlan20,ether1-gateway", "filter-port=sip")
    lecture.sipalg("sniffer", "start")
    talk(phone, server)
    for step in ("running", "stopped"):
        packets = rows(lecture, "sniffer", "packet", "print")
        assert [(one["interface"], one["direction"]) for one in packets] == [
            ("vlan20", "rx"), ("ether1-gateway", "tx"), ("ether1-gateway", "rx"), ("vlan20", "tx"),
        ]  # fmt: skip
        protocols = rows(lecture, "sniffer", "protocol", "print")
        assert [(one["ip-protocol"], one["port"], one["packets"]) for one in protocols] == [
            ("", "", "4"), ("udp", "", "4"), ("udp", "5060 (sip)", "4"),
        ]  # fmt: skip
        assert {one["address"] for one in rows(lecture, "sniffer", "host", "print")} == {PHONE, SERVER, PUBLIC}
        connections = rows(lecture, "sniffer", "connection", "print")
        assert [one["packets"] for one in connections] == ["1/1", "1/1"]
        shown = lecture.sipalg("sniffer", "print").stdout
        assert ("running: yes" in shown) == (step == "running")
        assert "dropped: 0" in shown
        lecture.sipalg("sniffer", "save", "file-name=memory.pcapng")
        fields = tshark(lecture.captures / "memory.pcapng", "frame.interface_name", "sip.CSeq.method")
        assert fields == [[one["interface"], "REGISTER"] for one in packets]
        lecture.sipalg("sniffer", "stop")


def test_what_was_killed_leaves_a_whole_file(lecture: Lecture, phone: socket.socket, server: socket.socket) -> None:
    lecture.sipalg("sniffer", "set", "filter-interface=vlan20", "filter-port=5060", "file-name=a.pcap")
    lecture.sipalg("sniffer", "start")
    talk(phone, server, 3)
    runs = Runs(lecture.captures)
    state_when(runs, "packets", 6)
    pid = runs.pid()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while runs.pid():
        assert time.monotonic() < deadline
    path = lecture.captures / "a.pcap"
    assert len(tshark(path, "sip.Call-ID")) == 6
    # As if the kill had fallen into a write.
    with path.open("ab") as file:
        file.write(bytes(10))
    state = runs.state()
    assert (state["running"], state["ending"], state["packets"]) == (False, "killed", 6)
    assert len(tshark(path, "sip.Call-ID")) == 6
    assert runs.packets() == []
    lecture.sipalg("sniffer", "start")
    assert runs.stop()["ending"] == "stopped"


def test_the_file_ends_at_its_limit_and_the_run_does_not(
    lecture: Lecture, phone: socket.socket, server: socket.socket
) -> None:
    lecture.sipalg("sniffer", "set", "filter-interface=vlan20", "file-name=a.pcap", "file-limit=1", "filter-port=5060")
    lecture.sipalg("sniffer", "start")
    talk(phone, server, 3)
    state = state_when(Runs(lecture.captures), "packets", 6)
    assert (state["file_full"], state["running"]) == (True, True)
    path = lecture.captures / "a.pcap"
    assert path.stat().st_size <= 1024
    assert len(tshark(path, "sip.Call-ID")) == state["file_packets"] == 3
    assert lecture.try_sipalg("/file remove a.pcap").returncode == 2


def test_without_scrolling_it_ends_where_nothing_is_left_to_keep_packets_in(
    lecture: Lecture, phone: socket.socket, server: socket.socket
) -> None:
    lecture.sipalg(
        "sniffer", "set", "filter-interface=vlan20", "memory-limit=1", "memory-scroll=no", "filter-port=sip"
    )
    lecture.sipalg("sniffer", "start")
    talk(phone, server, 3)
    runs = Runs(lecture.captures)
    deadline = time.monotonic() + PATIENCE_S
    while runs.pid():
        assert time.monotonic() < deadline
    state = runs.state()
    assert (state["running"], state["ending"]) == (False, "nothing is left to keep packets in")
    assert len(runs.packets()) == state["memory_packets"] == 3


def test_only_headers(lecture: Lecture, phone: socket.socket, server: socket.socket) -> None:
    lecture.sipalg(
        "sniffer", "set", "only-headers=yes", "filter-interface=vlan20", "file-name=a.pcap", "filter-port=sip"
    )
    lecture.sipalg("sniffer", "start")
    talk(phone, server)
    lecture.sipalg("sniffer", "stop")
    found = tshark(lecture.captures / "a.pcap", "frame.cap_len", "frame.len")
    assert found == [["42", str(42 + len(REGISTER))], ["42", str(42 + len(OK))]]


def test_a_stream_that_wireshark_decodes_and_that_leaves_itself_out(
    lecture: Lecture, phone: socket.socket, server: socket.socket, tmp_path: Path
) -> None:
    # The stream goes out on an interface that is captured: by filter-stream it isn't seen.
    lecture.sipalg(
        "sniffer", "set", "streaming-enabled=yes", f"streaming-server={SERVER}", "filter-ip-protocol=udp",
        "filter-interface=vlan20,ether1-gateway",
    )  # fmt: skip
    with lecture.end("server", SERVER, 37008) as viewer:
        lecture.sipalg("sniffer", "start")
        talk(phone, server)
        streamed = [viewer.recv(65535) for _ in range(4)]
        state = Runs(lecture.captures).stop()
    assert (state["packets"], state["streamed"], state["stream_failed"]) == (4, 4, 0)
    kind = Pcap()
    frames = [ethernet(udp(PUBLIC, 40000, SERVER, 37008, one)) for one in streamed]
    path = tmp_path / "tzsp.pcap"
    path.write_bytes(kind.header() + b"".join(kind.packet(Captured(0, one, len(one))) for one in frames))
    found = tshark(path, "tzsp.encap", "ip.src", "sip.Call-ID")
    assert [row[0] for row in found] == ["1"] * 4
    assert [row[1].split(",")[1] for row in found] == [PHONE, PUBLIC, SERVER, SERVER]
    assert [row[2] for row in found] == ["one"] * 4


def test_what_is_streamed_is_not_streamed_again(lecture: Lecture, phone: socket.socket, server: socket.socket) -> None:
    lecture.sipalg(
        "sniffer", "set", "streaming-enabled=yes", f"streaming-server={SERVER}", "filter-stream=no",
        "filter-interface=ether1-gateway", "filter-ip-protocol=udp",
    )  # fmt: skip
    with lecture.end("server", SERVER, 37008) as viewer:
        lecture.sipalg("sniffer", "start")
        talk(phone, server)
        assert len([viewer.recv(65535) for _ in range(2)]) == 2
        state = state_when(Runs(lecture.captures), "packets", 4)
        stopped = Runs(lecture.captures).stop()
    assert state["packets"] == stopped["packets"] == 4
    assert stopped["streamed"] == 2


def test_one_sniffer_a_directory(lecture: Lecture) -> None:
    lecture.sipalg("sniffer", "start")
    refused = lecture.try_sipalg("sniffer", "start")
    assert (refused.returncode, refused.stderr) == (2, "sipalg: the sniffer is running already; stop it first\n")
    told = lecture.sipalg("sniffer", "set", "file-name=later.pcap").stderr
    assert told == "sipalg: the sniffer is running; what was changed is for its next start\n"
    lecture.sipalg("sniffer", "stop")
    again = lecture.sipalg("sniffer", "stop")
    assert again.stderr.startswith("sipalg: the sniffer isn't running\n")


def test_what_keeps_it_from_starting_is_one_line(lecture: Lecture) -> None:
    lecture.sipalg("sniffer", "set", "filter-interface=vlan99")
    refused = lecture.try_sipalg("sniffer", "start")
    assert refused.returncode == 2
    assert refused.stderr == (
        "sipalg: filter-interface: there is no interface vlan99; there are lo, vlan20, ether1-gateway\n"
    )
    lecture.sipalg("sniffer", "reset")
    lecture.sipalg("sniffer", "set", "streaming-enabled=yes")
    refused = lecture.try_sipalg("sniffer", "start")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "streaming-server: is 0.0.0.0" in refused.stderr


def test_a_process_that_is_not_the_sniffer_is_left_alone(lecture: Lecture) -> None:
    runs = Runs(lecture.captures)
    other = subprocess.Popen(["sleep", "60"])
    try:
        lock = runs.captures.lock()
        assert lock is not None
        runs.captures.put_hidden("state.json", json.dumps({"pid": other.pid, "running": True}).encode())
        with pytest.raises(CapturesError, match=rf"process {other.pid} isn't this directory's sniffer"):
            runs.stop()
        assert other.poll() is None
        os.close(lock)
    finally:
        other.kill()
        other.wait()


def test_quick_shows_packets_as_they_pass(lecture: Lecture, phone: socket.socket, server: socket.socket) -> None:
    quick = lecture.begin("sniffer", "quick", "interface=vlan20", "port=sip")
    assert quick.stdout is not None
    try:
        # Its head is there when it captures already.
        assert quick.stdout.readline().startswith("INTERFACE")
        talk(phone, server)
        first, second = quick.stdout.readline().split(), quick.stdout.readline().split()
        assert (first[0], first[2:6]) == ("vlan20", ["1", "<-", f"{PHONE}:5060", f"{SERVER}:5060"])
        assert (second[0], second[2:6]) == ("vlan20", ["2", "->", f"{SERVER}:5060", f"{PHONE}:5060"])
        quick.send_signal(signal.SIGINT)
        assert quick.stdout.read() == "2 packets, 0 dropped\n"
        assert quick.wait(PATIENCE_S) == 0
    finally:
        quick.kill()
        quick.wait()
        quick.stdout.close()
