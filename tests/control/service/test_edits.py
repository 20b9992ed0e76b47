"""The line that `--log-edits` writes for a message."""

from __future__ import annotations

import pytest

from sipalg.control.service.edits import edit_event
from sipalg.control.service.log import event_line
from sipalg.engine.verdict import REPLACE, UDP, Datagram, Edit, Endpoint, Verdict

PHONE, SERVER = Endpoint("192.168.20.9", 5060), Endpoint("198.51.100.2", 5060)
HEAD = b"Via: SIP/2.0/UDP 192.168.20.9:5060;branch=z9hG4bK1\r\nCall-ID: 7@x\r\nCSeq: 1 INVITE\r\n\r\n"
RULES = ("via", "contact", "contact")
VERDICT = Verdict(REPLACE, b"", tuple(Edit(number, 0, b"", rule) for number, rule in enumerate(RULES)), (), "", 0)


def datagram(start: bytes, interface: str = "lan0") -> Datagram:
    return Datagram(start + b"\r\n" + HEAD, PHONE, SERVER, UDP, interface)


def test_a_request_that_went_out() -> None:
    event = edit_event(datagram(b"INVITE sip:1@198.51.100.2 SIP/2.0"), VERDICT, ("lan0",))
    assert event_line(*event) == (
        "edited message=INVITE call_id=7@x direction=out source=192.168.20.9:5060 destination=198.51.100.2:5060 "
        "rules=via,contact*2"
    )


def test_a_response_that_came_in_and_was_only_looked_at() -> None:
    event = edit_event(datagram(b"SIP/2.0 200 OK", "wan0"), VERDICT, ("lan0",), made=False)
    facts = dict(event.facts)
    assert (event.name, facts["message"], facts["direction"]) == ("would-edit", "200", "in")


@pytest.mark.parametrize("payload", [b"", b"\r\n", b"SIP/2.0", b"no SIP at all", b"\xff" * 99])
def test_whatever_it_is_it_becomes_a_line(payload: bytes) -> None:
    event = edit_event(Datagram(payload, PHONE, SERVER, UDP, "lan0"), VERDICT, ("lan0",))
    assert event_line(*event).startswith("edited message=")
