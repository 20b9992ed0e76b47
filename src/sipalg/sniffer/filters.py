"""The sniffer's filters: entries as RouterOS's users type them, made into libpcap's filter expressions.

Pure: texts in, an expression out. What goes into an expression was read as a number or an address before, so that no
text of a user's gets there as it is. On a packet's way this is before the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple

#: RouterOS's limit for one filter.
MOST_ENTRIES: Final = 16
_MAX_PORT: Final = 65535
_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
_LONGEST_INTERFACE_NAME_BYTES: Final = 15

#: IEEE 802 numbers by RouterOS's names.
MAC_PROTOCOLS: Final = {
    "arp": 0x0806,
    "homeplug-av": 0x88E1,
    "ip": 0x0800,
    "ipv6": 0x86DD,
    "ipx": 0x8137,
    "lldp": 0x88CC,
    "loop-protect": 0x9003,
    "mpls-multicast": 0x8848,
    "mpls-unicast": 0x8847,
    "pppoe": 0x8864,
    "pppoe-discovery": 0x8863,
    "rarp": 0x8035,
    "service-vlan": 0x88A8,
    "vlan": 0x8100,
}
#: IANA's protocol numbers by RouterOS's names.
IP_PROTOCOLS: Final = {
    "dccp": 33,
    "egp": 8,
    "encap": 98,
    "etherip": 97,
    "ggp": 3,
    "gre": 47,
    "hmp": 20,
    "icmp": 1,
    "icmpv6": 58,
    "igmp": 2,
    "ipencap": 4,
    "ipip": 94,
    "ipsec-ah": 51,
    "ipsec-esp": 50,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "l2tp": 115,
    "ospf": 89,
    "pim": 103,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udp-lite": 136,
    "vrrp": 112,
}
#: Ports by their names, as far as people look for them beside SIP.
PORTS: Final = {
    "bootpc": 68,
    "bootps": 67,
    "dns": 53,
    "ftp": 21,
    "http": 80,
    "https": 443,
    "l2tp": 1701,
    "ntp": 123,
    "rtsp": 554,
    "sip": 5060,
    "sip-tls": 5061,
    "sips": 5061,
    "snmp": 161,
    "ssh": 22,
    "stun": 3478,
    "stuns": 5349,
    "syslog": 514,
    "telnet": 23,
    "tftp": 69,
    "winbox": 8291,
}
#: An IPv4 packet's later pieces, and IPv6's: they have no ports, and belong to some packet that has.
_LATER_PIECES: Final = "ip[6:2] & 0x1fff != 0 or ip6 proto 44"


class Entry(NamedTuple):
    """One entry of a filter, without the `!` that negates it."""

    negated: bool
    text: str


class Filter(NamedTuple):
    """One of the filters: `primitive` makes an entry into an expression, ValueError for what can't be."""

    key: str
    primitive: Callable[[str], str]
    values: str
    help: str


def entries(text: str) -> tuple[Entry, ...]:
    """Read entries with commas between them; ValueError where there are too many or an empty one."""
    if not text.strip():
        return ()
    parts = [part.strip() for part in text.split(",")]
    found = tuple(Entry(part.startswith("!"), part.removeprefix("!").strip()) for part in parts)
    if len(found) > MOST_ENTRIES:
        raise ValueError(f"{len(found)} entries are too many; a filter has up to {MOST_ENTRIES}")
    if not all(one.text for one in found):
        raise ValueError(f"{text!r} has an empty entry; entries stand with commas between them")
    return found


def _number(text: str, names: Mapping[str, int], most: int, what: str, example: str) -> int:
    """Read a name, a decimal number or a hexadecimal one with 0x."""
    if text in names:
        return names[text]
    if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text):
        number = int(text, 16)
    elif re.fullmatch(r"\d{1,9}", text, re.ASCII):
        number = int(text)
    else:
        raise ValueError(f"{text!r} is no {what}; an example: {example}")
    if number > most:
        raise ValueError(f"{text!r} is no {what}; it goes up to {most}")
    return number


def mac_address(text: str) -> str:
    """`AA:BB:CC:DD:EE:FF`, or with `/FF:FF:FF:00:00:00` behind it: sender or recipient."""
    address, slash, mask = text.partition("/")
    if not all(_MAC.fullmatch(one) for one in ((address, mask) if slash else (address,))):
        raise ValueError(f"{text!r} is no MAC address; an example: 00:0C:29:AA:BB:CC, or with /FF:FF:FF:00:00:00")
    if not slash:
        return f"ether host {address}"
    bits = int(mask.replace(":", ""), 16)
    value = int(address.replace(":", ""), 16) & bits
    return " or ".join(
        f"(ether[{at}:4] & {bits >> 16:#x} = {value >> 16:#x}"
        f" and ether[{at + 4}:2] & {bits & 0xFFFF:#x} = {value & 0xFFFF:#x})"
        for at in (0, 6)
    )


def mac_protocol(text: str) -> str:
    """Read a protocol of Ethernet's by name or number."""
    return f"ether proto {_number(text, MAC_PROTOCOLS, 0xFFFF, 'MAC protocol', 'ip, arp, vlan, 0x0800')}"


