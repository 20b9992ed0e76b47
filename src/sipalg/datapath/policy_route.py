"""The routing rule that brings marked packets to local sockets: a bit, a priority and a table that nobody else has.

Beside the packets' way: the relay for TCP has sockets with addresses that aren't the router's, and packets for them
are routed to the machine itself by their mark (Documentation/networking/tproxy.rst). Rule and route carry a protocol
number of our own, so that what a process that died left is known and taken away by the next one. Sources:
rtnetlink(7), include/uapi/linux/fib_rules.h.
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Iterable
from socket import AF_INET
from typing import Final, NamedTuple

from sipalg.datapath import netlink
from sipalg.datapath.netlink import NETLINK_ROUTE, Message, NetlinkError, NetlinkSocket

_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_NEW_RULE, _DELETE_RULE, _GET_RULE = 32, 33, 34
#: rtmsg and fib_rule_hdr: family, prefix lengths of destination and source, TOS, table, then for a route protocol,
#: scope and type, for a rule two reserved bytes and its action; flags.
_HEADER: Final = struct.Struct("=BBBBBBBBI")
_ROUTE_OUT, _ROUTE_TABLE = 4, 15  # RTA_OIF, RTA_TABLE
_RULE_IN, _RULE_PRIORITY, _RULE_MARK, _RULE_TABLE, _RULE_MASK, _RULE_PROTOCOL = 3, 6, 10, 15, 16, 21  # FRA_…
_TO_TABLE: Final = 1  # FR_ACT_TO_TBL
_LOCAL: Final = 2  # RTN_LOCAL
_ON_THE_HOST: Final = 254  # RT_SCOPE_HOST
_LOOPBACK: Final = 1

#: Who made it, as `ip` shows it (`proto 150`): not one that rtnetlink.h or a routing daemon has.
PROTOCOL: Final = 150
#: Before all rules that an administrator is likely to have, which may lead any packet elsewhere; behind `local` (0).
PRIORITIES: Final = range(50, 58)
TABLES: Final = range(50600, 50608)
#: Bits of marks. Those that Kubernetes, Tailscale and mwan3 look at aren't among them, nor are those of `reply.MARK`.
BITS: Final = (0x02000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)


class PolicyRule(NamedTuple):
    """A routing rule as far as it matters here; `mask` is 0 for one that asks for no mark."""

    priority: int
    table: int
    mark: int
    mask: int
    interface: str
    protocol: int


class Place(NamedTuple):
    """Where there is room for ours."""

    priority: int
    table: int
    bit: int


class NoRoomError(Exception):
    """Everything that we would use is somebody else's: one line for people."""


def rules_and_tables() -> tuple[list[PolicyRule], set[int]]:
    """Return the IPv4 routing rules, and the tables that hold routes of others. Raises NetlinkError."""
    question = _HEADER.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        rules = [_rule(message) for message in sock.request(Message(_GET_RULE, netlink.DUMP, question))]
        routes = [_table_of_others(one) for one in sock.request(Message(_GET_ROUTE, netlink.DUMP, question))]
    return [rule for rule in rules if rule is not None], {table for table in routes if table is not None}


def choose(rules: Iterable[PolicyRule], tables: set[int]) -> Place:
    """Return a place that nobody else uses. Raises NoRoomError."""
    others = [rule for rule in rules if rule.protocol != PROTOCOL]
    taken = {rule.priority for rule in others}
    priority = next((one for one in PRIORITIES if one not in taken), None)
    pointed_at = {rule.table for rule in others} | tables
    table = next((one for one in TABLES if one not in pointed_at), None)
    bits = 0
    for rule in others:
        bits |= rule.mask
    bit = next((one for one in BITS if not one & bits), None)
    if priority is None:
        raise NoRoomError(f"routing rules of others have all priorities from {PRIORITIES[0]} to {PRIORITIES[-1]}")
    if table is None:
        raise NoRoomError(f"others use all routing tables from {TABLES[0]} to {TABLES[-1]}")
    if bit is None:
        raise NoRoomError("routing rules of others look at all bits of the mark that are ours to choose from")
    return Place(priority, table, bit)


