"""The framer: whole messages out of any pieces, everything else untouched, and nothing ever lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.stream import (
    BAD_LENGTH,
    GIVEN_UP,
    MAX_MESSAGE_BYTES,
    MAX_START_LINE_BYTES,
    NO_LENGTH,
    NOT_SIP,
    TOO_LONG,
    Framer,
    Piece,
)

BODY = b"v=0\r\nc=IN IP4 192.168.33.10\r\n\r\nm=audio 10000 RTP/AVP 0\r\n"
INVITE = (
    b"INVITE sip:b@203.0.113.50 SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 192.168.33.10:5060;branch=z9hG4bK1\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
)
OK = b"SIP/2.0 200 OK\r\nl:0\r\n\r\n"
BYE = b"BYE sip:b@h SIP/2.0\nContent-Length :\n 2\n\nhi"
PING = b"\r\n\r\n"


def played(pieces: list[bytes]) -> tuple[list[Piece], Framer]:
    framer = Framer()
    found = [piece for data in pieces for piece in framer.feed(data)]
    return found, framer


def outline(pieces: list[Piece]) -> list[Piece]:
    """The pieces with neighbours that nobody edits joined: how those are cut says nothing."""
    found: list[Piece] = []
    for piece in pieces:
        if found and not piece.is_message and not found[-1].is_message:
            found[-1] = Piece(found[-1].data + piece.data, False)
        else:
            found.append(piece)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


def test_many_messages_and_a_half_at_once() -> None:
    pieces, framer = played([PING + INVITE + OK + PING + BYE + INVITE[:50]])
    assert [piece.data for piece in pieces] == [PING, INVITE, OK, PING, BYE]
    assert [piece.is_message for piece in pieces] == [False, True, True, False, True]
    assert (framer.messages, framer.held_bytes, framer.broken) == (3, 50, "")
    assert framer.feed(INVITE[50:]) == [Piece(INVITE, True)]
    assert framer.held_bytes == 0


@pytest.mark.parametrize("message", [INVITE, OK, BYE])
def test_a_message_split_at_every_byte_comes_out_whole(message: bytes) -> None:
    for place in range(1, len(message)):
        pieces, _ = played([message[:place], message[place:]])
        assert pieces == [Piece(message, True)]
    pieces, _ = played([message[at : at + 1] for at in range(len(message))])
    assert pieces == [Piece(message, True)]


@pytest.mark.parametrize(
    ("data", "reason", "messages"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NOT_SIP, 0),
        (b"POST /sip HTTP/1.1\r\nHost: x\r\n\r\nREGISTER sip:x SIP/2.0\r\nl: 0\r\n\r\n", NOT_SIP, 0),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NOT_SIP, 0),
        (INVITE + b"\0\0", NOT_SIP, 1),
        (b"A" * (MAX_START_LINE_BYTES + 1), NOT_SIP, 0),
        (b"OPTIONS sip:" + b"a" * MAX_START_LINE_BYTES + b" SIP/2.0\r\n", NOT_SIP, 0),
        (b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\nrest", NO_LENGTH, 0),
        (b"OPTIONS sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 1\r\n\r\nx", BAD_LENGTH, 0),
        (b"OPTIONS sip:a SIP/2.0\r\nl: x\r\n\r\nx", BAD_LENGTH, 0),
        (b"OPTIONS sip:a SIP/2.0\r\nl: 5 5\r\n\r\nx", BAD_LENGTH, 0),
        (b"OPTIONS sip:a SIP/2.0\r\nl: 66000\r\n\r\nx", TOO_LONG, 0),
        (b"OPTIONS sip:a SIP/2.0\r\nx: " + b"a" * MAX_MESSAGE_BYTES, TOO_LONG, 0),
        (b"OPTIONS sip:a SIP/2.0\r\nx: " + b"a" * MAX_MESSAGE_BYTES + b"\r\nl: 0\r\n\r\n", TOO_LONG, 0),
    ],
)
def test_what_cannot_be_framed_goes_through_untouched(data: bytes, reason: str, messages: int) -> None:
    for pieces in ([data], cut(data, [1]), cut(data, [len(data) // 2]), cut(data, [len(data) - 1])):
        found, framer = played(pieces)
        assert framer.broken == reason
        assert framer.messages == messages
        assert b"".join(piece.data for piece in found) == data
        assert framer.held_bytes == 0
    assert framer.feed(OK) == [Piece(OK, False)]
    assert framer.feed(b"") == []


def test_giving_up_hands_out_what_was_held() -> None:
    framer = Framer()
    assert framer.feed(INVITE[:30]) == []
    assert framer.give_up() == INVITE[:30]
    assert framer.broken == GIVEN_UP
    assert framer.feed(INVITE[30:]) == [Piece(INVITE[30:], False)]
    assert framer.give_up("late") == b""
    assert framer.broken == GIVEN_UP


PARTS = st.sampled_from(
    [INVITE, OK, BYE, PING, b"\n", b"OPTIONS sip:a SIP/2.0\r\n\r\n", b"\x16\x03", b"GET / HTTP/1.0\r\n\r\n", b"SIP/2"]
)


@given(st.lists(PARTS, max_size=6), st.lists(st.integers(0, 4000), max_size=12))
def test_any_pieces_give_the_same_messages_and_lose_nothing(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    at_once, whole = played([data])
    in_pieces, framer = played(cut(data, places))
    assert outline(in_pieces) == outline(at_once)
    assert framer.broken == whole.broken
    assert b"".join(piece.data for piece in in_pieces) + framer.give_up() == data


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_come_out_as_they_came(pieces: list[bytes]) -> None:
    found, framer = played(pieces)
    assert b"".join(piece.data for piece in found) + framer.give_up() == b"".join(pieces)
