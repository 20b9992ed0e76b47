"""What the sniffer counts: protocols with ports, hosts with rates, connections; and rows of all of them.

Time is an argument. Tables have an end: what doesn't fit is counted and told, so that a scan of all ports costs no
memory. On a packet's way this counts the copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sipalg.sniffer.filters import PORTS
from sipalg.sniffer.frames import Seen

MOST_ROWS: Final = 4096
_NAMES: Final = {number: name for name, number in sorted(PORTS.items(), reverse=True)}
_HALF: Final = 1 << 31
_MODULUS: Final = 1 << 32

Row = dict[str, str]


@dataclass(slots=True)
class _Count:
    packets: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Host:
    """Bytes that a host sent and got: in all, in this second, in the last whole one, and in the best."""

    total: list[int] = field(default_factory=lambda: [0, 0])
    current: list[int] = field(default_factory=lambda: [0, 0])
    rate: list[int] = field(default_factory=lambda: [0, 0])
    peak: list[int] = field(default_factory=lambda: [0, 0])
    second: int = 0

    def add(self, way: int, size_bytes: int, second: int) -> None:
        self.turn(second)
        self.total[way] += size_bytes
        self.current[way] += size_bytes

    def turn(self, second: int) -> None:
        """Close the seconds that are over."""
        if second == self.second:
            return
        done = self.current
        self.peak = [max(pair) for pair in zip(self.peak, done, strict=True)]
        self.rate = done if second == self.second + 1 else [0, 0]
        self.current = [0, 0]
        self.second = second


@dataclass(slots=True)
class _Connection:
    """Both directions, the first packet's first: packets, bytes, sent again; the segment sizes that were offered."""

    protocol: str
    packets: list[int] = field(default_factory=lambda: [0, 0])
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    resends: list[int] = field(default_factory=lambda: [0, 0])
    mss: list[int] = field(default_factory=lambda: [0, 0])
    next: list[int | None] = field(default_factory=lambda: [None, None])

    def sent_again(self, way: int, sequence: int, size_bytes: int) -> None:
        """Count data that begin before what has been sent already."""
        expected = self.next[way]
        end = (sequence + size_bytes) % _MODULUS
        if expected is not None and 0 < (expected - sequence) % _MODULUS < _HALF:
            self.resends[way] += 1
        if expected is None or (end - expected) % _MODULUS < _HALF:
            self.next[way] = end


_End = tuple[str, int]


class Tables:
    """All that is counted of a run."""

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        #: Rows that there was no room for, by table.
        self.left_out = {"protocols": 0, "hosts": 0, "connections": 0}
        self._protocols: dict[tuple[str, str, int], _Count] = {}
        self._hosts: dict[str, _Host] = {}
        self._connections: dict[tuple[_End, _End, str], _Connection] = {}

    def add(self, seen: Seen, size_bytes: int, now: float) -> None:
        """Count a packet of this size on the wire; `now` in seconds since 1970."""
        self.packets += 1
        self.bytes += size_bytes
        second = int(now)
        self._count((seen.protocol, "", 0), size_bytes)
        if not seen.ip_protocol:
            return
        self._count((seen.protocol, seen.ip_protocol, 0), size_bytes)
        if seen.source_port:
            self._count((seen.protocol, seen.ip_protocol, _service(seen)), size_bytes)
            self._connect(seen, size_bytes)
        for way, address in enumerate((seen.source, seen.destination)):
            host = self._hosts.get(address)
            if host is None:
                if len(self._hosts) >= MOST_ROWS:
                    self.left_out["hosts"] += 1
                    continue
                host = self._hosts[address] = _Host(second=second)
            host.add(way, size_bytes, second)

    def protocol_rows(self) -> list[Row]:
        """Return protocols, those over them, and their ports; each part of all bytes."""
        return [
            {
                "protocol": protocol,
                "ip-protocol": ip_protocol,
                "port": _port_text(port),
                "packets": str(count.packets),
                "bytes": str(count.bytes),
                "share": f"{100 * count.bytes / max(1, self.bytes):.2f}%",
            }
            for (protocol, ip_protocol, port), count in sorted(self._protocols.items())
        ]

    def host_rows(self, now: float) -> list[Row]:
        """Return hosts, with what they sent before what they got: in the last second, in the best, in all."""
        rows = []
        for address, host in self._hosts.items():
            host.turn(int(now))
            # The second that isn't over may be the best already.
            peak = [max(pair) for pair in zip(host.peak, host.current, strict=True)]
            rates = {"rate": host.rate, "peak-rate": peak}
            row = {key: f"{_rate(sent)}/{_rate(got)}" for key, (sent, got) in rates.items()}
            rows.append({"address": address, **row, "total": f"{host.total[0]}/{host.total[1]}"})
        return rows

    def connection_rows(self) -> list[Row]:
        """Return connections; the first packet's sender is the source."""
        return [
            {
                "protocol": one.protocol,
                "src-address": _end_text(source),
                "dst-address": _end_text(destination),
                "packets": _pair(one.packets),
                "bytes": _pair(one.bytes),
                "resends": _pair(one.resends),
                "mss": _pair(one.mss),
            }
            for (source, destination, _), one in self._connections.items()
        ]

    def _count(self, key: tuple[str, str, int], size_bytes: int) -> None:
        count = self._protocols.get(key)
        if count is None:
            if len(self._protocols) >= MOST_ROWS:
                self.left_out["protocols"] += 1
                return
            count = self._protocols[key] = _Count()
        count.packets += 1
        count.bytes += size_bytes

    def _connect(self, seen: Seen, size_bytes: int) -> None:
        ends = ((seen.source, seen.source_port), (seen.destination, seen.destination_port))
        way = 0
        found = self._connections.get((*ends, seen.ip_protocol))
        if found is None:
            found = self._connections.get((ends[1], ends[0], seen.ip_protocol))
            way = 1
        if found is None:
            if len(self._connections) >= MOST_ROWS:
                self.left_out["connections"] += 1
                return
            found = self._connections[*ends, seen.ip_protocol] = _Connection(seen.ip_protocol)
            way = 0
        found.packets[way] += 1
        found.bytes[way] += size_bytes
        found.mss[way] = found.mss[way] or seen.mss
        if seen.sequence is not None and seen.data_bytes:
            found.sent_again(way, seen.sequence, seen.data_bytes)


def _service(seen: Seen) -> int:
    """Return the port that says what it is: the one that has a name, else the lower one."""
    ports = sorted((seen.source_port, seen.destination_port))
    return next((port for port in ports if port in _NAMES), ports[0])


def _port_text(port: int) -> str:
    return "" if not port else f"{port} ({_NAMES[port]})" if port in _NAMES else str(port)


def _rate(size_bytes: int) -> str:
    """Return bytes of one second as RouterOS writes rates."""
    bits = float(size_bytes * 8)
    for unit in ("bps", "kbps", "Mbps"):
        if bits < 1000:
            return f"{bits:.4g}{unit}"
        bits /= 1000
    return f"{bits:.4g}Gbps"


def _pair(pair: list[int]) -> str:
    return f"{pair[0]}/{pair[1]}"


def _end_text(end: _End) -> str:
    address, port = end
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
