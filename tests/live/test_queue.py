"""The packet queue in a real router: which packets are held, what a verdict does, and what happens without us."""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from tests.live.router import PATIENCE_S
from tests.live.tables import installed

from sipalg.codec.datagram import UdpPacket, checksums_right, parse_udp, replace_payload
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nfqueue import PacketQueue, QueuedPacket
from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.nft_table import NftTable
from sipalg.engine.verdict import UDP, AdmitPeer, Endpoint, Mapping, OpenMapping
from sipalg.lab.topology import ADDRESS, EXEMPT_NETWORK, PUBLIC_ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

NUMBER = 77
FORWARD = 2
#: An observer's, since not all of these tests have a process that packets could wait for.
SETTINGS = TableSettings(
    "wan0", ("lan0", "lan1"), queue_number=NUMBER, exempt=(IPv4Network(EXEMPT_NETWORK),), observing=True
)
#: Of so many closings amid a flood some let a packet pass, if fail-open isn't ended before: some three in a hundred.
CLOSINGS = 150
#: Sends as fast as it can, until it is killed: from its own process, so that it doesn't wait for the test.
FLOOD = """
import socket, sys
port, host, to = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.bind(("", int(port)))
    while True:
        sender.sendto(b"INVITE", (host, int(to)))
"""
PHONE = Endpoint(ADDRESS["phone1"], 5060)
SERVER = Endpoint(ADDRESS["server"], 5060)
SIP = Mapping(UDP, PHONE, Endpoint(PUBLIC_ADDRESS, 24680), "sip")

