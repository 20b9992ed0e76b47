"""Scenarios of direct media: a PBX inside, behind a port forward, bridges a call and then wants to leave its media.

A phone inside calls a number of the provider's through the PBX; the provider's media server has its own address.
First all audio goes through the PBX (the standard flow). Then the PBX re-INVITEs the provider with the phone's
address. Which way audio takes is counted on the wire: at the phone, at the PBX, at the router's outside and at the
media server.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import Message, Wire, messages, streams
from sipalg.lab.pbx import MEDIA_PORTS
from sipalg.lab.phones import Phone
from sipalg.lab.programs import PATIENCE_S, Program, pause, wait_until
from sipalg.lab.rtp import Talker
from sipalg.lab.scenario import WITHOUT_SIPALG, Scenario
from sipalg.lab.stage import ANSWER_S, Needs, ScenarioError, Stage
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS, SERVER_ADDRESS

PHONE: Final = Endpoint(ADDRESS["phone1"], 10000)
MEDIA: Final = Endpoint(ADDRESS["media"], 30000)
#: Where RTP is looked at → the two ends that it has to go between there, None for no RTP at all.
Way = dict[str, tuple[Endpoint, Endpoint] | None]
#: What was on its way when an end heard of its new address has arrived by then.
SETTLE_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Bridge:
    """A call that the PBX bridges: its ends, and where each was told to send its media to.

    `given` is the public address that the provider was told, `near` the PBX's own that the phone was told.
    """

    phone: Phone
    far: Talker
    pbx: Program
    provider: Program
    given: Endpoint
    near: Endpoint

    @property
    def standard_way(self) -> Way:
        """Where RTP has to go while it goes through the PBX."""
        return {"phone1": (PHONE, self.near), "router": (self.given, MEDIA), "media": (self.given, MEDIA)}


def call_out(stage: Stage) -> Bridge:
    """The phone calls the provider through the PBX."""
    provider = stage.sipp("server", "uas_reinvite", 5080, media_host=MEDIA.host, rtp_port=MEDIA.port)
    phone, far, pbx = _ends(stage)
    stage.call(phone, f"sip:700@{ADDRESS['pbx']}")
    return _standard_flow(stage, Bridge(phone, far, pbx, provider, stage.offered_media(), _pbx_media(0)))


def be_called(stage: Stage) -> Bridge:
    """The provider calls the phone through the PBX."""
    phone, far, pbx = _ends(stage)
    forward = f"{PUBLIC_ADDRESS}:5060"
    provider = stage.sipp(
        "server", "uac_reinvite", 5080, remote=forward, called="101", media_host=MEDIA.host, rtp_port=MEDIA.port
    )
    stage.wait_for_message("outside", "ACK")
    return _standard_flow(stage, Bridge(phone, far, pbx, provider, stage.offered_media("SIP/2.0 200"), _pbx_media(2)))


def allowed(stage: Stage, begin: Callable[[Stage], Bridge]) -> None:
    """The re-INVITE gets through: audio goes from phone to media server and back, past the PBX; nothing is left."""
    bridge = begin(stage)
    _expect_direct_flow(stage, bridge)
    _end(stage, bridge)


def refused(stage: Stage, begin: Callable[[Stage], Bridge]) -> None:
    """The re-INVITE comes back with 488, as if from the provider, who never saw it; audio goes on through the PBX."""
    bridge = begin(stage)
    _expect_refusal(stage, bridge)
    _end(stage, bridge)


def changed_meanwhile(stage: Stage) -> None:
    """During one call the administrator forbids direct media, by RouterOS's command, and then allows it again."""
    bridge = call_out(stage)
    stage.alg.tell("/ip firewall service-port set sip sip-direct-media=no")
    _expect_refusal(stage, bridge)
    stage.alg.tell("/ip firewall service-port set sip sip-direct-media=yes")
    _expect_direct_flow(stage, bridge)
    _end(stage, bridge)


