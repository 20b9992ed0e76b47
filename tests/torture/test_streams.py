"""The torture messages one behind the other in a stream of TCP: each comes out as it went in, however it is cut.

Only those go in of which a stream's reader can know the end: with a blank line, and one Content-Length that is right.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sipalg.codec.message import Message, parse
from sipalg.codec.stream import Framer

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
    assert len(messages) >= 30
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
