"""What `diagnose` says of the lab's own captures, on either side of the router, without an ALG and with sipalg."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sipalg import cli
from sipalg.lab.scenario import run_scenario
from sipalg.lab.scenarios import SCENARIOS
from sipalg.lab.stage import Mode

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces", "programs")]

CALL_OUT = next(scenario for scenario in SCENARIOS if scenario.name == "call-out")


def played(mode: Mode, directory: Path) -> None:
    """Play the call; its captures are in the directory then."""
    outcome = run_scenario(CALL_OUT, mode, directory)
    assert outcome.expected, outcome


def diagnosed(*captures: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = cli.main(["diagnose", "--json", *map(str, captures)])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def checks(found: dict[str, Any]) -> set[str]:
    return {finding["check"] for finding in found["findings"] if finding["severity"] != "note"}


def test_without_an_alg_the_phone_needs_one_on_either_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played("none", tmp_path)
    for interface in ("lan0", "wan0"):
        code, found = diagnosed(tmp_path / f"router-{interface}.pcap", capsys=capsys)
        (phone,) = found["phones"]
        assert (code, phone["aware"], phone["alg"]) == (2, "not NAT aware", "needed")
        assert checks(found) == {"one-way-audio"}


def test_with_sipalg_the_phone_needs_it_inside_and_all_is_right_outside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played("sipalg", tmp_path)
    code, found = diagnosed(tmp_path / "router-lan0.pcap", capsys=capsys)
    (phone,) = found["phones"]
    assert (code, phone["aware"], phone["alg"]) == (0, "not NAT aware", "needed")
    assert "one is at work" in phone["why"][-1]["text"]
    assert checks(found) == set()
    code, found = diagnosed(tmp_path / "router-wan0.pcap", capsys=capsys)
    (phone,) = found["phones"]
    assert (code, phone["aware"], phone["alg"]) == (0, "can't be told", "can't be told")
    assert "an ALG is at work and does it well" in phone["why"][-1]["text"]
    assert checks(found) == set()


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("none", "no audio came to it in these calls"), ("sipalg", "Via, Contact and SDP name public addresses")],
)
def test_both_sides_together_are_one_phone_and_show_whether_an_alg_is_at_work(
    mode: Mode, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played(mode, tmp_path)
    files = [tmp_path / f"router-{interface}.pcap" for interface in ("lan0", "wan0")]
    _, found = diagnosed(*files, capsys=capsys)
    (phone,) = found["phones"]
    assert (phone["aware"], phone["alg"], len(phone["seen_as"])) == ("not NAT aware", "needed", 1)
    assert phone["why"][-1]["text"].endswith(ending)
    assert found["calls"] == 1