def add(place: Place, interfaces: Iterable[str]) -> None:
    """Have marked packets that come in by these interfaces delivered to this machine. Raises NetlinkError.

    Nothing is left where it raises.
    """
    wanted = [Message(_NEW_ROUTE, netlink.CREATE | netlink.EXCLUSIVE, _route_body(place.table))]
    wanted += [Message(_NEW_RULE, netlink.CREATE | netlink.EXCLUSIVE, _rule_body(place, name)) for name in interfaces]
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        results = sock.acknowledge(wanted)
    refused = next(((index, number) for index, number in enumerate(results) if number), None)
    if refused is not None:
        remove()
        raise NetlinkError(refused[1], refused[0])


def stands(place: Place, interfaces: Iterable[str]) -> bool:
    """Tell whether all that `add` made is there: network managers take away what they didn't make.

    Raises NetlinkError.
    """
    question = _HEADER.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        rules = [_rule(message) for message in sock.request(Message(_GET_RULE, netlink.DUMP, question))]
        routes = sock.request(Message(_GET_ROUTE, netlink.DUMP, question))
    wanted = {
        PolicyRule(place.priority, place.table, place.bit, place.bit, interface, PROTOCOL) for interface in interfaces
    }
    return wanted <= set(rules) and any(_is_ours(message) for message in routes)


def remove() -> None:
    """Take away all rules and routes of ours, this process's and any earlier one's. Raises NetlinkError."""
    question = _HEADER.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        stale = [
            Message(_DELETE_RULE, 0, message.body)
            for message in sock.request(Message(_GET_RULE, netlink.DUMP, question))
            if (rule := _rule(message)) is not None and rule.protocol == PROTOCOL
        ]
        stale += [
            Message(_DELETE_ROUTE, 0, message.body)
            for message in sock.request(Message(_GET_ROUTE, netlink.DUMP, question))
            if _is_ours(message)
        ]
        for number in sock.acknowledge(stale):
            if number not in (0, errno.ENOENT, errno.ESRCH):
                raise NetlinkError(number)


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _u32(kind: int, value: int) -> bytes:
    return netlink.attribute(kind, value.to_bytes(4, sys.byteorder))


def _rule_body(place: Place, interface: str) -> bytes:
    header = _HEADER.pack(AF_INET, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
    parts = (
        netlink.text(_RULE_IN, interface),
        _u32(_RULE_PRIORITY, place.priority),
        _u32(_RULE_MARK, place.bit),
        _u32(_RULE_MASK, place.bit),
        _u32(_RULE_TABLE, place.table),
        netlink.u8(_RULE_PROTOCOL, PROTOCOL),
    )
    return header + b"".join(parts)


def _route_body(table: int) -> bytes:
    header = _HEADER.pack(AF_INET, 0, 0, 0, 0, PROTOCOL, _ON_THE_HOST, _LOCAL, 0)
    return header + _u32(_ROUTE_TABLE, table) + _u32(_ROUTE_OUT, _LOOPBACK)


def _rule(message: Message) -> PolicyRule | None:
    if message.kind != _NEW_RULE or len(message.body) < _HEADER.size:
        return None
    found = netlink.attributes(message.body, _HEADER.size)
    table = _number(found.get(_RULE_TABLE, b"")) or _HEADER.unpack_from(message.body)[4]
    mark = _number(found.get(_RULE_MARK, b""))
    # A mark without a mask is asked for as a whole.
    mask = _number(found[_RULE_MASK]) if _RULE_MASK in found else 0xFFFFFFFF if mark else 0
    priority, interface = _number(found.get(_RULE_PRIORITY, b"")), netlink.string(found.get(_RULE_IN, b""))
    return PolicyRule(priority, table, mark, mask, interface, _number(found.get(_RULE_PROTOCOL, b"")))


def _is_ours(message: Message) -> bool:
    """Whether it is a route of ours."""
    whole = message.kind == _NEW_ROUTE and len(message.body) >= _HEADER.size
    return whole and _HEADER.unpack_from(message.body)[5] == PROTOCOL


def _table_of_others(message: Message) -> int | None:
    if message.kind != _NEW_ROUTE or len(message.body) < _HEADER.size:
        return None
    if _is_ours(message):
        return None
    table: int = _HEADER.unpack_from(message.body)[4]
    return _number(netlink.attributes(message.body, _HEADER.size).get(_ROUTE_TABLE, b"")) or table
