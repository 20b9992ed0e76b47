from __future__ import annotations

from collections.abc import Iterable

import pytest

from sipalg.analysis.dialogs import (
    ANSWERED,
    BUSY,
    CALL,
    CALLING,
    CANCELLED,
    CHALLENGED,
    DIVERTED,
    ENDED,
    IN_CALL,
    NO_ANSWER,
    REGISTERED,
    REGISTRATION,
    REJECTED,
    RINGING,
    SENT,
    SUBSCRIBED,
    SUBSCRIPTION,
    UNREGISTERED,
    Conversation,
    Conversations,
    address_of,
    private_addresses,
)
from sipalg.analysis.messages import SipMessage, sip_messages
from sipalg.capture.decode import Segment
from sipalg.engine.verdict import Endpoint

PHONE, SERVER = Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.50", 5060)


def message(text: str, number: int = 1, *, call_id: str = "a@b", extra: str = "") -> SipMessage:
    """`text` is a method, or a status with the method that it answers: `200 INVITE`."""
    status, _, method = text.rpartition(" ")
    start = f"SIP/2.0 {status} Why" if status else f"{method} sip:bob@example.com SIP/2.0"
    lines = [
        start,
        "Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK1",
        'From: "Alice" <sip:alice@example.com>;tag=1',
        "To: sip:bob@example.com;user=phone",
        f"Call-ID: {call_id}",
        f"CSeq: 1 {method}",
        *filter(None, [extra]),
    ]
    payload = "\r\n".join([*lines, "", ""]).encode()
    segment = Segment(number, number, 17, PHONE, SERVER, payload, b"", 0, 0, True, (), 0)
    (found,) = sip_messages([segment])
    return found


def converse(messages: Iterable[SipMessage]) -> list[Conversation]:
    conversations = Conversations()
    for one in messages:
        conversations.add(one)
    return list(conversations.by_call_id.values())


def talk(*texts: str) -> Conversation:
    (conversation,) = converse(message(text, number) for number, text in enumerate(texts, 1))
    return conversation


@pytest.mark.parametrize(
    ("texts", "state", "failure"),
    [
        (["INVITE"], CALLING, NO_ANSWER),
        (["INVITE", "100 INVITE"], CALLING, ""),
        (["INVITE", "180 INVITE"], RINGING, ""),
        (["INVITE", "180 INVITE", "200 INVITE"], ANSWERED, ""),
        (["INVITE", "407 INVITE", "ACK"], CHALLENGED, "407 Why"),
        (["INVITE", "407 INVITE", "ACK", "INVITE", "200 INVITE", "ACK"], IN_CALL, ""),
        (["INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"], ENDED, ""),
        (["INVITE", "200 INVITE", "ACK", "INVITE", "488 INVITE", "ACK"], IN_CALL, "488 Why"),
        (["INVITE", "200 INVITE", "ACK", "INVITE", "401 INVITE", "ACK", "INVITE", "200 INVITE"], IN_CALL, ""),
        (["INVITE", "180 INVITE", "CANCEL", "200 CANCEL", "487 INVITE", "ACK"], CANCELLED, "487 Why"),
        (["INVITE", "486 INVITE", "ACK"], BUSY, "486 Why"),
        (["INVITE", "302 INVITE"], DIVERTED, "302 Why"),
        (["INVITE", "503 INVITE", "404 INVITE"], REJECTED, "503 Why"),
        (["INVITE", "200 INVITE", "ACK", "BYE", "481 BYE"], ENDED, "481 Why"),
    ],
)
def test_call(texts: list[str], state: str, failure: str) -> None:
    conversation = talk(*texts)
    assert (conversation.kind, conversation.state, conversation.failure) == (CALL, state, failure)
    assert conversation.messages == conversation.packets == len(texts)


@pytest.mark.parametrize(
    ("texts", "kind", "state", "failure"),
    [
        (["REGISTER"], REGISTRATION, SENT, NO_ANSWER),
        (["REGISTER", "401 REGISTER"], REGISTRATION, CHALLENGED, "401 Why"),
        (["REGISTER", "403 REGISTER"], REGISTRATION, REJECTED, "403 Why"),
        (["SUBSCRIBE", "200 SUBSCRIBE", "NOTIFY"], SUBSCRIPTION, SUBSCRIBED, ""),
        (["OPTIONS", "200 OPTIONS"], "options", ANSWERED, ""),
        (["MESSAGE", "404 MESSAGE"], "message", REJECTED, "404 Why"),
        (["200 OPTIONS"], "options", ANSWERED, ""),
        (["BYE"], CALL, ENDED, ""),
    ],
)
def test_other_conversations(texts: list[str], kind: str, state: str, failure: str) -> None:
    conversation = talk(*texts)
    assert (conversation.kind, conversation.state, conversation.failure) == (kind, state, failure)


@pytest.mark.parametrize(
    ("extra", "state"),
    [
        ("Contact: <sip:alice@192.168.33.10>;expires=60", REGISTERED),
        ("Contact: <sip:alice@192.168.33.10>", REGISTERED),
        ("Contact: <sip:alice@192.168.33.10>\r\nExpires: 0", UNREGISTERED),
        ("", UNREGISTERED),
    ],
)
def test_registration_stands_as_long_as_a_contact_does(extra: str, state: str) -> None:
    (conversation,) = converse([message("REGISTER"), message("200 REGISTER", extra=extra)])
    assert conversation.state == state


def test_conversations_are_told_apart_by_call_id() -> None:
    found = converse([message("INVITE", 3), message("REGISTER", 5, call_id="other"), message("ACK", 9)])
    assert [(one.call_id, one.first_number, one.last_ns, one.messages) for one in found] == [
        ("a@b", 3, 9, 2),
        ("other", 5, 5, 1),
    ]
    assert (found[0].caller, found[0].callee) == ("alice@example.com", "bob@example.com")
    assert (found[0].source, found[0].destination) == (PHONE, SERVER)


def test_call_in_a_registrations_call_id_is_a_call() -> None:
    assert talk("REGISTER", "INVITE").kind == CALL


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ('"Bob <x>" <sips:bob@example.com;transport=tls>;tag=1', "bob@example.com"),
        ("sip:bob@example.com;tag=1", "bob@example.com"),
        ("<tel:+4930123>", "+4930123"),
        ("", ""),
    ],
)
def test_address_of(value: str, address: str) -> None:
    assert address_of(value) == address


def test_private_addresses_but_not_the_call_ids() -> None:
    text = b"Via: 10.1.2.3:5060\r\nCall-ID: x@192.168.1.1\r\nContact: 172.16.0.1, 172.32.0.1, 110.0.0.1, 8.8.8.8\r\n"
    assert private_addresses(text) == {"10.1.2.3", "172.16.0.1"}
    assert private_addresses(b"nothing") == set()
    assert private_addresses(b"c=IN IP4 192.168.1.1\r\nCall-ID: x\r\n") == {"192.168.1.1"}


def test_broken_messages_are_counted() -> None:
    conversation = talk("INVITE")
    broken = message("INVITE", extra="Content-Length: 99")
    conversation.add(broken)
    assert conversation.broken == 1
