"""The framer of byte streams under any bytes in any pieces: nothing is lost, doubled, reordered or held for good.

The input's first byte says how the rest is cut, so that the fuzzer finds cuts as it finds bytes.
"""

from __future__ import annotations

from sipalg.codec.message import Message, parse
from sipalg.codec.stream import MAX_MESSAGE_BYTES, Framer, Piece
from sipalg.engine.streams import home_of
from sipalg.engine.verdict import Endpoint

_PHONE = Endpoint("192.168.33.10", 40000)


def check_stream(data: bytes) -> None:
    """Frame the bytes at once and in pieces: the same messages, and the same bytes in all."""
    cut, data = (data[0] % 97 + 1 if data else 1), data[1:]
    whole, left_whole = _framed([data])
    pieces, left_pieces = _framed([data[at : at + cut] for at in range(0, len(data), cut)])
    assert b"".join(piece.data for piece in whole) + left_whole == data
    assert b"".join(piece.data for piece in pieces) + left_pieces == data
    messages = [piece.data for piece in whole if piece.is_message]
    assert messages == [piece.data for piece in pieces if piece.is_message], "cuts make other messages"
    for payload in messages:
        message = parse(payload)
        assert not isinstance(message, Message) or message.body_end == len(payload), "bytes behind a framed body"
        home_of(payload, _PHONE)


def _framed(pieces: list[bytes]) -> tuple[list[Piece], bytes]:
    """What comes out for these pieces, and what is held at the end."""
    framer = Framer()
    found: list[Piece] = []
    for piece in pieces:
        found += framer.feed(piece)
        assert framer.held_bytes <= MAX_MESSAGE_BYTES + len(piece)
        assert not (framer.broken and framer.held_bytes), "a stream that isn't framed is held"
    assert framer.messages == sum(piece.is_message for piece in found)
    held = framer.give_up()
    assert framer.held_bytes == 0
    return found, held
