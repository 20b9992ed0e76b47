"""Reading the rule set: the programs, and what each of them knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipalg.datapath import admin_rules
from sipalg.datapath.admin_rules import AdminRulesError, evaluate, read_admin_rules, read_legacy_rules, run_program

PBX = "192.168.20.5"


def payload(protocol: str, field: str, right: object, operator: str = "==") -> dict[str, object]:
    return {"match": {"op": operator, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def chain(name: str, hook: str = "", kind: str = "nat", policy: str = "accept") -> dict[str, object]:
    body: dict[str, object] = {"family": "ip", "table": "t", "name": name, "handle": 1}
    if hook:
        body |= {"type": kind, "hook": hook, "prio": 0, "policy": policy}
    return {"chain": body}


def rule(chain_name: str, *expressions: object, table: str = "t") -> dict[str, object]:
    return {"rule": {"family": "ip", "table": table, "chain": chain_name, "handle": 7, "expr": list(expressions)}}


def nat_table(*lines: str) -> str:
    return "\n".join(["*nat", ":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]", *lines, "COMMIT"])


def test_rules_of_iptables_nft_are_taken_from_iptables_and_the_others_of_its_table_stay() -> None:
    xt = {"xt": {"type": "target", "name": "DNAT"}}
    document = json.dumps({
        "nftables": [
            chain("PREROUTING", "prerouting"),
            chain("mine", "prerouting"),
            rule("PREROUTING", payload("udp", "dport", 7), xt),
            rule("mine", payload("udp", "dport", 8), {"dnat": {"addr": PBX}}),
        ]
    }).replace('"table": "t"', '"table": "nat"')
    alone = evaluate(document, "wan0")
    assert [f.public.port for f in alone.forwards] == [8]
    assert "iptables-save" in alone.unevaluable[0].what
    save = nat_table("-A PREROUTING -p udp -m udp --dport 7 -j DNAT --to-destination 10.0.0.1")
    both = evaluate(document, "wan0", iptables_nft=save)
    assert [f.public.port for f in both.forwards] == [7, 8]
    assert both.unevaluable == ()
    # What nft shows in full isn't counted twice.
    plain = document.replace('"xt"', '"counter"')
    assert evaluate(plain, "wan0", iptables_nft=save).forwards == alone.forwards


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nftables": 1}', "no JSON"])
def test_output_that_isnt_nfts_is_one_clear_error(text: str) -> None:
    with pytest.raises(AdminRulesError, match="nft -j list ruleset: "):
        evaluate(text, "wan0")


def test_what_named_sets_hold_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def listed(*command: str) -> str:
        asked.append(command)
        return '{"nftables": []}'

    monkeypatch.setattr(admin_rules, "run_program", listed)
    monkeypatch.setattr(admin_rules, "_LEGACY_TABLES", Path("/nonexistent"))
    assert read_admin_rules("wan0").forwards == ()
    (command,) = asked
    assert "-t" in command


def test_a_program_that_fails_is_one_clear_error() -> None:
    with pytest.raises(AdminRulesError, match="no-such-program-here: program not found"):
        run_program("no-such-program-here")
    with pytest.raises(AdminRulesError, match=r"ls /nonexistent/x: "):
        run_program("ls", "/nonexistent/x")
    assert run_program("echo", "x") == "x\n"


def test_the_old_iptables_rules_are_the_same_whatever_they_have_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = ["# Generated on Monday", "*nat", ":POSTROUTING ACCEPT [5:300]", "-A POSTROUTING -j MASQUERADE", "COMMIT"]
    asked: list[str] = []

    def save(*command: str) -> str:
        asked.extend(command)
        return "\n".join(saved)

    tables = tmp_path / "ip_tables_names"
    monkeypatch.setattr(admin_rules, "_LEGACY_TABLES", tables)
    monkeypatch.setattr(admin_rules, "run_program", save)
    monkeypatch.setattr("sipalg.datapath.admin_rules.shutil.which", lambda name: name)
    assert read_legacy_rules() == ""
    tables.write_text("")
    assert read_legacy_rules() == ""
    assert asked == []
    tables.write_text("nat\n")
    before = read_legacy_rules()
    assert asked == ["iptables-legacy-save"]
    saved[0], saved[2] = "# Generated on Tuesday", ":POSTROUTING ACCEPT [6:400]"
    assert read_legacy_rules() == before
    saved.insert(3, "-A POSTROUTING -d 10.8.0.0/24 -j ACCEPT")
    assert read_legacy_rules() != before


def test_without_the_right_to_see_the_old_iptables_it_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(AdminRulesError, match="CAP_DAC_READ_SEARCH"):
        read_legacy_rules()
