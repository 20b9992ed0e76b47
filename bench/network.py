"""The closed loop's network: phones, a NAT router and a server, each in a network namespace of its own.

A thousand addresses on one link inside, one server outside, a masquerade and a strict forward policy between them;
what does ALG work, if anything, is set up by the mode in `loop`. All names begin with the process id, and all is gone
on exit. The way of a packet: phones → router (lan0, wan0) → server.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.phones import MEDIA_SERVER, PUBLIC, SERVER, Phone

GATEWAY: Final = "192.168.35.254"
_PREFIX_LENGTH: Final = 22  # 192.168.32.0/22: 1,000 phones and the router
#: More phones than that are behind a router of their own, whose address this is: none has an address by itself.
_SECOND_ROUTER: Final = "10.0.0.2"
_FIRST_ROUTER: Final = "10.0.0.1"
_MOST_ADDRESSES: Final = 1000
_MANY: Final = "192.168.0.0/15"
_RULES: Final = """
table ip nat {
    chain post { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }
}
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "lan0" oifname "wan0" accept
    }
}
"""


class NetworkError(Exception):
    """The network can't be built or a program in it failed: one line for people."""


class Network:
    """The three namespaces; a context manager that builds them on entry and leaves nothing on exit."""

    def __init__(self, phones: Sequence[Phone], label: str = "") -> None:
        """Name the namespaces; two networks at once have different labels."""
        own = f"sb{os.getpid()}{label}"
        self.phones_namespace, self.router, self.server = (f"{own}-{name}" for name in ("ph", "rt", "sv"))
        self._phones = phones

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def command(self, namespace: str, *words: str | Path) -> list[str]:
        """Return the command line that becomes the program `words` in a namespace; its pid is the program's."""
        return ["ip", "netns", "exec", namespace, *map(str, words)]

    def rules(self, text: str) -> None:
        """Load nftables rules into the router."""
        _run(self.command(self.router, "nft", "-f", "-"), text)

    def in_router(self, *words: str) -> str:
        """Run a program in the router to its end and return what it printed."""
        return _run(self.command(self.router, *words))

    def _build(self) -> None:
        phones, router, server = self.phones_namespace, self.router, self.server
        for name in (phones, router, server):
            _run(["ip", "netns", "add", name])
            _run(["ip", "-n", name, "link", "set", "lo", "up"])
        _run(["ip", "link", "add", "eth0", "netns", phones, "type", "veth", "peer", "name", "lan0", "netns", router])
        _run(["ip", "link", "add", "eth0", "netns", server, "type", "veth", "peer", "name", "wan0", "netns", router])
        if len(self._phones) > _MOST_ADDRESSES:
            self._place_many()
        else:
            self._place_each()
        _batch(server, [f"address add {SERVER}/24 dev eth0", f"address add {MEDIA_SERVER}/24 dev eth0",
                        "link set eth0 up"])  # fmt: skip
        self.in_router("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.rules(_RULES)

    def _place_each(self) -> None:
        phones, router = self.phones_namespace, self.router
        own = [f"address add {phone.private.host}/{_PREFIX_LENGTH} dev eth0" for phone in self._phones]
        _batch(phones, ["link set eth0 address 02:00:00:00:00:01", "link set eth0 up", *own,
                        f"route add default via {GATEWAY}"])  # fmt: skip
        # A neighbour for each phone is permanent: the kernel's table of the others ends at 1,024.
        neighbours = [f"neighbour replace {phone.private.host} lladdr 02:00:00:00:00:01 dev lan0 nud permanent"
                      for phone in self._phones]  # fmt: skip
        _batch(router, [f"address add {GATEWAY}/{_PREFIX_LENGTH} dev lan0", f"address add {PUBLIC}/24 dev wan0",
                        "link set lan0 up", "link set wan0 up", *neighbours])  # fmt: skip

    def _place_many(self) -> None:
        """Have one route stand for all phones, where the kernel would search a list for each address."""
        _batch(self.phones_namespace,
               [f"address add {_SECOND_ROUTER}/30 dev eth0", "link set eth0 up", f"route add local {_MANY} dev lo",
                f"route add default via {_FIRST_ROUTER}"])  # fmt: skip
        _batch(self.router, [f"address add {_FIRST_ROUTER}/30 dev lan0", f"address add {PUBLIC}/24 dev wan0",
                             "link set lan0 up", "link set wan0 up",
                             f"route add {_MANY} via {_SECOND_ROUTER}"])  # fmt: skip

    def _remove(self) -> None:
        for name in (self.phones_namespace, self.router, self.server):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _batch(namespace: str, lines: list[str]) -> None:
    _run(["ip", "-n", namespace, "-batch", "-"], "\n".join(lines))


def _run(words: list[str], text: str = "") -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NetworkError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
