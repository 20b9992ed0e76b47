"""The control socket's answer to `connections`: the SIP and media flows as the connection tracker has them now.

The tracker may hold hundreds of thousands of flows, so it is read a buffer at a time as the answer is sent, and
packets are handled in between. Off a packet's way; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sipalg.datapath import ctnetlink
from sipalg.datapath.ctnetlink import Tracked
from sipalg.datapath.netlink import Message, NetlinkSocket
from sipalg.engine.alg import Alg
from sipalg.engine.verdict import TCP, UDP, Endpoint

#: Status bits by RouterOS's words, in its order.
_FLAGS: Final = (
    ("seen-reply", ctnetlink.SEEN_REPLY),
    ("assured", ctnetlink.ASSURED),
    ("confirmed", ctnetlink.CONFIRMED),
    ("dying", ctnetlink.DYING),
    ("srcnat", ctnetlink.SOURCE_NAT),
    ("dstnat", ctnetlink.DESTINATION_NAT),
)
_PROTOCOLS: Final = {UDP: "udp", TCP: "tcp"}


def read_flows(question: Message) -> Iterator[list[bytes]]:
    """Yield the bodies of a dump's entries, a buffer at a time, by a socket of its own."""
    with NetlinkSocket() as netlink:
        for messages in netlink.pieces(question):
            yield [message.body for message in messages]


def connections(
    alg: Alg, read: Callable[[Message], Iterator[list[bytes]]] = read_flows
) -> Iterator[list[dict[str, Any]]]:
    """Yield rows of flows, some at a time and often none; what a mapping holds, and what goes to a SIP port.

    A row's `flags` are those that are set, `timeout_s` what the flow has left, `purpose` sip or media.
    """
    mappings = [entry.mapping for entry in alg.mappings.entries.values()]
    purposes = {(one.protocol, end): one.purpose for one in mappings for end in (one.public, one.private)}
    ends = {ctnetlink.packed(end) for _, end in purposes}
    ports = {port.to_bytes(2, "big") for port in alg.settings.ports}
    # No filter of the kernel's: with one it walks the whole table before it answers, 60 ms for 100,000 flows.
    for ipv6 in (False, True) if alg.settings.ipv6 is not None else (False,):
        for bodies in read(ctnetlink.dump(ipv6=ipv6)):
            found = ctnetlink.concerning(bodies, ends, ports)
            yield [_row(entry, purposes) for entry in found if entry.protocol in _PROTOCOLS]


def _row(entry: Tracked, purposes: Mapping[tuple[int, Endpoint], str]) -> dict[str, Any]:
    ends = (entry.original_source, entry.original_destination, entry.reply_source, entry.reply_destination)
    found = (purposes.get((entry.protocol, end)) for end in ends)
    row: dict[str, Any] = {
        "protocol": _PROTOCOLS[entry.protocol],
        "src": str(entry.original_source),
        "dst": str(entry.original_destination),
        "reply_src": str(entry.reply_source),
        "reply_dst": str(entry.reply_destination),
        "timeout_s": entry.timeout_s,
        "flags": [name for name, bit in _FLAGS if entry.status & bit],
        "purpose": next(filter(None, found), "sip"),
    }
    if entry.packets is not None:
        row["orig_packets"], row["repl_packets"] = entry.packets
    return row
