"""RouterOS's properties and commands as its documentation has them, read from tables and held against what is here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.routeros.fake import FakeAlg

from sipalg.routeros.execute import Result, Surroundings, perform
from sipalg.routeros.grammar import Call, read
from sipalg.routeros.lexer import GrammarError
from sipalg.routeros.menus import MENUS
from sipalg.routeros.router import Router

#: Menu, property, its default as it is shown, what may be typed, and how that is shown.
PROPERTIES = """\
/ip firewall service-port | ports            | 5060,5061       | 5062,5063,5064,5065,5066,5067,5068,5069 |
/ip firewall service-port | ports            | 5060,5061       | 1 | 1
/ip firewall service-port | sip-direct-media | yes             | no | no
/ip firewall service-port | sip-timeout      | 1h              | 01:00:10 | 1h10s
/ip firewall service-port | sip-timeout      | 1h              | 90m | 1h30m
/ip firewall service-port | sip-timeout      | 1h              | 1d2h | 1d2h
/ip firewall service-port | sip-timeout      | 1h              | 300 | 5m
/ip firewall service-port | disabled         | no              | true | yes
/tool sniffer | only-headers                 | no              | yes | yes
/tool sniffer | memory-limit                 | 100KiB          | 200 | 200KiB
/tool sniffer | memory-scroll                | yes             | no | no
/tool sniffer | file-name                    |                 | before-ALG.pcap |
/tool sniffer | file-limit                   | 1000KiB         | 4096 | 4096KiB
/tool sniffer | max-packet-size              | 2048            | 1500 | 1500
/tool sniffer | streaming-enabled            | no              | yes | yes
/tool sniffer | streaming-server             | 0.0.0.0:37008   | 192.168.20.5 | 192.168.20.5:37008
/tool sniffer | filter-stream                | yes             | no | no
/tool sniffer | filter-interface             |                 | vlan20,!ether1-gateway |
/tool sniffer | filter-mac-address           |                 | 00:0C:29:AA:BB:CC/FF:FF:FF:00:00:00 |
/tool sniffer | filter-mac-protocol          |                 | ip,!arp,0x0800 |
/tool sniffer | filter-ip-address            |                 | 192.168.20.100/32,!207.252.1.148/32 |
/tool sniffer | filter-src-ip-address        |                 | 192.168.20.0/24 |
/tool sniffer | filter-dst-ip-address        |                 | 207.252.1.148/32 |
/tool sniffer | filter-ipv6-address          |                 | 2001:db8::/32 |
/tool sniffer | filter-ip-protocol           |                 | udp,!tcp,17 |
/tool sniffer | filter-port                  |                 | 5060,sip,!443 |
/tool sniffer | filter-src-port              |                 | sip |
/tool sniffer | filter-dst-port              |                 | 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 |
/tool sniffer | filter-vlan                  |                 | 20,!30 |
/tool sniffer | filter-size                  |                 | 100-500,1500 |
/tool sniffer | filter-cpu                   |                 | 0,!1 |
/tool sniffer | filter-direction             | any             | rx | rx
/tool sniffer | filter-direction             | any             | tx | tx
/tool sniffer | filter-operator-between-entries | or           | and | and
"""

#: What can't be.
WRONG = """\
/ip firewall service-port | ports                | 5060-5070
/ip firewall service-port | ports                | 1,2,3,4,5,6,7,8,9
/ip firewall service-port | ports                | 65536
/ip firewall service-port | ports                | 0
/ip firewall service-port | sip-direct-media     | maybe
/ip firewall service-port | sip-timeout          | soon
/tool sniffer             | memory-limit         | 0
/tool sniffer             | filter-direction     | both
/tool sniffer             | filter-dst-port      | 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17
/tool sniffer             | filter-port          | nonsense
/tool sniffer             | filter-operator-between-entries | xor
"""

#: Menu and its commands; in brackets what a table shows at least.
COMMANDS = """\
/ip firewall service-port | print set get enable disable export
/tool sniffer             | print set get export start stop save quick reset
/tool sniffer packet      | print [time interface src-address dst-address protocol size]
/tool sniffer protocol    | print [protocol port packets bytes share]
/tool sniffer host        | print [address rate peak-rate total]
/tool sniffer connection  | print [src-address dst-address packets bytes]
/file                     | print remove [name size]
"""


def table(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]


@pytest.fixture
def at(router: Router, alg: FakeAlg, file: Path, tmp_path: Path) -> Router:
    assert alg.settings.ports
    with file.open("a") as settings:
        settings.write(f'captures = "{tmp_path / "captures"}"\n')
    return router


def do(router: Router, line: str) -> Result:
    (call,) = read(line)
    assert isinstance(call, Call)
    return perform(call, router, Surroundings("a date"))


@pytest.mark.parametrize(("menu", "name", "default", "typed", "shown"), table(PROPERTIES))
def test_a_property(
    menu: str, name: str, default: str, typed: str, shown: str, at: Router, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    # The fake ALG names no directory of captures.
    monkeypatch.setattr(at, "captures", lambda: tmp_path / "captures")
    entry = "sip " if menu.startswith("/ip") else ""
    assert list(do(at, f"{menu} get {entry}{name}").lines) == [default]
    assert do(at, f"{menu} set {entry}{name}={typed}").changed
    assert list(do(at, f"{menu} get {entry}{name}").lines) == [shown or typed]
    printed = " ".join("".join(do(at, f"{menu} print {'detail' if entry else ''}").lines).split())
    assert f"{name}={shown or typed}" in printed or f"{name}: {shown or typed}" in printed or name == "disabled"
    *_, exported = read("\n".join(do(at, f"{menu} export").lines))
    assert isinstance(exported, Call)
    assert exported.values[name] == (shown or typed)
    assert f"{name}={shown or typed}" in "".join(do(at, f"{menu} print as-value").lines) or name == "disabled"


@pytest.mark.parametrize(("menu", "name", "typed"), table(WRONG))
def test_what_cannot_be_is_refused_with_its_place(menu: str, name: str, typed: str) -> None:
    line = f"{menu} set {'sip ' if menu.startswith('/ip') else ''}{name}={typed}"
    with pytest.raises(GrammarError, match=r"\(line 1 column \d+\)"):
        read(line)


@pytest.mark.parametrize(("place", "commands"), table(COMMANDS))
def test_commands_and_tables(place: str, commands: str) -> None:
    menu = MENUS[tuple(place.removeprefix("/").split())]
    names, _, columns = commands.partition("[")
    assert {command.name for command in menu.commands} == set(names.split())
    assert set(columns.rstrip("]").split()) <= {column.name for column in menu.columns}


@pytest.mark.parametrize(
    "line",
    [
        "/tool sniffer set only-headers=no file-name=before-ALG.pcap file-limit=4096 filter-interface=vlan20 "
        "filter-ip-address=192.168.20.100/32 filter-direction=any",
        "/tool sniffer set only-headers=no file-name=after-ALG.pcap file-limit=4096 filter-interface=ether1-gateway "
        "filter-ip-address=207.252.1.148/32 filter-port=5060 filter-direction=any",
        "/ip firewall service-port set sip ports=5060,5061 sip-direct-media=yes sip-timeout=01:00:00 disabled=no",
        "/tool/sniffer/start",
        "/tool sniffer stop",
        "/tool sniffer save file-name=a.pcapng",
        "/tool sniffer quick port=sip duration=10s",
        "/file remove a.pcap",
    ],
)
def test_the_lectures_commands_are_understood(line: str) -> None:
    (call,) = read(line)
    assert isinstance(call, Call)
