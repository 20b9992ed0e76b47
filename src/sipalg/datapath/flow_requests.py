"""Requests about media's flows: to make one in connection tracking, to give it time, to end it.

A call makes and ends two while packets wait, so IPv4's are made of a form in which the places that differ are
overwritten, by machine code where the build has it. What a message's parts mean is `ctnetlink`'s; on a packet's way
`conntrack` decides, and this spells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import inet_aton
from typing import Final

from sipalg.codec.machine import machine_code, new
from sipalg.datapath import ctnetlink, netlink
from sipalg.datapath.ctnetlink import ASSURED, CONFIRMED, FIXED_TIMEOUT, SEEN_REPLY, encode_tuple
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket
from sipalg.engine.verdict import TCP, UDP, Endpoint, Flow

_SUBSYSTEM: Final = 1
_NEW: Final = 0
_DELETE: Final = 2
_TUPLE_ORIGINAL: Final = 1
_TUPLE_REPLY: Final = 2
_STATUS: Final = 3
_PROTOCOL_STATE: Final = 4
_NAT_SOURCE: Final = 6
_TIMEOUT: Final = 7
_TCP_ESTABLISHED: Final = 3
# Attributes of source NAT's addresses, lowest and highest, for IPv4 and IPv6.
_NAT_ADDRESSES: Final = {4: (1, 2), 16: (4, 5)}

_BEGUN: Final = SEEN_REPLY | ASSURED | CONFIRMED
_STATUSES: Final = {fixed: netlink.u32(_STATUS, _BEGUN | FIXED_TIMEOUT * fixed) for fixed in (False, True)}
_CREATE_FLAGS: Final = netlink.CREATE | netlink.EXCLUSIVE


#: Machine code for several messages in one, and for whether something waits: an exception that says so costs more.
_joined: Final = machine_code("sipalg.datapath.quick_flows", "joined")
_waits: Final = machine_code("sipalg.datapath.quick_flows", "waits")


class FlowSocket(NetlinkSocket):
    """A netlink socket that mostly asks for what the kernel agrees to."""

    def refusals(self, messages: Sequence[Message]) -> dict[int, NetlinkError]:
        """As any socket's."""
        if _joined is None or _waits is None:
            return super().refusals(messages)
        count = len(messages)
        first = self._next_sequence(count)
        self._socket.send(_joined(messages, first, netlink.REQUEST))
        waits: int = _waits(self._socket.fileno())
        if waits < 0:
            raise NetlinkError(-waits, -1)
        return self.refused(first, count) if waits else {}


def whole_seconds(timeout_s: float) -> int:
    """Round to what the kernel takes: whole seconds, at least one, at most 2³¹ − 1."""
    # What rounds halves to even costs six times as much in machine code.
    return 1 if timeout_s < 1.0 else min(int(timeout_s + 0.5), 0x7FFFFFFF)


def create(flow: Flow, timeout_s: float, fixed: bool) -> Message:
    """Make the request for a new entry, refused with EEXIST if either of its tuples is in use.

    The reply tuple is given as without NAT; the kernel makes it remote → public from CTA_NAT_SRC, as for a packet
    (ctnetlink_create_conntrack in net/netfilter/nf_conntrack_netlink.c). A flow that leaves as it is has none.
    """
    protocol, private, public, _ = flow
    body: bytes | None = None
    if protocol != TCP and ":" not in private.host:
        forms = _FIXED_FORMS if fixed else _FORMS
        body = patched(forms[public != private], flow, whole_seconds(timeout_s))
    if body is None:
        return spelled_out(flow, timeout_s, fixed)
    return new(Message, (_SUBSYSTEM << 8 | _NEW, _CREATE_FLAGS, body, 0))


