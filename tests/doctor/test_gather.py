"""How facts are gathered: what the ALG says, what files say, and what can't be looked at."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import texts
from sipalg.control.socket.client import ControlError, NotRunningError, SilentError
from sipalg.datapath import addresses, ctnetlink, netlink, preflight
from sipalg.datapath.addresses import Address, Interface
from sipalg.datapath.admin_conclusions import AdminRules
from sipalg.datapath.admin_rules import AdminRulesError
from sipalg.datapath.preflight import Finding
from sipalg.doctor import gather as gathering
from sipalg.doctor.facts import Facts, SeenFlow, Unseen
from sipalg.engine.verdict import TCP, UDP, Endpoint

STATE: dict[str, Any] = {
    "pid": 77,
    "mode": "enforce",
    "inside": ["lan0"],
    "outside": "wan0",
    "nat_address": "203.0.113.1",
    "advertised_address": "198.51.100.7",
    "ports": [5060, 5070],
    "media_ports": "20000-29999",
    "except": ["10.0.0.0/8"],
    "sip_timeout_s": 1800.0,
    "queue_number": 7,
}
PUBLIC = "203.0.113.1"
SERVER = Endpoint("203.0.113.50", 5060)
PHONE = Endpoint("192.168.33.10", 5060)
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wan1\t00000000\t010011AC\t0003\t0\t0\t200\t00000000\t0\t0\t0
wan0\t00000000\t010011AC\t0003\t0\t0\t100\t00000000\t0\t0\t0
lan0\t0021A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def body(source: Endpoint, remote: Endpoint, back_to: Endpoint, *, protocol: int = UDP, helper: str = "") -> bytes:
    """One of conntrack's entries as the kernel sends it."""
    parts = [
        ctnetlink.encode_tuple(1, protocol, source, remote),
        ctnetlink.encode_tuple(2, protocol, remote, back_to),
    ]
    if helper:
        parts.append(netlink.nested(5, netlink.text(1, helper)))
    return b"\x02\x00\x00\x00" + b"".join(parts)


