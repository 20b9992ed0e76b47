"""The lab's network: phones behind a NAT router, and servers outside, as network namespaces on one machine.

Inside hosts hang on the router's bridges `lan0` and `lan1`, so that phones reach each other directly; outside hosts
hang on a switch of their own that the router's `wan0` is plugged into, and have no route to any private address, as on
the Internet. On a packet's way the router's namespace is where the ALG works; the rest is there to speak and listen.
Every name begins with a prefix of its own, so that several labs stand side by side, and nothing is created in the
namespace that the lab was started from.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self, TypeVar

Made = TypeVar("Made")

NETNS_DIRECTORY: Final = Path("/run/netns")
CLONE_NEWNET: Final = 0x40000000  # <linux/sched.h>
CAP_NET_ADMIN: Final = 12  # <linux/capability.h>
CAP_SYS_ADMIN: Final = 21

PUBLIC_ADDRESS: Final = "203.0.113.1"
OTHER_PUBLIC_ADDRESS: Final = "203.0.113.2"
SERVER_ADDRESS: Final = "203.0.113.50"
MEDIA_ADDRESS: Final = "203.0.113.60"
EXEMPT_NETWORK: Final = "10.99.0.0/24"
SITE_ADDRESS: Final = "10.99.0.10"


#: How IPv6 leaves the router: "" is a lab without IPv6.
Ipv6 = Literal["", "as-it-is", "masquerade", "prefix"]
PUBLIC_ADDRESS6: Final = "2001:db8:113::1"
SERVER_ADDRESS6: Final = "2001:db8:113::50"
#: What each inside network is, and what it becomes where the router translates by prefix.
LAN_PREFIXES6: Final = {"lan0": "2001:db8:33::", "lan1": "2001:db8:34::"}
PREFIXES6: Final = {"2001:db8:33::/64": "2001:db8:133::/64", "2001:db8:34::/64": "2001:db8:134::/64"}


class LabError(Exception):
    """The lab itself can't be built or run: one line for people."""


class Host(NamedTuple):
    """One host: its name, its address with prefix length, and the switch that it is plugged into."""

    name: str
    address: str
    switch: str

    @property
    def ip(self) -> str:
        """The address without its prefix length."""
        return self.address.partition("/")[0]


#: Every host but the router and the outside's switch. `site` is a VPN's far end: routed by the router, not NATed.
HOSTS: Final = (
    Host("phone1", "192.168.33.10/24", "lan0"),
    Host("phone2", "192.168.33.11/24", "lan0"),
    Host("pbx", "192.168.33.20/24", "lan0"),
    Host("phone4", "192.168.34.10/24", "lan1"),
    Host("server", f"{SERVER_ADDRESS}/24", "outside"),
    Host("media", f"{MEDIA_ADDRESS}/24", "outside"),
    Host("far1", "203.0.113.71/24", "outside"),
    Host("far2", "203.0.113.72/24", "outside"),
    Host("site", f"{SITE_ADDRESS}/24", "outside"),
)
LAN_ADDRESSES: Final = {"lan0": "192.168.33.1", "lan1": "192.168.34.1"}
ADDRESS: Final = {host.name: host.ip for host in HOSTS}

#: The same hosts by IPv6, for labs that have it: the last number of the IPv4 address, in decimal digits.
ADDRESS6: Final = {
    host.name: LAN_PREFIXES6.get(host.switch, "2001:db8:113::") + host.ip.rpartition(".")[2] for host in HOSTS
}
#: What the addresses of all inside hosts begin with there.
INSIDE_PREFIX6: Final = "2001:db8:3"

#: What the addresses of all inside hosts begin with.
INSIDE_PREFIX: Final = "192.168."
#: The network of `lan0`.
INSIDE_NETWORK: Final = "192.168.33.0/24"

_serial = itertools.count(1)


def unique_prefix() -> str:
    """Make a prefix that no other lab on this machine has: the process id and a number that counts up."""
    return f"salab{os.getpid()}n{next(_serial)}"


