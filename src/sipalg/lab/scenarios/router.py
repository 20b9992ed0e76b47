"""Scenarios of what else a router does: port forwards, routes without NAT, its rules loaded anew, another address."""

from __future__ import annotations

import time
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import Message, messages
from sipalg.lab.programs import PATIENCE_S, wait_until
from sipalg.lab.scenario import WITHOUT_ALG, Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import (
    ADDRESS,
    EXEMPT_NETWORK,
    INSIDE_PREFIX,
    OTHER_PUBLIC_ADDRESS,
    PUBLIC_ADDRESS,
    SITE_ADDRESS,
)


def nat_aware(stage: Stage) -> None:
    """A phone that knows its public address registers it and is called; what it says passes as it said it."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    register = stage.sipp("phone1", "uac_register", own_host=PUBLIC_ADDRESS, user="101")
    stage.expect_ended(register, "REGISTER of 101")
    phone = stage.talker("phone1", 10000, 440)
    stage.sipp("phone1", "uas_answer", own_host=PUBLIC_ADDRESS, media_host=PUBLIC_ADDRESS, rtp_port=10000)
    stage.call(far, "sip:101@203.0.113.50")
    # As such a phone does: it sends first, and so opens its own way in.
    phone.talk_to(Endpoint(ADDRESS["far1"], 20000))
    stage.expect_heard(phone, 1000, "101")
    stage.expect_heard_by(far, 440)
    expect_untouched(stage, ADDRESS["phone1"])


def port_forward(stage: Stage) -> None:
    """A PBX behind a port forward of 5060 is called from outside and calls out, and a phone beside it is called."""
    pbx = stage.phone("300", "pbx", 700, rtp_port=14000, registration_s=0)
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    stage.call(far, f"sip:300@{PUBLIC_ADDRESS}")
    stage.expect_audio((pbx, far))
    answers = [m for m in messages(stage.outside()) if m.name.startswith("200") and m.media() is not None]
    contact = answers[-1].header("Contact") if answers else "no answer"
    forward = {f"@{PUBLIC_ADDRESS}>", f"@{PUBLIC_ADDRESS}:5060>"}
    stage.expect(any(end in contact for end in forward), f"the PBX's Contact outside is {contact}")
    stage.hang_up(pbx, far)
    stage.call(pbx, far)
    stage.expect_audio((pbx, far))
    stage.hang_up(far, pbx)
    stage.call(far, phone)
    stage.expect_audio((phone, far))


def not_natted(stage: Stage) -> None:
    """A phone calls a site that is routed without NAT: every byte passes as it is, and both hear each other."""
    site = stage.phone("400", "site", 1000, rtp_port=20000, registration_s=0)
    phone = stage.phone("101", "phone1", 440, registration_s=0)
    stage.call(phone, f"sip:400@{SITE_ADDRESS}")
    stage.expect_audio((phone, site))
    stage.hang_up(phone, site)
    stage.call(site, f"sip:101@{ADDRESS['phone1']}")
    stage.expect_audio((phone, site))
    stage.hang_up(site, phone)
    expect_untouched(stage, ADDRESS["phone1"])
    expect_untouched(stage, SITE_ADDRESS)


def rules_anew(stage: Stage) -> None:
    """During a call the administrator loads his file, which flushes every rule; then a re-INVITE, and a new call."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    before = stage.offered_media("SIP/2.0 200")
    stage.load_rules()
    stage.expect_audio((phone, far))
    phone.command("reinvite")
    after = stage.offered_media("INVITE sip:201")
    stage.expect_audio((phone, far))
    stage.expect(after == before, f"media offered at {after} instead of {before} after the re-INVITE")
    stage.hang_up(far, phone)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)


def other_address(stage: Stage) -> None:
    """The provider gives the router another address; after the phone's next REGISTER calls work both ways again."""
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440, registration_s=6)
    stage.call(phone, far)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)
    stage.net.change_public_address(OTHER_PUBLIC_ADDRESS)
    changed = time.time()
    stage.expect(
        wait_until(lambda: _registered_since(stage, changed), PATIENCE_S),
        "101 can't register from the new address",
    )
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)
    stage.call(phone, far)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)


def _registered_since(stage: Stage, changed: float) -> bool:
    return any(m.name == "200 OK (REGISTER)" and m.wire.time_s > changed for m in messages(stage.inside()))


def expect_untouched(stage: Stage, sender: str) -> int:
    """Expect every message that a host sent through the router to be the same bytes on both sides, and count them."""
    is_inside = sender.startswith(INSIDE_PREFIX)
    before, after = (stage.inside(), stage.outside()) if is_inside else (stage.outside(), stage.inside())
    sent = [
        message
        for message in messages(before)
        if message.wire.source.host == sender
        and not (is_inside and message.wire.destination.host.startswith(INSIDE_PREFIX))
    ]
    seen = {message.key: message for message in messages(after)}
    stage.expect(bool(sent), f"{sender} sent nothing")
    for message in sent:
        other = seen.get(message.key)
        stage.expect(other is not None, f"{message.name} of {sender} didn't get through")
        if other is not None and other.text != message.text:
            stage.expect(False, f"{message.name} of {sender} was changed: {_first_difference(message, other)}")
    return len(sent)


def _first_difference(before: Message, after: Message) -> str:
    pairs = zip(before.text.splitlines(), after.text.splitlines(), strict=False)
    return next((f"{old} became {new}" for old, new in pairs if old != new), "its length")


SCENARIOS: Final = (
    Scenario("nat-aware-phone", "a phone that already writes its public address", nat_aware),
    Scenario(
        "port-forward",
        "a PBX inside behind a port forward of 5060",
        port_forward,
        Needs(hosts=("phone1", "pbx", "server", "far1"), firewall="forward"),
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "not-natted",
        "a destination that isn't NATed",
        not_natted,
        Needs(hosts=("phone1", "server", "site"), options=("--except", EXEMPT_NETWORK)),
    ),
    Scenario(
        "rules-anew",
        "flush ruleset and nft -f during a call, then a re-INVITE and a new call",
        rules_anew,
        fails_in=WITHOUT_ALG,
    ),
    Scenario("other-address", "another outside address during service", other_address, fails_in=WITHOUT_ALG),
)
