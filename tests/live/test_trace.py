"""`sipalg trace` beside a running ALG: what it writes is what went in and out."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router, exchange, register

from sipalg.capture.records import read_blocks
from sipalg.codec.datagram import parse_udp
from sipalg.lab.topology import PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]


def test_a_registration_before_and_after(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    target = router.net.directory / "both.pcapng"
    argv = (sys.executable, "-m", "sipalg", "trace", str(target), "--count", "2", "--socket", str(router.socket))
    trace = subprocess.Popen(router.net.command("router", *argv), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + PATIENCE_S
        # The file is there when the ALG has begun to tell.
        while not target.exists():
            assert time.monotonic() < deadline
        received, public = exchange(phone, server, register())
        answer = b"SIP/2.0 200 OK\r\n" + received.partition(b"\r\n")[2]
        server.sendto(answer, public)
        answered = phone.recv(65535)
        _, error = trace.communicate(timeout=PATIENCE_S)
    finally:
        trace.kill()
        trace.wait()
    assert (trace.returncode, error) == (0, "sipalg: 2 messages\n")
    packets = read_blocks(io.BytesIO(target.read_bytes()))
    found = []
    for packet in packets:
        parsed = parse_udp(packet.frame)
        assert not isinstance(parsed, str)
        found.append((packet.interface, parsed.source[0], parsed.destination[0], parsed.payload))
    assert found == [
        ("before", PHONE, SERVER, register()),
        ("after", PUBLIC_ADDRESS, SERVER, received),
        ("before", SERVER, PUBLIC_ADDRESS, answer),
        ("after", SERVER, PHONE, answered),
    ]
    assert packets[1].comment.splitlines()[0].startswith(f"via: {PHONE}")
    assert tshark(target) == ["REGISTER", "REGISTER", "200", "200"]


def tshark(path: Path) -> list[str]:
    argv = ["tshark", "-r", str(path), "-T", "fields", "-e", "sip.Method", "-e", "sip.Status-Code"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()]
