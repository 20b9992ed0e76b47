"""The stage's order, its bookkeeping and its judgements, with fakes for network, programs and captures."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.world import (
    RTP,
    FakeNet,
    FakePhone,
    FakeProgram,
    FakeTalker,
    World,
    a_few_times,
    listener,
    sip,
    tone,
)

from sipalg.engine.verdict import Endpoint
from sipalg.lab import alg, firewall
from sipalg.lab import stage as module
from sipalg.lab.packets import Wire
from sipalg.lab.phones import PhoneSettings
from sipalg.lab.stage import MODES, Mode, Needs, ScenarioError, Stage
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS, SERVER_ADDRESS, LabError, Topology

PHONE, FAR, PUBLIC = Endpoint(ADDRESS["phone1"], 5060), Endpoint(ADDRESS["far1"], 5060), Endpoint(PUBLIC_ADDRESS, 1024)
#: Moments before and after any test, in seconds since 1970.
EARLIER, LATER = 1.0, 1e11
TWO_LANS = Needs(firewall="loose", timeouts=(3, 5), options=("--mode", "observe"), inside=("lan0", "lan1"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "lab")

    def start(_net: Topology, host: str, name: str, *argv: str | Path) -> FakeProgram:
        return FakeProgram(made, name, host, *map(str, argv))

    def load(_net: Topology, text: str) -> None:
        made.happened.append("rules")
        made.rules.append(text)

    monkeypatch.setattr(module, "Topology", lambda hosts, **more: FakeNet(made, hosts, **more))
    monkeypatch.setattr(module, "Program", start)
    monkeypatch.setattr(alg, "Program", start)
    monkeypatch.setattr(module, "Capture", lambda _net, host, name: FakeProgram(made, name, host))
    monkeypatch.setattr(
        module,
        "start_registrar",
        lambda _net, *how, **_more: FakeProgram(made, "registrar", *map(str, how)),
    )
    monkeypatch.setattr(firewall, "load", load)
    monkeypatch.setattr(module, "read_capture", lambda path: iter(made.wires.get(str(path), [])))
    monkeypatch.setattr(module, "wait_until", a_few_times)
    monkeypatch.setattr(module, "pause", lambda _seconds: None)
    return made


@pytest.fixture
def stage(world: World) -> Iterator[Any]:
    """A stage without an ALG; Any, since fakes go in where programs should."""
    with Stage("none", Needs()) as entered:
        world.happened.clear()
        yield entered


def wire(payload: bytes, time_s: float = LATER, source: Endpoint = PHONE, destination: Endpoint = FAR) -> Wire:
    return Wire(time_s, source, destination, payload)


# --- its order ---------------------------------------------------------------------------------------------------


def test_the_captures_run_before_anybody_speaks_and_all_ends_the_other_way_round(world: World) -> None:
    with Stage("sipalg", TWO_LANS):
        begun = list(world.happened)
        world.happened.clear()
    assert begun == ["net", "timeouts 3 5", "rules", "lan0", "lan1", "wan0", "registrar", "sipalg-1"]
    assert world.happened == ["no sipalg-1", "no registrar", "no wan0", "no lan1", "no lan0", "no net"]


@pytest.mark.parametrize(
    ("settings", "more"),
    [({}, []), ({"public": PUBLIC_ADDRESS}, ["--public", PUBLIC_ADDRESS]), ({"relays": False}, ["--no-relay"])],
)
def test_the_pbx_is_a_program_on_its_host(
    settings: dict[str, Any], more: list[str], world: World, stage: Stage
) -> None:
    stage.pbx(**settings)
    (program,) = world.programs[-1:]
    host, *argv = program.argv
    assert (host, program.name, argv[1:3]) == ("pbx", "pbx", ["-m", "sipalg.lab.pbx"])
    assert argv[3:] == [
        "--address", ADDRESS["pbx"], "--inside", "192.168.33.0/24", "--provider", SERVER_ADDRESS, *more
    ]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_has_its_rules_and_only_its_own_has_the_alg(mode: Mode, world: World) -> None:
    with Stage(mode, Needs(record_route=False, nat_help=True)):
        assert world.rules == [firewall.rules("strict", mode == "kernel")]
        assert ("sipalg-1" in world.happened) == (mode == "sipalg")
        assert next(program.argv for program in world.programs if program.name == "registrar") == ("False", "True")


def test_what_comes_to_a_host_itself_is_captured_if_asked_for(world: World) -> None:
    world.wires = {"eth0": [wire(RTP)]}
    with Stage("none", Needs(listen_at=("media",))) as stage:
        assert stage.at("media") == [wire(RTP)]
        assert ("eth0", ("media",)) in [(program.name, program.argv) for program in world.programs]
    assert "no eth0" in world.happened


def test_only_the_hosts_that_are_needed_are_built(world: World) -> None:
    with Stage("none", Needs(hosts=("phone1", "server"))) as stage:
        assert [host.name for host in stage.net.hosts] == ["phone1", "server"]
        assert stage.net.directory == world.directory


def test_an_alg_that_doesnt_start_leaves_nothing_and_its_files_are_kept(world: World, tmp_path: Path) -> None:
    world.not_ready = True
    keep = tmp_path / "keep"
    with pytest.raises(LabError, match=r"^sipalg-1 ended with 2: no such interface$"):
        Stage("sipalg", Needs(), keep).__enter__()
    assert world.happened[-5:] == ["no sipalg-1", "no registrar", "no wan0", "no lan0", "no net"]
    assert (keep / "ruleset.txt").read_text() == ""


def test_a_scenario_that_fails_takes_the_lab_down_too(world: World) -> None:
    with pytest.raises(ScenarioError, match=r"^why$"), Stage("none", Needs()) as stage:
        stage.expect(False, "why")
    assert world.happened[-1] == "no net"


# --- what is kept ------------------------------------------------------------------------------------------------


def test_what_is_kept_is_all_files_and_what_router_and_alg_knew_at_the_end(world: World, tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    world.answers = {"ruleset": "table ip nat", "-L": "udp 17", "nfnetlink_queue": "7"}
    with Stage("sipalg", Needs(), keep) as stage, socket.socket(socket.AF_UNIX) as unix:
        world.answers["/proc/net/netfilter/nfnetlink_queue"] = "5060"
        directory = stage.net.directory
        (directory / "phone-101").mkdir()
        (directory / "phone-101" / "accounts").write_text("<sip:101>")
        # Kamailio's: copying it would never end, or fail.
        unix.bind(str(directory / "kamailio.ctl"))
    # What can't be had is no reason to leave anything standing.
    assert not any(world.checked)
    kept = {str(path.relative_to(keep)): path.read_text() for path in keep.rglob("*") if path.is_file()}
    assert kept == {
        "phone-101/accounts": "<sip:101>",
        "ruleset.txt": "table ip nat",
        "conntrack.txt": "udp 17",
        "queue.txt": "5060",
    }


def test_without_a_place_to_keep_them_nothing_is_asked_at_the_end(world: World) -> None:
    with Stage("sipalg", Needs()):
        pass
    assert world.asked == []


# --- phones and calls --------------------------------------------------------------------------------------------


def test_a_phone_is_registered_or_its_scenario_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = FakePhone("101")

    def start(_net: Topology, settings: PhoneSettings) -> FakePhone:
        phone.settings = settings
        return phone

    monkeypatch.setattr(module, "Phone", start)
    stage.phone("101", "phone1", 440)
    assert phone.asked_to_register == 1
    phone.registers = False
    with pytest.raises(ScenarioError, match=r"^101 can't register$"):
        stage.phone("101", "phone1", 440)
    stage.phone("300", "pbx", 700, registration_s=0, rtp_port=14000)
    assert phone.asked_to_register == 2
    assert phone.settings == PhoneSettings("300", "pbx", 700, rtp_port=14000, registration_s=0)


def test_a_call_stands_when_both_say_so(stage: Stage) -> None:
    caller, target = FakePhone("101"), FakePhone("201", "far1")
    caller.obeys = [(caller, "CALL_ESTABLISHED"), (target, "CALL_ESTABLISHED")]
    stage.call(caller, target)
    assert caller.told == [("dial", f"sip:201@{SERVER_ADDRESS}")]


def test_an_earlier_call_doesnt_count(stage: Stage) -> None:
    caller, target = FakePhone("101"), FakePhone("201", "far1")
    caller.says("CALL_ESTABLISHED")
    target.says("CALL_ESTABLISHED")
    with pytest.raises(ScenarioError, match=r"^call 101 to 201: no answer$"):
        stage.call(caller, target)
    caller.obeys = [(caller, "CALL_ESTABLISHED")]
    with pytest.raises(ScenarioError, match=r"^call 101 to 201: no ACK came$"):
        stage.call(caller, target)
    # Of a call by URI only the caller can tell.
    stage.call(caller, "sip:201@203.0.113.50")
    assert caller.told[-1] == ("dial", "sip:201@203.0.113.50")


def test_a_refusal_is_told_with_the_contact_that_the_server_knows(
    world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, target = FakePhone("201", "far1"), FakePhone("101")
    monkeypatch.setattr(caller, "command", lambda *_: caller.says("CALL_CLOSED", "408 Request Timeout (after 5 s)"))
    to = f"To: <sip:101@{SERVER_ADDRESS}>"
    world.wires["wan0"] = [
        wire(sip(f"REGISTER sip:{SERVER_ADDRESS} SIP/2.0", to, "Contact: <sip:101@203.0.113.1:1024>")),
        wire(sip(f"REGISTER sip:{SERVER_ADDRESS} SIP/2.0", to, "Contact: <sip:101-x@192.168.33.10:5060>")),
        wire(sip(f"REGISTER sip:{SERVER_ADDRESS} SIP/2.0", "To: <sip:102@x>", "Contact: <sip:102@192.168.33.11>")),
        wire(sip("INVITE sip:101@x SIP/2.0", to, "Contact: <sip:201@203.0.113.71>")),
    ]
    expected = r"^call 201 to 101: 408 Request Timeout; 101's contact is 192\.168\.33\.10:5060$"
    with pytest.raises(ScenarioError, match=expected):
        stage.call(caller, target)


def test_a_hang_up_is_heard_by_both(stage: Stage) -> None:
    one, other = FakePhone("101"), FakePhone("201", "far1")
    for phone in (one, other):
        phone.says("CALL_CLOSED", "an earlier call's")
    with pytest.raises(ScenarioError, match=r"^BYE never reached 201$"):
        stage.hang_up(one, other)
    one.obeys = [(other, "CALL_CLOSED")]
    with pytest.raises(ScenarioError, match=r"^101 can't hang up$"):
        stage.hang_up(one, other)
    one.obeys = [(one, "CALL_CLOSED"), (other, "CALL_CLOSED")]
    stage.hang_up(one, other)
    assert one.told == [("hangup", "")] * 3


def test_scripted_flows_end_with_the_stage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[object, ...]] = []

    def start(_net: Topology, *words: object, **keys: object) -> FakeProgram:
        given.append((*words, keys))
        return FakeProgram(world, "sipp")

    monkeypatch.setattr(module, "start_sipp", start)
    with Stage("none", Needs()) as stage:
        stage.sipp("phone1", "uac_call", options=("-d", "1"), called="700")
        stage.sipp("server", "uac_call", 5080, remote="203.0.113.1:5060")
    assert given == [
        ("phone1", "uac_call", 5060, ("-d", "1"), f"{SERVER_ADDRESS}:5060", {"called": "700"}),
        ("server", "uac_call", 5080, (), "203.0.113.1:5060", {}),
    ]
    assert world.happened[-6:] == ["no sipp", "no sipp", "no registrar", "no wan0", "no lan0", "no net"]


def test_a_script_has_to_end_as_scripted(world: World, stage: Any) -> None:
    script = FakeProgram(world, "uac_call-phone1-5060")
    stage.expect_ended(script, "the caller")
    script.code = None
    with pytest.raises(ScenarioError, match=r"^the caller: no end of the call$"):
        stage.expect_ended(script, "the caller")
    script.code = 1
    at = "2026-01-01\t10:00:01.000000\t1767261601.000000: "
    said = f"The following events occurred:\n{at}something\n{at}Aborting call on unexpected message for Call-Id 7\n"
    (world.directory / "uac_call-phone1-5060_77_errors.log").write_text(said)
    (world.directory / "uas_answer-server-5080_78_errors.log").write_text(said.replace("call", "none"))
    with pytest.raises(ScenarioError, match=r"^the caller: .*Aborting call on unexpected message for Call-Id 7$"):
        stage.expect_ended(script, "the caller")


# --- audio -------------------------------------------------------------------------------------------------------


def test_both_have_to_hear_the_other_s_tone(stage: Stage, tmp_path: Path) -> None:
    one, other = listener(tmp_path, "101", 440, 1000), listener(tmp_path, "201", 1000, 440)
    stage.expect_audio((one, other))
    assert stage.measured == ["101 hears 1000 Hz in 60 RTP packets", "201 hears 440 Hz in 60 RTP packets"]


def test_another_tone_is_another_phone_s(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"^101 hears 700 Hz instead of 1000 Hz$"):
        stage.expect_heard_by(listener(tmp_path, "101", 440, 700), 1000)
    assert stage.measured == []


def test_what_was_heard_before_doesnt_count(world: World, stage: Stage, tmp_path: Path) -> None:
    phone = FakePhone("101")
    phone.files = [tone(tmp_path, "dump.wav", 1000, 1.2)]
    media = Endpoint(PHONE.host, 10000)
    world.wires = {
        "wan0": [
            wire(RTP, EARLIER, FAR, PUBLIC),
            wire(RTP, LATER, FAR, PUBLIC),
            wire(RTP, LATER, FAR, PUBLIC),
            wire(RTP, LATER, PUBLIC, FAR),
            wire(b"REGISTER", LATER, FAR, PUBLIC),
        ],
        "lan0": [wire(RTP, EARLIER, FAR, media), wire(RTP, LATER, FAR, media), wire(RTP, LATER, media, FAR)],
    }
    expected = r"^101 hears nothing: 2 RTP packets reached the router outside, 1 passed$"
    with pytest.raises(ScenarioError, match=expected):
        stage.expect_heard_by(phone, 1000)


def test_more_of_a_long_recording_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    phone = FakePhone("101")
    lengths = [1.2, 1.2, 1.2, 2.4]

    def grow() -> None:
        phone.files = [tone(tmp_path, "dump.wav", 1000, lengths.pop(0) if len(lengths) > 1 else lengths[0])]

    phone.grow = grow
    stage.expect_heard_by(phone, 1000)
    assert stage.measured == ["101 hears 1000 Hz in 60 RTP packets"]


def test_a_far_phone_that_hears_nothing_is_counted_the_other_way(world: World, stage: Stage) -> None:
    world.wires = {"lan0": [wire(RTP)] * 3, "wan0": [wire(RTP, source=PUBLIC), wire(RTP, LATER, FAR, PUBLIC)]}
    expected = r"^201 hears nothing: 3 RTP packets reached the router inside, 1 passed$"
    with pytest.raises(ScenarioError, match=expected):
        stage.expect_heard_by(FakePhone("201", "far1"), 440)


def test_a_talker_has_to_get_the_tone_from_now_on(stage: Any) -> None:
    stage.expect_heard(FakeTalker(1000.4), 1000, "the phone")
    assert len(stage.measured) == 1
    assert stage.measured[0].startswith("phone1 hears 1000 Hz in ")
    stage.expect_heard(FakeTalker(0.0, 0.0, 1000.0), 1000, "the phone whose audio had gaps at first")
    with pytest.raises(ScenarioError, match=r"^the phone hears 440 Hz instead of 1000 Hz$"):
        stage.expect_heard(FakeTalker(440.0), 1000, "the phone")
    expected = r"^the phone hears nothing: 0 RTP packets reached the router outside, 0 passed$"
    with pytest.raises(ScenarioError, match=expected):
        stage.expect_heard(FakeTalker(1000.0, comes=False), 1000, "the phone")


# --- what was on the wire ----------------------------------------------------------------------------------------


def test_both_inside_interfaces_are_one_side_in_the_order_of_time(world: World) -> None:
    world.wires = {
        "lan0": [wire(b"1", 1.0), wire(b"3", 3.0)],
        "lan1": [wire(b"2", 2.0)],
        "wan0": [wire(b"out", 1.5)],
    }
    with Stage("none", TWO_LANS) as stage:
        assert [packet.payload for packet in stage.inside()] == [b"1", b"2", b"3"]
        assert [packet.payload for packet in stage.outside()] == [b"out"]


def test_the_newest_message_of_a_kind_is_waited_for_on_its_side(world: World, stage: Stage) -> None:
    first, second = sip("BYE sip:1@x SIP/2.0"), sip("BYE sip:2@x SIP/2.0")
    world.wires = {"lan0": [wire(first), wire(second), wire(sip("ACK sip:3@x SIP/2.0"))]}
    assert stage.wait_for_message("inside", "BYE").start_line == "BYE sip:2@x SIP/2.0"
    with pytest.raises(ScenarioError, match=r"^no BYE came out$"):
        stage.wait_for_message("outside", "BYE")
    with pytest.raises(ScenarioError, match=r"^no SIP/2\.0 183 came in$"):
        stage.wait_for_message("inside", "SIP/2.0 183")


def test_offered_media_is_the_newest_invite_s_with_sdp_seen_outside(world: World, stage: Stage) -> None:
    with pytest.raises(ScenarioError, match=r"^no INVITE came out$"):
        stage.offered_media()
    world.wires = {"wan0": [wire(sip("INVITE sip:700@x SIP/2.0"))]}
    with pytest.raises(ScenarioError, match=r"^no INVITE with SDP seen outside$"):
        stage.offered_media()
    world.wires["wan0"] += [
        wire(sip("INVITE sip:700@x SIP/2.0", sdp=("203.0.113.1", 1030))),
        wire(sip("INVITE sip:800@x SIP/2.0", sdp=("203.0.113.1", 1032))),
        wire(sip("INVITE sip:800@x SIP/2.0")),
        wire(sip("SIP/2.0 200 OK", sdp=("203.0.113.60", 30000))),
    ]
    assert stage.offered_media() == Endpoint("203.0.113.1", 1032)
    assert stage.offered_media("INVITE sip:700@") == Endpoint("203.0.113.1", 1030)
