from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import netlink, nft_codec, nft_family
from sipalg.datapath.nft_family import IPV4, IPV6, Family

hosts = st.ip_addresses().map(lambda address: address.compressed)


def test_sizes_and_types_of_a_key() -> None:
    assert IPV4.transport_key == (nft_codec.concatenated(12, 7, 13), 12)
    assert IPV6.transport_key == (nft_codec.concatenated(12, 8, 13), 24)
    assert (IPV4.peer_key[1], IPV6.peer_key[1]) == (16, 40)
    assert (IPV4.endpoint[1], IPV6.endpoint[1]) == (8, 20)
    assert (IPV4.address, IPV6.address) == ((7, 4), (8, 16))


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_registers_follow_each_other(family: Family) -> None:
    size = family.address_bytes
    words = size // 4
    behind_port = 2 + words
    assert family.by_source()[1:] == (
        nft_codec.load_payload(1, family.source, size, 1),
        nft_codec.load_payload(2, 0, 2, 1 + words),
    )
    assert family.by_peer()[1:] == (
        nft_codec.load_payload(1, family.destination, size, 1),
        nft_codec.load_payload(2, 2, 2, 1 + words),
        nft_codec.load_payload(1, family.source, size, behind_port),
    )
    wanted = nft_codec.translate(destination=True, family=family.number, port_register=words)
    assert family.translate(destination=True) == wanted


def test_a_message_becomes_another_familys_in_its_first_byte() -> None:
    message = nft_codec.get_table("x")
    assert IPV4.message(message) is message
    assert IPV4.messages([message]) == [message]
    (six,) = IPV6.messages([message])
    assert (six.body[0], six.body[1:], six.kind) == (10, message.body[1:], message.kind)


def test_networks_by_family() -> None:
    assert IPV4.holds(ip_network("10.0.0.0/8"))
    assert not IPV4.holds(ip_network("2001:db8::/32"))
    assert IPV6.holds(ip_network("2001:db8::/32"))


@given(hosts, st.integers(0, 65535), st.sampled_from((6, 17)))
def test_keys_and_ends_read_as_they_were_written(host: str, port: int, protocol: int) -> None:
    packed = nft_family.address(host)
    assert packed == ip_address(host).packed
    assert nft_family.text(packed) == host
    family = nft_family.family_of(host)
    key, end = nft_family.key(protocol, packed, port), nft_family.end(packed, port)
    assert (len(key), len(end)) == (family.transport_key[1], family.endpoint[1])
    assert nft_family.read_key(key) == (protocol, packed, port)
    assert nft_family.read_end(end) == (packed, port)
    assert nft_family.read_key(key[1:]) is None
    assert nft_family.read_end(end + b"x") is None


def test_addresses() -> None:
    for wrong in ("", "192.0.2", "fe80:::1", "host", "1.2.3.4.5", "fe80::1%lo"):
        with pytest.raises(ValueError, match="not an IP address"):
            nft_family.address(wrong)


@given(
    st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), max_size=6),
    st.lists(st.ip_addresses(v=4), max_size=5),
)
def test_an_interval_set_holds_exactly_its_networks(
    wanted: list[tuple[IPv4Address, int]], asked: list[IPv4Address]
) -> None:
    networks = [IPv4Network((int(address), length), strict=False) for address, length in wanted]
    bounds = []
    for data in nft_family.interval(networks):
        parts = netlink.attributes(next(netlink.each_attribute(data))[1])
        bounds.append((int.from_bytes(netlink.attributes(parts[1])[1], "big"), 3 in parts))
    assert bounds == sorted(bounds, key=lambda bound: bound[0])
    probes = [*asked, *(network[0] for network in networks), *(network[-1] for network in networks)]
    for address in probes:
        below = [is_end for start, is_end in bounds if start <= int(address)]
        # Where one interval ends and the next begins at the same address, the beginning counts.
        inside = bool(below) and (not below[-1] or (int(address), False) in bounds)
        assert inside == any(address in network for network in networks)
