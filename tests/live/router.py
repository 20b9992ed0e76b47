"""A router between two phones and a server in namespaces, with `sipalg run` as its users have it: a process."""

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
import time
from collections.abc import Callable
from typing import Any

from sipalg.lab.topology import ADDRESS, Topology

PHONE = ADDRESS["phone1"]
SERVER = ADDRESS["server"]
#: How long a test waits for what must come; never how long it takes.
PATIENCE_S = 60.0
_TIME = re.compile(r"^[\d-]{10} [\d:]{8} ")


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
        self.socket = net.directory / "sipalg.sock"
        #: There is none unless a test writes it.
        self.settings = net.directory / "sipalg.toml"
        self.journal = net.directory / "sipalg.journal"
        self.log = net.directory / "log"
        self.running: list[subprocess.Popen[str]] = []

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None, by: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start `sipalg run` and wait for its `ready`; `by` is a program that runs it, as setpriv does."""
        argv = (*by, sys.executable, "-m", "sipalg", "run", "--inside", "lan0", "--outside", "wan0")
        command = self.net.command("router", *argv, "--socket", self.socket, "--config", self.settings, *arguments)
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

    def logged(self) -> list[str]:
        """Return the log's lines without the times in front of them."""
        return [_TIME.sub("", line) for line in self.log.read_text().splitlines()]

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

    def wait_no_longer(self) -> None:
        """Let SIP pass as plain NAT at once, after an end, without waiting for the next process any more."""
        self.net.run("router", "nft", "flush", "set", "ip", "sipalg", "served")

    def end(self) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
            process.wait(PATIENCE_S)
            if process.stdout is not None:
                process.stdout.close()
        self.running.clear()
        self.settings.unlink(missing_ok=True)


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
