"""Scenarios of what devices do with their media: ICE agents that offer host candidates, and encrypted audio.

The ends are real programs again: an ICE agent that finds one default wrong, or a key that was touched, has no audio.
"""

from __future__ import annotations

from typing import Final

from sipalg.lab.packets import messages
from sipalg.lab.phones import Phone
from sipalg.lab.scenario import WITHOUT_ALG, WITHOUT_SIPALG, Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS


def ice(stage: Stage) -> None:
    """An ICE agent with host candidates alone calls another outside, and is called by it."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000, media_nat="ice")
    phone = stage.phone("101", "phone1", 440, media_nat="ice")
    _both_ways(stage, phone, far)
    lines = [line for message in messages(stage.outside()) for line in message.text.splitlines()]
    told = [line for line in lines if line.startswith("a=candidate:")]
    stage.expect(any(stage.net.public_address in line for line in told), "no candidate is public outside")
    private = [line for line in told if ADDRESS["phone1"] in line]
    stage.expect(not private, f"a candidate is private outside: {private[:1]}")
    stage.expect("a=ice-mismatch" not in lines, "an agent missed its default among the candidates")


def ice_hairpin(stage: Stage) -> None:
    """Two ICE agents inside call each other through the server outside: each hears of the other's own candidates."""
    second = stage.phone("102", "phone2", 1000, rtp_port=12000, media_nat="ice")
    first = stage.phone("101", "phone1", 440, media_nat="ice")
    _both_ways(stage, first, second)


def encrypted(stage: Stage, how: str) -> None:
    """Both ends encrypt: with keys in the description (SDES), or with a fingerprint of what they agree on (DTLS).

    One call: baresip's next DTLS handshake between the same ports takes seconds, also without a router in between.
    """
    far = stage.phone("201", "far1", 1000, rtp_port=20000, media_encryption=how)
    phone = stage.phone("101", "phone1", 440, media_encryption=how)
    stage.call(phone, far)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)


def _both_ways(stage: Stage, phone: Phone, far: Phone) -> None:
    """One calls the other, and then the reverse; both hear each other each time."""
    for caller, called in ((phone, far), (far, phone)):
        stage.call(caller, called)
        stage.expect_audio((caller, called))
        stage.hang_up(caller, called)


SCENARIOS: Final = (
    Scenario(
        "ice",
        "a phone with ICE and host candidates alone calls out and is called",
        ice,
        Needs(hosts=("phone1", "server", "far1")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "ice-hairpin",
        "two phones with ICE inside call each other through the server outside",
        ice_hairpin,
        Needs(hosts=("phone1", "phone2", "server")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "srtp",
        "encrypted audio, its keys in the description",
        lambda stage: encrypted(stage, "srtp"),
        Needs(hosts=("phone1", "server", "far1")),
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "dtls-srtp",
        "encrypted audio, its keys by DTLS and a fingerprint in the description",
        lambda stage: encrypted(stage, "dtls_srtp"),
        Needs(hosts=("phone1", "server", "far1")),
        fails_in=WITHOUT_SIPALG,
    ),
)
