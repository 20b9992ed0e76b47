"""What commands work on: an ALG that runs, or the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.routeros.fake import FakeAlg

from sipalg.control.settings.file import load
from sipalg.routeros.router import Change, RefusedError, Router


def test_a_running_alg_is_asked(router: Router, alg: FakeAlg, told: list[str]) -> None:
    assert router.settings()["inside"] == "vlan20"
    assert router.service_port()["invalid"] == "no"
    assert router.set({"ports": "5070"}) == Change(("ports",), "/etc/sipalg/sipalg.toml")
    assert alg.settings.ports == (5070,)
    assert router.disable(now=True).changed == ("disabled",)
    assert [(one["command"], one["arguments"]) for one in alg.asked[-2:]] == [
        ("set", {"values": {"ports": "5070"}}),
        ("disable", {"now": True}),
    ]
    assert told == []


def test_what_is_only_in_force_is_told(router: Router, alg: FakeAlg, told: list[str]) -> None:
    alg.saved, alg.besides = None, {"not_saved": "/etc/x: can't be written", "notes": ["ports is given twice"]}
    assert router.set({"ports": "5070"}) == Change(("ports",), None)
    assert told == ["in force until the next start, but not saved: /etc/x: can't be written", "ports is given twice"]


def test_what_was_ended_is_counted(router: Router, alg: FakeAlg) -> None:
    alg.besides = {"ended": {"mappings": 3, "calls": 1}}
    assert router.disable(now=True).ended == {"mappings": 3, "calls": 1}


def test_without_its_outside_address_or_an_interface_the_entry_is_invalid(router: Router, alg: FakeAlg) -> None:
    alg.nat_address = ""
    assert router.service_port()["invalid"] == "yes"
    alg.nat_address = "75.142.151.49"
    assert router.service_port()["invalid"] == "no"
    alg.missing = ["vlan20"]
    assert router.service_port()["invalid"] == "yes"


def test_flows_and_rules_get_routeros_words(router: Router, alg: FakeAlg, told: list[str]) -> None:
    (flow,) = router.rows("connections")
    assert flow == {
        "protocol": "udp",
        "src-address": "192.168.20.100:5060",
        "dst-address": "207.252.1.148:5060",
        "reply-src-address": "207.252.1.148:5060",
        "reply-dst-address": "75.142.151.49:1024",
        "timeout": "59m58s",
        "seen-reply": "yes",
        "confirmed": "yes",
        "srcnat": "yes",
        "connection-type": "sip",
    }
    assert told == []
    alg.mode = "observe"
    assert router.rows("nat")[0]["to-addresses"] == "75.142.151.49"
    assert told == ["observe: what would have been done; nothing is changed"]


def test_what_the_alg_refuses_is_refused(router: Router, alg: FakeAlg) -> None:
    alg.refuses = "a restart is needed"
    attempts = (router.settings, router.service_port, lambda: router.set({"queue": "1"}), lambda: router.rows("nat"))
    for attempt in attempts:
        with pytest.raises(RefusedError, match="a restart is needed"):
            attempt()


def test_without_one_it_is_the_file_that_is_read_and_changed(router: Router, file: Path, told: list[str]) -> None:
    assert router.settings()["inside"] == "lan0"
    assert told[0].startswith("no sipalg is running behind ")
    assert told[0].endswith(f"these are the settings of {file}")
    assert router.set({"ports": "5060,5061", "outside": "wan0"}) == Change(("ports",), str(file))
    assert told[1].endswith(f"changed in {file}")
    assert load(file).ports == (5060, 5061)
    assert "# phones" in file.read_text()
    assert router.disable(now=False).changed == ("disabled",)
    assert load(file).disabled


def test_a_file_that_names_what_isnt_there_is_invalid(router: Router, file: Path, told: list[str]) -> None:
    assert router.service_port()["invalid"] == "no"
    router.set({"outside": "wan7"})
    assert router.service_port()["invalid"] == "yes"
    file.unlink()
    assert router.service_port()["invalid"] == "yes"
    assert told[-1].endswith(f"there is no {file}: these are defaults")


def test_a_file_that_isnt_there_is_made_and_what_it_lacks_is_told(router: Router, file: Path, told: list[str]) -> None:
    file.unlink()
    assert router.set({"ports": "5070"}).changed == ("ports",)
    assert load(file).ports == (5070,)
    assert told[-1].startswith(f"{file}: inside: is missing")
    assert told[-1].endswith("; without it sipalg can't start")


def test_a_broken_file_is_refused_and_stays(router: Router, file: Path) -> None:
    file.write_text("ports = [0]\n")
    for attempt in (router.settings, router.service_port, lambda: router.set({"ports": "5070"})):
        with pytest.raises(RefusedError, match=r"sipalg\.toml: line 1: ports"):
            attempt()
    assert file.read_text() == "ports = [0]\n"


def test_flows_need_a_running_alg(router: Router) -> None:
    with pytest.raises(RefusedError, match="no sipalg is running behind"):
        router.rows("connections")
