"""What is judged of many calls, from fakes of what conntrack, sipalg and the captures say."""

from __future__ import annotations

from typing import Any

import pytest

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import Wire
from sipalg.lab.scenarios import load as module
from sipalg.lab.scenarios.load import expect_flows, expect_nothing_left, expect_translated
from sipalg.lab.stage import ScenarioError
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS

PHONE, FAR = ADDRESS["phone1"], ADDRESS["server"]
OUT = (
    f"udp      17 100 src={PHONE} dst={FAR} sport=10000 dport=20000 [UNREPLIED] "
    f"src={FAR} dst={PUBLIC_ADDRESS} sport=20000 dport=10000 mark=0 use=1\n"
)
IN = (
    f"udp      17 100 src={FAR} dst={PUBLIC_ADDRESS} sport=20001 dport=10001 "
    f"src={PHONE} dst={FAR} sport=10001 dport=20001 [ASSURED] mark=0 use=1\n"
)
CALL: dict[str, Any] = {
    "call_id": "1",
    "outside_tag": "b",
    "state": "confirmed",
    "media": [
        {"private": f"{PHONE}:{port}", "public": f"{PUBLIC_ADDRESS}:{port}", "remote": f"{FAR}:{port + 10000}"}
        for port in (10000, 10001)
    ],
}


class FakeStage:
    """Answers for the network, sipalg and the capture; Any where a stage is wanted."""

    def __init__(self) -> None:
        self.net: Any = self
        self.alg: Any = self
        self.listing = OUT + IN
        self.calls: list[list[dict[str, Any]]] = [[CALL]]
        self.mappings: list[dict[str, Any]] = []
        self.elements = ""
        self.wires: list[Wire] = []
        self.measured: list[str] = []

    def run(self, _host: str, *argv: str, check: bool = True) -> str:
        return self.elements if argv[0] == "nft" and check else self.listing

    def rows(self, table: str) -> list[dict[str, Any]]:
        if table == "mappings":
            return self.mappings
        return self.calls.pop(0) if len(self.calls) > 1 else self.calls[0]

    def outside(self) -> list[Wire]:
        return self.wires

    def expect(self, holds: bool, why: str) -> None:
        if not holds:
            raise ScenarioError(why)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "wait_until", lambda condition, _timeout_s: condition())
    return FakeStage()


def test_flows_may_have_been_begun_from_either_end(stage: Any) -> None:
    expect_flows(stage)


def test_a_flow_that_is_missing_or_goes_by_another_port_is_found(stage: Any) -> None:
    stage.listing = OUT
    with pytest.raises(ScenarioError, match=r"^1 flows of 1 calls are missing$"):
        expect_flows(stage)
    stage.listing = IN + OUT.replace("dport=10000", "dport=10002")
    with pytest.raises(ScenarioError, match=r"^1 flows of 1 calls are missing$"):
        expect_flows(stage)


def test_a_call_without_media_is_found(stage: Any) -> None:
    stage.calls = [[CALL | {"media": []}]]
    with pytest.raises(ScenarioError, match=r"^1 of 1 calls have no media$"):
        expect_flows(stage)


def test_calls_that_begin_end_or_are_not_answered_are_not_judged(stage: Any) -> None:
    stage.listing = ""
    for before, after in (([], [CALL]), ([CALL], []), ([CALL | {"state": "early"}], [CALL])):
        stage.calls = [before, after]
        expect_flows(stage)


def wire(contact: str, call: str = "1") -> Wire:
    text = f"INVITE sip:700@{FAR} SIP/2.0\r\nCall-ID: {call}@{PHONE}\r\nContact: <sip:script@{contact}:5060>\r\n\r\n"
    return Wire(1.0, Endpoint(PUBLIC_ADDRESS, 5060), Endpoint(FAR, 5080), text.encode())


def test_messages_that_leave_as_they_came_are_found_and_calls_counted(stage: Any) -> None:
    with pytest.raises(ScenarioError, match=r"^no call left the router$"):
        expect_translated(stage)
    stage.wires = [wire(PUBLIC_ADDRESS), wire(PUBLIC_ADDRESS), wire(PUBLIC_ADDRESS, "2")]
    assert expect_translated(stage) == 2
    stage.wires.append(wire(PHONE))
    with pytest.raises(ScenarioError, match=r"^1 messages left with the phone's private address$"):
        expect_translated(stage)
    assert expect_translated(stage, but=1) == 2
    stage.wires.append(wire(PHONE))
    with pytest.raises(ScenarioError, match=r"^2 messages left"):
        expect_translated(stage, but=1)


def test_what_is_left_is_found(stage: Any) -> None:
    for why in ("calls are left", "media flows are left", "media mappings are held", None):
        if why is None:
            expect_nothing_left(stage, patient=False)
        else:
            stage.mappings = [{"purpose": "media", "holders": 1, "ends_in_s": None}] if "held" in why else []
            with pytest.raises(ScenarioError, match=why):
                expect_nothing_left(stage, patient=False)
        if why == "calls are left":
            stage.calls = [[]]
        elif why == "media flows are left":
            stage.listing = ""
        elif why is not None:
            stage.mappings = [{"purpose": "media", "holders": 0, "ends_in_s": 30.0}]


def test_with_patience_nothing_at_all_may_be_left(stage: Any) -> None:
    stage.calls, stage.listing, stage.mappings = [[]], "", [{"purpose": "sip"}]
    with pytest.raises(ScenarioError, match=r"^1 mappings are left$"):
        expect_nothing_left(stage, patient=True)
    stage.mappings, stage.elements = [], "elements = {}"
    with pytest.raises(ScenarioError, match=r"^the kernel has mappings left$"):
        expect_nothing_left(stage, patient=True)
    stage.elements = ""
    expect_nothing_left(stage, patient=True)
    assert stage.measured == ["nothing is left after it"]
