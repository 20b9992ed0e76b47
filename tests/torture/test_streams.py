"""The torture messages one behind the other in a stream of TCP: cut out whole, and then translated one by one.

However the stream is cut, the framer hands on each message as it went in. Behind the engine each is still one message
of the stream, and where it names no address of its sender it is the same to the byte.
Only those go in of which a stream's reader can know the end: with a blank line, and one Content-Length that is right.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.ladder import Ladder
from tests.torture.judged import SERVER, TAKEN

from sipalg.codec.message import Message, parse
from sipalg.codec.stream import Framer
from sipalg.engine.streams import home_of
from sipalg.engine.verdict import REPLACE, TCP, Datagram, Endpoint

HERE = Path(__file__).parent
FOLDERS = (
    HERE / "own",
    HERE.parents[1] / "../shared/corpora/torture-rfc4475/canonical",
    HERE.parents[1] / "../shared/corpora/torture-rfc5118/canonical",
)


def framed() -> list[bytes]:
    found = []
    for path in sorted(path for folder in FOLDERS if folder.is_dir() for path in folder.iterdir()):
        data = path.read_bytes()
        message = parse(data)
        if not isinstance(message, Message) or message.body == message.head_end:
            continue
        if message.length[1] and message.body_end == len(data):
            found.append(data)
    return found


@pytest.mark.parametrize("size_bytes", [1, 2, 7, 100, 1448, 1 << 20])
def test_messages_come_out_whole_however_the_stream_is_cut(size_bytes: int) -> None:
    messages = framed()
    assert len(messages) >= 25, "those of the project itself, and more where the public ones are beside the checkout"
    stream = b"\r\n\r\n".join(messages)
    framer = Framer()
    found: list[bytes] = []
    other = b""
    for at in range(0, len(stream), size_bytes):
        for piece in framer.feed(stream[at : at + size_bytes]):
            if piece.is_message:
                found.append(piece.data)
            else:
                other += piece.data
    assert framer.broken == ""
    assert found == messages
    assert other == b"\r\n\r\n" * (len(messages) - 1)
    assert framer.give_up() == b""


def translated(message: bytes, sender: str) -> bytes:
    """What a message becomes that begins a connection of an inside host, as the relay asks for it."""
    ladder = Ladder(*TAKEN)
    home = home_of(message, Endpoint(sender, 49152))
    verdict = ladder.alg.receive_message(Datagram(message, home, SERVER, TCP, "lan0"), ladder.now)
    if verdict.commands:
        assert ladder.kernel.run(verdict.commands) is None
        ladder.alg.commands_done(verdict.token, ladder.now)
    return verdict.payload if verdict.action == REPLACE else message


def test_the_engine_leaves_what_names_no_address_of_the_sender() -> None:
    sender = "192.168.33.77"
    for message in framed():
        assert sender.encode() not in message
        assert translated(message, sender) == message


def test_what_the_engine_translates_is_one_message_of_the_stream_again() -> None:
    edited = []
    for message in framed():
        after = translated(message, "192.168.33.10")
        assert next(iter(Framer().feed(after + b"\r\n\r\n"))).data == after
        if after != message:
            edited.append(after)
    assert len(edited) >= 10
