"""What is told of a message to those who trace: it as it came, it as it went on, and what was changed in between.

Off a packet's way: the driver hands over what it has decided after the verdicts are sent, and only while somebody
follows. The addresses are those that the message has on either side of the NAT: the private one inside, the mapping's
outside.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from sipalg.codec.message import parse
from sipalg.engine.verdict import ACCEPT, DROP, Datagram, Endpoint, Verdict

#: What a message that can't be read has to have in its beginning to be one all the same.
_VERSION: Final = b"SIP/2.0"
_BEGINNING_BYTES: Final = 4096


def trace_line(
    datagram: Datagram,
    verdict: Verdict,
    time_ns: int,
    public_of: Callable[[int, Endpoint], Endpoint | None],
    *,
    made: bool = True,
) -> bytes:
    """Return a line of JSON, b"" for what is no SIP; `made` tells whether verdicts are carried out."""
    payload = datagram.payload
    if isinstance(parse(payload), str) and _VERSION not in payload[:_BEGINNING_BYTES]:
        return b""
    public_source, public_destination = (
        public_of(datagram.protocol, end) or end for end in (datagram.source, datagram.destination)
    )
    sent_on = payload if verdict.action == ACCEPT or not made else verdict.payload
    dropped = made and verdict.action == DROP
    line = {
        "time_ns": time_ns,
        "interface": datagram.in_interface,
        "action": verdict.action,
        "reason": verdict.reason,
        "made": made,
        # A message from outside was sent to the mapping; one from inside leaves with it.
        "before": _side(datagram.source, public_destination, payload),
        "after": None if dropped else _side(public_source, datagram.destination, sent_on),
        "edits": [
            {"rule": rule, "old": _text(payload[offset : offset + length]), "new": _text(replacement)}
            for offset, length, replacement, rule in verdict.changes
        ],
    }
    return json.dumps(line).encode() + b"\n"


def _side(source: Endpoint, destination: Endpoint, payload: bytes) -> dict[str, Any]:
    return {
        "source": [source.host, source.port],
        "destination": [destination.host, destination.port],
        "payload": b64encode(payload).decode(),
    }


def _text(piece: bytes) -> str:
    return piece.decode(errors="replace")
