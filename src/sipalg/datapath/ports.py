"""Which public ports are free, honestly: not a local program's, no other rule's, and no flow's that conntrack has.

The engine asks at every new mapping, while a packet waits, so that the answer is one look into a table of bytes. The
table is made anew when it is asked for and older than a few seconds: beside the packets where they are many, since
conntrack has to be walked for it. The engine knows its own mappings; this is about everybody else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from socket import inet_aton
from typing import Final, NamedTuple

from sipalg.datapath.admin_conclusions import AdminRules
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.ctnetlink import Translated, packed
from sipalg.datapath.loop import FaultLog
from sipalg.engine.verdict import TCP, UDP, Endpoint

#: Refreshing takes at most one part in so many of the time, unless there are so many flows that the picture would get
#: older than `_LONGEST_AGE_S` by that: millions.
_REFRESH_SHARE: Final = 20.0
#: After how many seconds the next picture is made at the latest, whatever it takes: by then others have taken ports.
_LONGEST_AGE_S: Final = 6.0
#: How old the picture may be while the next one is made beside the packets, in times of its usual age.
_OLDEST: Final = 2.0

_FREE: Final = 0
_RULE: Final = 1
_RESERVED: Final = 2
_EPHEMERAL: Final = 3
_SOCKET: Final = 4
_FLOW: Final = 5

#: Why a port is taken, for people.
_REASONS: Final = (
    "",
    "a destination NAT rule's",
    "in reserved-ports",
    "in net.ipv4.ip_local_port_range",
    "a local program's",
    "an existing flow's",
)

_FILES: Final = {UDP: ("udp", "udp6", "udplite", "udplite6"), TCP: ("tcp", "tcp6")}
#: The calling thread's network namespace, which a test's may differ from its process's.
_PROC_NET: Final = Path("/proc/thread-self/net")
_LOCAL_PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def local_port_range(path: Path = _LOCAL_PORT_RANGE) -> PortRange:
    """Return the ports that the kernel gives to programs which ask for none; Linux's default if it can't be read."""
    try:
        low, high = path.read_text().split()
        return PortRange(int(low), int(high))
    except (OSError, ValueError):
        return PortRange(32768, 60999)


def overlap(one: PortRange, other: PortRange) -> PortRange | None:
    """Return the ports that are in both ranges, None if there are none."""
    low, high = max(one.low, other.low), min(one.high, other.high)
    return PortRange(low, high) if low <= high else None


class _Picture(NamedTuple):
    """What is taken, by protocol and port, and the inside ends of the flows that hold a port.

    `began` is when it was begun to be made, `took_s` the processor's time for that.
    """

    codes: dict[int, bytearray]
    holders: dict[tuple[int, int], set[bytes]]
    began: float
    took_s: float


#: Has something done beside the packets, which returns what is to be done when nothing else is.
Beside = Callable[[Callable[[], Callable[[], None]]], None]


class PortsTaken:
    """The callable that the engine asks: `taken(protocol, port)`.

    `flows` lists a public address's flows (`Conntrack.translated`); `avoid` are ports of media-ports that the kernel
    may give to local programs at any time; `work_clock` is the processor's time of the thread that asks it, since what
    others do meanwhile is no work of a picture's. What can't be read leaves the last picture standing, and what makes
    no sense counts as taken: the call never raises.
    """

    def __init__(
        self,
        flows: Callable[[str], Iterable[Translated]],
        *,
        reserved: Iterable[PortRange] = (),
        avoid: PortRange | None = None,
        refresh_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
        work_clock: Callable[[], float] = time.thread_time,
        proc_net: Path = _PROC_NET,
    ) -> None:
        self._flows = flows
        self._reserved = tuple(reserved)
        self._avoid = avoid
        self._refresh_s = refresh_s
        self._clock = clock
        self._work_clock = work_clock
        self._proc_net = proc_net
        self._nat_address = self._ipv6_address = ""
        self._fixed = {UDP: bytes(65536), TCP: bytes(65536)}
        self._codes = {UDP: bytearray(65536), TCP: bytearray(65536)}
        self._holders: dict[tuple[int, int], set[bytes]] = {}
        #: When the picture was begun that is used, and when the next one is due.
        self._began = self._expires = float("-inf")
        #: When it is too old to be asked.
        self._useless = float("-inf")
        #: Where the next one is made beside the packets: by whom, and of which flows.
        self._beside: Beside | None = None
        self._flows_beside = flows
        #: Whether one is being made, and for which configuration.
        self._awaited = False
        self._configured = 0
        #: What went wrong in here and shouldn't have.
        self.log = FaultLog(clock)

    def make_beside(self, do: Beside, flows: Callable[[str], Iterable[Translated]]) -> None:
        """From now on have `do` make the picture beside the packets, of `flows`, which is asked by another thread.

        Where packets ask seldom, so that the last one is too old, they wait for the next one as before.
        """
        self._beside, self._flows_beside = do, flows

    def reserve(self, reserved: Iterable[PortRange], avoid: PortRange | None) -> None:
        """Go by other reserved ports, and ports to avoid, from the next `configure` on."""
        self._reserved = tuple(reserved)
        self._avoid = avoid

    def configure(self, nat_address: str, rules: AdminRules, ipv6_address: str = "") -> None:
        """Tell the address that the ports are on ("" for none yet) and the administrator's rules; both may change.

        What is taken on the one address of IPv6's counts as taken on IPv4's too, and the reverse.
        """
        self._nat_address, self._ipv6_address = nat_address, ipv6_address
        for protocol in self._fixed:
            codes = bytearray(65536)
            marks = [(ports, _RESERVED) for ports in self._reserved]
            if self._avoid is not None:
                marks.append((self._avoid, _EPHEMERAL))
            marks += [
                (taken.ports, _RULE) for taken in rules.taken if taken.protocol == protocol and taken.on(nat_address)
            ]
            for (low, high), code in marks:
                codes[low : high + 1] = bytes((code,)) * (high + 1 - low)
            self._fixed[protocol] = bytes(codes)
        self._configured += 1
        self._expires = self._useless = float("-inf")

    def __call__(self, protocol: int, port: int) -> bool:
        """Tell whether somebody else may be using the public port; a protocol without ports has none free."""
        try:
            return self._code(protocol, port) != _FREE
        except Exception:
            self.log.exception("ports", "port-counts-as-taken")
            return True

    def taken_by_others(self, protocol: int, port: int, private: Endpoint) -> bool:
        """As the call, but a port that only flows of `private` itself hold is free for it: its mapping is adopted."""
        code = self._code(protocol, port)
        if code != _FLOW:
            return code != _FREE
        return self._holders.get((protocol, port)) != {packed(private)}

    def reason(self, protocol: int, port: int) -> str:
        """Say whose the port is, for people; "" if it is free."""
        return _REASONS[self._code(protocol, port)]

    def _code(self, protocol: int, port: int) -> int:
        now = self._clock()
        if now >= self._expires:
            if self._beside is None or now >= self._useless:
                self._use(self._look(self._flows))
            elif not self._awaited:
                self._awaited = True
                self._beside(partial(self._look_beside, self._configured))
        codes = self._codes.get(protocol)
        return _RESERVED if codes is None or not 0 < port < 65536 else codes[port]

    def _look_beside(self, configured: int) -> Callable[[], None]:
        """Look in another thread; nothing of this object is changed there."""
        try:
            return partial(self._use_awaited, configured, self._look(self._flows_beside))
        except Exception:
            self.log.exception("ports", "looked-at-when-asked")
            return partial(self._use_awaited, configured, None)

    def _use_awaited(self, configured: int, picture: _Picture | None) -> None:
        self._awaited = False
        # One of another address or other rules is of no use, nor one that is older than what a packet has waited for.
        if picture is not None and configured == self._configured and picture.began >= self._began:
            self._use(picture)

    def _use(self, picture: _Picture) -> None:
        self._codes, self._holders = picture.codes, picture.holders
        age_s = max(self._refresh_s, min(_REFRESH_SHARE * picture.took_s, _LONGEST_AGE_S))
        self._began = picture.began
        self._expires = picture.began + age_s
        self._useless = picture.began + _OLDEST * age_s

    def _look(self, flows: Callable[[str], Iterable[Translated]]) -> _Picture:
        began, work_began = self._clock(), self._work_clock()
        fresh = {protocol: bytearray(fixed) for protocol, fixed in self._fixed.items()}
        holders: dict[tuple[int, int], set[bytes]] = {}
        try:
            addresses = filter(None, (self._nat_address, self._ipv6_address))
            for protocol, port, source in (flow for address in addresses for flow in flows(address)):
                codes = fresh.get(protocol)
                if codes is not None and not codes[port]:
                    codes[port] = _FLOW
                if codes is not None and codes[port] == _FLOW:
                    holders.setdefault((protocol, port), set()).add(source)
            for protocol, names in _FILES.items():
                for name in names:
                    for port in _socket_ports(self._proc_net / name, self._nat_address if name == "tcp" else ""):
                        fresh[protocol][port] = _SOCKET
        except OSError:
            # Keep what was known; the administrator's rules and reserved ports are in it unless they just changed.
            fresh, holders = self._last_picture(), self._holders
        return _Picture(fresh, holders, began, self._work_clock() - work_began)

    def _last_picture(self) -> dict[int, bytearray]:
        """Return the sockets and flows as last seen, with the fixed marks of now."""
        return {
            protocol: bytearray(
                mark or (code if code in (_SOCKET, _FLOW) else _FREE)
                for mark, code in zip(fixed, self._codes[protocol], strict=True)
            )
            for protocol, fixed in self._fixed.items()
        }


def _socket_ports(path: Path, host: str = "") -> Iterable[int]:
    """Yield the local ports in a file of /proc/net (proc(5)); none where the kernel has no such file.

    With `host`, only those on this IPv4 address or on all: the relay has sockets with the addresses of others.
    """
    try:
        lines = path.read_text().splitlines()[1:]
    except FileNotFoundError:
        return
    wanted = ("00000000", f"{int.from_bytes(inet_aton(host), sys.byteorder):08X}") if host else ()
    for line in lines:
        address, _, port = line.split(None, 2)[1].rpartition(":")
        if not wanted or address in wanted:
            yield int(port, 16)
