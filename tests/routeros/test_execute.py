"""Commands carried out: on a running ALG, and on the settings file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.routeros.fake import FakeAlg

from sipalg.control.settings.file import load
from sipalg.routeros.execute import ACTIONS, Result, Surroundings, perform
from sipalg.routeros.grammar import Call, read
from sipalg.routeros.menus import MENUS
from sipalg.routeros.router import RefusedError, Router

P = "/ip firewall service-port "
C = "/ip firewall connection "


def run(router: Router, source: str) -> Result:
    (call,) = read(source)
    assert isinstance(call, Call)
    return perform(call, router, Surroundings("2026-01-02 03:04:05"))


def lines(router: Router, source: str) -> list[str]:
    return list(run(router, source).lines)


def test_every_action_of_the_menus_is_there() -> None:
    assert {command.action for menu in MENUS.values() for command in menu.commands} == set(ACTIONS)


def test_print_in_all_its_forms(router: Router, alg: FakeAlg) -> None:
    assert lines(router, P + "print") == [
        "Flags: X - DISABLED; I - INVALID",
        "Columns: NAME, PORTS",
        "#  NAME  PORTS",
        "0  sip    5060",
        "          5061",
    ]
    alg.nat_address = ""
    assert lines(router, P + "print")[3] == "0 I  sip    5060"
    assert "sip-timeout=1h" in " ".join(lines(router, P + "print detail"))
    assert lines(router, P + "print terse")[0].startswith("0 I name=sip inside=vlan20 ")
    assert lines(router, P + "print as-value")[0].startswith(".id=*1;name=sip;inside=vlan20;")
    assert lines(router, P + "print count-only") == ["1"]
    assert run(router, P + "print count-only where disabled").json == 0
    assert lines(router, P + "print where disabled")[2:] == ["#  NAME  PORTS"]
    assert lines(router, P + "print where sip-timeout=1h") == lines(router, P + "print")


def test_json_is_the_same_for_every_form_of_print(router: Router, alg: FakeAlg) -> None:
    for form in ("", " detail", " terse", " as-value"):
        (item,) = run(router, P + "print" + form).json
        assert (item["name"], item["ports"], item["disabled"]) == ("sip", "5060,5061", False)
    assert alg.asked


def test_flows_with_the_time_left(router: Router, alg: FakeAlg) -> None:
    assert lines(router, C + "print") == [
        "Flags: S - SEEN-REPLY; A - ASSURED; C - CONFIRMED; D - DYING; s - SRCNAT; d - DSTNAT",
        "Columns: PROTOCOL, SRC-ADDRESS, DST-ADDRESS, REPLY-DST-ADDRESS, TIMEOUT, CONNECTION-TYPE",
        "#      PROTOCOL  SRC-ADDRESS          DST-ADDRESS         REPLY-DST-ADDRESS   TIMEOUT  CONNECTION-TYPE",
        "0 SCs  udp       192.168.20.100:5060  207.252.1.148:5060  75.142.151.49:1024  59m58s   sip",
    ]
    heads = ["PROTOCOL", "SRC-ADDRESS", "DST-ADDRESS", "REPLY-DST-ADDRESS", "TIMEOUT", "CONNECTION-TYPE"]
    assert [line.split() for line in lines(router, C + "print where timeout<1m")[2:]] == [["#", *heads]]
    assert lines(router, C + "print where timeout") == lines(router, C + "print")
    assert lines(router, C + "print count-only where srcnat and timeout>59m") == ["1"]
    assert alg.asked


def test_the_tables_rules(router: Router, alg: FakeAlg) -> None:
    shown = lines(router, "/ip firewall nat print detail")
    assert shown[0] == "Flags: D - dynamic"
    assert shown[1].startswith(" 0 D chain=srcnat action=src-nat protocol=udp src-address=192.168.20.100")
    assert 'comment="sip"' in shown[-1]
    assert alg.asked


def test_changes(router: Router, alg: FakeAlg) -> None:
    result = run(router, P + "set sip ports=5070 disabled=yes")
    assert (list(result.lines), result.changed) == ([], True)
    assert result.json == {"changed": ["ports", "disabled"], "saved": "/etc/sipalg/sipalg.toml"}
    assert (alg.settings.ports, alg.settings.disabled) == ((5070,), True)
    assert run(router, P + "enable sip").changed
    assert not run(router, P + "enable 0").changed
    run(router, P + "disable sip")
    run(router, P + "disable sip now")
    assert [one["arguments"] for one in alg.asked[-2:]] == [{"now": False}, {"now": True}]
    alg.besides = {"ended": {"mappings": 3, "calls": 1}}
    ended = run(router, P + "disable sip now")
    assert (ended.json["ended"], ended.changed) == ({"mappings": 3, "calls": 1}, True)
    run(router, P + "set [find disabled=yes] sip-timeout=90m")
    assert alg.settings.sip_timeout_s == 5400


def test_conditions_that_find_nothing_change_nothing(router: Router, alg: FakeAlg) -> None:
    for command in ("set [find name=h323] ports=1", "disable [find disabled]", "get [find name=x] ports"):
        with pytest.raises(RefusedError, match="no such item"):
            run(router, P + command)
    assert {one["command"] for one in alg.asked} == {"settings", "metrics"}


def test_one_value(router: Router, alg: FakeAlg) -> None:
    assert lines(router, P + "get sip sip-timeout") == ["1h"]
    assert run(router, P + "get [find] name").json == "sip"
    assert alg.asked


def test_an_export_makes_the_settings_again(router: Router, file: Path) -> None:
    run(router, P + "set sip ports=5060,5080 sip-timeout=2h")
    plain = lines(router, "/export")
    assert plain[0].startswith("# 2026-01-02 03:04:05 by sipalg ")
    assert plain[1:] == [
        "/ip firewall service-port",
        "set sip inside=lan0 outside=wan0 ports=5060,5080 sip-timeout=2h",
    ]
    assert lines(router, P + "export terse")[1] == f"{P}{plain[2]}"
    before = load(file)
    for form in ("export", "export verbose", "export terse"):
        script = "\n".join(lines(router, P + form))
        file.unlink()
        *_, call = read(script)
        assert isinstance(call, Call)
        perform(call, router, Surroundings(""))
        assert load(file) == before
