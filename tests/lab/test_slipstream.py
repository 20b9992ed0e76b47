"""The lab's attacker: what it sends is SIP where it should be, and where a way may have been opened."""

from __future__ import annotations

import struct

import pytest

from sipalg.codec.message import Message, parse
from sipalg.lab.slipstream import (
    FIRST_FRAGMENT_BYTES,
    POST,
    TURN,
    WANTED_PORT,
    answer_to,
    invite,
    ports_named,
    register,
)


@pytest.mark.parametrize("make", [register, invite])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_tricks_are_sip_by_themselves(make: object, transport: str) -> None:
    trick = register("192.168.33.10", transport) if make is register else invite("192.168.33.10", transport)
    message = parse(trick)
    assert isinstance(message, Message)
    assert message.body_end == len(trick)
    assert isinstance(parse(POST + trick), str), "with what stands before them they aren't"
    answer = parse(answer_to(POST + trick))
    assert isinstance(answer, Message)
    assert answer.status == 200


def test_a_turn_request_holds_its_user_name() -> None:
    kind, length, cookie = struct.unpack_from("!HHI", TURN)
    name, name_length = struct.unpack_from("!HH", TURN, 20)
    assert (kind, cookie, name) == (3, 0x2112A442, 6)
    assert name_length <= length
    assert len(TURN) < FIRST_FRAGMENT_BYTES


def test_the_ports_that_a_message_names_are_knocked_at() -> None:
    assert ports_named(b"") == {WANTED_PORT}
    assert ports_named(register("192.168.33.10", "tcp")) == {WANTED_PORT}
    assert ports_named(register("203.0.113.1", "tcp").replace(b":3306;", b":40000;")) == {WANTED_PORT, 40000}
    assert ports_named(invite("203.0.113.1", "udp").replace(b"audio 3306", b"audio 40002")) == {WANTED_PORT, 40002}
