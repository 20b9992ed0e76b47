"""What is read of the kernel under any bytes: netlink messages, connection tracking entries, queued packets.

The kernel is trusted, its words aren't: another version's attributes, a cut buffer or a packet with odd headers must
never stop the packet loop.
"""

from __future__ import annotations

from sipalg.codec.datagram import parse_udp, replace_payload
from sipalg.datapath import ctnetlink, netlink
from sipalg.datapath.nfqueue import parse_packet

_OURS = b"\xcb\x00\x71\x01"
_PORTS = (b"\x13\xc4", b"\x40\x00")


def check_netlink(data: bytes) -> None:
    """Read the bytes as a buffer of messages, as one message's body, and as a queued packet."""
    bodies = [data]
    size = 0
    for _, message in netlink.decode(data):
        size += 16 + len(message.body)
        bodies.append(message.body)
        if message.kind == netlink.ERROR:
            netlink.refusal(message, 0)
    assert size <= len(data), "more than was there"
    for body in bodies:
        _check_body(body)
    packet = parse_packet(bytearray(data), len(data), 0)
    if packet is not None:
        assert len(packet.packet) <= len(data)
        _check_packet(packet.packet)
    _check_packet(data)


def _check_body(body: bytes) -> None:
    for offset in (0, 4):
        total = sum(4 + len(value) for _, value in netlink.each_attribute(body, offset))
        assert total <= max(0, len(body) - offset)
    entry = ctnetlink.decode_entry(body)
    assert entry is None or entry.original_source.port in range(65536)
    ctnetlink.may_have_port(body, _PORTS)
    list(ctnetlink.translated(iter([body]), _OURS))
    list(ctnetlink.let_in(iter([body]), _OURS))
    list(ctnetlink.concerning([body], (_OURS,), _PORTS))


def _check_packet(packet: bytes) -> None:
    parsed = parse_udp(packet)
    if isinstance(parsed, str):
        assert parsed, "a refusal without a reason"
        return
    assert parsed.payload in packet
    changed = parse_udp(replace_payload(packet, parsed.payload + b"x"))
    assert not isinstance(changed, str)
    assert changed.payload == parsed.payload + b"x"
    assert (changed.source, changed.destination) == (parsed.source, parsed.destination)
