"""The arguments of `sipalg run`."""

from __future__ import annotations

import argparse
from argparse import ArgumentTypeError
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.options import (
    Options,
    configure,
    duration,
    interface,
    queue_number,
    read,
    reserved_ports,
)
from sipalg.datapath.admin_model import PortRange
from sipalg.engine.settings import Settings


def options(*given: str) -> Options:
    parser = argparse.ArgumentParser(exit_on_error=False)
    configure(parser)
    return read(parser.parse_args(["--inside", "lan0", "--outside", "wan0", *given]))


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
    assert duration(text) == float(seconds)


@pytest.mark.parametrize("text", ["", " ", "1 h", "h", "1h1d", "1:2:3", "00:60:00", "-5", "1.5h", "٣٦٠٠", "x"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no time; examples"):
        duration(text)


@pytest.mark.parametrize("text", ["0", "9s", "00:00:09", "31d", "9999999999999"])
def test_times_out_of_range(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="out of range; a time from 10s to 30d"):
        duration(text)


@given(st.text(max_size=12))
def test_no_text_is_more_than_refused(text: str) -> None:
    seconds, refusal = 10.0, repr(text)
    try:
        seconds = duration(text)
    except ArgumentTypeError as error:
        refusal = str(error)
    assert 10 <= seconds <= 2592000
    assert refusal.startswith(repr(text))


@pytest.mark.parametrize("text", ["lan0", "eth0.100", "br-lan", "a" * 15, "wg%0"])
def test_interface_names(text: str) -> None:
    assert interface(text) == text


@pytest.mark.parametrize("text", ["", "a" * 16, "ä" * 8, "a/b", "a:1", "a b", ".", ".."])
def test_what_is_no_interface_name(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no interface name"):
        interface(text)


def test_queue_numbers() -> None:
    assert queue_number("0") == 0
    assert queue_number("65535") == 65535
    for text in ("65536", "-1", "x", ""):
        with pytest.raises(ArgumentTypeError, match="no queue number"):
            queue_number(text)


def test_reserved_ports() -> None:
    assert reserved_ports("80") == (PortRange(80, 80),)
    assert reserved_ports("5070, 20000-20999,1-65535") == (
        PortRange(5070, 5070),
        PortRange(20000, 20999),
        PortRange(1, 65535),
    )
    assert options("--reserved-ports=80,90-91").reserved_ports == (PortRange(80, 80), PortRange(90, 91))
    for text, said in (("", "is no port"), ("80,", "is no port"), ("1-2-3", "is no port"), ("9-8", "ends before")):
        with pytest.raises(ArgumentTypeError, match=said):
            reserved_ports(text)


def test_what_nobody_says_is_the_engines_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIPALG_SOCKET", raising=False)
    settings = options().engine_settings("203.0.113.1", 180.0)
    assert settings == Settings(frozenset({"lan0"}), "203.0.113.1", "203.0.113.1")
    table = options().table_settings(30.0)
    assert (table.outside, table.inside, table.ports) == ("wan0", ("lan0",), (5060, 5061))
    assert table.unreplied_timeout_s == 30
    assert options().socket == Path("/run/sipalg/sipalg.sock")


def test_everything_said() -> None:
    told = options(
        "--inside=lan1", "--inside=lan0", "--public=198.51.100.7", "--ports=5060,5070", "--media-ports=20000-20100",
        "--sip-timeout=90m", "--except=10.8.0.0/16", "--except=10.9.0.0/16", "--trusted-peers=203.0.113.0/24",
        "--mode=observe", "--socket=/run/x", "--queue=7", "--log-edits", "--allow-offload",
    )  # fmt: skip
    assert told.engine_settings("203.0.113.1", 20.0) == Settings(
        inside_interfaces=frozenset({"lan0", "lan1"}),
        nat_address="203.0.113.1",
        advertised_address="198.51.100.7",
        ports=(5060, 5070),
        media_ports=(20000, 20100),
        sip_timeout_s=5400.0,
        flow_check_s=8.0,
        exempt=(IPv4Network("10.8.0.0/16"), IPv4Network("10.9.0.0/16")),
        trusted_peers=(IPv4Network("203.0.113.0/24"),),
        mode="observe",
    )
    table = told.table_settings(10.0)
    assert table.inside == ("lan0", "lan1")
    assert (table.queue_number, table.sip_timeout_s, table.exempt) == (7, 5400.0, told.exempt)
    assert (told.socket, told.allow_offload, told.log_edits) == (Path("/run/x"), True, True)


def test_an_interface_is_on_one_side_only() -> None:
    with pytest.raises(ArgumentTypeError, match="--outside wan0: is also given as --inside"):
        options("--inside=wan0")
