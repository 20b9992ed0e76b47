from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.capture_corpus import Truth, write
from bench.diagnose import Measured, Use, claims, differences, section

from bench import diagnose
from sipalg import cli

DIALOGS = 120


@pytest.fixture(scope="module")
def truth_and_found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("diagnose")
    truth = write(folder / "a.pcap", 1, DIALOGS, DIALOGS * 214_748)
    with pytest.MonkeyPatch.context() as patch, (folder / "json").open("w") as output:
        patch.setattr("sys.stdout", output)
        assert cli.main(["diagnose", "--json", str(folder / "a.pcap")]) == 2
    found: dict[str, Any] = json.loads((folder / "json").read_text())
    return truth, found


def test_verdicts_are_the_generators_truth(truth_and_found: tuple[Truth, dict[str, Any]]) -> None:
    truth, found = truth_and_found
    assert differences(truth, found) == []


@pytest.mark.parametrize(
    "kind",
    ["one-way", "lost-ack", "moved", "long", "big", "rtcp-one-way", "no-answer", "aware", "stops", "other-port"],
)
def test_another_truth_would_be_noticed(kind: str, truth_and_found: tuple[Truth, dict[str, Any]]) -> None:
    truth, found = truth_and_found
    kinds = tuple("private" if one == kind else one for one in truth.kinds)
    assert differences(truth._replace(kinds=kinds), found)
    assert differences(truth._replace(rtp_packets=truth.rtp_packets + 1), found)


@pytest.mark.parametrize("check", ["audio-stops", "loop", "rtp-to-private", "fragments", "encrypted", "rtcp-missing"])
@pytest.mark.parametrize("call", ["call3", ""])
def test_finding_that_isnt_true_would_be_noticed(
    check: str, call: str, truth_and_found: tuple[Truth, dict[str, Any]]
) -> None:
    truth, found = truth_and_found
    bogus = {"severity": "broken", "check": check, "text": "bogus", "call": call, "packet_count": 1}
    (line,) = differences(truth, {**found, "findings": [*found["findings"], bogus]})
    assert line.startswith(f"{check}: ")


def test_each_finding_and_each_servers_answer_counts(truth_and_found: tuple[Truth, dict[str, Any]]) -> None:
    truth, found = truth_and_found
    findings = found["findings"]
    for number, finding in enumerate(findings):
        for others in ([], [finding, finding], [{**finding, "severity": "other"}]):
            changed = [*findings[:number], *others, *findings[number + 1 :]]
            assert differences(truth, {**found, "findings": changed})
    for number, server in enumerate(found["servers"]):
        servers = [*found["servers"]]
        servers[number] = {**server, "answers": "source"}
        assert differences(truth, {**found, "servers": servers})


def test_section_says_how_fast_and_whether_that_is_enough() -> None:
    truth = Truth(("private",), 10, 4, 5, 1)
    found = Measured(truth, 2**30, [Use(2, 2, 2**26)], [Use(8, 8, 2**28)], Use(1, 1, 2**25))
    lines = section("python -m bench.diagnose", found)
    assert "| `sipalg diagnose` | 2.0 | 2.0 | 64 |" in lines
    assert lines[-1].startswith("4.0 times as fast as tshark by the clock")
    (claim,) = claims(found)
    assert (claim.measured, claim.met) == ("4.0", False)


def test_wrong_verdict_ends_with_1_and_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(path: Path, seed: int, dialogs: int, size_bytes: int) -> Truth:
        return write(path, seed, 2, 50_000)._replace(messages=seed + dialogs + size_bytes)

    answers = iter((Use(1, 1, 1), Use(2, 2, 2), Use(1, 1, 1)))
    server = {"server": "198.51.100.9:5060", "answers": "", "unanswered": 0, "retransmissions": 0}
    counts = dict.fromkeys(("packets", "messages", "rtp_packets", "rtcp_packets", "calls"), 0)
    found = {**counts, "phones": [], "findings": [], "servers": [server], "alg": "needed"}
    monkeypatch.setattr(diagnose, "write", wrong)
    monkeypatch.setattr(diagnose, "run", lambda *_: (next(answers), json.dumps(found)))
    assert diagnose.main(["--dialogs", "20"]) == 1
    assert "bench: SIP messages: 0 instead of" in capsys.readouterr().err


@pytest.mark.parametrize(("tshark_s", "code"), [(6.0, 0), (4.0, 1)])
def test_too_slow_ends_with_1_and_says_so(
    tshark_s: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uses = iter((Use(1, 1, 1), Use(tshark_s, tshark_s, 1), Use(1, 1, 1)))
    monkeypatch.setattr(diagnose, "write", lambda path, *_: path.write_bytes(b"") or Truth((), 0, 0, 0, 0))
    monkeypatch.setattr(diagnose, "differences", lambda *_: [])
    monkeypatch.setattr(diagnose, "run", lambda *_: (next(uses), "{}"))
    assert diagnose.main(["--dialogs", "20"]) == code
    assert ("4.0 times as fast as tshark, and 5 is the least" in capsys.readouterr().err) == bool(code)
