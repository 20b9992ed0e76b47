"""The flows that the control socket tells of."""

from __future__ import annotations

from collections.abc import Iterator

from sipalg.control.service.connections import connections
from sipalg.datapath import ctnetlink, netlink
from sipalg.datapath.netlink import Message
from sipalg.engine.alg import Alg
from sipalg.engine.existing import Restored
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import TCP, UDP, Endpoint, Mapping

PHONE, PUBLIC, SERVER = Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5062), Endpoint("203.0.113.9", 5060)
RTP, PUBLIC_RTP, FAR = Endpoint("192.168.33.10", 10000), Endpoint("203.0.113.1", 16384), Endpoint("198.51.100.7", 4000)
SETTINGS = Settings(frozenset({"lan0"}), PUBLIC.host, PUBLIC.host)


def alg() -> Alg:
    made = Alg(SETTINGS, lambda *_: False)
    made.restore([Restored(Mapping(UDP, PHONE, PUBLIC, "sip"), 60.0, "lan0")], 0.0)
    made.restore([Restored(Mapping(UDP, RTP, PUBLIC_RTP, "media"), 60.0, "lan0")], 0.0)
    return made


def entry(source: Endpoint, destination: Endpoint, back: Endpoint, status: int = 0, protocol: int = UDP) -> bytes:
    there = ctnetlink.encode_tuple(1, protocol, source, destination)
    reply = ctnetlink.encode_tuple(2, protocol, destination, back)
    return b"\2\0\0\0" + there + reply + netlink.u32(3, status) + netlink.u32(7, 99)


class Kernel:
    """Answers a dump with some of its entries at a time, and remembers what was asked."""

    def __init__(self, *pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.asked: list[Message] = []

    def __call__(self, question: Message) -> Iterator[list[bytes]]:
        self.asked.append(question)
        yield from self.pieces


def test_flows_of_mappings_and_of_sip_ports_are_told_with_what_they_are_for() -> None:
    counters = netlink.nested(9, netlink.u64(1, 5)) + netlink.nested(10, netlink.u64(1, 7))
    kernel = Kernel(
        [entry(PHONE, SERVER, PUBLIC, 0x1E), entry(FAR, Endpoint("192.168.33.10", 53), FAR)],
        [entry(RTP, FAR, PUBLIC_RTP, 0x10) + counters],
    )
    sip, media = (row for rows in connections(alg(), kernel) for row in rows)
    assert sip == {
        "protocol": "udp",
        "src": str(PHONE),
        "dst": str(SERVER),
        "reply_src": str(SERVER),
        "reply_dst": str(PUBLIC),
        "timeout_s": 99,
        "flags": ["seen-reply", "assured", "confirmed", "srcnat"],
        "purpose": "sip",
    }
    assert (media["purpose"], media["flags"]) == ("media", ["srcnat"])
    assert (media["orig_packets"], media["repl_packets"]) == (5, 7)


def test_sip_over_tcp_is_told_by_its_ports_and_no_other_protocol_is() -> None:
    other = Endpoint("192.168.33.11", 40000)
    flows = [entry(other, SERVER, Endpoint(PUBLIC.host, 40000), 0x218, protocol) for protocol in (TCP, 132)]
    rows = [row for rows in connections(Alg(SETTINGS, lambda *_: False), Kernel(flows)) for row in rows]
    assert [(row["protocol"], row["flags"], row["purpose"]) for row in rows] == [
        ("tcp", ["confirmed", "dying", "srcnat"], "sip")
    ]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    kernel = Kernel([], [entry(PHONE, SERVER, PUBLIC)])
    rows = connections(alg(), kernel)
    assert kernel.asked == []
    assert next(rows) == []
    assert len(next(rows)) == 1
