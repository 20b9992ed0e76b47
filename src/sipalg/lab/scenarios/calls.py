"""Scenarios of ordinary calls: out, in, after silence, cancelled, and from phone to phone inside."""

from __future__ import annotations

from functools import partial
from typing import Final

from sipalg.lab.packets import messages, rtp
from sipalg.lab.phones import Phone
from sipalg.lab.programs import pause, wait_until
from sipalg.lab.scenario import WITHOUT_ALG, WITHOUT_SIPALG, Scenario
from sipalg.lab.stage import ANSWER_S, Needs, Stage

#: conntrack's UDP timeouts where a scenario waits for them to run out, unreplied and replied, in seconds.
SHORT_TIMEOUTS: Final = (2, 4)
SILENCE_S: Final = 6.0


def call_out(stage: Stage) -> None:
    """A phone calls out, both hear each other, the phone hangs up."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    stage.call(phone, far)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)


def be_called(stage: Stage) -> None:
    """A phone is called, both hear each other, the caller hangs up."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)


def called_after_silence(stage: Stage) -> None:
    """A phone registers (401, then 200) and is called when conntrack would long have forgotten its flow."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    names = [message.name for message in messages(stage.inside())]
    stage.expect("401 Unauthorized (REGISTER)" in names, "REGISTER got no 401")
    stage.expect(names.count("REGISTER") == 2, f"{names.count('REGISTER')} REGISTERs instead of two")
    pause(SILENCE_S)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)


def cancel(stage: Stage) -> None:
    """The caller gives up while the other end rings: first the phone inside, then the one outside."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000, answer=False)
    phone = stage.phone("101", "phone1", 440, answer=False)
    for caller, called in ((phone, far), (far, phone)):
        before, closed = len(called.events), len(caller.events)
        caller.command("dial", called.uri)
        name = called.settings.user
        wait_until(partial(_rings_or_is_refused, called, before, caller, closed), ANSWER_S)
        if not called.seen("CALL_INCOMING", before):
            stage.expect(False, f"{name} never rang: {caller.closed_with(closed) or 'no answer'}")
        stage.expect(caller.wait_for("CALL_RINGING", ANSWER_S, closed), f"no 180 came back from {name}")
        caller.command("hangup")
        stage.expect(called.wait_for("CALL_CLOSED", ANSWER_S, before), f"CANCEL never reached {name}")
    stage.wait_for_message("inside", "SIP/2.0 487")


def _rings_or_is_refused(called: Phone, before: int, caller: Phone, closed: int) -> bool:
    return called.seen("CALL_INCOMING", before) + caller.seen("CALL_CLOSED", closed) > 0


def hairpin(stage: Stage) -> None:
    """A phone calls its neighbour through the server; both hear each other, and the media stays inside."""
    second = stage.phone("102", "phone2", 1000, rtp_port=12000)
    first = stage.phone("101", "phone1", 440)
    stage.call(first, second)
    stage.expect_audio((first, second))
    stage.hang_up(first, second)
    stage.call(second, first)
    stage.expect_audio((first, second))
    stage.hang_up(first, second)
    around = rtp(stage.inside(), lambda packet: packet.destination.host == stage.net.public_address)
    stage.expect(not around, f"{len(around)} RTP packets went through the router instead of directly")


def two_insides(stage: Stage) -> None:
    """A phone on another inside network, with the same ports, is called while the first one is in a call."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    other_far = stage.phone("202", "far2", 1200, rtp_port=20000)
    first = stage.phone("101", "phone1", 440)
    second = stage.phone("104", "phone4", 700)
    stage.call(far, first)
    stage.call(other_far, second)
    stage.expect_audio((first, far), (second, other_far))
    stage.hang_up(far, first)
    stage.hang_up(second, other_far)
    stage.call(first, second)
    stage.expect_audio((first, second))
    stage.hang_up(second, first)


SCENARIOS: Final = (
    Scenario(
        "register-silence-called",
        "register (401, 200), silence longer than conntrack's UDP timeouts, then be called",
        called_after_silence,
        Needs(timeouts=SHORT_TIMEOUTS),
        fails_in=WITHOUT_ALG,
    ),
    Scenario("call-out", "call out and hear", call_out, fails_in=WITHOUT_ALG),
    Scenario("be-called", "be called and be heard", be_called, fails_in=WITHOUT_ALG),
    Scenario("cancel", "CANCEL, from inside and from outside", cancel, fails_in=WITHOUT_ALG),
    Scenario(
        "hairpin",
        "phone to phone inside, through the server outside",
        hairpin,
        Needs(hosts=("phone1", "phone2", "server")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "hairpin-no-record-route",
        "the same through a server that is out of the dialog: ACK and BYE go by the public address",
        hairpin,
        Needs(hosts=("phone1", "phone2", "server"), record_route=False),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "two-insides",
        "phones with the same ports on two inside networks, called at once, and calling each other",
        two_insides,
        Needs(hosts=("phone1", "phone4", "server", "far1", "far2"), inside=("lan0", "lan1")),
        fails_in=WITHOUT_SIPALG,
    ),
)
