"""Free ports: what takes one, and when the picture is made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import ctnetlink
from sipalg.datapath.admin_conclusions import AdminRules, TakenPorts
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.ctnetlink import Translated
from sipalg.datapath.ports import PortsTaken, local_port_range, overlap
from sipalg.engine.verdict import TCP, UDP, Endpoint

N = "203.0.113.1"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"
PHONE = Endpoint("192.168.20.5", 10000)
PHONE_BYTES = bytes((192, 168, 20, 5)) + (10000).to_bytes(2, "big")


class World:
    """A clock, flows and socket tables that a test may change."""

    def __init__(self, proc_net: Path) -> None:
        self.now = 100.0
        self.flows: list[Translated] = []
        self.asked: list[str] = []
        self.broken = False
        self.takes_s = 0.0
        self.worked_s = 0.0
        self.works_s = 0.0
        self.proc_net = proc_net
        self.taken = PortsTaken(
            self.list_flows,
            reserved=[PortRange(7000, 7009)],
            avoid=PortRange(32760, 32767),
            clock=lambda: self.now,
            work_clock=lambda: self.worked_s,
            proc_net=proc_net,
        )
        self.taken.configure(N, AdminRules())

    def list_flows(self, address: str) -> Iterator[Translated]:
        self.asked.append(address)
        self.now += self.takes_s
        self.worked_s += self.works_s
        if self.broken:
            raise OSError("broken")
        return iter(self.flows)

    def sockets(self, name: str, *local: str) -> None:
        (self.proc_net / name).write_text(HEAD + "".join(f"   0: {address} 0:0 07\n" for address in local))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_reserved_and_ephemeral_ports_are_taken_and_the_others_free(world: World) -> None:
    assert [p for p in range(6998, 7012) if world.taken(UDP, p)] == list(range(7000, 7010))
    assert world.taken.reason(UDP, 7000) == "in reserved-ports"
    assert world.taken.reason(TCP, 32760) == "in net.ipv4.ip_local_port_range"
    assert not world.taken(UDP, 32768)
    assert world.taken.reason(UDP, 32768) == ""
    assert world.taken(UDP, 0)
    assert world.taken(UDP, 65536)
    assert world.taken(132, 5060)


def test_local_sockets_of_both_families_take_their_protocols_port(world: World) -> None:
    world.sockets("udp", "00000000:13C4", "0100007F:0035")
    world.sockets("udp6", "00000000000000000000000000000000:1F90")
    world.sockets("tcp", "00000000:0050")
    assert [p for p in range(1, 9000) if world.taken(UDP, p)] == [53, 5060, *range(7000, 7010), 8080]
    assert world.taken(TCP, 80)
    assert not world.taken(TCP, 5060)
    assert world.taken.reason(TCP, 80) == "a local program's"


def test_flows_take_their_public_port_from_all_but_their_own_host(world: World) -> None:
    world.flows = [Translated(UDP, 19032, PHONE_BYTES), Translated(1, 9, PHONE_BYTES)]
    assert world.taken(UDP, 19032)
    assert not world.taken(TCP, 19032)
    assert not world.taken.taken_by_others(UDP, 19032, PHONE)
    assert world.taken.taken_by_others(UDP, 19032, PHONE._replace(port=10002))
    assert not world.taken.taken_by_others(UDP, 19034, PHONE)
    assert world.taken.taken_by_others(UDP, 7000, PHONE)
    assert world.asked == [N]


def test_a_port_with_two_holders_is_nobodys(world: World) -> None:
    world.flows = [Translated(UDP, 19032, PHONE_BYTES), Translated(UDP, 19032, b"\0" * 6)]
    assert world.taken.taken_by_others(UDP, 19032, PHONE)


def test_rules_take_ports_on_their_addresses(world: World) -> None:
    here, there = (IPv4Network(f"{N}/32"),), (IPv4Network("203.0.113.9/32"),)
    rules = AdminRules(
        taken=(
            TakenPorts(UDP, (), PortRange(5060, 5060), "x"),
            TakenPorts(UDP, here, PortRange(5062, 5062), "x"),
            TakenPorts(UDP, there, PortRange(5064, 5064), "x"),
        )
    )
    world.taken.configure(N, rules)
    assert [p for p in range(5000, 5100) if world.taken(UDP, p)] == [5060, 5062]
    assert not world.taken(TCP, 5060)
    world.taken.configure("203.0.113.9", rules)
    assert [p for p in range(5000, 5100) if world.taken(UDP, p)] == [5060, 5064]
    world.taken.configure("", rules)
    assert [p for p in range(5000, 5100) if world.taken(UDP, p)] == [5060, 5062, 5064]
    assert world.asked == [N, "203.0.113.9"]


def test_the_picture_is_made_anew_only_when_asked_and_after_some_seconds(world: World) -> None:
    assert world.asked == []
    assert not world.taken(UDP, 19032)
    world.flows = [Translated(UDP, 19032, PHONE_BYTES)]
    world.now += 2.9
    assert not world.taken(UDP, 19032)
    assert len(world.asked) == 1
    world.now += 0.1
    assert world.taken(UDP, 19032)
    world.flows = []
    world.now += 3
    assert not world.taken(UDP, 19032)
    assert len(world.asked) == 3


def test_a_picture_that_takes_long_to_make_is_kept_longer(world: World) -> None:
    world.works_s = 0.25
    assert not world.taken(UDP, 19032)
    world.now += 4.9
    assert not world.taken(UDP, 19032)
    assert len(world.asked) == 1
    world.now += 0.1
    assert not world.taken(UDP, 19032)
    assert len(world.asked) == 2


def test_no_picture_is_kept_longer_than_some_seconds(world: World) -> None:
    world.works_s = 1.0
    assert not world.taken(UDP, 19032)
    world.now += 5.9
    assert not world.taken(UDP, 19032)
    assert len(world.asked) == 1
    world.now += 0.1
    assert not world.taken(UDP, 19032)
    assert len(world.asked) == 2


def test_what_others_do_while_a_picture_is_made_doesnt_keep_it_longer(world: World) -> None:
    world.takes_s = 0.25
    assert not world.taken(UDP, 19032)
    world.now += 2.7
    assert not world.taken(UDP, 19032)
    assert len(world.asked) == 1
    world.now += 0.1
    assert not world.taken(UDP, 19032), "its age counts from its beginning"
    assert len(world.asked) == 2


def test_a_picture_that_was_begun_before_the_one_in_use_doesnt_replace_it(world: World) -> None:
    given: list[Callable[[], Callable[[], None]]] = []
    world.taken.make_beside(given.append, world.list_flows)
    assert not world.taken(UDP, 19032)
    world.now += 3.0
    assert not world.taken(UDP, 19032)
    use = given.pop()()
    world.flows = [Translated(UDP, 19032, PHONE_BYTES)]
    world.now += 3.0
    assert world.taken(UDP, 19032), "the last one is too old by now"
    use()
    assert world.taken(UDP, 19032)
    world.now += 3.0
    assert world.taken(UDP, 19032)
    assert len(given) == 1, "and the next one is asked for again"


def test_the_age_of_one_made_beside_counts_from_its_beginning(world: World) -> None:
    given: list[Callable[[], Callable[[], None]]] = []
    world.taken.make_beside(given.append, world.list_flows)
    assert not world.taken(UDP, 19032)
    world.now += 3.0
    assert not world.taken(UDP, 19032)
    use = given.pop()()
    world.now += 2.0
    use()
    world.now += 1.0
    assert not world.taken(UDP, 19032)
    assert len(given) == 1


def test_packets_that_ask_often_get_the_last_picture_while_the_next_is_made(world: World) -> None:
    given: list[Callable[[], Callable[[], None]]] = []
    world.taken.make_beside(given.append, world.list_flows)
    assert not world.taken(UDP, 19032), "the first one is waited for"
    assert len(world.asked) == 1
    world.flows = [Translated(UDP, 19032, PHONE_BYTES)]
    world.now += 3.0
    for _ in range(5):
        assert not world.taken(UDP, 19032)
    assert len(world.asked) == 1
    (make,) = given
    use = make()
    assert not world.taken(UDP, 19032), "nothing changes but in the loop"
    use()
    assert world.taken(UDP, 19032)
    assert world.taken.taken_by_others(UDP, 19032, PHONE) is False
    world.now += 3.0
    assert world.taken(UDP, 19032)
    assert len(given) == 2


def test_a_picture_that_is_too_old_is_made_anew_while_the_packet_waits(world: World) -> None:
    given: list[Callable[[], Callable[[], None]]] = []
    world.taken.make_beside(given.append, world.list_flows)
    assert not world.taken(UDP, 19032)
    world.flows = [Translated(UDP, 19032, PHONE_BYTES)]
    world.now += 6.0
    assert world.taken(UDP, 19032)
    assert given == []


def test_a_picture_of_rules_that_have_changed_meanwhile_is_not_used(world: World) -> None:
    given: list[Callable[[], Callable[[], None]]] = []
    world.taken.make_beside(given.append, world.list_flows)
    assert not world.taken(UDP, 5070)
    world.now += 3.0
    assert not world.taken(UDP, 5070)
    use = given.pop()()
    world.taken.configure(N, AdminRules(taken=(TakenPorts(UDP, (), PortRange(5070, 5070), "x"),)))
    use()
    assert world.taken(UDP, 5070)
    world.now += 3.0
    assert world.taken(UDP, 5070)
    assert len(given) == 1, "and the next one is asked for again"


def test_a_picture_that_cant_be_made_beside_is_made_when_asked(world: World) -> None:
    def fail(_address: str) -> Iterator[Translated]:
        raise ValueError("a fault")

    given: list[Callable[[], Callable[[], None]]] = []
    world.taken.make_beside(given.append, fail)
    assert not world.taken(UDP, 19032)
    world.flows = [Translated(UDP, 19032, PHONE_BYTES)]
    world.now += 3.0
    assert not world.taken(UDP, 19032)
    given.pop()()()
    assert world.taken.log.total == 1
    assert not world.taken(UDP, 19032)
    world.now += 3.0
    assert world.taken(UDP, 19032)


def test_what_cant_be_read_leaves_the_last_picture_with_the_rules_of_now(world: World) -> None:
    world.flows = [Translated(UDP, 19032, PHONE_BYTES)]
    world.sockets("udp", "00000000:13C4")
    assert world.taken(UDP, 19032)
    world.broken = True
    world.taken.configure(N, AdminRules(taken=(TakenPorts(UDP, (), PortRange(5070, 5070), "x"),)))
    assert [p for p in (5060, 5070, 5072, 7000, 19032) if world.taken(UDP, p)] == [5060, 5070, 7000, 19032]
    assert not world.taken.taken_by_others(UDP, 19032, PHONE)


def test_the_range_for_local_programs(tmp_path: Path) -> None:
    path = tmp_path / "range"
    assert local_port_range(path) == (32768, 60999)
    path.write_text("1024\t65000\n")
    assert local_port_range(path) == (1024, 65000)


@given(*[st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda t: PortRange(min(t), max(t)))] * 2)
def test_overlap_is_what_both_hold(one: PortRange, other: PortRange) -> None:
    both = overlap(one, other)
    held = set(range(one.low, one.high + 1)) & set(range(other.low, other.high + 1))
    assert held == (set() if both is None else set(range(both.low, both.high + 1)))


def test_what_makes_no_sense_counts_as_taken_and_is_counted(world: World) -> None:
    world.sockets("udp", "no address at all")
    assert world.taken(UDP, 19032)
    assert world.taken.log.total == 1
    world.sockets("udp")
    assert not world.taken(UDP, 19032)
    assert world.taken.log.total == 1


def test_what_is_taken_on_ipv6_s_address_is_taken(world: World) -> None:
    world.flows = [Translated(17, 5060, ctnetlink.packed(Endpoint("2001:db8:1::10", 5060)))]
    world.taken.configure("", AdminRules(), "2001:db8::1")
    assert world.taken(17, 5060)
    assert not world.taken(17, 5061)
    assert world.asked == ["2001:db8::1"]
    world.taken.configure(N, AdminRules(), "2001:db8::1")
    assert world.taken(17, 5060)
    assert world.asked[1:] == [N, "2001:db8::1"]
    assert not world.taken.taken_by_others(17, 5060, Endpoint("2001:db8:1::10", 5060))
