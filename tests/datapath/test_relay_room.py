"""How many connections there may be: shares for both directions, and for each phone."""

from __future__ import annotations

import pytest

from sipalg.datapath import relay_room as module
from sipalg.datapath.relay_connection import Ends
from sipalg.datapath.relay_room import Room
from sipalg.engine.verdict import Endpoint


def outward(phone: str) -> Ends:
    return Ends(Endpoint(phone, 40000), Endpoint("203.0.113.9", 5060), "lan0", "wan0", True)


def inward(opener: str, phone: str) -> Ends:
    return Ends(Endpoint(opener, 40000), Endpoint(phone, 5060), "wan0", "lan0", False)


def test_what_comes_from_outside_leaves_the_phones_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INWARD", 4)
    room = Room()
    for number in range(4):
        assert not room.has_no(inward(f"198.51.100.{number}", "10.0.0.1"))
        room.take(inward(f"198.51.100.{number}", "10.0.0.1"))
    assert room.has_no(inward("198.51.100.9", "10.0.0.2")) == "too many connections"
    assert not room.has_no(outward("10.0.0.1"))
    room.give_back(inward("198.51.100.0", "10.0.0.1"))
    assert not room.has_no(inward("198.51.100.9", "10.0.0.2"))


def test_one_phone_leaves_the_others_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_PHONE", 2)
    monkeypatch.setattr(module, "MAX_OUTWARD", 3)
    room = Room()
    room.take(outward("10.0.0.1"))
    room.take(outward("10.0.0.1"))
    assert room.has_no(outward("10.0.0.1")) == "too many connections of one phone"
    assert not room.has_no(outward("10.0.0.2"))
    room.take(outward("10.0.0.2"))
    assert room.has_no(outward("10.0.0.3")) == "too many connections"


def test_a_server_may_have_a_connection_to_each_of_its_phones() -> None:
    room = Room()
    for number in range(2 * module.MAX_PER_PHONE):
        ends = inward("203.0.113.9", f"10.0.{number // 250}.{number % 250}")
        assert not room.has_no(ends)
        room.take(ends)


def test_what_ended_leaves_nothing() -> None:
    room = Room()
    for ends in (outward("10.0.0.1"), inward("198.51.100.1", "10.0.0.1")):
        room.take(ends)
        room.give_back(ends)
    assert not vars(room)["_of_phone"]
