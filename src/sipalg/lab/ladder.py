"""The ladder of one call: who said what when, and what the ALG made of it, from both of the router's interfaces.

A message on the inside wire and the same one on the outside wire are found by what the ALG never changes: Call-ID,
CSeq and method or status. On a packet's way this is the picture of the router's two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sipalg.analysis.ladder import arrow, before_after
from sipalg.lab.packets import Message, Wire, messages
from sipalg.lab.topology import ADDRESS, INSIDE_PREFIX

_COLUMN: Final = 36
_PHONE, _ROUTER, _SERVER = "phone", "router", "server"
_NAMES: Final = {address: name for name, address in ADDRESS.items()}


def draw_ladder(
    inside: Sequence[Wire], outside: Sequence[Wire], details: Sequence[str] = ("REGISTER", "INVITE")
) -> str:
    """Draw the first REGISTER transactions and the first call through the router, as text; LAN to LAN is left out.

    Of the last request of each method in `details` the message before and after the router follows, the changed lines
    marked; it is the last because the first may have been challenged.
    """
    within, without = [message for message in messages(inside) if not _stays_inside(message)], messages(outside)
    calls = _interesting(within)
    within = [message for message in within if message.header("Call-ID") in calls]
    if not within:
        return "no SIP message was seen inside"
    lines = [_title(within), ""]
    lines += _rungs(within, without)
    for method in details:
        sent = [m for m in within if m.name == method and m.wire.source.host == _phone_of(within)]
        pair = [(m, other) for m in sent if (other := _same(m, without)) is not None]
        if pair:
            lines += ["", *_before_after(*pair[-1])]
    return "\n".join(lines)


def _interesting(within: list[Message]) -> list[str]:
    registers = [m.header("Call-ID") for m in within if m.name == "REGISTER"]
    calls = [m.header("Call-ID") for m in within if m.name == "INVITE"]
    return registers[:1] + calls[:1]


def _stays_inside(message: Message) -> bool:
    return all(end.host.startswith(INSIDE_PREFIX) for end in (message.wire.source, message.wire.destination))


def _phone_of(within: list[Message]) -> str:
    source, destination = within[0].wire.source.host, within[0].wire.destination.host
    return source if source.startswith(INSIDE_PREFIX) else destination


def _title(within: list[Message]) -> str:
    phone = _phone_of(within)
    other = next(end.host for m in within for end in (m.wire.source, m.wire.destination) if end.host != phone)
    left, right = f"{_NAMES.get(phone, _PHONE)} {phone}", f"{_NAMES.get(other, _SERVER)} {other}"
    return " " * 11 + left.ljust(_COLUMN - 3) + _ROUTER + right.rjust(_COLUMN - 1)


def _rungs(within: list[Message], without: list[Message]) -> list[str]:
    phone, begin = _phone_of(within), within[0].wire.time_s
    rungs = []
    for message in within:
        other = _same(message, without)
        out = message.wire.source.host == phone
        left = _arrow(message.name, out)
        right = _arrow(_mark(message, other) if other else "(never seen outside)", out)
        rungs.append(f"{message.wire.time_s - begin:7.3f} s  {left} │ {right}")
    return rungs


def _arrow(text: str, to_the_right: bool) -> str:
    return arrow(text, _COLUMN, to_the_right=to_the_right)


def _mark(message: Message, other: Message) -> str:
    changed = sum(line.startswith("- ") for line in before_after(message.text, other.text))
    if not changed:
        return "unchanged"
    return f"{changed} line{'s' if changed > 1 else ''} changed"


def _same(message: Message, others: list[Message]) -> Message | None:
    """Find the same message on the other wire: the one nearest in time, since a message may be sent again."""
    same = [other for other in others if other.key == message.key]
    return min(same, key=lambda other: abs(other.wire.time_s - message.wire.time_s), default=None)


def _before_after(before: Message, after: Message) -> list[str]:
    return [
        f"{before.name}: - inside, from {before.wire.source}   + outside, from {after.wire.source}",
        *(f"  {line}" for line in before_after(before.text, after.text)),
    ]
