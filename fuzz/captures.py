"""The readers of captures under any bytes: as a file, as a frame's content, and as the payload of UDP and of TCP.

Whatever a file holds, it ends in frames and at most one line of damage; whatever was on a wire, it ends in messages
whose parts lie inside, and which can be summed up and drawn.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from sipalg.analysis.dialogs import Conversations
from sipalg.analysis.ladder import draw
from sipalg.analysis.messages import Messages, SipMessage
from sipalg.analysis.rtp import Streams, media_ends
from sipalg.capture.decode import Decoder, Segment
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import Frame, open_capture
from sipalg.engine.verdict import Endpoint

_PHONE, _SERVER = Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.50", 5060)
_PCAP = struct.pack("<IHHQII", 0xA1B2C3D4, 2, 4, 0, 262144, 1)
#: A section header and an interface of Ethernet.
_PCAPNG = bytes.fromhex(
    "0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000" "0100000014000000010000000000000014000000"
)
_LINK_TYPES = (0, 1, 101, 108, 113, 228, 229, 276)
#: Where TCP's payload is torn, so that messages come in pieces and out of order.
_TORN_AT = 90


def check_capture(data: bytes) -> None:
    """Read the bytes as a capture of each kind, or as what a capture holds: frames, UDP's payload, TCP's in pieces.

    Their number says as which, so that each input costs one of these only.
    """
    kind = len(data) % 6
    if kind < 3:
        _check_file((data, _PCAP + data, _PCAPNG + data)[kind])
    elif kind == 3:
        frames = [Frame(n, n, data, len(data), link_type, 0) for n, link_type in enumerate(_LINK_TYPES, 1)]
        _check_segments(list(Decoder().segments(frames)))
    elif kind == 4:
        _check_segments([_segment(1, 17, 0, data)])
    else:
        pieces = [_segment(1 + at, 6, at, data[at : at + _TORN_AT]) for at in range(0, len(data), _TORN_AT)]
        _check_segments([*pieces[1:3], *pieces[:1], *pieces[3:]])


def _check_file(content: bytes) -> None:
    said: str | None = None
    descriptor = os.memfd_create("capture")
    try:
        os.write(descriptor, content)
        with open_capture(Path(f"/proc/self/fd/{descriptor}")) as source:
            numbers = [frame.number for frame in source]
            assert numbers == list(range(1, len(numbers) + 1))
            said = source.damage
    except CaptureError as error:
        said = str(error)
    finally:
        os.close(descriptor)
    assert said is None or "\n" not in said


def _check_segments(segments: list[Segment]) -> None:
    messages, conversations, streams = Messages(), Conversations(), Streams()
    found: list[SipMessage] = []
    for segment in (*segments, None):
        completed = tuple(messages.rest()) if segment is None else messages.take(segment)
        for message in completed:
            conversations.add(message)
            for end in media_ends(message):
                streams.announce(end)
            assert message.frames
            assert message.frame.body <= message.frame.body_end <= len(message.data)
            assert all(len(field) == 2 for field in message.headers())
            assert message.name is not None
        if not completed and segment is not None and segment.protocol == 17:
            streams.take(segment)
        found += completed
    assert sum(one.messages for one in conversations.by_call_id.values()) == len(found)
    assert len(draw(found, 80)) == (len(found) + 1 if found else 0)


def _segment(number: int, protocol: int, sequence: int, payload: bytes) -> Segment:
    return Segment(number, number, protocol, _PHONE, _SERVER, payload, b"ends", sequence, 0, True, (), 0)