def ip_address(text: str, direction: str = "") -> str:
    """An IPv4 address or network."""
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 address; examples: 192.168.20.100, 192.168.20.0/24") from None
    return f"ip {direction}net {network}"


def ipv6_address(text: str) -> str:
    """An IPv6 address or network."""
    try:
        if "%" in text:
            raise ValueError
        network = IPv6Network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no IPv6 address; examples: 2001:db8::1, 2001:db8::/32") from None
    return f"ip6 net {network}"


def ip_protocol(text: str) -> str:
    """A protocol over IP, by name or number."""
    number = _number(text, IP_PROTOCOLS, 255, "IP protocol", "udp, tcp, icmp, 17")
    return f"ip proto {number} or ip6 proto {number}"


def port(text: str, direction: str = "") -> str:
    """A port of TCP or UDP, by name or number; later pieces of fragmented packets, which have none, belong to it."""
    number = _number(text, PORTS, _MAX_PORT, "port", "5060, sip, 443")
    return f"{direction}port {number} or {_LATER_PIECES}"


def size(text: str) -> str:
    """A frame's size in bytes, or `LOW-HIGH`."""
    low, dash, high = text.partition("-")
    smallest = _number(low, {}, 65535, "size", "1500, 100-500")
    largest = _number(high, {}, 65535, "size", "1500, 100-500") if dash else smallest
    if smallest > largest:
        raise ValueError(f"{text!r} ends before it begins; an example: 100-500")
    return f"len >= {smallest} and len <= {largest}"


def interface(text: str) -> str:
    """Read an interface's name, or all; no expression, but the name."""
    plain = not any(character in "/:," or character.isspace() for character in text)
    if not plain or text in (".", "..") or len(text.encode()) > _LONGEST_INTERFACE_NAME_BYTES:
        raise ValueError(f"{text!r} is no interface name; examples: all, ether1")
    return text


def vlan(text: str) -> int:
    """Read a VLAN's number."""
    return _number(text, {}, 4095, "VLAN", "20")


def cpu(text: str) -> int:
    """Read a processor's number, from 0."""
    return _number(text, {}, 65535, "processor", "0")


#: Those that libpcap's language says.
EXPRESSIONS: Final[Mapping[str, Filter]] = {
    one.key: one
    for one in (
        Filter("filter-mac-address", mac_address, "MAC addresses, with /mask", "only frames of these stations"),
        Filter("filter-mac-protocol", mac_protocol, "names or numbers, such as ip or 0x0800", "only these protocols"),
        Filter("filter-ip-address", ip_address, "IPv4 addresses or networks", "only packets from or to these"),
        Filter(
            "filter-src-ip-address",
            lambda text: ip_address(text, "src "),
            "IPv4 addresses or networks",
            "only packets from these",
        ),
        Filter(
            "filter-dst-ip-address",
            lambda text: ip_address(text, "dst "),
            "IPv4 addresses or networks",
            "only packets to these",
        ),
        Filter("filter-ipv6-address", ipv6_address, "IPv6 addresses or networks", "only packets from or to these"),
        Filter("filter-ip-protocol", ip_protocol, "names or numbers, such as udp or 17", "only these IP protocols"),
        Filter("filter-port", port, "numbers or names, such as sip", "only packets from or to these ports"),
        Filter("filter-src-port", lambda text: port(text, "src "), "numbers or names", "only those from these ports"),
        Filter("filter-dst-port", lambda text: port(text, "dst "), "numbers or names", "only those to these ports"),
        Filter("filter-size", size, "bytes, or LOW-HIGH", "only frames of these sizes"),
    )
}
#: Those of them that only Ethernet has.
ETHERNET_ONLY: Final = ("filter-mac-address", "filter-mac-protocol")


def _is_later_piece_too(key: str) -> bool:
    return key in ("filter-port", "filter-src-port", "filter-dst-port")


def joined(key: str, wanted: Sequence[Entry], operator: str) -> str:
    """Return one filter's expression, "" for no entries; `operator` is "or" or "and"."""
    make = EXPRESSIONS[key].primitive
    parts = []
    for one in wanted:
        text = make(one.text)
        if one.negated and _is_later_piece_too(key):
            # What has no port hasn't that port: later pieces pass a negated port as well.
            text = text.removesuffix(f" or {_LATER_PIECES}")
        parts.append(f"not ({text})" if one.negated else f"({text})")
    return f" {operator} ".join(parts)


def expression(filters: Mapping[str, Sequence[Entry]], operator: str, exclude: Sequence[str] = ()) -> str:
    """Return what all filters that libpcap can say amount to, and-ed; "" for everything. `exclude` is negated."""
    parts = [joined(key, filters[key], operator) for key in EXPRESSIONS if filters.get(key)]
    parts += [f"not ({one})" for one in exclude]
    return " and ".join(f"({part})" for part in parts)


def stream_of(server: str, server_port: int) -> str:
    """Return the expression for what is streamed to a server, pieces and all."""
    pieces = "udp and ip[6:2] & 0x1fff != 0"
    return f"ip dst host {server} and (udp dst port {server_port} or ({pieces}))"
