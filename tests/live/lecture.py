"""The lecture's router: a phone behind `vlan20`, the provider's server behind `ether1-gateway`, NAT between them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

from tests.live.router import PATIENCE_S

from sipalg.lab.topology import NETNS_DIRECTORY, _batch, _run, enter, unique_prefix

PHONE = "192.168.20.100"
SERVER = "207.252.1.148"
PUBLIC = "75.142.151.49"


class Lecture:
    """Its three namespaces, and a directory of captures."""

    def __init__(self, directory: Path) -> None:
        self._prefix = unique_prefix()
        self.captures = directory / "captures"
        self._settings = directory / "sipalg.toml"
        self._settings.write_text(f'captures = "{self.captures}"\n')
        self._socket = directory / "none.sock"

    def name(self, host: str) -> str:
        return f"{self._prefix}{host}"

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        hosts = ("phone", "router", "server")
        try:
            _batch([f"netns add {self.name(host)}" for host in hosts])
            for host, link, name, inner, outer in (
                ("phone", "vlan20", "eth0", f"{PHONE}/24", "192.168.20.1/24"),
                ("server", "ether1-gateway", "eth0", f"{SERVER}/32", f"{PUBLIC}/32"),
            ):
                router, end = self.name("router"), self.name(host)
                _batch([f"link add {link} netns {router} type veth peer name {name} netns {end}"])
                _batch([f"address add {outer} dev {link}", f"link set {link} up", "link set lo up"], router)
                _batch([f"address add {inner} dev {name}", f"link set {name} up", "link set lo up"], end)
            _batch(["route add default via 192.168.20.1"], self.name("phone"))
            _batch([f"route add {PUBLIC} dev eth0"], self.name("server"))
            _batch([f"route add {SERVER} dev ether1-gateway"], self.name("router"))
            self.inside("router", "sysctl", "-qw", "net.ipv4.ip_forward=1")
            hook = "type nat hook postrouting priority 100;"
            self.inside(
                "router", "nft", f"table ip nat {{ chain post {{ {hook} oifname ether1-gateway masquerade; }}; }}"
            )
            yield
        finally:
            for host in hosts:
                with contextlib.suppress(Exception):
                    _batch([f"netns delete {self.name(host)}"])

    def inside(self, host: str, *argv: str) -> str:
        return _run(["ip", "netns", "exec", self.name(host), *argv])

    def sipalg(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the router; it must end well."""
        done = self.try_sipalg(*words)
        assert done.returncode == 0, done.stderr
        return done

    def try_sipalg(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = self._command(*words)
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=self._environment())

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Run a command that goes on."""
        return subprocess.Popen(self._command(*words), stdout=subprocess.PIPE, text=True, env=self._environment())

    def _command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name("router"), sys.executable, "-m", "sipalg", *words]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SIPALG_CONFIG": str(self._settings), "SIPALG_SOCKET": str(self._socket)}

    def end(self, host: str, address: str, port: int) -> socket.socket:
        """A UDP socket of a host's."""
        made: list[socket.socket] = []

        def make() -> None:
            enter(NETNS_DIRECTORY / self.name(host))
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        self.within(make)
        made[0].bind((address, port))
        made[0].settimeout(PATIENCE_S)
        return made[0]

    def within(self, act: Callable[[], None]) -> None:
        """Do something in a thread, which may enter a namespace."""
        thread = Thread(target=act)
        thread.start()
        thread.join()
