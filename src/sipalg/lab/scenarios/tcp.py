"""Scenarios over TCP: a phone whose connection carries all of its signalling, and a server that opens one to it."""

from __future__ import annotations

import signal
from typing import Final

from sipalg.lab.scenario import WITHOUT_SIPALG, Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import SERVER_ADDRESS


def calls(stage: Stage) -> None:
    """A phone registers over TCP, calls out, is called, and both hear each other each time."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440, transport="tcp")
    stage.call(phone, far)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)


def server_connects(stage: Stage) -> None:
    """A registered phone has lost its connection: the server opens one to where its Contact says, and calls it."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440, transport="tcp")
    if stage.mode == "sipalg":
        # Connections end with the process, and this phone opens none until it has something to say.
        stage.alg.end(signal.SIGTERM)
        stage.alg.start()
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)
    if stage.mode == "sipalg":
        opened = [line for line in stage.alg.log().splitlines() if " tcp-opened " in line]
        stage.expect(f"opener={SERVER_ADDRESS}:" in opened[0], "the server opened no connection")


_OVER_TCP: Final = Needs(tcp=True)

SCENARIOS: Final = (
    Scenario(
        "tcp",
        "a phone over TCP: register, call out, be called on its connection",
        calls,
        _OVER_TCP,
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "tcp-server-connects",
        "a phone that lost its connection is called: the server opens one to its Contact's port",
        server_connects,
        Needs(tcp=True, firewall="relay"),
        fails_in=WITHOUT_SIPALG,
    ),
)
