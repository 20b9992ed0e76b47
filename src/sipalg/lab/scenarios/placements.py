"""The lecture's four placements of a NAT between phone and server, and whether each of them needs an ALG.

Two need one: a phone inside, and a server inside, that write their private addresses. Two don't: a server inside that
writes its public address, and a server outside that answers to where packets come from (`nat=yes`). In those calls
work without an ALG, and the point is that they do so with one too.
"""

from __future__ import annotations

from typing import Final

from sipalg.lab.packets import Message, messages
from sipalg.lab.phones import Phone
from sipalg.lab.programs import PATIENCE_S, wait_until
from sipalg.lab.scenario import WITHOUT_ALG, Scenario
from sipalg.lab.scenarios.router import expect_untouched
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS, INSIDE_PREFIX, PUBLIC_ADDRESS

MEDIA_PORT: Final = 30000


def phone_inside(stage: Stage) -> None:
    """A phone that isn't NAT aware calls through a server outside, and is called."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    for caller, called in ((phone, far), (far, phone)):
        stage.call(caller, called)
        stage.expect_audio((phone, far))
        stage.hang_up(caller, called)
    _expect_public_outside(stage)


def server_inside(stage: Stage) -> None:
    """A server that isn't NAT aware has a phone beside it and one outside, which reaches it by a port forward."""
    stage.pbx()
    _call_both_ways(stage)
    _expect_public_outside(stage)


def aware_server_inside(stage: Stage) -> None:
    """The same with a server that writes its public address: every byte passes as it is."""
    pbx = stage.pbx(PUBLIC_ADDRESS)
    # It asks its provider whether he is there, and so has said what it is before anybody speaks to it.
    there = wait_until(lambda: "provider: 200" in pbx.text(), PATIENCE_S)
    stage.expect(there, "the provider's 200 didn't reach the PBX")
    _call_both_ways(stage)
    count = expect_untouched(stage, ADDRESS["pbx"]) + expect_untouched(stage, ADDRESS["far1"])
    stage.measured.append(f"{count} messages are the same bytes on both sides")


def helpful_server_outside(stage: Stage) -> None:
    """A server and its media answer to where packets come from: a phone that isn't NAT aware calls and is called."""
    answering = stage.sipp("server", "uas_answer", 5080, media_host=ADDRESS["media"], rtp_port=MEDIA_PORT)
    service = stage.talker("media", MEDIA_PORT, 1000)
    far = stage.talker("far1", MEDIA_PORT, 1200)
    for talker in (service, far):
        talker.talk_back()
    phone = stage.phone("101", "phone1", 440)
    stage.call(phone, "sip:700@203.0.113.50")
    stage.expect_heard(service, 440, "the service")
    stage.expect_heard_by(phone, 1000)
    phone.command("hangup")
    stage.expect_ended(answering, "the call to the service")
    service.talk_to(None)
    caller = stage.sipp("far1", "uac_call", options=("-d", "3000"), called="101", rtp_port=MEDIA_PORT)
    stage.expect_heard(far, 440, "the caller outside", 5.0)
    stage.expect_heard_by(phone, 1200)
    stage.expect_ended(caller, "the call from outside")


def _call_both_ways(stage: Stage) -> None:
    """Register a phone beside the server and one outside at it, and let each call the other."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000, server=PUBLIC_ADDRESS)
    phone = stage.phone("101", "phone1", 440, server=ADDRESS["pbx"])
    _call(stage, far, phone, f"sip:101@{PUBLIC_ADDRESS}")
    _call(stage, phone, far, f"sip:201@{ADDRESS['pbx']}")


def _call(stage: Stage, caller: Phone, called: Phone, uri: str) -> None:
    stage.call(caller, uri)
    stage.expect_audio((caller, called))
    stage.hang_up(caller, called)


def _expect_public_outside(stage: Stage) -> None:
    """Expect no private address outside where the far end would use it, and Call-IDs as they were."""
    inside = {message.header("Call-ID") for message in messages(stage.inside())}
    sent = [message for message in messages(stage.outside()) if message.wire.source.host == PUBLIC_ADDRESS]
    stage.expect(bool(sent), "nothing was sent outside")
    for message in sent:
        private = _private_line(message)
        stage.expect(not private, f"{message.name} outside says {private}")
        stage.expect(message.header("Call-ID") in inside, f"Call-ID became {message.header('Call-ID')}")


def _private_line(message: Message) -> str:
    """Give the first line that tells the far end a private address to use; "" if there is none."""
    used = ("Via:", "Contact:", "Record-Route:", "o=", "c=")
    return next((line for line in message.text.splitlines() if line.startswith(used) and INSIDE_PREFIX in line), "")


SERVER_INSIDE: Final = ("phone1", "pbx", "server", "far1")

SCENARIOS: Final = (
    Scenario(
        "placement-phone",
        "a phone that isn't NAT aware, the server outside",
        phone_inside,
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "placement-server",
        "a server inside that isn't NAT aware, behind a port forward",
        server_inside,
        Needs(hosts=SERVER_INSIDE, firewall="forward"),
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "placement-server-aware",
        "a server inside that writes its public address: left alone, byte for byte",
        aware_server_inside,
        Needs(hosts=SERVER_INSIDE, firewall="server"),
        fails_in=frozenset({"kernel"}),
    ),
    Scenario(
        "placement-nat-yes",
        "a server outside that answers to the source address (nat=yes): no ALG is needed, and none harms",
        helpful_server_outside,
        Needs(hosts=("phone1", "server", "media", "far1"), nat_help=True),
    ),
)
