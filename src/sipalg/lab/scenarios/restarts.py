"""Scenarios in which sipalg is restarted amid calls: none fails, and when they are over nothing is left of them."""

from __future__ import annotations

import signal
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import messages
from sipalg.lab.programs import pause, wait_until
from sipalg.lab.scenario import Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS

#: Calls a second, and how many in all; each stands for a second.
RATE: Final = 200
CALLS: Final = 4000
#: RTP ports of the phone, one after the other: more than calls stand at once.
PORTS: Final = 800
FIRST_PORT: Final = 10000
BETWEEN_S: Final = 3.0
SERVICE_PORT: Final = 5080
MEDIA_PORT: Final = 20000
#: After it the mapping of a phone that falls silent goes; media mappings go 32 s after their calls.
SHORT_TIMEOUT_S: Final = 10
GONE_S: Final = 60.0


def restarted(stage: Stage) -> None:
    """Restart three times under 200 calls a second: no call fails, and nothing is left."""
    _restart_under_load(stage, (signal.SIGTERM, signal.SIGTERM, signal.SIGTERM))
    _expect_nothing_left(stage)


def killed_under_load(stage: Stage) -> None:
    """SIGKILL and a restart, twice, under 200 calls a second: no call fails."""
    _restart_under_load(stage, (signal.SIGKILL, signal.SIGKILL))


def _restart_under_load(stage: Stage, ends: tuple[signal.Signals, ...]) -> None:
    ports = stage.net.directory / "ports.csv"
    ports.write_text("SEQUENTIAL\n" + "".join(f"{FIRST_PORT + 2 * number}\n" for number in range(PORTS)))
    every = ("-m", str(CALLS), "-l", str(CALLS))
    far = stage.sipp("server", "uas_load", SERVICE_PORT, every, media_host=ADDRESS["server"], rtp_port=MEDIA_PORT)
    load = (*every, "-r", str(RATE), "-d", "1000", "-inf", str(ports))
    # Straight to the far end, so that the machine has less to do.
    remote = f"{ADDRESS['server']}:{SERVICE_PORT}"
    phone = stage.sipp("phone1", "uac_call", 5060, load, remote, called="700", rtp_port="[field0]")
    for number in ends:
        pause(BETWEEN_S)
        stage.expect(phone.running, "the load ended before the restarts")
        stage.alg.end(number)
        stage.alg.start()
    stage.expect_ended(phone, "the phone", 40.0)
    stage.expect_ended(far, "the far end", 15.0)
    stage.measured.append(f"{CALLS} calls, {RATE} a second, {len(ends)} restarts")


def killed_on_hold(stage: Stage) -> None:
    """SIGKILL while a call is on hold, restart: it is resumed, both hear each other, BYE leaves nothing."""
    far = stage.talker("media", MEDIA_PORT, 1000)
    phone = stage.talker("phone1", FIRST_PORT, 440)
    service = stage.sipp("server", "uas_hold", 5080, media_host=ADDRESS["media"], rtp_port=MEDIA_PORT)
    script = stage.sipp("phone1", "uac_hold", options=("-d", "6000"), called="700", rtp_port=FIRST_PORT)
    _wait_for_invite(stage, 1)
    first = stage.offered_media()
    phone.talk_to(Endpoint(ADDRESS["media"], MEDIA_PORT))
    far.talk_to(first)
    stage.expect_heard(far, 440, "the far end, before the hold,")
    _wait_for_invite(stage, 2)
    phone.talk_to(None)
    far.talk_to(None)
    # What is younger than a quarter of a second may be unwritten.
    pause(0.5)
    stage.alg.end(signal.SIGKILL)
    stage.alg.start()
    _wait_for_invite(stage, 3)
    resumed = stage.offered_media()
    stage.expect(resumed == first, f"resumed at {resumed} instead of {first}")
    far.talk_to(first)
    stage.expect_heard(phone, 1000, "the phone, after the resume,")
    phone.talk_to(Endpoint(ADDRESS["media"], MEDIA_PORT))
    stage.expect_heard(far, 440, "the far end, after the resume,")
    stage.expect(len(stage.alg.rows("calls")) == 1, "sipalg doesn't know the call")
    phone.talk_to(None)
    far.talk_to(None)
    stage.expect_ended(script, "the phone")
    stage.expect_ended(service, "the far end")
    _expect_nothing_left(stage)
    del stage.measured[:-1]


def _wait_for_invite(stage: Stage, number: int) -> None:
    """Wait until the phone's `number`th INVITE (by CSeq) has its 200."""

    def answered() -> bool:
        return any(
            m.name == "200 OK (INVITE)" and m.header("CSeq") == f"{number} INVITE" for m in messages(stage.inside())
        )

    stage.expect(wait_until(answered, 12.0), f"INVITE {number} got no 200")


def _expect_nothing_left(stage: Stage) -> None:
    """Wait for as long as mappings may outlive their calls, and see that the kernel and sipalg have nothing."""
    calls = stage.alg.rows("calls")
    stage.expect(not calls, f"{len(calls)} calls are left")
    flows = _entries(stage, f"dport={MEDIA_PORT}")
    stage.expect(not flows, f"{len(flows)} media flows are left")
    wait_until(lambda: not stage.alg.rows("mappings"), GONE_S)
    left = stage.alg.rows("mappings")
    stage.expect(not left, f"{len(left)} mappings are left")
    listing = stage.net.run("router", "nft", "list", "map", "ip", "sipalg", "snat_map")
    stage.expect("elements" not in listing, "the kernel has mappings left")
    stage.measured.append("nothing is left after it")


def _entries(stage: Stage, wanted: str) -> list[str]:
    """Return conntrack's entries with a word in them."""
    listing = stage.net.run("router", "conntrack", "-L", "-p", "udp", check=False)
    return [line for line in listing.splitlines() if wanted in line.split()]


_SHORT: Final = ("--sip-timeout", str(SHORT_TIMEOUT_S))
_LOADED: Final = Needs(hosts=("phone1", "server"), options=(*_SHORT, "--ports", f"5060,{SERVICE_PORT}"))

SCENARIOS: Final = (
    Scenario(
        "restarted",
        "sipalg restarted under 200 calls a second: no call fails, nothing left",
        restarted,
        _LOADED,
        modes=("sipalg",),
        alone=True,
    ),
    Scenario(
        "killed-under-load",
        "sipalg killed (SIGKILL) under 200 calls a second: no call fails",
        killed_under_load,
        _LOADED,
        modes=("sipalg",),
        alone=True,
    ),
    Scenario(
        "killed-on-hold",
        "sipalg killed (SIGKILL) while a call is on hold: resume, BYE, nothing left",
        killed_on_hold,
        Needs(hosts=("phone1", "server", "media"), options=_SHORT),
        modes=("sipalg",),
    ),
)
