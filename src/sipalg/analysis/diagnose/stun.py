"""STUN: whether a packet asks for its sender's public address, which a phone does that knows of its NAT.

On a packet's way offline this looks at what is neither media nor a message. Pure. Source: RFC 5389 §6.
"""

from __future__ import annotations

from typing import Final

_MAGIC_COOKIE: Final = b"\x21\x12\xa4\x42"
_REQUEST: Final = b"\0\1"


def is_stun_request(payload: bytes) -> bool:
    """Whether a payload asks a STUN server for the sender's public address (RFC 5389 §6); ICE's own checks don't."""
    return payload[:2] == _REQUEST and payload[4:8] == _MAGIC_COOKIE and not _has_username(payload)


def _has_username(payload: bytes) -> bool:
    """Whether a STUN message has a USERNAME (type 6), as each of ICE's checks has."""
    at = 20
    while at + 4 <= len(payload):
        kind, size_bytes = payload[at : at + 2], int.from_bytes(payload[at + 2 : at + 4], "big")
        if kind == b"\0\6":
            return True
        at += 4 + size_bytes + -size_bytes % 4
    return False

