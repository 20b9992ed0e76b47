"""Scenarios over TCP: a phone whose connection carries all of its signalling, and a server that opens one to it."""

from __future__ import annotations

import signal
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.scenario import WITHOUT_SIPALG, Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS, SERVER_ADDRESS


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


def scripted(stage: Stage) -> None:
    """SIPp registers and calls a service over TCP; both ends send to where the SDP of the other says, and hear."""
    register = stage.sipp("phone1", "uac_register", options=_T1, user="101")
    stage.expect_ended(register, "the REGISTER")
    contact = stage.wait_for_message("outside", "REGISTER").header("Contact")
    stage.expect(contact == f"<sip:101@{stage.net.public_address}:5060;transport=tcp>", f"it went out with {contact}")
    far = stage.talker("media", _MEDIA_PORT, 1000)
    phone = stage.talker("phone1", 10000, 440)
    service = stage.sipp("server", "uas_answer", 5080, media_host=ADDRESS["media"], rtp_port=_MEDIA_PORT)
    script = stage.sipp("phone1", "uac_call", options=("-d", "3000", *_T1), called="700", rtp_port=10000)
    stage.wait_for_message("inside", "SIP/2.0 200")
    phone.talk_to(Endpoint(ADDRESS["media"], _MEDIA_PORT))
    far.talk_to(stage.offered_media())
    stage.expect_heard(far, 440, "the far end")
    stage.expect_heard(phone, 1000, "the phone")
    stage.expect_ended(script, "the phone")
    stage.expect_ended(service, "the service")


_T1: Final = ("-t", "t1")
_MEDIA_PORT: Final = 7000
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
        "tcp-script",
        "SIPp over TCP: register, call a service, hear, hang up",
        scripted,
        Needs(hosts=("phone1", "server", "media"), tcp=True),
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