def without_relay(stage: Stage) -> None:
    """A server inside that has no part in the media names the phone's address in its first INVITE already."""
    phone, far, pbx = _ends(stage, relays=False)
    provider = stage.sipp("server", "uas_reinvite", 5080, media_host=MEDIA.host, rtp_port=MEDIA.port)
    stage.call(phone, f"sip:700@{ADDRESS['pbx']}")
    bridge = Bridge(phone, far, pbx, provider, stage.offered_media(), MEDIA)
    far.talk_to(bridge.given)
    _expect_audio_by(stage, bridge, "directly", bridge.standard_way | {"pbx": None})
    _end(stage, bridge)


def _ends(stage: Stage, relays: bool = True) -> tuple[Phone, Talker, Program]:
    """Start the media server, the PBX, and the phone, which registers at the PBX."""
    far = stage.talker("media", MEDIA.port, 1000)
    pbx = stage.pbx(relays=relays)
    return stage.phone("101", "phone1", 440, rtp_port=PHONE.port, server=ADDRESS["pbx"]), far, pbx


def _pbx_media(offset: int) -> Endpoint:
    """Give one of the ports of the PBX's first call: the caller's leg has the first."""
    return Endpoint(ADDRESS["pbx"], MEDIA_PORTS[0] + offset)


def _standard_flow(stage: Stage, bridge: Bridge) -> Bridge:
    """Expect that all audio goes through the PBX at first."""
    bridge.far.talk_to(bridge.given)
    _expect_audio_by(stage, bridge, "through the PBX", bridge.standard_way)
    return bridge


def _expect_direct_flow(stage: Stage, bridge: Bridge) -> None:
    """Let the PBX redirect the media, and expect that it does go another way."""
    before = len(_invites(stage.outside()))
    bridge.pbx.signal(signal.SIGUSR1)
    stage.expect(wait_until(lambda: len(_invites(stage.outside())) > before, ANSWER_S), "no re-INVITE came out")
    offered = _invites(stage.inside())[-1].media()
    stage.expect(offered == PHONE, f"the PBX offered {offered} instead of the phone's address")
    given = stage.offered_media()
    bridge.far.talk_to(given)
    direct = wait_until(lambda: "direct media: 200" in bridge.pbx.text(), PATIENCE_S)
    stage.expect(direct, f"no direct media: {_newest_line(bridge.pbx)}")
    way: Way = {"phone1": (PHONE, MEDIA), "pbx": None, "router": (given, MEDIA), "media": (given, MEDIA)}
    _expect_audio_by(stage, bridge, "directly", way)


def _expect_refusal(stage: Stage, bridge: Bridge) -> None:
    """Let the PBX redirect the media, and expect 488 for its re-INVITE and audio as before."""
    before = len(_invites(stage.outside()))
    bridge.pbx.signal(signal.SIGUSR1)
    answered = wait_until(lambda: "direct media" in bridge.pbx.text(), PATIENCE_S)
    stage.expect(answered, "the PBX got no answer to its re-INVITE")
    stage.expect(len(_invites(stage.outside())) == before, "the re-INVITE reached the provider")
    stage.expect("refused: 488" in bridge.pbx.text(), f"the PBX got no 488: {_newest_line(bridge.pbx)}")
    _expect_refusal_from_server(stage)
    _expect_audio_by(stage, bridge, "still through the PBX", bridge.standard_way)


def _expect_audio_by(stage: Stage, bridge: Bridge, how: str, way: Way) -> None:
    """Expect that both ends hear each other, and on each wire RTP of that way in both directions and no other."""
    pause(SETTLE_S)
    since = time.time()
    try:
        stage.expect_heard(bridge.far, bridge.phone.settings.tone_hz, "the media server")
        stage.expect_heard_by(bridge.phone, bridge.far.tone_hz)
    except ScenarioError as found:
        raise ScenarioError(f"{how}: {found}") from found
    for where, ends in way.items():
        packets = stage.outside() if where == "router" else stage.at(where)
        counted = streams(packet for packet in packets if packet.time_s >= since)
        wanted = {ends, ends[::-1]} if ends else set()
        other = [f"{count} from {a} to {b}" for (a, b), count in counted.items() if (a, b) not in wanted]
        stage.expect(not other, f"{how}: other RTP at {where}: {', '.join(other)}")
        missing = [f"{a} to {b}" for a, b in wanted if not counted[a, b]]
        stage.expect(not missing, f"{how}: no RTP at {where} from {', '.join(missing)}")
    counted = streams(packet for packet in stage.outside() if packet.time_s >= since)
    stage.measured[-2:] = [f"{how}: {min(counted.values())} RTP packets each way"]