def spelled_out(flow: Flow, timeout_s: float, fixed: bool) -> Message:
    """The same of any protocol and IP version, an attribute at a time."""
    protocol, private, public, remote = flow
    host = ctnetlink.address(public.host)
    lowest, highest = _NAT_ADDRESSES[len(host)]
    parts = [
        encode_tuple(_TUPLE_ORIGINAL, protocol, private, remote),
        encode_tuple(_TUPLE_REPLY, protocol, remote, private),
        _STATUSES[fixed],
        netlink.u32(_TIMEOUT, whole_seconds(timeout_s)),
    ]
    if public != private:
        ports = netlink.nested(3, netlink.u16(1, public.port), netlink.u16(2, public.port))
        parts.append(
            netlink.nested(_NAT_SOURCE, netlink.attribute(lowest, host), netlink.attribute(highest, host), ports)
        )
    if protocol == TCP:
        parts.append(netlink.nested(_PROTOCOL_STATE, netlink.nested(1, netlink.u8(1, _TCP_ESTABLISHED))))
    return netlink.nfnetlink(_SUBSYSTEM, _NEW, _CREATE_FLAGS, *parts, family=ctnetlink.family(private.host))


def change_timeout(flow: Flow, timeout_s: float) -> Message:
    """Make the request that gives the existing entry that long; EPERM if its timeout is fixed."""
    part = encode_tuple(_TUPLE_ORIGINAL, flow.protocol, flow.private, flow.remote)
    timeout = netlink.u32(_TIMEOUT, whole_seconds(timeout_s))
    return netlink.nfnetlink(_SUBSYSTEM, _NEW, 0, part, timeout, family=ctnetlink.family(flow.private.host))


def delete_flow(flow: Flow) -> Message:
    """Make the request that deletes the entry which the flow's packets from inside belong to, whatever its NAT."""
    body = patched(_DELETE_FORM, flow, 0) if ":" not in flow.private.host else None
    if body is None:
        return _delete_spelled_out(flow)
    return new(Message, (_SUBSYSTEM << 8 | _DELETE, 0, body, 0))


def _delete_spelled_out(flow: Flow) -> Message:
    part = encode_tuple(_TUPLE_ORIGINAL, flow.protocol, flow.private, flow.remote)
    return netlink.nfnetlink(_SUBSYSTEM, _DELETE, 0, part, family=ctnetlink.family(flow.private.host))


_SOME: Final = Flow(UDP, Endpoint("1.1.1.1", 1), Endpoint("1.1.1.1", 1), Endpoint("1.1.1.1", 1))
#: The bodies of IPv4's requests: to make a flow without NAT and with it, with and without `fixed`; and to delete one.
_FORMS, _FIXED_FORMS = (
    [spelled_out(_SOME._replace(public=Endpoint("1.1.1.1", port)), 1.0, fixed).body for port in (1, 2)]
    for fixed in (False, True)
)
_DELETE_FORM: Final = _delete_spelled_out(_SOME).body
# Where, from the beginning of such a body on, the original tuple's values are, the timeout, and NAT's hosts and ports.
# The reply tuple lies this much behind the original.
_SOURCE, _DESTINATION, _PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 16, 24, 36, 44, 52
_BEHIND: Final = 52
_TIMEOUT_AT: Final = 120
_NAT_AT: Final = ((132, 152), (140, 160))


def patched_plainly(form: bytes, flow: Flow, seconds: int) -> bytes:
    """The body of a request about an IPv4 flow: `form` is one about another."""
    protocol, private, public, remote = flow
    ends = [(inet_aton(host), port.to_bytes(2, "big")) for host, port in (private, remote, public)]
    body = bytearray(form)
    for place in (0, _BEHIND) if len(form) > _TIMEOUT_AT else (0,):
        (source, source_port), (destination, destination_port) = ends[:2] if not place else (ends[1], ends[0])
        body[place + _SOURCE : place + _SOURCE + 4] = source
        body[place + _DESTINATION : place + _DESTINATION + 4] = destination
        body[place + _PROTOCOL] = protocol
        body[place + _SOURCE_PORT : place + _SOURCE_PORT + 2] = source_port
        body[place + _DESTINATION_PORT : place + _DESTINATION_PORT + 2] = destination_port
        if place:
            body[_TIMEOUT_AT : _TIMEOUT_AT + 4] = seconds.to_bytes(4, "big")
    if len(form) > _NAT_AT[1][1]:
        host, public_port = ends[2]
        for host_at, port_at in _NAT_AT:
            body[host_at : host_at + 4] = host
            body[port_at : port_at + 2] = public_port
    return bytes(body)


#: The same in machine code, where the build has it; None for what isn't IPv4.
patched: Final[Callable[[bytes, Flow, int], bytes | None]] = (
    machine_code("sipalg.datapath.quick_flows", "patched") or patched_plainly
)
