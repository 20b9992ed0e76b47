"""Scenarios in which sipalg is restarted amid calls: none fails, and when they are over nothing is left of them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import messages
from sipalg.lab.programs import PATIENCE_S, pause, wait_until
from sipalg.lab.scenario import WITHOUT_ALG, Scenario
from sipalg.lab.scenarios.load import (
    FULL,
    LIGHT,
    MEDIA_PORT,
    SERVICE_PORT,
    Load,
    Size,
    expect_flows,
    expect_nothing_left,
    expect_translated,
)
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS

FIRST_PORT: Final = 10000
#: After it the mapping of a phone that falls silent goes; media mappings go 32 s after their calls.
SHORT_TIMEOUT_S: Final = 10
#: What is done between two processes.
Between = Callable[[Stage], None]


def nothing(_stage: Stage) -> None:
    """Leave all as it is, as those do who aren't there to break something."""


def restarted(stage: Stage, size: Size = FULL, between: Between = nothing) -> None:
    """Restart under load, three times: no call fails, none is without its flows, and nothing is left."""
    _under_load(stage, size, (signal.SIGTERM, signal.SIGTERM, signal.SIGTERM), between)
    expect_nothing_left(stage, size.patient)


def killed_under_load(stage: Stage, size: Size = FULL, between: Between = nothing) -> None:
    """SIGKILL and a restart, twice, under load: no call fails, and none is without its flows.

    In the moment of each death one message may leave as it came, since the kernel lets it (docs/adr/0023); no more.
    """
    _under_load(stage, size, (signal.SIGKILL, signal.SIGKILL), between)


def _under_load(stage: Stage, size: Size, ends: tuple[signal.Signals, ...], between: Between) -> None:
    """Make calls while sipalg is ended and started again; without sipalg there are only the calls."""
    load = Load(stage, size)
    for number in ends if stage.mode == "sipalg" else ():
        pause(size.between_s)
        load.expect_running()
        stage.alg.end(number)
        between(stage)
        stage.alg.start()
        expect_flows(stage)
    pause(size.between_s)
    load.end()
    calls = expect_translated(stage, ends.count(signal.SIGKILL))
    stage.measured.append(f"{calls} calls, {size.rate} a second, {len(ends)} restarts")


def killed_on_hold(stage: Stage, between: Between = nothing, *, patient: bool = True) -> None:
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
    stage.expect_heard(phone, 1000, "the phone, before the hold,")
    _wait_for_invite(stage, 2)
    phone.talk_to(None)
    far.talk_to(None)
    # What is younger than a quarter of a second may be unwritten.
    pause(0.5)
    stage.alg.end(signal.SIGKILL)
    between(stage)
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
    expect_nothing_left(stage, patient)
    del stage.measured[:-1]


def _wait_for_invite(stage: Stage, number: int) -> None:
    """Wait until the phone's `number`th INVITE (by CSeq) has its 200."""

    def answered() -> bool:
        return any(
            m.name == "200 OK (INVITE)" and m.header("CSeq") == f"{number} INVITE" for m in messages(stage.inside())
        )

    stage.expect(wait_until(answered, PATIENCE_S), f"INVITE {number} got no 200")


_SHORT: Final = ("--sip-timeout", str(SHORT_TIMEOUT_S))
_LOADED: Final = Needs(hosts=("phone1", "server"), options=(*_SHORT, "--ports", f"5060,{SERVICE_PORT}"))

SCENARIOS: Final = (
    Scenario(
        "restarted",
        "sipalg restarted under 200 calls a second: no call fails, nothing left",
        restarted,
        _LOADED,
        modes=("none", "sipalg"),
        fails_in=WITHOUT_ALG,
        alone=True,
        light=partial(restarted, size=LIGHT),
    ),
    Scenario(
        "killed-under-load",
        "sipalg killed (SIGKILL) under 200 calls a second: no call fails",
        killed_under_load,
        _LOADED,
        modes=("none", "sipalg"),
        fails_in=WITHOUT_ALG,
        alone=True,
        light=partial(killed_under_load, size=LIGHT),
    ),
    Scenario(
        "killed-on-hold",
        "sipalg killed (SIGKILL) while a call is on hold: resume, BYE, nothing left",
        killed_on_hold,
        Needs(hosts=("phone1", "server", "media"), options=_SHORT),
        modes=("none", "sipalg"),
        fails_in=WITHOUT_ALG,
        light=partial(killed_on_hold, patient=False),
    ),
)