ADMIN = f"""
table ip admin {{
  chain forward {{ type filter hook forward priority filter; policy drop;
    ip daddr {ADDRESS["far1"]} drop
    ct state established,related accept
    ct status dnat accept
    iifname {{ lan0, lan1 }} accept
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat; policy accept;
    oifname wan0 ip daddr {EXEMPT_NETWORK} accept
    oifname wan0 masquerade
  }}
}}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology(("phone1", "phone2", "phone4", "server", "far1", "site")) as topology:
        topology.run("router", "nft", "-f", "-", text=ADMIN)
        yield topology


@pytest.fixture
def table(net: Topology) -> Iterator[NftTable]:
    with installed(net, SETTINGS) as made:
        yield made


@pytest.fixture
def queue(net: Topology, table: NftTable) -> Iterator[PacketQueue]:
    assert table.exists()
    made = net.inside("router", lambda: PacketQueue(NUMBER, 1000))
    try:
        yield made
    finally:
        made.close()


def bound(net: Topology, host: str, port: int) -> socket.socket:
    made = net.socket(host)
    made.settimeout(PATIENCE_S)
    made.bind(("", port))
    return made


def held(queue: PacketQueue, count: int = 1) -> list[QueuedPacket]:
    """Wait for `count` packets in the queue, and take all that are there."""
    packets: list[QueuedPacket] = []
    while len(packets) < count and select.select([queue], [], [], PATIENCE_S)[0]:
        packets += queue.receive()
    return packets


def udp(packet: QueuedPacket) -> UdpPacket:
    read = parse_udp(packet.packet)
    assert isinstance(read, UdpPacket)
    return read


def test_the_first_packet_leaves_from_the_port_that_was_written_while_it_was_held(
    net: Topology, table: NftTable, queue: PacketQueue
) -> None:
    with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server:
        phone.sendto(b"REGISTER", SERVER)
        (packet,) = held(queue)
        assert checksums_right(packet.packet)
        read = udp(packet)
        assert (read.source, read.destination, read.payload) == (PHONE, SERVER, b"REGISTER")
        assert packet.hook == FORWARD
        names = {name: index for index, name in net.inside("router", socket.if_nameindex)}
        assert (packet.in_ifindex, packet.out_ifindex) == (names["lan0"], names["wan0"])
        table.apply([OpenMapping(SIP, 100), AdmitPeer(SIP, SERVER.host, 100)])
        queue.verdict_accept(packet.packet_id)
        queue.flush()
        assert server.recvfrom(100) == (b"REGISTER", SIP.public)
        # And the way in, of a flow that the server opens from another port: seen with the phone's private address.
        with bound(net, "server", 6000) as other:
            other.sendto(b"INVITE", SIP.public)
            (packet,) = held(queue)
            assert (udp(packet).source, udp(packet).destination) == ((SERVER.host, 6000), PHONE)
            queue.verdict_accept(packet.packet_id)
            queue.flush()
            assert phone.recvfrom(100) == (b"INVITE", (SERVER.host, 6000))


@pytest.mark.parametrize("payload", [b"short", b"a good deal longer than it was before" * 30, b""])
def test_a_replaced_packet_goes_on_in_its_place(net: Topology, queue: PacketQueue, payload: bytes) -> None:
    with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server:
        phone.sendto(b"as it came", SERVER)
        (packet,) = held(queue)
        replaced = replace_payload(packet.packet, payload)
        assert isinstance(replaced, bytes)
        queue.verdict_replace(packet.packet_id, replaced)
        queue.flush()
        assert server.recv(2000) == payload


def test_many_verdicts_go_in_batches_and_each_packet_gets_its_own(net: Topology, queue: PacketQueue) -> None:
    with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server:
        for number in range(100):
            phone.sendto(b"%03d" % number, SERVER)
        packets = held(queue, 100)
        for packet in packets:
            if packet.packet_id % 3:
                queue.verdict_accept(packet.packet_id)
            else:
                changed = replace_payload(packet.packet, udp(packet).payload + b"!" * 1000)
                assert isinstance(changed, bytes)
                queue.verdict_replace(packet.packet_id, changed)
        queue.flush()
        expected = [b"%03d" % n + (b"" if p.packet_id % 3 else b"!" * 1000) for n, p in enumerate(packets)]
        assert [server.recv(2000) for _ in range(100)] == expected
        assert queue.received == 100
        assert net.inside("router", queue.statistics) == (0, 0, 0, packets[-1].packet_id)


def test_a_verdict_on_a_packet_that_is_gone_is_counted_and_harms_nobody(net: Topology, queue: PacketQueue) -> None:
    queue.verdict_accept(4711)
    queue.flush()
    assert queue.receive() == []
    assert queue.refused == 1
    with bound(net, "phone1", 5060) as phone:
        phone.sendto(b"next", SERVER)
        assert len(held(queue)) == 1


def test_only_sip_of_translated_flows_is_held(net: Topology, table: NftTable, queue: PacketQueue) -> None:
    def passes(host: str, target: tuple[str, int], receiver: str) -> bool:
        with bound(net, host, 7000) as sender, bound(net, receiver, target[1]) as listener:
            sender.sendto(b"hello", target)
            return listener.recv(100) == b"hello"

    assert passes("phone1", (SERVER.host, 4000), "server")
    assert passes("phone1", (ADDRESS["site"], 5060), "site")
    assert passes("phone1", (ADDRESS["phone4"], 5060), "phone4")
    assert queue.receive() == []
    assert table.packets_to_queue() == 0
    with bound(net, "phone1", 7001) as phone:
        phone.sendto(b"hello", (SERVER.host, 5061))
        assert len(held(queue)) == 1
    assert table.packets_to_queue() == 1


def test_a_mappings_port_is_held_whatever_the_servers_port(
    net: Topology, table: NftTable, queue: PacketQueue
) -> None:
    table.apply([OpenMapping(SIP, 100)])
    with bound(net, "phone1", 5060) as phone:
        phone.sendto(b"hello", (SERVER.host, 4000))
        assert len(held(queue)) == 1


def test_a_change_of_ports_takes_effect_at_once(net: Topology, table: NftTable, queue: PacketQueue) -> None:
    table.change(replace(SETTINGS, ports=(4000,)))
    with bound(net, "phone1", 7000) as phone, bound(net, "server", 5060) as server:
        phone.sendto(b"plain", SERVER)
        assert server.recv(100) == b"plain"
        phone.sendto(b"held", (SERVER.host, 4000))
        assert [udp(packet).payload for packet in held(queue)] == [b"held"]


def test_phones_that_call_each_other_by_public_addresses_are_held(
    net: Topology, table: NftTable, queue: PacketQueue
) -> None:
    theirs = Mapping(UDP, Endpoint(ADDRESS["phone2"], 5060), Endpoint(PUBLIC_ADDRESS, 24682), "sip")
    table.apply([OpenMapping(SIP, 100), OpenMapping(theirs, 100)])
    with bound(net, "phone1", 5060) as phone, bound(net, "phone2", 5060) as other:
        phone.sendto(b"INVITE", theirs.public)
        (packet,) = held(queue)
        assert (udp(packet).source, udp(packet).destination) == (PHONE, theirs.private)
        queue.verdict_accept(packet.packet_id)
        queue.flush()
        assert other.recvfrom(100) == (b"INVITE", SIP.public)


def test_what_the_administrator_drops_never_gets_here(net: Topology, queue: PacketQueue, table: NftTable) -> None:
    with bound(net, "phone1", 5060) as phone:
        phone.sendto(b"dropped", (ADDRESS["far1"], 5060))
        phone.sendto(b"allowed", SERVER)
        assert [udp(packet).payload for packet in held(queue)] == [b"allowed"]
    assert table.packets_to_queue() == 1


def test_without_a_process_packets_pass(net: Topology, table: NftTable) -> None:
    with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server:
        phone.sendto(b"plain", SERVER)
        assert server.recv(100) == b"plain"
    assert table.packets_to_queue() == 1


def test_what_overflows_passes_and_is_counted(net: Topology, table: NftTable) -> None:
    queue = net.inside("router", lambda: PacketQueue(NUMBER, 10))
    try:
        with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server:
            for number in range(15):
                phone.sendto(b"%d" % number, SERVER)
            assert [server.recv(100) for _ in range(5)] == [b"%d" % number for number in range(10, 15)]
            assert net.inside("router", queue.statistics).waiting == 10
            assert len(queue.receive()) == 10
            assert table.packets_to_queue() - queue.received == 5
    finally:
        queue.close()


def test_closing_lets_the_held_packets_pass(net: Topology, table: NftTable) -> None:
    queue = net.inside("router", lambda: PacketQueue(NUMBER, 10))
    with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server:
        phone.sendto(b"one", SERVER)
        assert len(held(queue)) == 1
        phone.sendto(b"two", SERVER)
        queue.close()
        assert [server.recv(100), server.recv(100)] == [b"one", b"two"]
    assert table.packets_to_queue() == 2


def test_nothing_passes_while_a_queue_is_given_back_for_the_next_process(net: Topology) -> None:
    table = net.inside("router", lambda: NftTable(replace(SETTINGS, observing=False)))
    table.install()
    sent = subprocess.Popen(
        net.command("phone1", sys.executable, "-c", FLOOD, str(PHONE.port), SERVER.host, str(SERVER.port)),
        stdout=subprocess.PIPE,
    )
    try:
        with bound(net, "server", SERVER.port) as server:
            server.setblocking(False)
            waited = 0
            for _ in range(CLOSINGS):
                table.serve()
                queue = net.inside("router", lambda: PacketQueue(NUMBER, 1_000_000))
                waited += len(held(queue))
                queue.close(let_go=False)
            with pytest.raises(BlockingIOError):
                server.recv(100)
            # It did come to the queue, each time.
            assert waited >= CLOSINGS
    finally:
        sent.kill()
        sent.communicate()
        table.remove()
        table.close()


def test_a_number_that_another_process_has_is_refused(net: Topology, queue: PacketQueue) -> None:
    first = queue.number - 7
    with pytest.raises(NetlinkError, match=f"queue {queue.number}: Operation not permitted; stop the program"):
        net.inside("router", lambda: PacketQueue(first, queues=8))
    # The seven others are free again.
    net.inside("router", lambda: PacketQueue(first, queues=7)).close()


def seconds_left(net: Topology, *options: str) -> int:
    found = re.search(r"udp\s+17 (\d+) ", net.run("router", "conntrack", "-L", "-p", "udp", *options))
    assert found is not None
    return int(found[1])


def test_new_sip_flows_live_as_long_as_sip_timeout_says(net: Topology, table: NftTable) -> None:
    if not table.features.ct_timeout:
        pytest.skip("this kernel has no ct timeout objects")
    with bound(net, "phone1", 5060) as phone, bound(net, "server", 5060) as server:
        phone.sendto(b"REGISTER", SERVER)
        _, source = server.recvfrom(100)
        server.sendto(b"200", source)
        assert phone.recv(100) == b"200"
        assert 3500 < seconds_left(net, "--dport", "5060") <= 3600
        # From outside it is the kernel's own while nobody has answered.
        table.apply([OpenMapping(SIP, 100), AdmitPeer(SIP, SERVER.host, 100)])
        with bound(net, "server", 6000) as other:
            other.sendto(b"INVITE", SIP.public)
            assert phone.recv(100) == b"INVITE"
            assert seconds_left(net, "--sport", "6000") <= 30


def test_statistics_of_a_queue_that_nobody_has_are_zero(queue: PacketQueue) -> None:
    assert queue.statistics() == (0, 0, 0, 0)
