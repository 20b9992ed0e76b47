"""Entries of the connection tracker on the wire."""

from __future__ import annotations

import struct
import sys
from socket import AF_INET6, inet_aton, inet_pton

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import ctnetlink, netlink
from sipalg.datapath.ctnetlink import Tracked, Translated, decode_entry, let_in, translated
from sipalg.engine.verdict import TCP, UDP, Endpoint

P, N, S = Endpoint("192.168.20.2", 10000), Endpoint("203.0.113.1", 19032), Endpoint("203.0.113.50", 4000)

#: An entry as Linux 6.18 sent it.
BODY = bytes.fromhex(
    "02000000340001801400018008000100c0a8140208000200cb0071321c00028005000100110000000600020027100000060003000fa00000"
    "340002801400018008000100cb00713208000200cb0071011c0002800500010011000000060002000fa00000060003004a580000"
    "080003000000019e080008000000000008000c0073f296d308000b000000000208000700000000631c0018800800010000000000"
    "08000200000000000800030000000000"
)


def body(*parts: bytes) -> bytes:
    return b"\2\0\0\0" + b"".join(parts)


def entry_body(protocol: int = UDP, source: Endpoint = P, public: Endpoint = N) -> bytes:
    there, back = ctnetlink.encode_tuple(1, protocol, source, S), ctnetlink.encode_tuple(2, protocol, S, public)
    return body(there, back, netlink.u32(3, 0))


endpoints = st.builds(Endpoint, st.ip_addresses(v=4).map(str), st.integers(0, 65535))


def test_the_kernels_own_entry() -> None:
    assert decode_entry(BODY) == Tracked(UDP, P, S, S, N, 0x19E, 99, 0, bytes.fromhex("73f296d3"), None)


def test_counters() -> None:
    counters = netlink.nested(9, netlink.u64(1, 5), netlink.u64(2, 900)) + netlink.nested(10, netlink.u64(1, 7))
    entry = decode_entry(entry_body() + counters)
    assert entry is not None
    assert entry.packets == (5, 7)





def test_dumps_ask_for_what_is_wanted() -> None:
    assert ctnetlink.dump().body == b"\2\0\0\0"
    for message, compared in (
        (ctnetlink.dump(UDP), 0x8),
        (ctnetlink.dump(destination=N.host), 0x2),
        (ctnetlink.dump(UDP, N.host), 0xA),
        (ctnetlink.dump(UDP, N.host, N.port), 0x2A),
    ):
        attributes = netlink.attributes(message.body, 4)
        flags = netlink.attributes(attributes[25])
        assert int.from_bytes(flags[1], sys.byteorder) == 0
        assert flags[2] == struct.pack("=I", compared)
    came = netlink.attributes(ctnetlink.dump(UDP, N.host, N.port, original=True).body, 4)
    assert netlink.attributes(came[25]) == {1: struct.pack("=I", 0x2A), 2: bytes(4)}
    assert set(came) == {1, 25}


def test_translated_flows_of_an_address() -> None:
    other = Endpoint("203.0.113.2", 7)
    local = entry_body(source=N)
    address = bytes((203, 0, 113, 1))
    there = netlink.nested(1, netlink.attribute(1, b"\x0a\0\0\1"), netlink.attribute(2, b"\x0a\0\0\2"))
    back = netlink.nested(1, netlink.attribute(1, b"\x0a\0\0\2"), netlink.attribute(2, address))
    portless = body(netlink.nested(1, there), netlink.nested(2, back))
    bodies = [BODY, entry_body(public=other), local, portless, b"", b"\2\0\0\0" + b"\xff" * 200]
    source = bytes((192, 168, 20, 2)) + (10000).to_bytes(2, "big")
    assert list(translated(iter(bodies), address)) == [
        Translated(UDP, 19032, source),
        Translated(0, 0, b"\x0a\0\0\1\0\0"),
    ]




def decoded(data: bytes) -> Tracked:
    entry = decode_entry(data)
    assert entry is not None
    return entry


@given(st.sampled_from([UDP, TCP, 132]), endpoints, endpoints, endpoints)
def test_the_fast_way_says_what_the_long_way_says(protocol: int, p: Endpoint, n: Endpoint, s: Endpoint) -> None:
    there, back = ctnetlink.encode_tuple(1, protocol, p, s), ctnetlink.encode_tuple(2, protocol, s, n)
    data = body(there, back)
    address = inet_aton(n.host)
    # A gap between the tuples sends it the long way.
    slow = body(there, netlink.u32(3, 0), back)
    assert list(translated(iter([data]), address)) == list(translated(iter([slow]), address))
    # From the far end to the public endpoint, and answered by the phone.
    came, came_slow = (
        body(ctnetlink.encode_tuple(1, protocol, s, n), *gap, ctnetlink.encode_tuple(2, protocol, p, s))
        for gap in ((), (netlink.u32(3, 0),))
    )
    found = list(let_in(iter([came]), address))
    assert found == list(let_in(iter([came_slow]), address))
    for answered, ports in ((data, {n.port}), (came, {p.port, s.port})):
        wanted = {port.to_bytes(2, "big") for port in ports}
        assert ctnetlink.may_have_port(answered, wanted) == (
            decoded(answered).reply_destination.port in ports
        )
    assert ctnetlink.may_have_port(came, {n.port.to_bytes(2, "big")}, original=True)
    assert ctnetlink.may_have_port(slow, set())
    private = inet_aton(p.host) + p.port.to_bytes(2, "big")
    assert found == ([] if p.host == n.host else [Translated(protocol, n.port, private)])


