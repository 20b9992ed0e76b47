"""The arguments of `sipalg run`, read into the settings of the engine and of the table.

Words and formats are RouterOS's where it has them (`sip-timeout` as `01:00:00` or `1h30m`). What contradicts itself is
refused here, before anything is looked up or changed. On a packet's way this is before the beginning.
"""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentTypeError
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final, Literal

from sipalg.capture import arguments
from sipalg.control.client import DEFAULT_SOCKET, SOCKET_VARIABLE, socket_path
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.preflight import LONGEST_INTERFACE_NAME_BYTES, Plan
from sipalg.engine.settings import Settings

#: Where the defaults are taken from.
_ENGINE: Final = Settings(frozenset(), "", "")
_TABLE: Final = TableSettings("", ())

_UNITS_S: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_IN_UNITS: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_BY_CLOCK: Final = re.compile(r"(?:(\d+)d ?)?(\d{1,2}):([0-5]\d)(?::([0-5]\d))?")
#: Below, phones that refresh every minute would come and go; above, the kernel's tables take no such timeout.
_SHORTEST_TIMEOUT_S: Final = 10
_LONGEST_TIMEOUT_S: Final = 30 * 86400


@dataclass(frozen=True, slots=True)
class Options:
    """What the administrator asked for, checked as far as that goes without looking at the system."""

    inside: tuple[str, ...]
    outside: str
    public: str | None
    ports: tuple[int, ...]
    media_ports: tuple[int, int]
    sip_timeout_s: float
    exempt: tuple[IPv4Network, ...]
    trusted_peers: tuple[IPv4Network, ...]
    mode: Literal["enforce", "observe"]
    socket: Path
    queue_number: int
    allow_offload: bool
    reserved_ports: tuple[PortRange, ...] = ()
    log_edits: bool = False

    def engine_settings(self, nat_address: str, stream_timeout_s: float) -> Settings:
        """Return the engine's settings; `stream_timeout_s` is the kernel's timeout of UDP streams."""
        return Settings(
            inside_interfaces=frozenset(self.inside),
            nat_address=nat_address,
            advertised_address=self.public or nat_address,
            ports=self.ports,
            media_ports=self.media_ports,
            sip_timeout_s=self.sip_timeout_s,
            flow_check_s=min(50.0, max(1.0, stream_timeout_s * 0.4)),
            exempt=self.exempt,
            trusted_peers=self.trusted_peers,
            mode=self.mode,
        )

    def table_settings(self, unreplied_timeout_s: float) -> TableSettings:
        """Return the table's settings; `unreplied_timeout_s` is the kernel's timeout of UDP without an answer."""
        return TableSettings(
            outside=self.outside,
            inside=self.inside,
            queue_number=self.queue_number,
            ports=self.ports,
            exempt=self.exempt,
            trusted_peers=self.trusted_peers,
            sip_timeout_s=self.sip_timeout_s,
            unreplied_timeout_s=unreplied_timeout_s,
        )

    def plan(self) -> Plan:
        """Return what preflight is to look at; an observer is in nobody's way."""
        return Plan(
            inside=self.inside,
            outside=self.outside,
            ports=self.ports,
            media_ports=PortRange(*self.media_ports),
            queue_number=self.queue_number,
            exempt=self.exempt,
            allow_offload=self.allow_offload or self.mode == "observe",
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    inside = "an interface with phones (repeatable)"
    add("--inside", action="append", required=True, type=interface, metavar="NAME", help=inside)
    add("--outside", required=True, type=interface, metavar="NAME", help="the interface towards the SIP servers")
    add("--public", type=arguments.address, metavar="ADDRESS", help="the address to write, behind a 1:1 NAT")
    add("--ports", type=arguments.ports, default=_ENGINE.ports, help="the SIP servers' ports (default: 5060,5061)")
    add(
        "--media-ports",
        type=arguments.port_range,
        default=_ENGINE.media_ports,
        metavar="LOW-HIGH",
        help="public ports for media where the phone's own is taken (default: 16384-32767)",
    )
    add(
        "--reserved-ports",
        type=reserved_ports,
        default=(),
        metavar="PORTS",
        help="ports that never become public ones: 5070,20000-20999",
    )
    add(
        "--sip-timeout",
        type=duration,
        default=_ENGINE.sip_timeout_s,
        metavar="TIME",
        help="how long SIP may be silent: 01:00:00, 1h, 90m, seconds (default: 1h)",
    )
    add(
        "--except",
        action="append",
        default=[],
        dest="exempt",
        type=arguments.network,
        metavar="CIDR",
        help="a remote network that isn't NATed (repeatable)",
    )
    add(
        "--trusted-peers",
        action="append",
        default=[],
        type=arguments.network,
        metavar="CIDR",
        help="a remote network that may signal to any phone (repeatable)",
    )
    add(
        "--mode",
        choices=("enforce", "observe"),
        default="enforce",
        help="observe decides, counts and shows, and changes nothing",
    )
    add("--socket", metavar="PATH", help=f"the control socket (default: ${SOCKET_VARIABLE} or {DEFAULT_SOCKET})")
    add(
        "--queue",
        type=queue_number,
        default=_TABLE.queue_number,
        metavar="NUMBER",
        help=f"the kernel's packet queue (default: {_TABLE.queue_number})",
    )
    add("--log-edits", action="store_true", help="log a line for each edited message: what, and by which rules")
    add("--allow-offload", action="store_true", help="start although a flow table carries packets past the ALG")


def read(args: argparse.Namespace) -> Options:
    """Return the options; ArgumentTypeError for interfaces that contradict each other."""
    inside = tuple(dict.fromkeys(args.inside))
    if args.outside in inside:
        raise ArgumentTypeError(f"--outside {args.outside}: is also given as --inside; it can only be one of them")
    return Options(
        inside=inside,
        outside=args.outside,
        public=args.public,
        ports=args.ports,
        media_ports=args.media_ports,
        sip_timeout_s=args.sip_timeout,
        exempt=tuple(args.exempt),
        trusted_peers=tuple(args.trusted_peers),
        mode=args.mode,
        socket=socket_path(args.socket),
        queue_number=args.queue,
        allow_offload=args.allow_offload,
        reserved_ports=args.reserved_ports,
        log_edits=args.log_edits,
    )


def reserved_ports(text: str) -> tuple[PortRange, ...]:
    """Read ports and ranges `LOW-HIGH` with commas between them."""
    found = []
    for part in text.split(","):
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        ports = PortRange(arguments.port(low), arguments.port(high if dash else low))
        if ports.low > ports.high:
            raise ArgumentTypeError(f"{part.strip()!r} ends before it begins; an example: 5070,20000-20999")
        found.append(ports)
    return tuple(found)


def interface(text: str) -> str:
    """Read an interface's name as Linux allows it."""
    if len(text.encode()) > LONGEST_INTERFACE_NAME_BYTES:
        raise ArgumentTypeError(f"{text!r} is no interface name, which has at most 15 bytes: see `ip link`")
    valid = text and text not in (".", "..")
    if not valid or any(character in "/:" or character.isspace() for character in text):
        raise ArgumentTypeError(f"{text!r} is no interface name; an example: lan0")
    return text


def queue_number(text: str) -> int:
    """Read a queue's number, 0–65535."""
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is no queue number; a queue is a number from 0 to 65535")
    return int(text)


def duration(text: str) -> float:
    """Read a time in one of RouterOS's formats, or seconds; 10 seconds to 30 days."""
    seconds = _seconds(text.strip().lower()) if text.isascii() else None
    if seconds is None:
        raise ArgumentTypeError(f"{text!r} is no time; examples: 01:00:00, 1h, 90m, 1d2h, 3600")
    if not _SHORTEST_TIMEOUT_S <= seconds <= _LONGEST_TIMEOUT_S:
        raise ArgumentTypeError(f"{text!r} is out of range; a time from {_SHORTEST_TIMEOUT_S}s to 30d is possible")
    return float(seconds)


def _seconds(text: str) -> int | None:
    if text.isdigit():
        return int(text)
    clock = _BY_CLOCK.fullmatch(text)
    if clock:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds
    units = _IN_UNITS.fullmatch(text)
    if text and units:
        counts = zip(units.groups(), _UNITS_S.values(), strict=True)
        return sum(int(count or 0) * size for count, size in counts)
    return None