class Topology:
    """The namespaces of one lab; a context manager that builds on entry and leaves nothing on exit.

    `hosts` says which of :data:`HOSTS` are wanted (all by default); the router is always there. `directory` is a
    place for this lab's files, made on entry and removed on exit. With `ipv6` every host has an address of that too,
    and the far hosts know the way to whatever the inside becomes.
    """

    def __init__(self, hosts: tuple[str, ...] = (), prefix: str = "", ipv6: Ipv6 = "") -> None:
        self.ipv6 = ipv6
        self.prefix = prefix or unique_prefix()
        self.hosts = tuple(host for host in HOSTS if not hosts or host.name in hosts)
        self.public_address = PUBLIC_ADDRESS
        self.directory = Path()

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        try:
            self._build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def namespace(self, host: str) -> str:
        """Give the name of a host's namespace, as `ip netns` shows it."""
        return f"{self.prefix}-{host}"

    def command(self, host: str, *argv: str | Path) -> list[str]:
        """Give the command line that runs `argv` on a host; it becomes the program itself, so the pid is the same."""
        return ["ip", "netns", "exec", self.namespace(host), *map(str, argv)]

    def run(self, host: str, *argv: str | Path, text: str | None = None, check: bool = True) -> str:
        """Run a program on a host to its end and give what it printed; `text` is its standard input.

        Raises LabError with the program's own words if it fails and `check` is set.
        """
        return _run(self.command(host, *argv), text, check)

    def socket(
        self, host: str, kind: socket.SocketKind = socket.SOCK_DGRAM, protocol: int = 0
    ) -> socket.socket:
        """Make an IPv4 socket that belongs to a host; it can be used from any thread."""
        try:
            return self.inside(host, lambda: socket.socket(socket.AF_INET, kind, protocol))
        except OSError as error:
            raise LabError(f"no socket on {host}: {error}") from error

    def inside(self, host: str, make: Callable[[], Made]) -> Made:
        """Make something in a host's namespace; sockets stay where they were made. An OSError is raised here."""
        made: list[Made] = []
        failed: list[OSError] = []

        def work() -> None:
            # setns concerns this thread only, and it ends right away: the rest of the process stays where it is.
            try:
                enter(NETNS_DIRECTORY / self.namespace(host))
                made.append(make())
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def set_timeouts(self, unreplied_s: int, stream_s: int) -> None:
        """Set the router's two UDP timeouts of connection tracking, in seconds (the kernel's own are 30 and 120)."""
        self.sysctl("router", "net.netfilter.nf_conntrack_udp_timeout", unreplied_s)
        self.sysctl("router", "net.netfilter.nf_conntrack_udp_timeout_stream", stream_s)

    def sysctl(self, host: str, key: str, value: int) -> None:
        """Set a kernel setting in a host's namespace; one that this kernel doesn't have raises LabError."""
        self.run(host, "sysctl", "-q", "-w", f"{key}={value}")

    def change_public_address(self, address: str) -> None:
        """Give the router's outside another address and take the one that it had, as a provider does overnight."""
        lines = [f"address add {address}/24 dev wan0", f"address delete {self.public_address}/24 dev wan0"]
        # With promote_secondaries the new address stays when the first one goes.
        self.sysctl("router", "net.ipv4.conf.wan0.promote_secondaries", 1)
        _batch(lines, self.namespace("router"))
        self.public_address = address

    def remove(self) -> None:
        """Delete every namespace of this lab and its directory; what is already gone is no error."""
        names = [entry.name for entry in _namespaces() if entry.name.startswith(f"{self.prefix}-")]
        if names:
            _batch([f"netns delete {name}" for name in names], force=True)
        if self.directory.name:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _build(self) -> None:
        names = ["router", "outside", *(host.name for host in self.hosts)]
        _batch([f"netns add {self.namespace(name)}" for name in names])
        for name in names:
            # A bridge with this on would show LAN to LAN packets to the IP firewall, which plain Linux doesn't.
            self.run(name, "sh", "-c", _ONLY_OURS if self.ipv6 else _QUIET)
        router, outside = self.namespace("router"), self.namespace("outside")
        _batch(
            [f"link add {lan} type bridge" for lan in LAN_ADDRESSES]
            + [f"link add wan0 type veth peer name router netns {outside}", "link set lo up"],
            router,
        )
        _batch(["link add outside type bridge", "link set router master outside", "link set lo up"], outside)
        for host in self.hosts:
            switch = outside if host.switch == "outside" else router
            _batch([f"link add {host.name} type veth peer name eth0 netns {self.namespace(host.name)}"], switch)
            _batch([f"link set {host.name} master {host.switch} up"], switch)
            _batch(self._host_lines(host), self.namespace(host.name))
        _batch(["link set outside up", "link set router up"], outside)
        _batch(
            [f"address add {address}/24 dev {lan}" for lan, address in LAN_ADDRESSES.items()]
            + [f"link set {lan} up" for lan in LAN_ADDRESSES]
            + [f"address add {self.public_address}/24 dev wan0", "link set wan0 up"]
            + [f"route add {EXEMPT_NETWORK} dev wan0"]
            + self._router_lines6(),
            router,
        )
        self.sysctl("router", "net.ipv4.ip_forward", 1)
        if self.ipv6:
            self.sysctl("router", "net.ipv6.conf.all.forwarding", 1)

    def _router_lines6(self) -> list[str]:
        if not self.ipv6:
            return []
        lines = [f"address add {prefix}1/64 dev {lan} nodad" for lan, prefix in LAN_PREFIXES6.items()]
        return [*lines, f"address add {PUBLIC_ADDRESS6}/64 dev wan0 nodad"]

    def _host_lines6(self, host: Host) -> list[str]:
        if not self.ipv6:
            return []
        lines = [f"address add {ADDRESS6[host.name]}/64 dev eth0 nodad"]
        if host.switch != "outside":
            return [*lines, f"route add default via {LAN_PREFIXES6[host.switch]}1"]
        known = {"as-it-is": tuple(PREFIXES6), "prefix": tuple(PREFIXES6.values())}.get(self.ipv6, ())
        return lines + [f"route add {prefix} via {PUBLIC_ADDRESS6}" for prefix in known]

    def _host_lines(self, host: Host) -> list[str]:
        lines = ["link set lo up", f"address add {host.address} dev eth0", "link set eth0 up"]
        if host.switch != "outside":
            lines.append(f"route add default via {LAN_ADDRESSES[host.switch]}")
        elif host.name == "site":
            lines += [f"route add {PUBLIC_ADDRESS} dev eth0", f"route add 192.168.33.0/24 via {PUBLIC_ADDRESS}"]
        return lines + self._host_lines6(host)


