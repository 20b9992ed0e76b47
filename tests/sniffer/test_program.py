"""The whole program, run by a model of the kernel, against what the settings say in plain Python."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sniffer import bpf
from tests.sniffer.packets import ethernet, tcp, transport, udp
from tests.sniffer.test_filters import filter_texts

from sipalg.sniffer import program as module
from sipalg.sniffer.program import ProgramError, compiled, filter_bytes, program
from sipalg.sniffer.settings import settings_of

INDICES = {"ether1": 2, "ether2": 3, "lo": 1, "tun0": 9}
ETHERNET, LOOPBACK, PLAIN_IP, WIRELESS = 1, 772, 65534, 801
CALL = udp("192.168.20.100", 5060, "207.252.1.148", 5060)


def takes(texts: dict[str, str], frame: bytes, *, interface: str = "ether1", outgoing: bool = False,
          hardware: int = ETHERNET, tag: int | None = None, cpu: int = 0) -> int:  # fmt: skip
    known = {
        bpf.PACKET_TYPE: 4 if outgoing else 0,
        bpf.INTERFACE: INDICES[interface],
        bpf.HARDWARE: hardware,
        bpf.CPU: cpu,
        bpf.VLAN_PRESENT: int(tag is not None),
        bpf.VLAN_TAG: 0 if tag is None else tag,
    }
    return bpf.run(program(settings_of(texts), INDICES), frame, known)


def test_without_filters_all_is_taken_up_to_the_packet_size() -> None:
    assert takes({}, ethernet(CALL)) == 2048
    assert takes({"max-packet-size": "100"}, ethernet(CALL)) == 100
    assert takes({}, CALL, interface="tun0", hardware=PLAIN_IP) == 2048
    assert takes({}, b"", hardware=WIRELESS) == 0


@pytest.mark.parametrize(
    ("wanted", "operator", "taken"),
    [
        ("all", "or", {"ether1", "ether2", "lo"}),
        ("ether1", "or", {"ether1"}),
        ("ether1,ether2", "or", {"ether1", "ether2"}),
        ("ether1,ether2", "and", set()),
        ("!ether1", "or", {"ether2", "lo"}),
        ("!ether1,!lo", "and", {"ether2"}),
        ("!ether1,!lo", "or", {"ether1", "ether2", "lo"}),
    ],
)
def test_interfaces(wanted: str, operator: str, taken: set[str]) -> None:
    texts = {"filter-interface": wanted, "filter-operator-between-entries": operator}
    assert {name for name in ("ether1", "ether2", "lo") if takes(texts, ethernet(CALL), interface=name)} == taken


@pytest.mark.parametrize(("direction", "rx", "tx"), [("any", True, True), ("rx", True, False), ("tx", False, True)])
def test_directions(direction: str, rx: bool, tx: bool) -> None:
    texts = {"filter-direction": direction}
    assert bool(takes(texts, ethernet(CALL))) == rx
    assert bool(takes(texts, ethernet(CALL), outgoing=True)) == tx


def test_on_loopback_a_packet_is_seen_once() -> None:
    assert takes({}, ethernet(CALL), interface="lo", hardware=LOOPBACK)
    assert not takes({}, ethernet(CALL), interface="lo", hardware=LOOPBACK, outgoing=True)
    assert takes({"filter-direction": "tx"}, ethernet(CALL), interface="lo", hardware=LOOPBACK, outgoing=True)


def test_processors() -> None:
    assert takes({"filter-cpu": "0,2"}, ethernet(CALL), cpu=2)
    assert not takes({"filter-cpu": "0,2"}, ethernet(CALL), cpu=1)


def test_a_filter_by_address_sees_through_a_tag_wherever_it_is() -> None:
    texts = {"filter-ip-address": "192.168.20.100/32", "filter-port": "sip"}
    assert takes(texts, ethernet(CALL))
    assert takes(texts, ethernet(CALL), tag=20)
    assert takes(texts, ethernet(CALL, vlan=20))
    assert takes(texts, CALL, hardware=PLAIN_IP)
    other = udp("192.168.20.101", 5060, "207.252.1.148", 5060)
    assert not takes(texts, ethernet(other, vlan=20))
    assert not takes(texts, other, hardware=PLAIN_IP)


@pytest.mark.parametrize(
    ("wanted", "operator", "taken"),
    [
        ("20", "or", {20}),
        ("20,30", "or", {20, 30}),
        ("!20", "or", {None, 30}),
        ("!20,!30", "and", {None}),
        ("20,30", "and", set()),
    ],
)
@pytest.mark.parametrize("with_port", [False, True])
def test_vlans(wanted: str, operator: str, taken: set[int | None], with_port: bool) -> None:
    texts = {"filter-vlan": wanted, "filter-operator-between-entries": operator}
    if with_port:
        texts["filter-port"] = "5060"
    priority = 5 << 13
    for vlan in (None, 20, 30):
        off = ethernet(CALL), None if vlan is None else vlan | priority
        within = ethernet(CALL, vlan=None if vlan is None else vlan | priority), None
        for frame, tag in (off, within):
            assert bool(takes(texts, frame, tag=tag)) == (vlan in taken)
    assert bool(takes(texts, CALL, hardware=PLAIN_IP)) == (None in taken)


def test_stations_are_ethernet_s_only() -> None:
    texts = {"filter-mac-address": "02:00:00:00:00:01"}
    assert takes(texts, ethernet(CALL))
    assert not takes(texts, ethernet(CALL, source="02:00:00:00:00:03"))
    assert not takes(texts, CALL, hardware=PLAIN_IP)
    masked = {"filter-mac-address": "02:00:00:00:00:00/FF:FF:FF:FF:FF:00"}
    assert takes(masked, ethernet(CALL))
    assert not takes({"filter-mac-protocol": "arp"}, ethernet(CALL))


def test_later_pieces_come_with_a_port() -> None:
    piece = transport(17, bytes(100), "192.168.20.100", "207.252.1.148", fragment=185)
    assert takes({"filter-port": "5060"}, ethernet(piece))
    assert takes({"filter-port": "!5060"}, ethernet(piece))
    assert not takes({"filter-port": "5060", "filter-ip-address": "10.0.0.1"}, ethernet(piece))


def test_the_own_stream_is_left_out() -> None:
    texts = {"streaming-enabled": "yes", "streaming-server": "10.0.0.9"}
    stream = ethernet(udp("10.0.0.1", 40000, "10.0.0.9", 37008))
    piece = ethernet(transport(17, bytes(100), "10.0.0.1", "10.0.0.9", fragment=185))
    assert not takes(texts, stream)
    assert not takes(texts, piece)
    assert takes(texts, ethernet(CALL))
    assert takes({**texts, "filter-stream": "no"}, stream)


def test_what_nothing_can_fulfil_takes_nothing() -> None:
    texts = {"filter-ip-address": "10.0.0.1", "filter-ipv6-address": "2001:db8::1"}
    assert not takes(texts, ethernet(CALL))


ENDS4 = st.sampled_from(["192.168.20.100", "192.168.20.7", "10.0.0.1"])
PORTS = st.sampled_from([5060, 5061, 22, 40000])


@given(
    st.sampled_from(["udp", "tcp"]), ENDS4, PORTS, ENDS4, PORTS,
    st.lists(st.tuples(st.booleans(), ENDS4.map("{}/30".format)), max_size=3),
    st.lists(st.tuples(st.booleans(), PORTS), max_size=3),
    st.sampled_from(["or", "and"]), st.sampled_from(["plain", "off", "within", "raw"]),
)  # fmt: skip
def test_the_program_says_what_the_settings_say(
    protocol: str, source: str, source_port: int, destination: str, destination_port: int,
    networks: list[tuple[bool, str]], ports: list[tuple[bool, int]], operator: str, way: str,
) -> None:  # fmt: skip
    ends = (source, source_port, destination, destination_port)
    packet = udp(*ends) if protocol == "udp" else tcp(ends, 1)
    texts = {
        "filter-ip-address": ",".join(f"{'!' * negated}{network}" for negated, network in networks),
        "filter-port": ",".join(f"{'!' * negated}{port}" for negated, port in ports),
        "filter-operator-between-entries": operator,
    }
    join = any if operator == "or" else all
    by_network = [
        negated != any(ip_address(end) in ip_network(network, strict=False) for end in (source, destination))
        for negated, network in networks
    ]
    by_port = [negated != (port in (source_port, destination_port)) for negated, port in ports]
    expected = (not networks or join(by_network)) and (not ports or join(by_port))
    frame = packet if way == "raw" else ethernet(packet, vlan=20 if way == "within" else None)
    hardware = PLAIN_IP if way == "raw" else ETHERNET
    assert bool(takes(texts, frame, hardware=hardware, tag=20 if way == "off" else None)) == expected


@given(filter_texts(), st.sampled_from(("or", "and")), st.binary(max_size=80), st.sampled_from([1, 772, 512, 801]))
def test_every_program_ends_on_every_frame(texts: dict[str, str], operator: str, frame: bytes, hardware: int) -> None:
    texts = {**texts, "filter-operator-between-entries": operator, "filter-vlan": "20", "filter-interface": "!ether2"}
    try:
        taken = takes(texts, frame, hardware=hardware)
    except ProgramError:
        # Sixteen of each may be more than the kernel takes.
        assert sum(text.count(",") for text in texts.values()) > 16
    else:
        assert taken in (0, 2048)


def test_a_program_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_INSTRUCTIONS", 10)
    with pytest.raises(ProgramError, match=r"need \d+ instructions, and the kernel takes 10; use fewer entries"):
        program(settings_of({}), INDICES)


def test_what_libpcap_refuses_is_told_in_one_line() -> None:
    with pytest.raises(ProgramError, match=r"^libpcap can't make a filter of these settings: [^\n]+$"):
        compiled(1, "nonsense &&", 100)


def test_a_program_s_bytes() -> None:
    assert filter_bytes([(6, 1, 2, 0xFFFFFFFF)]) == Struct("=HBBI").pack(6, 1, 2, 0xFFFFFFFF)
