"""What people type, read into values: addresses, networks, ports and ranges, for `argparse`'s `type=`.

Each reader raises ArgumentTypeError with the text as it came and an example of what would be right, and takes nothing
that it would have to guess at. It stands here, at the lowest layer that has commands, so that all of them share it.
On a packet's way this is before the beginning.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError
from typing import Final, TypeVar

from sipalg.codec.address import MAX_PORT, is_ipv4
from sipalg.engine.verdict import Endpoint

Network = TypeVar("Network", IPv4Network, IPv6Network)

#: What is inside if nobody says (RFC 1918 section 3).
PRIVATE_NETWORKS: Final = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))

#: RouterOS's limit, and ours: how many ports a setting may list.
MOST_PORTS: Final = 8

_UNITS_S: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_IN_UNITS: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_BY_CLOCK: Final = re.compile(r"(?:(\d+)d ?)?(\d{1,2}):([0-5]\d)(?::([0-5]\d))?")
#: Below, phones that refresh every minute would come and go; above, the kernel's tables take no such timeout.
_SHORTEST_S: Final = 10
_LONGEST_S: Final = 30 * 86400
#: More digits are no number that anybody means, and Python refuses to read some thousands.
_MOST_DIGITS: Final = 12


def address(text: str) -> str:
    """Read an IPv4 address; returns its canonical text."""
    if not is_ipv4(text.encode()):
        raise ArgumentTypeError(f"{text!r} is no IPv4 address; an example: 203.0.113.1")
    return text


def network(text: str) -> IPv4Network:
    """Read an IPv4 network in CIDR notation; a single address is a network of one."""
    return _network(IPv4Network, text, "IPv4 network; an example: 192.168.20.0/24")


def network6(text: str) -> IPv6Network:
    """The same of IPv6."""
    return _network(IPv6Network, text, "IPv6 network; an example: 2001:db8:20::/64")


def _network(kind: type[Network], text: str, right: str) -> Network:
    try:
        return kind(text)
    except (AddressValueError, NetmaskValueError):
        raise ArgumentTypeError(f"{text!r} is no {right}") from None
    except ValueError:
        whole = kind(text, strict=False)
        raise ArgumentTypeError(f"{text!r} has host bits set; the network would be {whole}") from None


def yes_or_no(text: str) -> bool:
    """Read `yes` or `no`, or RouterOS's other words for them."""
    if text not in ("yes", "no", "true", "false"):
        raise ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text in ("yes", "true")


def port(text: str) -> int:
    """Read a port, 1–65535."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_PORT:
        raise ArgumentTypeError(f"{text!r} is no port; a port is a number from 1 to {MAX_PORT}")
    return int(text)


def endpoint(text: str) -> Endpoint:
    """Read `ADDRESS:PORT`."""
    host, colon, number = text.rpartition(":")
    if not colon or not is_ipv4(host.encode()):
        raise ArgumentTypeError(f"{text!r} is no address with a port; an example: 203.0.113.1:5060")
    return Endpoint(host, port(number))


def endpoint_or_address(text: str) -> Endpoint:
    """Read `ADDRESS:PORT`, or `ADDRESS` alone, which has the port 0."""
    return endpoint(text) if ":" in text else Endpoint(address(text), 0)


def ports(text: str) -> tuple[int, ...]:
    """Read one to eight ports with commas between them, in the order in which they came."""
    if "-" in text.lstrip("-"):
        raise ArgumentTypeError(f"{text!r}: ranges aren't taken; name up to {MOST_PORTS} ports, such as 5060,5061")
    numbers = tuple(port(part.strip()) for part in text.split(","))
    if len(numbers) > MOST_PORTS:
        raise ArgumentTypeError(f"{len(numbers)} ports are too many; up to {MOST_PORTS} are allowed")
    if len(set(numbers)) < len(numbers):
        raise ArgumentTypeError(f"{text!r} names a port twice")
    return numbers


def port_range(text: str) -> tuple[int, int]:
    """Read `LOW-HIGH`, both of them included: unprivileged ports, and at least one even one with the next above it."""
    low_text, dash, high_text = text.partition("-")
    if not dash:
        raise ArgumentTypeError(f"{text!r} is no range of ports; an example: 16384-32767")
    low, high = port(low_text), port(high_text)
    if low > high:
        raise ArgumentTypeError(f"{text!r} begins above its end; an example: 16384-32767")
    if low < 1024:
        raise ArgumentTypeError(f"{text!r} begins below 1024; media needs unprivileged ports, such as 16384-32767")
    if high < low + low % 2 + 1:
        raise ArgumentTypeError(f"{text!r} has no even port with the next one above it, for RTP and RTCP")
    return low, high


def duration(text: str) -> float:
    """Read a time in one of RouterOS's formats, or seconds; 10 seconds to 30 days."""
    seconds = _seconds(text.strip().lower()) if text.isascii() else None
    if seconds is None:
        raise ArgumentTypeError(f"{text!r} is no time; examples: 01:00:00, 1h, 90m, 1d2h, 3600")
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ArgumentTypeError(f"{text!r} is out of range; a time from {_SHORTEST_S}s to 30d is possible")
    return float(seconds)


def _seconds(text: str) -> int | None:
    if any(len(digits) > _MOST_DIGITS for digits in re.findall(r"\d+", text)):
        return None
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
