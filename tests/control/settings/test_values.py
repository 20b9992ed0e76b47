"""Texts that people write, and the values they stand for."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.asking import columns
from sipalg.control.settings import values
from sipalg.datapath.admin_model import PortRange


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3600),
        ("01:00:00", 3600),
        ("00:30", 1800),
        ("1d 02:03:04", 93784),
        ("1d02:03:04", 93784),
        ("1h", 3600),
        ("90m", 5400),
        ("1d2h", 93600),
        ("1W", 604800),
        (" 1h30m10s ", 5410),
        ("10s", 10),
        ("30d", 2592000),
    ],
)
def test_times(text: str, seconds: int) -> None:
    assert values.duration(text) == float(seconds)


_NO_TIMES = ["", " ", "1 h", "h", "1h1d", "1:2:3", "00:60:00", "-5", "1.5h", "٣٦٠٠", "x", "9" * 5000]


@pytest.mark.parametrize("text", _NO_TIMES)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; examples"):
        values.duration(text)


@pytest.mark.parametrize("text", ["0", "9s", "00:00:09", "31d", "999999999999"])
def test_times_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="out of range; a time from 10s to 30d"):
        values.duration(text)


@given(st.integers(10, 2592000))
def test_every_time_reads_as_it_was_written(seconds: int) -> None:
    assert values.duration(columns.duration(float(seconds))) == seconds


READERS: list[Callable[[str], object]] = [
    values.flag,
    values.one_of("relay", "plain"),
    values.ports,
    values.port_range,
    values.port_ranges,
    values.networks,
    values.address_or_none,
    values.interface,
    values.interfaces,
    values.queue_number,
    values.directory,
    values.duration,
]


@pytest.mark.parametrize("reader", READERS)
@given(text=st.text(max_size=12) | st.text("0123456789-,./:hmdw", max_size=12))
def test_no_text_is_more_than_refused_in_one_line(reader: Callable[[str], object], text: str) -> None:
    kind, said = ValueError, ""
    try:
        reader(text)
    except ValueError as error:
        kind, said = type(error), str(error)
    assert kind is ValueError
    assert said.isprintable()


def test_flags() -> None:
    assert [values.flag(text) for text in ("yes", "no", "true", "false", "YES")] == [True, False, True, False, True]
    assert [values.flag_text(value) for value in (True, False)] == ["yes", "no"]
    with pytest.raises(ValueError, match=r"^'maybe' is neither yes nor no$"):
        values.flag("maybe")


def test_words() -> None:
    assert values.one_of("relay", "plain")("plain") == "plain"
    with pytest.raises(ValueError, match=r"^'tls' is neither relay nor plain$"):
        values.one_of("relay", "plain")("tls")


def test_ports() -> None:
    assert values.ports("5061, 5060") == (5061, 5060)
    assert values.ports_text((5061, 5060)) == "5061,5060"
    for text, said in (("5060-5061", "ranges aren't taken"), ("0", "is no port"), ("1,2,3,4,5,6,7,8,9", "too many")):
        with pytest.raises(ValueError, match=said):
            values.ports(text)
    assert values.port_range("20000-20100") == (20000, 20100)
    assert values.port_range_text((20000, 20100)) == "20000-20100"
    with pytest.raises(ValueError, match="begins above its end"):
        values.port_range("20100-20000")


def test_ports_and_ranges() -> None:
    assert values.port_ranges("") == ()
    assert values.port_ranges("80") == (PortRange(80, 80),)
    several = (PortRange(5070, 5070), PortRange(20000, 20999), PortRange(1, 65535))
    assert values.port_ranges("5070, 20000-20999,1-65535") == several
    assert values.port_ranges_text(several) == "5070,20000-20999,1-65535"
    for text, said in ((",", "is no port"), ("80,", "is no port"), ("1-2-3", "is no port"), ("9-8", "ends before")):
        with pytest.raises(ValueError, match=said):
            values.port_ranges(text)


def test_networks() -> None:
    two = (IPv4Network("10.0.0.0/8"), IPv4Network("192.0.2.1/32"))
    assert values.networks("10.0.0.0/8, 192.0.2.1,10.0.0.0/8") == two
    assert values.networks_text(two) == "10.0.0.0/8,192.0.2.1/32"
    assert values.networks("") == ()
    with pytest.raises(ValueError, match=r"the network would be 10\.0\.0\.0/8"):
        values.networks("10.0.0.1/8")


def test_an_address_or_none() -> None:
    assert values.address_or_none("") is None
    assert values.address_or_none("192.0.2.1") == "192.0.2.1"
    assert [values.address_or_none_text(value) for value in (None, "192.0.2.1")] == ["", "192.0.2.1"]
    with pytest.raises(ValueError, match="is no IPv4 address"):
        values.address_or_none("192.0.2")


@pytest.mark.parametrize("text", ["lan0", "eth0.100", "br-lan", "a" * 15, "wg%0"])
def test_interface_names(text: str) -> None:
    assert values.interface(text) == text


@pytest.mark.parametrize("text", ["", "a" * 16, "ä" * 8, "a/b", "a:1", "a b", ".", "..", "a,b", "a\udcff"])
def test_what_is_no_interface_name(text: str) -> None:
    with pytest.raises(ValueError, match="no interface name"):
        values.interface(text)


def test_several_interfaces() -> None:
    assert values.interfaces("lan0, lan1,lan0") == ("lan0", "lan1")
    assert values.interfaces_text(("lan0", "lan1")) == "lan0,lan1"
    with pytest.raises(ValueError, match="no interface name"):
        values.interfaces("lan0,")


def test_queue_numbers() -> None:
    assert [values.queue_number(text) for text in ("0", "65528")] == [0, 65528]
    for text in ("65529", "65536", "-1", "x", "", "9" * 5000):
        with pytest.raises(ValueError, match="no queue number"):
            values.queue_number(text)


def test_directories() -> None:
    assert values.directory("/srv/x") == Path("/srv/x")
    for text in ("", "x", "/a\0b", "/\udcff"):
        with pytest.raises(ValueError, match="is no absolute path"):
            values.directory(text)


def test_a_reader_for_the_command_line_has_the_same_errors() -> None:
    assert values.argument(values.duration)("1h") == 3600
    with pytest.raises(ArgumentTypeError, match="'abc' is no time"):
        values.argument(values.duration)("abc")


def test_networks_of_both_versions() -> None:
    two = (IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8::/32"))
    assert values.networks("10.0.0.0/8,2001:DB8::/32") == two
    assert values.networks_text(two) == "10.0.0.0/8,2001:db8::/32"
    with pytest.raises(ValueError, match="host bits set; the network would be 2001:db8::/32"):
        values.networks("2001:db8::1/32")
    for wrong in ("2001:db8:::/32", "2001:db8::/129"):
        with pytest.raises(ValueError, match="is no IPv6 network; an example: 2001:db8:20::/64"):
            values.networks(wrong)


def test_an_ipv6_address_or_none() -> None:
    assert values.ipv6_address_or_none("") is None
    assert values.ipv6_address_or_none("2001:DB8:0::1") == "2001:db8::1"
    for wrong in ("1.2.3.4", "2001:db8:::1", "fe80::1%eth0"):
        with pytest.raises(ValueError, match="is no IPv6 address; an example: 2001:db8::1"):
            values.ipv6_address_or_none(wrong)
