from __future__ import annotations

import pcapy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.sniffer import filters
from sipalg.sniffer.filters import EXPRESSIONS, Entry, entries, expression, joined

ADDRESS4 = st.ip_addresses(v=4).map(str)
PREFIX4 = st.builds("{}/{}".format, ADDRESS4, st.integers(0, 32))
ADDRESS6 = st.ip_addresses(v=6).map(str)
PREFIX6 = st.builds("{}/{}".format, ADDRESS6, st.integers(0, 128))
MAC = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
PORT = st.one_of(st.integers(0, 65535).map(str), st.sampled_from(sorted(filters.PORTS)))
SIZE = st.one_of(
    st.integers(0, 65535).map(str),
    st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda pair: "-".join(map(str, sorted(pair)))),
)
#: What each filter's entries may be.
TEXTS: dict[str, st.SearchStrategy[str]] = {
    "filter-mac-address": st.one_of(MAC, st.builds("{}/{}".format, MAC, MAC)),
    "filter-mac-protocol": st.one_of(
        st.sampled_from(sorted(filters.MAC_PROTOCOLS)),
        st.integers(0, 0xFFFF).map(str),
        st.integers(0, 0xFFFF).map(hex),
    ),
    "filter-ip-address": st.one_of(ADDRESS4, PREFIX4),
    "filter-src-ip-address": st.one_of(ADDRESS4, PREFIX4),
    "filter-dst-ip-address": st.one_of(ADDRESS4, PREFIX4),
    "filter-ipv6-address": st.one_of(ADDRESS6, PREFIX6),
    "filter-ip-protocol": st.one_of(st.sampled_from(sorted(filters.IP_PROTOCOLS)), st.integers(0, 255).map(str)),
    "filter-port": PORT,
    "filter-src-port": PORT,
    "filter-dst-port": PORT,
    "filter-size": SIZE,
}


def filter_texts(most: int = filters.MOST_ENTRIES) -> st.SearchStrategy[dict[str, str]]:
    """Some filters, each as it is typed."""
    sign = st.sampled_from(("", "!"))
    one = {
        key: st.lists(st.builds("{}{}".format, sign, text), min_size=1, max_size=most).map(",".join)
        for key, text in TEXTS.items()
    }
    return st.fixed_dictionaries({}, optional=one)


def test_every_filter_has_its_texts() -> None:
    assert TEXTS.keys() == EXPRESSIONS.keys()


@given(filter_texts(), st.sampled_from(("or", "and")))
def test_every_filter_compiles(texts: dict[str, str], operator: str) -> None:
    stream = filters.stream_of("10.0.0.1", 9)
    made = expression({key: entries(text) for key, text in texts.items()}, operator, [stream])
    told = ""
    try:
        pcapy.compile(pcapy.DLT_EN10MB, 2048, made, 1, 0xFFFFFFFF)
    except pcapy.PcapError as error:
        told = str(error)
    # Two networks can't both be the source; libpcap notices some of these.
    assert told in ("", "expression rejects all packets")


def test_entries_may_be_negated() -> None:
    assert entries("5060, !5061 ,! 22") == (Entry(False, "5060"), Entry(True, "5061"), Entry(True, "22"))
    assert entries("") == entries(" ") == ()


@pytest.mark.parametrize("text", ["5060,", ",", "!", "5060,!,1"])
def test_no_entry_is_empty(text: str) -> None:
    with pytest.raises(ValueError, match="empty entry"):
        entries(text)


def test_a_filter_has_sixteen_entries() -> None:
    assert len(entries(",".join(["1"] * 16))) == 16
    with pytest.raises(ValueError, match="17 entries are too many; a filter has up to 16"):
        entries(",".join(["1"] * 17))


def test_entries_are_joined_and_filters_are_and_ed() -> None:
    wanted = {"filter-ip-address": entries("10.0.0.1,!10.0.0.2"), "filter-size": entries("100")}
    assert expression(wanted, "or") == (
        "((ip net 10.0.0.1/32) or not (ip net 10.0.0.2/32)) and ((len >= 100 and len <= 100))"
    )
    assert "and not (ip net" in expression(wanted, "and")
    assert expression({}, "or") == ""
    assert expression({}, "or", ["udp"]) == "(not (udp))"


def test_a_port_by_name_is_its_number() -> None:
    assert joined("filter-port", entries("sip"), "or") == joined("filter-port", entries("5060"), "or")


def test_later_pieces_belong_to_a_port_but_not_to_its_negation() -> None:
    assert "ip[6:2]" in joined("filter-port", entries("5060"), "or")
    assert joined("filter-port", entries("!5060"), "or") == "not (port 5060)"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("filter-mac-address", "00:11:22:33:44"),
        ("filter-mac-address", "00:11:22:33:44:55/FF"),
        ("filter-mac-address", "00:11:22:33:44:55/"),
        ("filter-mac-protocol", "0x10000"),
        ("filter-mac-protocol", "ipv9"),
        ("filter-ip-address", "192.168.20.256"),
        ("filter-ip-address", "::1"),
        ("filter-ipv6-address", "10.0.0.1"),
        ("filter-ipv6-address", "fe80::1%eth0"),
        ("filter-ip-protocol", "256"),
        ("filter-ip-protocol", "udp or tcp"),
        ("filter-port", "65536"),
        ("filter-port", "sipp"),
        ("filter-port", "٥"),
        ("filter-size", "9-1"),
        ("filter-size", "1-"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        EXPRESSIONS[key].primitive(text)


@pytest.mark.parametrize("text", ["all", "ether1-gateway", "vlan20", "eth0.20"])
def test_interfaces(text: str) -> None:
    assert filters.interface(text) == text


@pytest.mark.parametrize("text", ["a b", "a/b", "..", "a" * 16])
def test_no_interface(text: str) -> None:
    with pytest.raises(ValueError, match="no interface name"):
        filters.interface(text)


def test_vlans_and_processors() -> None:
    assert (filters.vlan("4095"), filters.cpu("0")) == (4095, 0)
    with pytest.raises(ValueError, match="it goes up to 4095"):
        filters.vlan("4096")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for one in EXPRESSIONS.values():
        try:
            made = one.primitive(text)
        except ValueError:
            continue
        pcapy.compile(pcapy.DLT_EN10MB, 2048, made, 1, 0xFFFFFFFF)
