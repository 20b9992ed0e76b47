"""The values of settings as people write them: texts read, and values written so that they read the same again.

Words and formats are RouterOS's where it has them (`sip-timeout` as `01:00:00` or `1h30m`). Each reader raises
ValueError with one line: the text as it came, and what would be right. On a packet's way this is before the beginning.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Final, TypeVar

from sipalg.capture import arguments
from sipalg.codec.address import Network
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.nfqueue import LAST_NUMBER, QUEUES
from sipalg.datapath.preflight import LONGEST_INTERFACE_NAME_BYTES

_Value = TypeVar("_Value")

_FLAGS: Final = {"yes": True, "true": True, "no": False, "false": False}
#: More digits are no number that anybody means, and Python refuses to read some thousands.
_MOST_DIGITS: Final = 12


def flag(text: str) -> bool:
    """Read yes, no, true or false."""
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither yes nor no") from None


def flag_text(value: bool) -> str:
    """Return yes or no."""
    return "yes" if value else "no"


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader of one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is neither {' nor '.join(words)}")
        return text

    return read


def ports(text: str) -> tuple[int, ...]:
    """Read one to eight ports with commas between them."""
    return _from_argument(arguments.ports, text)


def ports_text(value: Iterable[int]) -> str:
    """Return ports with commas between them."""
    return ",".join(map(str, value))


def port_range(text: str) -> tuple[int, int]:
    """Read `LOW-HIGH`, with room for RTP and RTCP."""
    return _from_argument(arguments.port_range, text)


def port_range_text(value: tuple[int, int]) -> str:
    """Return `LOW-HIGH`."""
    return f"{value[0]}-{value[1]}"


def port_ranges(text: str) -> tuple[PortRange, ...]:
    """Read ports and ranges `LOW-HIGH` with commas between them, or nothing."""
    found = []
    for part in _parts(text):
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        single = _from_argument(arguments.port, low)
        one = PortRange(single, _from_argument(arguments.port, high) if dash else single)
        if one.low > one.high:
            raise ValueError(f"{part!r} ends before it begins; an example: 5070,20000-20999")
        found.append(one)
    return tuple(found)


def port_ranges_text(value: Iterable[PortRange]) -> str:
    """Return ports and ranges with commas between them."""
    return ",".join(f"{low}-{high}" if low < high else str(low) for low, high in value)


def networks(text: str) -> tuple[Network, ...]:
    """Read networks in CIDR notation with commas between them, or nothing; one that comes twice counts once."""
    return tuple(dict.fromkeys(_network(part) for part in _parts(text)))


def _network(text: str) -> Network:
    if ":" in text:
        return _from_argument(arguments.network6, text)
    return _from_argument(arguments.network, text)


def networks_text(value: Iterable[Network]) -> str:
    """Return networks with commas between them."""
    return ",".join(map(str, value))


def address_or_none(text: str) -> str | None:
    """Read an IPv4 address, or nothing."""
    return _from_argument(arguments.address, text) if text else None


def ipv6_address_or_none(text: str) -> str | None:
    """Read an IPv6 address, or nothing; returns its canonical text."""
    if not text:
        return None
    try:
        if "%" not in text:
            return IPv6Address(text).compressed
    except AddressValueError:
        pass
    raise ValueError(f"{text!r} is no IPv6 address; an example: 2001:db8::1")


def address_or_none_text(value: str | None) -> str:
    """Return the address, "" for none."""
    return value or ""


def interface(text: str) -> str:
    """Read an interface's name as Linux allows it; one with a comma isn't taken, since commas stand between names."""
    if len(text.encode(errors="replace")) > LONGEST_INTERFACE_NAME_BYTES:
        raise ValueError(f"{text!r} is no interface name, which has at most 15 bytes: see `ip link`")
    valid = text and text not in (".", "..")
    if not valid or not _is_utf8(text) or any(character in "/:," or character.isspace() for character in text):
        raise ValueError(f"{text!r} is no interface name; an example: lan0")
    return text


def interfaces(text: str) -> tuple[str, ...]:
    """Read one interface's name or several with commas between them; one that comes twice counts once."""
    return tuple(dict.fromkeys(interface(part.strip()) for part in text.split(",")))


def interfaces_text(value: Iterable[str]) -> str:
    """Return names with commas between them."""
    return ",".join(value)


def queue_number(text: str) -> int:
    """Read the first queue's number, 0–65528: the queues behind it have to fit."""
    if not _is_number(text) or int(text) > LAST_NUMBER:
        why = f"{QUEUES} queues are used, of the numbers from it on"
        raise ValueError(f"{text!r} is no queue number; it is one from 0 to {LAST_NUMBER}, since {why}")
    return int(text)


def directory(text: str) -> Path:
    """Read a directory's absolute path."""
    path = Path(text)
    if not path.is_absolute() or "\0" in text or not _is_utf8(text):
        raise ValueError(f"{text!r} is no absolute path; an example: /var/lib/sipalg/captures")
    return path


def duration(text: str) -> float:
    """Read a time in one of RouterOS's formats, or seconds; 10 seconds to 30 days."""
    return _from_argument(arguments.duration, text)


def argument(reader: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Return a reader as argparse's `type=` takes one, whose errors are said as they are."""

    def read(text: str) -> _Value:
        try:
            return reader(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return read


def _is_utf8(text: str) -> bool:
    """Tell whether a text can be written down: a command line's bytes may be of another encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _from_argument(reader: Callable[[str], _Value], text: str) -> _Value:
    """Read what a command line's reader reads, with the errors of this module."""
    try:
        return reader(text)
    except ArgumentTypeError as error:
        raise ValueError(str(error)) from None
