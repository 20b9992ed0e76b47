from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from sipalg.control.service.tracing import trace_line
from sipalg.engine.verdict import ACCEPT, DROP, REPLACE, UDP, Action, Change, Datagram, Edit, Endpoint, Verdict

PHONE, PUBLIC, SERVER = Endpoint("192.168.20.9", 5060), Endpoint("75.1.1.1", 1024), Endpoint("198.51.100.2", 5060)
MESSAGE = (
    b"REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.20.9\r\nCall-ID: 7\r\nCSeq: 1 REGISTER\r\n"
    b"From: <sip:a@x>;tag=1\r\nTo: <sip:a@x>\r\n\r\n"
)
AT = MESSAGE.index(b"192.168.20.9")


def public_of(protocol: int, private: Endpoint) -> Endpoint | None:
    return PUBLIC if (protocol, private) == (UDP, PHONE) else None


def line(action: Action, payload: bytes, changes: tuple[Change, ...] = (), *, inward: bool = False,
         made: bool = True, message: bytes = MESSAGE) -> dict[str, Any]:  # fmt: skip
    ends = (SERVER, PHONE) if inward else (PHONE, SERVER)
    verdict = Verdict(action, payload, changes, (), "" if changes else "nothing-to-do", 0)
    text = trace_line(Datagram(message, *ends, UDP, "lan0"), verdict, 5, public_of, made=made)
    assert text.endswith(b"\n")
    found: dict[str, Any] = json.loads(text)
    return found


def side(one: dict[str, Any]) -> tuple[Endpoint, Endpoint, bytes]:
    return Endpoint(*one["source"]), Endpoint(*one["destination"]), b64decode(one["payload"])


def test_a_message_that_leaves_with_its_mapping() -> None:
    changed = MESSAGE.replace(b"192.168.20.9", b"75.1.1.1:1024")
    found = line(REPLACE, changed, (Edit(AT, 12, b"75.1.1.1:1024", "via"),))
    assert side(found["before"]) == (PHONE, SERVER, MESSAGE)
    assert side(found["after"]) == (PUBLIC, SERVER, changed)
    assert found["edits"] == [{"rule": "via", "old": "192.168.20.9", "new": "75.1.1.1:1024"}]
    assert (found["time_ns"], found["interface"], found["made"]) == (5, "lan0", True)


def test_a_message_that_came_to_the_mapping() -> None:
    found = line(ACCEPT, MESSAGE, inward=True)
    assert side(found["before"]) == (SERVER, PUBLIC, MESSAGE)
    assert side(found["after"]) == (SERVER, PHONE, MESSAGE)
    assert (found["edits"], found["reason"]) == ([], "nothing-to-do")


def test_one_that_is_not_sent_on() -> None:
    assert line(DROP, MESSAGE)["after"] is None


def test_what_is_only_observed_goes_on_as_it_came() -> None:
    for action in (REPLACE, DROP):
        found = line(action, b"other", made=False)
        assert side(found["after"])[2] == MESSAGE
        assert found["made"] is False


def test_a_broken_message_is_a_message() -> None:
    assert line(ACCEPT, b"", message=b"SIP/2.0 broken")["action"] == ACCEPT


@pytest.mark.parametrize("payload", [b"", b"\r\n\r\n", b"\0\0\0\0", b"\x00\x01\x00\x00\x21\x12\xa4\x42"])
def test_what_is_no_sip_is_not_told(payload: bytes) -> None:
    verdict = Verdict(ACCEPT, payload, (), (), "not-sip", 0)
    assert trace_line(Datagram(payload, PHONE, SERVER, UDP, "lan0"), verdict, 5, public_of) == b""
