"""Which of a phone's addresses a connection that it opened stands for: the one by which it wants to be reached.

Over TCP a phone sends from a port that it was given at random and listens on another one, which its Contact and its
Via name (RFC 3261 §18.1.1, RFC 5923 §4). The mapping of that one is what the messages of the connection go by, and the
relay connects onwards from its public port: so a server finds the registered Contact and the connection to be one
place. Asked once a connection, before its first message.
"""

from __future__ import annotations

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, MAX_PORT
from sipalg.codec.fields import fields_with
from sipalg.codec.message import CONTACT, VIA, parse
from sipalg.engine.verdict import Endpoint


def home_of(payload: bytes, source: Endpoint) -> Endpoint:
    """The address that the sender of a connection's first message listens at; `source` itself where it tells none.

    A Contact over TCP counts before the topmost Via, and both only with the sender's own address.
    """
    message = parse(payload)
    if isinstance(message, str) or message.status:
        return source
    own = source.host.encode()
    by_via = source
    for _, places in fields_with(message, own):
        for kind, host, port, _, _, _, _, over_stream, _ in places:
            if host != own or not over_stream or not FIRST_UNPRIVILEGED_PORT <= port <= MAX_PORT:
                continue
            if kind == CONTACT:
                return Endpoint(source.host, port)
            if kind == VIA:
                by_via = Endpoint(source.host, port)
    return by_via
