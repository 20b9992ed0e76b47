"""Flows that are put into a real router's connection tracker: the first packet of either side must get through."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from sipalg.datapath.admin_rules import read_admin_rules
from sipalg.datapath.conntrack import Conntrack, FlowState, FlowTakenError, Untrue
from sipalg.datapath.ctnetlink import FIXED_TIMEOUT
from sipalg.datapath.ports import PortsTaken
from sipalg.engine.verdict import UDP, Endpoint, Flow, Mapping
from sipalg.lab import firewall
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS, Topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

PRIVATE = Endpoint(ADDRESS["phone1"], 10000)
PUBLIC = Endpoint(PUBLIC_ADDRESS, 19032)
OTHER = Endpoint(ADDRESS["phone2"], 10000)
REMOTE = Endpoint(ADDRESS["server"], 4000)
FLOW = Flow(UDP, PRIVATE, PUBLIC, REMOTE)


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology(("phone1", "phone2", "server")) as topology:
        firewall.load(topology, firewall.rules("strict"))
        yield topology


@pytest.fixture
def table(net: Topology) -> Iterator[Conntrack]:
    with net.inside("router", Conntrack) as conntrack:
        net.run("router", "conntrack", "-F")
        yield conntrack


class Ends:
    """A phone's and a server's media socket."""

    def __init__(self, net: Topology, phone: str = "phone1") -> None:
        self.phone, self.server = net.socket(phone), net.socket("server")
        self.phone.bind(("", PRIVATE.port))
        self.server.bind(("", REMOTE.port))
        for end in (self.phone, self.server):
            end.settimeout(1)

    def from_server(self, wait_s: float = 1) -> tuple[str, int] | None:
        """Send from the server to the public endpoint; who the phone sees as the sender, None if nothing came."""
        self.server.sendto(b"rtp", PUBLIC)
        return receive(self.phone, wait_s)

    def from_phone(self) -> tuple[str, int] | None:
        self.phone.sendto(b"rtp", REMOTE)
        return receive(self.server, 1)

    def close(self) -> None:
        self.phone.close()
        self.server.close()


def receive(end: socket.socket, wait_s: float) -> tuple[str, int] | None:
    end.settimeout(wait_s)
    try:
        source: tuple[str, int] = end.recvfrom(100)[1]
    except TimeoutError:
        return None
    return source


@pytest.fixture
def ends(net: Topology) -> Iterator[Ends]:
    pair = Ends(net)
    yield pair
    pair.close()


def test_control_without_an_entry_the_servers_first_packet_is_lost(table: Conntrack, ends: Ends) -> None:
    assert table.find(UDP, PRIVATE, REMOTE) is None
    assert ends.from_server(0.3) is None


def test_the_servers_first_packet_reaches_the_phone_and_the_answer_leaves_from_the_public_port(
    table: Conntrack, ends: Ends
) -> None:
    table.establish(FLOW, 60)
    assert ends.from_server() == REMOTE
    assert ends.from_phone() == PUBLIC


def test_the_phones_first_packet_leaves_from_the_public_port_and_control_without(
    table: Conntrack, ends: Ends
) -> None:
    assert ends.from_phone() == (PUBLIC_ADDRESS, PRIVATE.port)  # masquerade keeps the phone's port
    assert table.source_nat_of(UDP, PRIVATE, REMOTE) == Endpoint(PUBLIC_ADDRESS, PRIVATE.port)
    table.establish(FLOW, 60)
    assert ends.from_phone() == PUBLIC
    assert ends.from_server() == REMOTE
    assert table.source_nat_of(UDP, PRIVATE, REMOTE) == PUBLIC


def test_early_media_that_input_took_is_cleared_and_control(net: Topology, table: Conntrack, ends: Ends) -> None:
    # An entry of the router's own: the packet came to INPUT, which accepts it here so that the entry is confirmed.
    net.run("router", "nft", "insert", "rule", "ip", "filter", "input", "udp", "dport", "19032", "accept")
    assert ends.from_server(0.3) is None
    early = table.find(UDP, REMOTE, PUBLIC)
    assert early is not None
    assert early.reply_source == PUBLIC
    table.establish(FLOW, 60)
    assert ends.from_server() == REMOTE
    assert ends.from_phone() == PUBLIC
    firewall.load(net, firewall.rules("strict"))


def test_media_that_never_pauses_cannot_keep_the_flow_out(net: Topology, table: Conntrack, ends: Ends) -> None:
    net.run("router", "nft", "insert", "rule", "ip", "filter", "input", "udp", "dport", "19032", "accept")
    stop = threading.Event()

    def blast() -> None:
        while not stop.wait(0.0002):
            ends.server.sendto(b"rtp", PUBLIC)

    sender = threading.Thread(target=blast)
    sender.start()
    try:
        for _ in range(50):
            table.establish(FLOW, 60)
            assert table.source_nat_of(UDP, PRIVATE, REMOTE) == PUBLIC
            table.end(FLOW)
    finally:
        stop.set()
        sender.join()
    firewall.load(net, firewall.rules("strict"))


def test_what_a_port_forward_gave_to_another_host_is_taken(net: Topology, table: Conntrack, ends: Ends) -> None:
    other = ADDRESS["phone2"]
    net.run("router", "nft", "add", "rule", "ip", "nat", "prerouting", "udp", "dport", "19032", "dnat", "to", other)
    net.run("router", "nft", "insert", "rule", "ip", "filter", "forward", "ct", "status", "dnat", "accept")
    assert ends.from_server(0.3) is None
    with pytest.raises(FlowTakenError, match=f"in use by {other}:19032"):
        table.establish(FLOW, 60)
    firewall.load(net, firewall.rules("strict"))


def test_what_destination_nat_gave_to_this_phone_becomes_its_flow(net: Topology, table: Conntrack, ends: Ends) -> None:
    rule = f"udp dport 19032 dnat to {PRIVATE}"
    net.run("router", "nft", "add", "rule", "ip", "nat", "prerouting", rule)
    net.run("router", "nft", "insert", "rule", "ip", "filter", "forward", "ct", "status", "dnat", "accept")
    assert ends.from_server() == REMOTE
    assert table.source_nat_of(UDP, PRIVATE, REMOTE) == PUBLIC
    table.establish(FLOW, 60)
    entry = table.find(UDP, PRIVATE, REMOTE)
    assert entry is not None
    assert entry.original_source == PRIVATE
    assert ends.from_server() == REMOTE
    assert ends.from_phone() == PUBLIC
    firewall.load(net, firewall.rules("strict"))


def test_an_established_flow_is_renewed_not_made_anew(table: Conntrack) -> None:
    table.establish(FLOW, 60)
    before = table.find(UDP, PRIVATE, REMOTE)
    table.establish(FLOW, 500)
    after = table.find(UDP, REMOTE, PUBLIC)
    assert before is not None
    assert after is not None
    assert after.identity == before.identity
    assert before.timeout_s <= 60
    assert 490 <= after.timeout_s <= 500


def test_another_inside_hosts_flow_is_taken_and_left_alone(table: Conntrack) -> None:
    other = FLOW._replace(private=Endpoint(ADDRESS["phone2"], 10000))
    table.establish(other, 60)
    with pytest.raises(FlowTakenError, match=rf"{PUBLIC} towards {REMOTE} is in use by {ADDRESS['phone2']}:10000"):
        table.establish(FLOW, 60)
    assert table.source_nat_of(UDP, other.private, REMOTE) == PUBLIC
    assert table.find(UDP, PRIVATE, REMOTE) is None


def test_several_are_all_or_none(table: Conntrack) -> None:
    taken = Flow(UDP, Endpoint(ADDRESS["phone2"], 10000), PUBLIC, REMOTE)
    table.establish(taken, 60)
    rtcp = Flow(UDP, *(Endpoint(end.host, end.port + 1) for end in (PRIVATE, PUBLIC, REMOTE)))
    with pytest.raises(FlowTakenError):
        table.establish_all([rtcp, FLOW], 60)
    assert table.find(UDP, rtcp.private, rtcp.remote) is None
    table.end(taken)
    table.establish_all([rtcp, FLOW], 60)
    assert {entry.reply_destination for entry in table.dump(UDP, PUBLIC_ADDRESS)} == {rtcp.public, PUBLIC}


def test_the_same_phones_previous_call_makes_way(table: Conntrack) -> None:
    previous = FLOW._replace(private=Endpoint(PRIVATE.host, 10002))
    table.establish(previous, 60)
    table.establish(FLOW, 60)
    assert table.find(UDP, previous.private, REMOTE) is None
    assert table.source_nat_of(UDP, PRIVATE, REMOTE) == PUBLIC


def test_check_makes_again_what_is_gone_and_tells_traffic(net: Topology, table: Conntrack, ends: Ends) -> None:
    net.sysctl("router", "net.netfilter.nf_conntrack_acct", 0)
    assert table.check(FLOW, 600) == FlowState(False, False)
    assert table.check(FLOW, 600) == FlowState(True, False)
    assert ends.from_server() == REMOTE
    assert table.check(FLOW, 600) == FlowState(True, True)
    assert ends.from_phone() == PUBLIC
    assert table.check(FLOW, 900) == FlowState(True, True)
    assert table.check(FLOW, 900) == FlowState(True, False)
    entry = table.find(UDP, PRIVATE, REMOTE)
    assert entry is not None
    assert 890 <= entry.timeout_s <= 900
    table.end(FLOW)
    assert table.find(UDP, PRIVATE, REMOTE) is None
    table.end(FLOW)
    assert not table.check(FLOW, 60).there


def test_a_fixed_timeout_outlives_packets_and_can_be_renewed_and_control(table: Conntrack, ends: Ends) -> None:
    def timeout_s() -> int:
        entry = table.find(UDP, PRIVATE, REMOTE)
        assert entry is not None
        return entry.timeout_s

    table.establish(FLOW, 3600)
    assert ends.from_phone() == PUBLIC
    assert timeout_s() <= 120  # without it the first packet falls back to the kernel's own
    assert table.check(FLOW, 3600, fixed=True).there
    assert ends.from_phone() == PUBLIC
    assert timeout_s() > 3500
    assert table.check(FLOW, 7200, fixed=True).there
    assert timeout_s() > 7100
    entry = table.find(UDP, PRIVATE, REMOTE)
    assert entry is not None
    assert entry.status & FIXED_TIMEOUT
    assert table.check(FLOW, 60).there
    assert timeout_s() <= 60


def test_a_mapping_ends_with_the_flows_that_it_let_in_and_control(net: Topology, table: Conntrack, ends: Ends) -> None:
    firewall.load(net, firewall.rules("loose"))
    forward = f"udp dport {PUBLIC.port} dnat to {PRIVATE}"
    net.run("router", "nft", "add", "rule", "ip", "nat", "prerouting", *forward.split())
    assert ends.from_server() == REMOTE
    other = FLOW._replace(remote=Endpoint(REMOTE.host, 9))
    table.establish(other, 60)
    taken = [(flow.protocol, flow.public_port) for flow in table.translated(PUBLIC_ADDRESS)]
    assert taken == [(UDP, PUBLIC.port)] * 2
    assert not table.find_untrue(Untrue([Mapping(UDP, Endpoint(PRIVATE.host, 1), PUBLIC, "sip")], []))
    found = table.find_untrue(Untrue([Mapping(UDP, PRIVATE, PUBLIC, "sip")], []))
    assert len(found) == 2
    table.delete(found)
    assert list(table.translated(PUBLIC_ADDRESS)) == []
    # What the router itself gets is in the way of the mapping that comes.
    net.run("router", "nft", "flush", "chain", "ip", "filter", "input")
    net.run("router", "nft", "add", "rule", "ip", "filter", "input", "accept")
    net.run("router", "nft", "flush", "chain", "ip", "nat", "prerouting")
    assert ends.from_server(0.1) is None
    assert not table.find_untrue(Untrue([], [Mapping(UDP, PRIVATE, Endpoint(PUBLIC_ADDRESS, 9), "sip")]))
    assert len(table.find_untrue(Untrue([], [Mapping(UDP, PRIVATE, PUBLIC, "sip")]))) == 1
    firewall.load(net, firewall.rules("strict"))


def test_a_lost_address_ends_its_flows_only(table: Conntrack) -> None:
    other = FLOW._replace(public=Endpoint("203.0.113.2", 19032), private=Endpoint(ADDRESS["phone2"], 10000))
    table.establish_all([FLOW, other], 60)
    assert [(t.protocol, t.public_port) for t in table.translated(PUBLIC_ADDRESS)] == [(UDP, PUBLIC.port)]
    assert table.end_all(PUBLIC_ADDRESS) == 1
    assert table.source_nat_of(UDP, PRIVATE, REMOTE) is None
    assert table.source_nat_of(UDP, other.private, REMOTE) == other.public


def test_ports_that_a_flow_a_program_or_a_rule_has_are_taken_and_control(net: Topology, table: Conntrack) -> None:
    def look() -> set[int]:
        taken = PortsTaken(table.translated)
        taken.configure(PUBLIC_ADDRESS, read_admin_rules("wan0"))
        assert taken.taken_by_others(UDP, PUBLIC.port, OTHER) == taken(UDP, PUBLIC.port)
        assert not taken.taken_by_others(UDP, PUBLIC.port, PRIVATE)
        return {port for port in range(1, 65536) if taken(UDP, port)}

    assert net.inside("router", look) == set()
    firewall.load(net, firewall.rules("forward"))
    table.establish(FLOW, 60)
    with net.socket("router") as program:
        program.bind(("", 16400))
        assert net.inside("router", look) == {5060, 16400, PUBLIC.port}
    firewall.load(net, firewall.rules("strict"))


def test_a_flow_that_isnt_translated_leaves_from_itself(net: Topology, table: Conntrack, ends: Ends) -> None:
    net.run("router", "nft", "insert", "rule", "ip", "nat", "postrouting", "ip", "daddr", REMOTE.host, "accept")
    ends.from_phone()
    assert table.source_nat_of(UDP, PRIVATE, REMOTE) == PRIVATE
    firewall.load(net, firewall.rules("strict"))