NATED = body(PHONE, SERVER, Endpoint(PUBLIC, 5060))
OWN = body(Endpoint(PUBLIC, 40000), SERVER, Endpoint(PUBLIC, 40000))
HELPED = body(PHONE, SERVER, Endpoint(PUBLIC, 5060), helper="sip-5070")
OTHER = body(PHONE, SERVER, Endpoint(PUBLIC, 5060), helper="ftp", protocol=TCP)


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A router that is well, as far as this module looks; a test changes its files."""
    for name, text in {
        "netfilter/nf_conntrack_count": "5\n",
        "netfilter/nf_conntrack_max": "100\n",
        "conf/all/rp_filter": "0\n",
        "conf/wan0/rp_filter": "2\n",
        "conf/wan0/forwarding": "1\n",
        "conf/lan0/forwarding": "0\n",
        "route": ROUTES,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(gathering, "_NETFILTER", tmp_path / "netfilter")
    monkeypatch.setattr(gathering, "_ADDRESSING", tmp_path / "conf")
    monkeypatch.setattr(gathering, "_ROUTES", tmp_path / "route")
    monkeypatch.setattr(gathering, "_HELPER_MODULE", tmp_path / "helper")
    monkeypatch.setattr(addresses, "interfaces", lambda: {1: Interface(1, "wan0", True, 1500)})
    monkeypatch.setattr(addresses, "addresses", lambda: [Address(1, PUBLIC, 24, False, 0)])
    monkeypatch.setattr(preflight, "may_administer", lambda _status: True)
    monkeypatch.setattr(preflight, "look_at_kernel", lambda: iter((Finding("error", "no-queue", "x"),)))
    monkeypatch.setattr(preflight, "look_at_queue", lambda _plan: iter((Finding("error", "taken", "x"),)))
    monkeypatch.setattr(gathering, "read_admin_rules", lambda *_, **_also: AdminRules(source_nat=("x",)))
    monkeypatch.setattr(gathering, "dump", lambda: [NATED, HELPED])
    return tmp_path


def known(**changed: Any) -> Facts:
    return Facts(Settings(inside=("lan0",), outside="wan0"), **changed)


def answering(answers: dict[str, Any]) -> Callable[[Path, str], dict[str, Any]]:
    def ask(_path: Path, command: str) -> dict[str, Any]:
        answer = answers[command]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, dict)
        return answer

    return ask


def test_a_running_alg_tells_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    told = texts(Settings(inside=("lan1",), outside="wan0", disabled=True))
    answers = {"status": {"status": STATE}, "mappings": {}, "settings": {"settings": told}}
    monkeypatch.setattr(gathering, "ask", answering(answers))
    assert gathering.ask_daemon(Path("x")).settings == Settings(inside=("lan1",), outside="wan0", disabled=True)


@pytest.mark.parametrize("refusal", [ControlError("no such command"), {}, {"settings": {"ports": "five"}}])
def test_of_one_that_doesnt_the_status_is_read(monkeypatch: pytest.MonkeyPatch, refusal: Any) -> None:
    mappings = {"mappings": [{"private": "192.168.33.10:5060"}]}
    answers = {"status": {"status": STATE}, "mappings": mappings, "settings": refusal}
    monkeypatch.setattr(gathering, "ask", answering(answers))
    facts = gathering.ask_daemon(Path("x"))
    assert facts.settings == Settings(
        inside=("lan0",),
        outside="wan0",
        public="198.51.100.7",
        ports=(5060, 5070),
        media_ports=(20000, 29999),
        exempt=(IPv4Network("10.0.0.0/8"),),
        sip_timeout_s=1800.0,
        queue_number=7,
    )
    assert (facts.daemon, facts.source) == ("running", "the running sipalg (pid 77)")
    assert facts.status == {"status": STATE}
    assert facts.mapped == {"192.168.33.10:5060"}


@pytest.mark.parametrize("error", [NotRunningError("none"), SilentError("holds it")])
def test_one_that_went_away_while_it_was_asked(monkeypatch: pytest.MonkeyPatch, error: ControlError) -> None:
    answers = {"status": {"status": STATE}, "mappings": {}, "settings": error}
    monkeypatch.setattr(gathering, "ask", answering(answers))
    assert gathering.ask_daemon(Path("x")).daemon in ("none", "silent")


def test_an_address_that_is_the_outside_s_own_isnt_public() -> None:
    assert gathering.settings_in({**STATE, "advertised_address": PUBLIC}).public is None
    assert gathering.settings_in({**STATE, "advertised_address": "", "nat_address": ""}).public is None


@pytest.mark.parametrize(
    ("answer", "daemon", "unseen"),
    [
        (NotRunningError("none"), "none", ()),
        (SilentError("holds it"), "silent", ()),
        (ControlError("permission denied"), "unknown", ("what the running sipalg does",)),
        ({"status": {}}, "unknown", ("what the running sipalg does",)),
        ({"status": {**STATE, "except": ["x"]}}, "unknown", ("what the running sipalg does",)),
    ],
)
def test_one_that_doesnt_tell(
    monkeypatch: pytest.MonkeyPatch, answer: Any, daemon: str, unseen: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gathering, "ask", answering({"status": answer, "mappings": {}, "settings": ControlError("?")}))
    facts = gathering.ask_daemon(Path("x"))
    assert (facts.daemon, facts.settings) == (daemon, Settings())
    assert tuple(one.what for one in facts.unseen) == unseen


def test_the_file_s_settings_count_where_none_runs(tmp_path: Path) -> None:
    path = tmp_path / "sipalg.toml"
    nobody = Facts(Settings(), daemon="none")
    assert gathering.look_at_file(nobody, path) == nobody
    path.write_text('inside = ["lan0"]\noutside = "wan0"\n')
    facts = gathering.look_at_file(nobody, path)
    assert (facts.settings, facts.source) == (Settings(inside=("lan0",), outside="wan0"), str(path))
    running = known(daemon="running")
    assert gathering.look_at_file(running, path) == running


@pytest.mark.parametrize("daemon", ["none", "running"])
def test_a_broken_file_is_named(tmp_path: Path, daemon: Any) -> None:
    path = tmp_path / "sipalg.toml"
    path.write_text("ports = 5060-5070\n")
    before = known(daemon=daemon)
    facts = gathering.look_at_file(before, path)
    assert facts.settings == before.settings
    assert facts.file_problem.startswith(str(path))


def test_what_root_sees(router: Path) -> None:
    (router / "helper").mkdir()
    facts = gathering.gather(known())
    assert facts.nat_address == PUBLIC
    assert facts.interfaces == {"wan0": Interface(1, "wan0", True, 1500)}
    assert facts.forwarding_off == ("lan0",)
    assert facts.default_routes == ("wan0", "wan1")
    assert facts.reverse_path_filter == 2
    assert facts.conntrack == {"count": 5, "max": 100}
    assert facts.helper_loaded
    assert facts.helped_flows == 1
    assert facts.flows == (SeenFlow(UDP, PHONE, SERVER, PUBLIC),) * 2
    assert facts.rules == AdminRules(source_nat=("x",))
    assert [finding.code for finding in facts.kernel] == ["no-queue", "taken"]
    assert facts.unseen == ()


@pytest.mark.usefixtures("router")
@pytest.mark.parametrize("daemon", ["running", "silent"])
def test_of_a_running_alg_the_queue_is_its_own(daemon: Any) -> None:
    assert [finding.code for finding in gathering.gather(known(daemon=daemon)).kernel] == ["no-queue"]


def test_a_settings_file_that_is_a_pipe_isnt_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in gathering.look_at_file(known(), tmp_path / "pipe").file_problem


@pytest.mark.usefixtures("router")
def test_what_others_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "may_administer", lambda _status: False)
    facts = gathering.gather(known(unseen=(Unseen("before", "x"),)))
    assert facts.nat_address == PUBLIC
    assert (facts.rules, facts.flows, facts.helped_flows, facts.kernel) == (None, None, None, ())
    assert [one.what for one in facts.unseen] == ["before", "firewall rules", "connection tracker", "kernel features"]


@pytest.mark.usefixtures("router")
def test_what_fails_is_named_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch, router: Path) -> None:
    def refuse(*_: object) -> Any:
        raise OSError(95, "Operation not supported")

    def unreadable(*_: object, **_also: object) -> Any:
        raise AdminRulesError("nft: program not found")

    monkeypatch.setattr(gathering, "dump", refuse)
    monkeypatch.setattr(gathering, "read_admin_rules", unreadable)
    (router / "route").unlink()
    (router / "netfilter/nf_conntrack_max").write_text("many\n")
    facts = gathering.gather(known())
    assert (facts.rules, facts.flows, facts.helped_flows) == (None, None, None)
    assert facts.conntrack == {"count": 5}
    assert facts.unseen == (
        Unseen("firewall rules", "nft: program not found"),
        Unseen("routes", "No such file or directory"),
        Unseen("connection tracker", "Operation not supported"),
    )


@pytest.mark.usefixtures("router")
def test_without_an_address_no_flow_leaves_as_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "addresses", list)
    assert gathering.gather(known()).flows == ()


def seen(*bodies: bytes) -> list[SeenFlow]:
    names = {1: Interface(1, "wan0", True, 1500), 2: Interface(2, "lan0", True, 1500)}
    own = [Address(1, PUBLIC, 24, False, 0), Address(2, "192.168.33.1", 24, False, 0)]
    inside = gathering.Inside(("lan0",), names.values(), own)
    return list(gathering.seen_flows(bodies, (5060, 7777), PUBLIC, inside))


def test_flows_are_those_that_lead_from_inside_to_outside() -> None:
    routed, router = Endpoint("192.168.99.5", 7777), Endpoint("192.168.33.1", 5060)
    assert seen(NATED, OWN, b"\x02\0\0\0") == [SeenFlow(UDP, PHONE, SERVER, PUBLIC)]
    # Behind another router inside: by its NAT.
    assert seen(body(routed, SERVER, Endpoint(PUBLIC, 7777))) == [SeenFlow(UDP, routed, SERVER, PUBLIC)]
    # By another way out, or untranslated.
    other_ways = seen(body(PHONE, SERVER, Endpoint("198.51.100.9", 1)), body(PHONE, SERVER, PHONE))
    assert [flow.leaves_as for flow in other_ways] == ["198.51.100.9", PHONE.host]
    for other in (
        body(PHONE, router, PHONE),
        body(router, SERVER, Endpoint(PUBLIC, 5060)),
        body(PHONE, Endpoint("192.168.33.11", 5060), PHONE),
        body(SERVER, Endpoint(PUBLIC, 5060), SERVER),
        body(Endpoint("192.168.33.10", 4000), Endpoint("203.0.113.50", 53), Endpoint(PUBLIC, 4000)),
    ):
        assert seen(other) == []


def test_the_kernel_s_helper_is_told_by_its_name() -> None:
    assert [gathering.has_sip_helper(one) for one in (NATED, HELPED, OTHER)] == [False, True, False]
