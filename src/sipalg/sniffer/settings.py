"""The sniffer's settings: the table of RouterOS's names, what each may be, and all of them as one value.

Texts are what is kept, shown and typed; `Settings` is what a run goes by. On a packet's way this is before the
beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final, NamedTuple

from sipalg.sniffer import filters
from sipalg.sniffer.filters import Entry, entries

#: TZSP's port, which RouterOS and Wireshark know.
TZSP_PORT: Final = 37008
NOWHERE: Final = str(IPv4Address(0))
_KIB: Final = 1024
_LARGEST_LIMIT_KIB: Final = 4294967295
#: The longest name that file systems take, less what is put around it while it is written.
_LONGEST_NAME_BYTES: Final = 200
_FLAGS: Final = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
DIRECTIONS: Final = ("any", "rx", "tx")


class Property(NamedTuple):
    """One setting: `check` returns the text as it is kept, ValueError with one line for what can't be."""

    key: str
    default: str
    check: Callable[[str], str]
    values: str
    help: str
    choices: tuple[str, ...] = ()


def _flag(text: str) -> str:
    if text.lower() not in _FLAGS:
        raise ValueError(f"{text!r} is neither yes nor no")
    return _FLAGS[text.lower()]


def _one_of(*words: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return text

    return check


def _kib(text: str) -> str:
    """Read a limit in KiB: `100`, `100KiB`, `4MiB`."""
    found = re.fullmatch(r"(\d{1,10})(k|kib|m|mib|g|gib)?", text.strip().lower(), re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is no size; examples: 100 (KiB), 100KiB, 4MiB")
    limit = int(found[1]) * {"": 1, "k": 1, "m": _KIB, "g": _KIB * _KIB}[(found[2] or "")[:1]]
    if not 1 <= limit <= _LARGEST_LIMIT_KIB:
        raise ValueError(f"{text!r} is out of range; 1 to {_LARGEST_LIMIT_KIB} KiB are possible")
    return f"{limit}KiB"


def _packet_size(text: str) -> str:
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or not 64 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is no packet size; it is 64 to 65535 bytes")
    return str(int(text))


def plain_name(text: str) -> str:
    """Read a file's name: one that names nothing outside of its directory, and isn't hidden."""
    if not text or text.startswith(".") or "/" in text or not text.isprintable():
        raise ValueError(f"{text!r} is no plain file name; an example: before-ALG.pcap")
    if len(text.encode()) > _LONGEST_NAME_BYTES:
        raise ValueError(f"{text[:20]!r}… is too long; a name has up to {_LONGEST_NAME_BYTES} bytes")
    return text


def seconds(text: str) -> float:
    """Read a duration: `10s`, `2m`, `1h` or seconds; up to a day."""
    found = re.fullmatch(r"(\d{1,5})([smh]?)", text, re.ASCII)
    if found is None or not 1 <= (number := int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]) <= 86400:
        raise ValueError(f"{text!r} is no duration; examples: 10s, 2m, 1h")
    return float(number)


def _file_name(text: str) -> str:
    return plain_name(text) if text else ""


def _server(text: str) -> str:
    """Read `ADDRESS` or `ADDRESS:PORT`."""
    address, colon, port = text.partition(":")
    try:
        IPv4Address(address)
    except AddressValueError:
        raise ValueError(f"{text!r} is no address; an example: 192.168.20.5:{TZSP_PORT}") from None
    if colon and (not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535):
        raise ValueError(f"{port!r} is no port; an example: {address}:{TZSP_PORT}")
    return f"{address}:{int(port) if colon else TZSP_PORT}"


def _entries(primitive: Callable[[str], Any]) -> Callable[[str], str]:
    def check(text: str) -> str:
        found = entries(text)
        for one in found:
            primitive(one.text)
        return ",".join(f"{'!' * one.negated}{one.text}" for one in found)

    return check


_YES_NO: Final = ("yes", "no", "true", "false")


def _yes_no(key: str, default: str, help_: str) -> Property:
    return Property(key, default, _flag, "yes or no", help_, _YES_NO)


def _filter(key: str, primitive: Callable[[str], Any], values: str, help_: str) -> Property:
    return Property(key, "", _entries(primitive), f"up to {filters.MOST_ENTRIES} entries: {values}; ! negates", help_)


_ALL: Final = (
    _yes_no("only-headers", "no", "keep only the headers of packets"),
    Property("memory-limit", "100KiB", _kib, "KiB", "how much is kept in memory"),
    _yes_no("memory-scroll", "yes", "drop the oldest packets in memory for new ones"),
    Property("file-name", "", _file_name, "a plain name, or nothing", "the file in the captures' directory"),
    Property("file-limit", "1000KiB", _kib, "KiB", "when the file gets no more packets"),
    Property("max-packet-size", "2048", _packet_size, "64 to 65535", "how many bytes of a frame are kept"),
    _yes_no("streaming-enabled", "no", "send the packets to a server too"),
    Property(
        "streaming-server", f"{NOWHERE}:{TZSP_PORT}", _server, "ADDRESS[:PORT]", "who gets them, as TZSP over UDP"
    ),
    _yes_no("filter-stream", "yes", "leave out what is sent to that server"),
    _filter("filter-interface", filters.interface, "interfaces, or all", "only packets on these"),
    *(_filter(one.key, one.primitive, one.values, one.help) for one in filters.EXPRESSIONS.values()),
    _filter("filter-vlan", filters.vlan, "0 to 4095", "only frames of these VLANs"),
    _filter("filter-cpu", filters.cpu, "numbers from 0", "only packets that these processors handle"),
    Property(
        "filter-direction",
        "any",
        _one_of(*DIRECTIONS),
        "any, rx or tx",
        "only packets that come in, or go out",
        DIRECTIONS,
    ),
    Property(
        "filter-operator-between-entries",
        "or",
        _one_of("or", "and"),
        "or or and",
        "how the entries within one filter are joined",
        ("or", "and"),
    ),
)

#: All of them by name, in the order in which they are shown.
PROPERTIES: Final[Mapping[str, Property]] = {one.key: one for one in _ALL}
DEFAULTS: Final[Mapping[str, str]] = {one.key: one.default for one in _ALL}

#: The filters' keys.
FILTERS: Final = ("filter-interface", *filters.EXPRESSIONS, "filter-vlan", "filter-cpu")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run of the sniffer goes by; sizes in bytes. `file_name` is "" for none."""

    only_headers: bool
    memory_limit_bytes: int
    memory_scroll: bool
    file_name: str
    file_limit_bytes: int
    max_packet_bytes: int
    #: Where packets are streamed to, or None.
    server: tuple[str, int] | None
    filter_stream: bool
    filters: Mapping[str, tuple[Entry, ...]]
    direction: str
    operator: str


def checked(texts: Mapping[str, str]) -> dict[str, str]:
    """Return all settings as they are kept: these, and the defaults of the others. ValueError names the key."""
    found = dict(DEFAULTS)
    for key, text in texts.items():
        if key not in PROPERTIES:
            raise ValueError(f"the sniffer has no setting {key!r}")
        try:
            found[key] = PROPERTIES[key].check(text)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return found


def settings_of(texts: Mapping[str, str]) -> Settings:
    """Return what texts mean; ValueError where one is wrong or two contradict each other."""
    kept = checked(texts)
    streaming = kept["streaming-enabled"] == "yes"
    address, _, port = kept["streaming-server"].partition(":")
    if streaming and address == NOWHERE:
        raise ValueError(f"streaming-server: is {NOWHERE}; name the host that is to get the packets")
    return Settings(
        only_headers=kept["only-headers"] == "yes",
        memory_limit_bytes=_bytes(kept["memory-limit"]),
        memory_scroll=kept["memory-scroll"] == "yes",
        file_name=kept["file-name"],
        file_limit_bytes=_bytes(kept["file-limit"]),
        max_packet_bytes=int(kept["max-packet-size"]),
        server=(address, int(port)) if streaming else None,
        filter_stream=kept["filter-stream"] == "yes",
        filters={key: entries(kept[key]) for key in FILTERS},
        direction=kept["filter-direction"],
        operator=kept["filter-operator-between-entries"],
    )


def _bytes(text: str) -> int:
    return int(text.removesuffix("KiB")) * _KIB
