"""Scenarios over IPv6: behind a firewall without NAT, behind one address, and behind another prefix.

The firewall is the usual one: what a phone asks for may come back, and nothing else. Without NAT a call's signalling
works by itself while the phone's flow lives; what fails is media that the far end sends first, and a call after
silence.
"""

from __future__ import annotations

import signal
from typing import Final

from sipalg.lab.packets import messages
from sipalg.lab.programs import pause
from sipalg.lab.scenario import WITHOUT_ALG, Scenario
from sipalg.lab.scenarios.calls import SHORT_TIMEOUTS, SILENCE_S
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import Ipv6


def called_after_silence(stage: Stage) -> None:
    """A phone registers, is called when conntrack would long have forgotten its flow, and calls back."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    pause(SILENCE_S)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)
    stage.call(phone, far)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)
    _expect_addresses(stage)


def restarted(stage: Stage) -> None:
    """Sipalg is restarted in a call: the mappings go on, the audio too, and the phone is called after silence."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    if stage.mode == "sipalg":
        before = {(row["private"], row["public"]) for row in stage.alg.rows("mappings")}
        stage.alg.end(signal.SIGTERM)
        stage.alg.start()
        after = {(row["private"], row["public"]) for row in stage.alg.rows("mappings")}
        stage.expect(before <= after, f"lost: {before - after}")
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)
    pause(SILENCE_S)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)


def _expect_addresses(stage: Stage) -> None:
    """Every message of the phone's names, outside, what it is known by there; as it is, both sides are the same."""
    own, public = stage.address("phone1"), stage.public_of("phone1")
    outside = {message.key: message for message in messages(stage.outside()) if public == message.wire.source.host}
    stage.expect(bool(outside), f"nothing left from {public}")
    for message in messages(stage.inside()):
        if message.wire.source.host != own or message.key not in outside:
            continue
        left = outside[message.key]
        if own == public:
            stage.expect(left.text == message.text, f"{message.name} was changed")
        else:
            stage.expect(f"[{own}]" not in left.header("Via") + left.header("Contact"), f"{left.name} names {own}")
            stage.expect(f"IN IP6 {own}" not in left.text, f"{left.name}'s SDP names {own}")


_WAYS: Final[tuple[tuple[str, str, Ipv6], ...]] = (
    ("firewall", "IPv6 without NAT behind a firewall", "as-it-is"),
    ("masquerade", "IPv6 behind one address", "masquerade"),
    ("prefix", "IPv6 behind another prefix (NPTv6)", "prefix"),
)

SCENARIOS: Final = (*(
    Scenario(
        f"ipv6-{name}",
        f"{shows}: registered, silent for long, then called, and calls",
        called_after_silence,
        Needs(timeouts=SHORT_TIMEOUTS, ipv6=ipv6),
        fails_in=WITHOUT_ALG,
    )
    for name, shows, ipv6 in _WAYS
), *(
    Scenario(
        f"ipv6-{name}-restart",
        f"{shows}: sipalg is restarted in a call",
        restarted,
        Needs(timeouts=SHORT_TIMEOUTS, ipv6=ipv6),
        fails_in=WITHOUT_ALG,
        modes=("none", "sipalg"),
    )
    for name, shows, ipv6 in _WAYS
))
