"""Scenarios of sip-timeout: a registration that outlives it, with too low a value and with the right one.

The phone registers for seconds instead of an hour and then says nothing for longer than the low sip-timeout, and for
less than its registration; then the server calls it. What is told apart is only sip-timeout, the firewall, or whether
somebody sends keep-alives.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import Message, messages
from sipalg.lab.phones import Phone
from sipalg.lab.programs import pause, wait_until
from sipalg.lab.scenario import WITHOUT_ALG, Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import SERVER_ADDRESS

#: What the phone asks for and gets; it registers again after nine tenths of that.
LIFETIME_S: Final = 20
#: Between the low sip-timeout and the phone's next REGISTER.
SILENCE_S: Final = 13.0
TOO_LOW_S: Final = 10
#: What sipalg's warning says would do.
ENOUGH: Final = "30s"
#: The kernel's own timeouts, for the runs without sipalg.
TIMEOUTS: Final = (TOO_LOW_S, TOO_LOW_S)
KEEPALIVE_S: Final = 3.0
SIP_PORT: Final = 5060

_WARNED: Final = re.compile(r"sip-timeout-too-short private=\S+ server=\S+ cause=registration .*needed=(\S+)")


def long_enough(stage: Stage) -> None:
    """A registered phone is called after a silence, sip-timeout being longer than its registration."""
    far, phone = _registered(stage)
    pause(SILENCE_S)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)
    stage.measured = [f"called after {_silence_before(_last_invite(stage), stage):.0f} s of silence"]
    if stage.mode == "sipalg":
        told = _told(stage)
        stage.expect(not told, f"status warns of it all the same: {told}")


def too_low(stage: Stage) -> None:
    """The same with a shorter sip-timeout: the INVITE dies at the router, and sipalg says what would do."""
    far, phone = _registered(stage)
    pause(SILENCE_S)
    far.command("dial", phone.uri)
    invite = _last_invite(stage)
    pause(2.0)
    silence_s = _silence_before(invite, stage)
    came_in = [message for message in messages(stage.inside()) if message.name == "INVITE"]
    stage.expect(not came_in, f"the INVITE reached the phone after {silence_s:.0f} s of silence")
    stage.expect(TOO_LOW_S < silence_s < LIFETIME_S, f"the lab was late: {silence_s:.1f} s of silence")
    far.command("hangup")
    told = _told(stage)
    stage.expect(f"sip-timeout={ENOUGH} would do" in told, f"status doesn't say what would do: {told or 'nothing'}")
    renewed = wait_until(lambda: _granted_since(stage, invite.wire.time_s), LIFETIME_S)
    stage.expect(renewed, "101 doesn't register again")
    stage.call(far, phone)
    stage.hang_up(far, phone)
    # The log waits for three sip-timeouts, since keep-alives might come.
    stage.expect(wait_until(lambda: bool(_needed(stage)), 2.0 * TOO_LOW_S), "the log has no sip-timeout-too-short")
    stage.expect(_needed(stage) == [ENOUGH], f"the log says {_needed(stage)} instead of {ENOUGH}, once")
    died = f"as intended, the INVITE died after {silence_s:.0f} s of silence"
    stage.measured = [died, f"log: needed={ENOUGH}"]


def kept(stage: Stage) -> None:
    """The same low sip-timeout with a firewall that lets in what has a mapping: that lives as long as registered."""
    far, phone = _registered(stage)
    pause(SILENCE_S)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)
    stage.measured = [f"called after {_silence_before(_last_invite(stage), stage):.0f} s of silence"]


def kept_alive(stage: Stage) -> None:
    """The same low sip-timeout with keep-alives from the server: the flow stands, and nothing is to be warned of."""
    far, phone = _registered(stage)
    public = _public_end(stage)
    with stage.net.socket("server", socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        for _ in range(int(SILENCE_S / KEEPALIVE_S)):
            pause(KEEPALIVE_S)
            empty = b"\r\n\r\n"
            header = struct.pack(">HHHH", SIP_PORT, public.port, 8 + len(empty), 0)
            raw.sendto(header + empty, (public.host, 0))
    pause(SILENCE_S % KEEPALIVE_S)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)
    stage.measured = [f"called after {_silence_before(_last_invite(stage), stage):.0f} s without SIP"]
    if stage.mode == "sipalg":
        told = _told(stage)
        stage.expect(not told, f"status warns of it all the same: {told}")


def _registered(stage: Stage) -> tuple[Phone, Phone]:
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    return far, stage.phone("101", "phone1", 440, registration_s=LIFETIME_S)


def _last_invite(stage: Stage) -> Message:
    """Wait for the server's INVITE at the router's outside; ScenarioError if none comes."""
    invite = stage.wait_for_message("outside", "INVITE sip:101")
    stage.expect(invite.wire.destination.host == stage.net.public_address, f"no INVITE came to {invite.wire.source}")
    return invite


def _silence_before(invite: Message, stage: Stage) -> float:
    """Say how long the phone and the server had said nothing when the first INVITE came, in seconds."""
    said = [message for message in messages(stage.outside()) if SERVER_ADDRESS in _hosts(message)]
    first = min(message.wire.time_s for message in said if message.header("Call-ID") == invite.header("Call-ID"))
    return first - max(message.wire.time_s for message in said if message.wire.time_s < first)


def _hosts(message: Message) -> tuple[str, str]:
    return message.wire.source.host, message.wire.destination.host


def _granted_since(stage: Stage, moment: float) -> bool:
    """Say whether a REGISTER got its 200 after a moment."""
    return any(m.name == "200 OK (REGISTER)" and m.wire.time_s > moment for m in messages(stage.inside()))


def _public_end(stage: Stage) -> Endpoint:
    """Say where the phone's REGISTER came from, as the server saw it."""
    return stage.wait_for_message("outside", "REGISTER").wire.source


def _told(stage: Stage) -> str:
    """Return what `sipalg status` warns of about sip-timeout, "" for nothing."""
    return "; ".join(warning for warning in stage.alg.status()["warnings"] if "sip-timeout" in warning)


def _needed(stage: Stage) -> list[str]:
    """Return what sipalg's log says would do, once for each of its warnings."""
    return [match[1] for match in _WARNED.finditer(stage.alg.log())]


_LOW: Final = ("--sip-timeout", f"{TOO_LOW_S}s")

SCENARIOS: Final = (
    Scenario(
        "timeout-right",
        f"sip-timeout {ENOUGH}, registered for {LIFETIME_S} s: the server's INVITE arrives after {SILENCE_S:.0f} s",
        long_enough,
        Needs(timeouts=TIMEOUTS, options=("--sip-timeout", ENOUGH)),
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "timeout-too-low",
        f"the same with sip-timeout {TOO_LOW_S}s: the INVITE dies at the router, and the log says what would do",
        too_low,
        Needs(timeouts=TIMEOUTS, options=_LOW),
        # The kernel's helper has a sip-timeout of its own, an hour: with it the INVITE arrives.
        fails_in=frozenset({"kernel"}),
        modes=("kernel", "sipalg"),
    ),
    Scenario(
        "timeout-kept",
        "the same low sip-timeout, but the firewall accepts `ct status dnat`: the mapping is kept, the INVITE arrives",
        kept,
        Needs(timeouts=TIMEOUTS, options=_LOW, firewall="loose"),
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "timeout-kept-alive",
        f"the same low sip-timeout with keep-alives every {KEEPALIVE_S:.0f} s: the INVITE arrives, and no warning",
        kept_alive,
        Needs(timeouts=TIMEOUTS, options=_LOW),
        fails_in=WITHOUT_ALG,
    ),
)
