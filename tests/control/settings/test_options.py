"""The arguments of `sipalg run`, over the settings file's."""

from __future__ import annotations

import argparse
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from sipalg.control.settings.file import SettingsError
from sipalg.control.settings.model import Settings
from sipalg.control.settings.options import Options, configure, read, resolve
from sipalg.control.settings.properties import PROPERTIES
from sipalg.datapath.admin_model import PortRange

BOTH = ("--inside", "lan0", "--outside", "wan0")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file, which isn't there yet."""
    monkeypatch.delenv("SIPALG_SOCKET", raising=False)
    path = tmp_path / "sipalg.toml"
    monkeypatch.setenv("SIPALG_CONFIG", str(path))
    return path


def options(*given: str) -> Options:
    parser = argparse.ArgumentParser(exit_on_error=False)
    configure(parser)
    return read(parser.parse_args(given))


def test_without_a_file_the_defaults_and_the_command_line(file: Path) -> None:
    told = options(*BOTH)
    assert told.settings == Settings(inside=("lan0",), outside="wan0")
    assert told.socket == Path("/run/sipalg/sipalg.sock")
    assert (told.file, told.named) == (file, frozenset())
    assert [told.source_of(key) for key in ("inside", "ports")] == ["command line", "default"]


def test_everything_said() -> None:
    told = options(
        "--inside=lan1", "--inside=lan0", "--outside=wan0", "--public=198.51.100.7", "--ports=5060,5070",
        "--sip-direct-media=no", "--sip-timeout=90m", "--disabled", "--mode=observe", "--media-ports=20000-20100",
        "--reserved-ports=80,90-91", "--except=10.8.0.0/16", "--except=10.9.0.0/16",
        "--trusted-peers=203.0.113.0/24,198.51.100.0/24", "--inside-servers=192.168.1.0/24",
        "--sip-direct-signalling", "--media-filter", "--call-timeout=1h", "--tcp=relay", "--captures=/srv",
        "--queue=7", "--allow-offload=yes", "--log-edits", "--socket=/run/x", "--ipv6=no",
        "--public-ipv6=2001:db8::0:1",
    )  # fmt: skip
    assert told.settings == Settings(
        inside=("lan1", "lan0"),
        outside="wan0",
        public="198.51.100.7",
        ports=(5060, 5070),
        direct_media=False,
        sip_timeout_s=5400.0,
        disabled=True,
        mode="observe",
        media_ports=(20000, 20100),
        reserved_ports=(PortRange(80, 80), PortRange(90, 91)),
        exempt=(IPv4Network("10.8.0.0/16"), IPv4Network("10.9.0.0/16")),
        trusted_peers=(IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.0/24")),
        inside_servers=(IPv4Network("192.168.1.0/24"),),
        direct_signalling=True,
        media_filter=True,
        call_timeout_s=3600.0,
        tcp="relay",
        captures=Path("/srv"),
        queue_number=7,
        allow_offload=True,
        log_edits=True,
        ipv6="no",
        public_ipv6="2001:db8::1",
    )
    assert set(told.given) == set(PROPERTIES)
    assert told.socket == Path("/run/x")


def test_the_command_line_wins_over_the_file_and_says_so(file: Path) -> None:
    file.write_text('inside = ["lan0"]\noutside = "wan0"\nports = [5070]\ndisabled = true\n')
    assert options().settings == Settings(inside=("lan0",), outside="wan0", ports=(5070,), disabled=True)
    told = options("--ports=5080", "--disabled=no")
    assert told.settings == Settings(inside=("lan0",), outside="wan0", ports=(5080,))
    assert told.given == {"ports": "5080", "disabled": "no"}
    sources = {key: told.source_of(key) for key in ("outside", "ports", "mode")}
    assert sources == {"outside": "file", "ports": "command line", "mode": "default"}
    assert options("--config", str(file.parent / "other"), *BOTH).settings.ports == (5060, 5061)


def test_the_file_is_read_again_under_the_same_command_line(file: Path) -> None:
    told = options(*BOTH, "--ports=5080")
    file.write_text('ports = [5070]\nsip-timeout = "2h"\n')
    again = resolve(told)
    assert again.settings == replace(told.settings, sip_timeout_s=7200.0)
    assert again.named == {"ports", "sip-timeout"}


@pytest.mark.parametrize(
    ("content", "given", "said"),
    [
        (None, (), "inside: is missing; .*: as --inside, or in .*sipalg.toml, which isn't there$"),
        (None, ("--inside=lan0",), "outside: is missing; .*as --outside, or in"),
        ("ports = [5070]", (), "inside: is missing; .*sipalg.toml$"),
        ("ports = [0]", BOTH, "sipalg.toml: line 1: ports: '0' is no port"),
        ("outside = 'lan0'", ("--inside=lan0",), r"outside: lan0 is .* \(command line and .* together\)"),
        ("", ("--inside=lan0", "--outside=lan0"), "outside: lan0 is also in inside"),
    ],
)
def test_what_cannot_be_is_one_line(file: Path, content: str | None, given: tuple[str, ...], said: str) -> None:
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=said):
        options(*given)


def test_a_bad_value_is_the_command_lines_error() -> None:
    with pytest.raises(argparse.ArgumentError, match="--sip-timeout: 'soon' is no time; examples"):
        options(*BOTH, "--sip-timeout=soon")