#: No IPv6 (its neighbour discovery would only clutter captures), no bridged packets in the IP firewall.
_QUIET: Final = (
    "for f in /proc/sys/net/ipv6/conf/all/disable_ipv6 /proc/sys/net/ipv6/conf/default/disable_ipv6; do "
    "[ ! -e $f ] || echo 1 > $f; done; "
    "f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 > $f"
)


#: IPv6 with no addresses but those that are given, apart from the link's own; no bridged packets as above.
_ONLY_OURS: Final = (
    "echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; "
    "f=/proc/sys/net/bridge/bridge-nf-call-ip6tables; [ ! -e $f ] || echo 0 > $f; "
    "f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 > $f"
)


def may_administer(status: str | None = None) -> bool:
    """Say whether this process may make namespaces and networks in them: CAP_SYS_ADMIN and CAP_NET_ADMIN.

    `status` is the text of a /proc/…/status, by default this process's own.
    """
    text = Path("/proc/thread-self/status").read_text() if status is None else status
    effective = next((line.split()[1] for line in text.splitlines() if line.startswith("CapEff:")), "0")
    return all(int(effective, 16) >> capability & 1 for capability in (CAP_NET_ADMIN, CAP_SYS_ADMIN))


def mount_own_run() -> None:
    """Mount an empty /run of this mount namespace's own: `ip netns` keeps its names there, which only root may do.

    Raises LabError if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None):
        raise LabError(f"can't mount a /run of its own: {os.strerror(ctypes.get_errno())}")


def namespaces_refused() -> str:
    """Why this process can't make network namespaces, in one line; "" if it can."""
    if not may_administer():
        return "network namespaces need root; `sipalg lab` makes do with a user namespace where those are allowed"
    name = f"{unique_prefix()}-try"
    try:
        _batch([f"netns add {name}"])
        _run(["ip", "netns", "exec", name, "true"])
    except LabError as error:
        return f"network namespaces can't be made here: {error}"
    finally:
        if (NETNS_DIRECTORY / name).exists():
            _batch([f"netns delete {name}"], force=True)
    return ""


def _namespaces() -> list[Path]:
    return list(NETNS_DIRECTORY.iterdir()) if NETNS_DIRECTORY.exists() else []


def enter(path: Path) -> None:
    """Have this thread live in a namespace from now on. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(descriptor)


def _batch(lines: list[str], namespace: str = "", force: bool = False) -> None:
    argv = ["ip", *(["-n", namespace] if namespace else []), *(["-force"] if force else []), "-batch", "-"]
    _run(argv, "\n".join(lines) + "\n", check=not force)


def _run(argv: list[str], text: str | None = None, check: bool = True) -> str:
    try:
        done = subprocess.run(argv, input=text or "", capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        raise LabError(f"program not found: {argv[0]}") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv[:6])}: no end after 30 s") from None
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{' '.join(argv[:8])}: {said[0] if said else f'exit code {done.returncode}'}")
    return done.stdout
