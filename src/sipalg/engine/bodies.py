"""The body of a message: every session description in it is edited, or none, and its lengths stay exact.

A body is one description, or several in parts: alternatives, or one for early media beside the call's own (RFC 3959).
All of them name ports of the sender; only the call's own is negotiated. On a packet's way this comes after the header.
Sources: RFC 3261 §20.14 (Content-Length), RFC 5621 (several bodies), RFC 2046 §5.1.
"""

from __future__ import annotations

from collections.abc import Callable

from sipalg.codec.body import Part, Span
from sipalg.codec.machine import new
from sipalg.codec.message import Message
from sipalg.engine import rewrite_sdp
from sipalg.engine.direct_media import Others
from sipalg.engine.mappings import Mappings
from sipalg.engine.plain_bodies import in_pieces
from sipalg.engine.rewrite_sdp import Body
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import Change


def outward(
    transaction: Transaction,
    mappings: Mappings,
    message: Message,
    parts: list[Part],
    own: bytes,
    advertised: bytes,
    in_interface: str,
    others: Others,
) -> Body | str:
    """Edit all descriptions of an inside phone's message; a str is the reason why it has to pass as it came.

    `own` is the sender's address, `others` tells which other inside hosts' ports it may name.
    """
    data = message.data
    start, end, lengths, is_early = parts[0]
    if len(parts) == 1 and not lengths and not is_early:
        span = (start, end)
        plain = in_pieces(transaction, mappings, data, span, own, advertised, in_interface) if in_pieces else None
        if plain:
            return _with_length(message, new(Body, plain))
        body = rewrite_sdp.outward(transaction, mappings, data, span, own, advertised, in_interface, others)
        return body if isinstance(body, str) else _with_length(message, body)
    bodies: list[Body] = []
    for start, end, _, _ in parts:
        body = rewrite_sdp.outward(transaction, mappings, data, (start, end), own, advertised, in_interface, others)
        if isinstance(body, str):
            return body
        bodies.append(body)
    return _together(message, parts, bodies)


def inward(
    mappings: Mappings,
    message: Message,
    parts: list[Part],
    advertised: bytes,
    in_interface: str,
    is_inside: Callable[[bytes, float], bool],
    now: float,
) -> Body:
    """Edit all descriptions of a message for the phone on `in_interface`.

    Nothing is opened towards an address that `is_inside` at `now`.
    """
    data = message.data
    start, end, lengths, is_early = parts[0]
    if len(parts) == 1 and not lengths and not is_early:
        body = rewrite_sdp.inward(mappings, data, (start, end), advertised, in_interface, is_inside, now)
        return _with_length(message, body)
    bodies = []
    for start, end, _, _ in parts:
        bodies.append(rewrite_sdp.inward(mappings, data, (start, end), advertised, in_interface, is_inside, now))
    return _together(message, parts, bodies)


def _together(message: Message, parts: list[Part], bodies: list[Body]) -> Body:
    """All edits of the body, with those of the lengths around them, and the media ends that are negotiated."""
    of_the_call = [one.ends for part, one in zip(parts, bodies, strict=True) if not part.is_early]
    ends = next((ends for ends in of_the_call if ends is not None), None)
    body = Body([edit for one in bodies for edit in one.edits], ends)
    _keep_part_lengths(message.data, parts, bodies, body.edits)
    return _with_length(message, body)


def _with_length(message: Message, body: Body) -> Body:
    """The body with Content-Length's edit: the length is exact, and where there was none, none is added."""
    edits = body.edits
    start, end = message.length
    if edits and end:
        growth = 0
        for _, length, replacement, _ in edits:
            growth += len(replacement) - length
        if growth:
            text = b"%d" % (int(message.data[start:end]) + growth)
            edits.append((start, end - start, text, "content-length"))
    return body


def _keep_part_lengths(data: bytes, parts: list[Part], bodies: list[Body], edits: list[Change]) -> None:
    """Append the edits of the lengths that parts say of themselves; one that gets more digits makes those around grow.

    A multipart's own length counts all descriptions in it.
    """
    growth: dict[Span, int] = {}
    around: dict[Span, tuple[Span, ...]] = {}
    for part, body in zip(parts, bodies, strict=True):
        by = sum(len(replacement) - length for _, length, replacement, _ in body.edits)
        for depth, span in enumerate(part.lengths):
            growth[span] = growth.get(span, 0) + by
            around[span] = part.lengths[depth + 1 :]
    for span in sorted(growth, key=lambda one: -len(around[one])):
        start, end = span
        text = b"%d" % max(0, int(data[start:end]) + growth[span])
        if growth[span]:
            edits.append((start, end - start, text, "content-length"))
            for outer in around[span]:
                growth[outer] += len(text) - (end - start)