@pytest.mark.parametrize("odd", [netlink.attribute(1, bytes(2)), netlink.attribute(2, bytes(8)), netlink.u8(3, 1)])
def test_a_tuple_with_a_protocol_or_port_of_another_size_is_none(odd: bytes) -> None:
    ends = netlink.nested(1, netlink.attribute(1, bytes(4)), netlink.attribute(2, bytes(4)))
    assert decode_entry(body(netlink.nested(1, ends), netlink.nested(2, ends))) is not None
    odd_tuple = netlink.nested(1, ends, netlink.nested(2, odd))
    assert decode_entry(body(odd_tuple, netlink.nested(2, ends))) is None


@given(st.binary(max_size=120))
def test_any_bytes_are_read_without_raising(data: bytes) -> None:
    assert decode_entry(data) is None or isinstance(decode_entry(data), Tracked)
    assert len(list(translated(iter([data]), b"\0\0\0\0"))) <= 1
    assert len(list(let_in(iter([data]), b"\0\0\0\0"))) <= 1


ENDS = st.sampled_from([P, N, S, Endpoint("192.168.20.3", 5060)])


@given(st.sampled_from([UDP, TCP]), ENDS, ENDS, ENDS, st.sets(ENDS), st.sets(st.sampled_from([5060, 4000, 7])))
def test_what_is_of_concern_is_found_by_its_ends_and_ports(
    protocol: int, private: Endpoint, remote: Endpoint, public: Endpoint, wanted: set[Endpoint], ports: set[int]
) -> None:
    there = ctnetlink.encode_tuple(1, protocol, private, remote)
    back = ctnetlink.encode_tuple(2, protocol, remote, public)
    ends = {ctnetlink.packed(end) for end in wanted}
    port_bytes = {port.to_bytes(2, "big") for port in ports}
    usual = body(there, back)
    # The same with the tuples in another order, which takes the long way.
    unusual = body(back, there, netlink.u32(3, 0))
    expected = bool({private, remote, public} & wanted) or bool({private.port, remote.port} & ports)
    for one in (usual, unusual):
        found = list(ctnetlink.concerning([one, b"", b"short"], ends, port_bytes))
        assert found == ([decoded(one)] if expected else [])


# IPv6

P6, N6, S6 = Endpoint("2001:db8:1::2", 10000), Endpoint("2001:db8::1", 19032), Endpoint("2001:db8:5::50", 4000)




def test_ipv6_entries_are_found_by_the_long_way() -> None:
    there, back = ctnetlink.encode_tuple(1, UDP, P6, S6), ctnetlink.encode_tuple(2, UDP, S6, N6)
    entry = b"\x0a\0\0\0" + there + back
    packed = ctnetlink.packed(P6)
    assert len(packed) == 18
    assert list(translated(iter([entry]), ctnetlink.address(N6.host))) == [Translated(UDP, N6.port, packed)]
    assert list(translated(iter([entry]), ctnetlink.address(N.host))) == []
    inward = b"\x0a\0\0\0" + ctnetlink.encode_tuple(1, UDP, S6, N6) + ctnetlink.encode_tuple(2, UDP, P6, S6)
    assert list(let_in(iter([inward]), ctnetlink.address(N6.host))) == [Translated(UDP, N6.port, packed)]
    assert [one.original_source for one in ctnetlink.concerning([entry], {packed}, ())] == [P6]
    assert [one.original_source for one in ctnetlink.concerning([entry], (), {b"\x0f\xa0"})] == [P6]
    assert list(ctnetlink.concerning([entry], {ctnetlink.packed(P)}, {b"\x0f\xa1"})) == []
    assert ctnetlink.may_have_port(entry, {b"\0\1"})


def test_ipv6_dumps_are_that_familys() -> None:
    assert ctnetlink.dump(ipv6=True).body == b"\x0a\0\0\0"
    message = ctnetlink.dump(UDP, N6.host)
    assert message.body[0] == AF_INET6
    nest = netlink.attributes(netlink.attributes(message.body, 4)[2])
    assert netlink.attributes(nest[1]) == {4: inet_pton(AF_INET6, N6.host)}