def _expect_refusal_from_server(stage: Stage) -> None:
    """Expect the 488 where the provider's would have come from, with a Warning, and its ACK to go no further."""
    refusal = next(m for m in messages(stage.inside()) if m.name == "488 Not Acceptable Here (INVITE)")
    asked = _invites(stage.inside())[-1].wire
    answered = (refusal.wire.source, refusal.wire.destination)
    wanted = (asked.destination, asked.source)
    stage.expect(answered == wanted, f"the 488 went from {answered[0]} to {answered[1]}")
    stage.expect(bool(refusal.header("Warning")), "the 488 has no Warning")
    branch = refusal.header("Via").partition("branch=")[2].partition(";")[0]
    acks = [m for m in messages(stage.outside()) if m.name == "ACK" and branch in m.header("Via")]
    stage.expect(bool(branch) and not acks, "the 488's ACK reached the provider")


def _end(stage: Stage, bridge: Bridge) -> None:
    """Hang up, and expect nothing of the call to be left on the router."""
    bridge.far.talk_to(None)
    bridge.phone.command("hangup")
    stage.expect_ended(bridge.provider, "the provider")
    stage.expect(wait_until(lambda: not _left(stage), PATIENCE_S), f"left after the BYE: {_left(stage)}")


def _left(stage: Stage) -> str:
    """Name what the router still has of a call's media: conntrack entries, and what the ALG counts; "" if nothing."""
    entries = stage.net.run("router", "conntrack", "-L", "-p", "udp", "-d", MEDIA.host).splitlines()
    # Those of a call are assured; an RTCP packet that a phone sends after its BYE makes one of plain NAT's.
    left = [entry for entry in entries if "[ASSURED]" in entry]
    if stage.mode == "sipalg":
        status = stage.alg.status()["status"]
        left += [f"{status[what]} {what}" for what in ("calls", "flows") if status[what]]
    return ", ".join(left)


def _invites(packets: list[Wire]) -> list[Message]:
    """The PBX's INVITEs to the provider, each CSeq once, on either side of the router."""
    ends = {ADDRESS["pbx"], PUBLIC_ADDRESS}
    sent = [m for m in messages(packets) if m.name == "INVITE" and m.wire.source.host in ends]
    return list({m.header("CSeq"): m for m in sent if m.wire.destination.host == SERVER_ADDRESS}.values())


def _newest_line(program: Program) -> str:
    return program.text().splitlines()[-1]


NEEDS: Final = Needs(
    hosts=("phone1", "pbx", "server", "media"), firewall="forward", listen_at=("phone1", "pbx", "media")
)

REFUSING: Final = replace(NEEDS, options=("--sip-direct-media", "no"))

SCENARIOS: Final = (
    Scenario(
        "direct-media",
        "a PBX inside calls out, then sends phone and provider's media server to each other",
        partial(allowed, begin=call_out),
        NEEDS,
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "direct-media-in",
        "the same with a call that came in",
        partial(allowed, begin=be_called),
        NEEDS,
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "direct-media-server",
        "a server inside without a relay, one of inside-servers, names the phone's address at once",
        without_relay,
        replace(NEEDS, options=("--inside-servers", ADDRESS["pbx"])),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "direct-media-no",
        "the same with sip-direct-media=no: 488 for the re-INVITE, and audio goes on through the PBX",
        partial(refused, begin=call_out),
        REFUSING,
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "direct-media-no-in",
        "the same with a call that came in",
        partial(refused, begin=be_called),
        REFUSING,
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "direct-media-changed",
        "sip-direct-media=no and then yes again, by RouterOS's command, during one call",
        changed_meanwhile,
        NEEDS,
        fails_in=WITHOUT_SIPALG,
    ),
)
