"""Ladders: who sent which message to whom, an arrow a message between the hosts' lines; and two messages' difference.

Drawn as text, as people draw calls on paper (RFC 3665). Whatever strangers wrote is shown so that it can't move the
cursor. For the captures' calls, and for the lab, which draws both sides of its router. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Final, NamedTuple

from sipalg.analysis.messages import SipMessage, text_of
from sipalg.analysis.places import places
from sipalg.codec.body import sdp_span
from sipalg.engine.verdict import Endpoint

_NS_PER_S: Final = 1_000_000_000
#: Room between two hosts' lines: at least so that an arrow can be seen, at most so that it can be followed.
_NARROWEST: Final = 12
_WIDEST: Final = 40


def printable(text: str) -> str:
    """The text with every character that doesn't show, but for line ends and tabs, as the replacement character."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text.replace("\r\n", "\n")
    )


def arrow(text: str, width: int, *, to_the_right: bool) -> str:
    """An arrow of `width` columns with a text on its shaft, shortened if need be."""
    label = text if len(text) <= width - 5 else text[: width - 6] + "…"
    line = f"── {label} ".ljust(width - 1, "─")
    return f"{line}▶" if to_the_right else f"◀{line}"


def before_after(before: str, after: str) -> list[str]:
    """The lines of two texts: unchanged ones once, indented; changed ones before with `-` and after with `+`."""
    old, new = before.splitlines(), after.splitlines()
    lines: list[str] = []
    for what, begin, end, new_begin, new_end in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if what == "equal":
            lines += [f"  {line}" for line in old[begin:end]]
            continue
        gone, come = [f"- {line}" for line in old[begin:end]], [f"+ {line}" for line in new[new_begin:new_end]]
        # As many lines as before are most likely the same ones, edited: each beside what became of it.
        lines += chain.from_iterable(zip(gone, come, strict=True)) if len(gone) == len(come) else [*gone, *come]
    return [line.rstrip() for line in lines]


def text_of_message(message: SipMessage) -> str:
    """A message as people read it."""
    return printable(text_of(message.data))


def title_of(message: SipMessage) -> str:
    """A line that says when a message was seen, where from and to, and in which packet."""
    seen = datetime.fromtimestamp(message.time_ns // _NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
    milliseconds = message.time_ns % _NS_PER_S // 1_000_000
    protocol = "TCP" if message.protocol == 6 else "UDP"
    problem = f", {message.problem}" if message.problem else ""
    origin = f" of {printable(message.origin)}" if message.origin else ""
    return (
        f"packet {message.number}{origin}, {seen}.{milliseconds:03} UTC, "
        f"{protocol} {message.source} → {message.destination}, {len(message.data)} bytes{problem}"
    )


class Rung(NamedTuple):
    """One arrow: its number from 1, seconds since the first one, the two hosts' places from 0, its text, the message.

    `again` says that the same bytes went the same way before.
    """

    number: int
    elapsed_s: float
    source: int
    destination: int
    label: str
    again: bool
    message: SipMessage


def rungs(messages: Sequence[SipMessage]) -> tuple[list[str], list[Rung]]:
    """The hosts that messages in order went between, from inside to outside, and the messages' arrows."""
    split = {message.source.host for message in messages if message.source.host == message.destination.host}
    sides = places(messages)
    ends = dict.fromkeys(end for message in messages for end in (message.source, message.destination))
    heads = dict.fromkeys(_column(end, split) for end in sorted(ends, key=lambda end: sides[end.host]))
    column = {head: place for place, head in enumerate(heads)}
    found = []
    seen = set[tuple[Endpoint, Endpoint, bytes]]()
    for number, message in enumerate(messages, 1):
        what = message.source, message.destination, message.data
        source, destination = (column[_column(end, split)] for end in what[:2])
        elapsed_s = (message.time_ns - messages[0].time_ns) / _NS_PER_S
        label = _label(message, again=what in seen)
        found.append(Rung(number, elapsed_s, source, destination, label, what in seen, message))
        seen.add(what)
    return list(heads), found


def draw(messages: Sequence[SipMessage], width: int | None) -> list[str]:
    """The ladder of some messages in order, as lines of at most `width` columns if that can be; None for any width."""
    if not messages:
        return []
    hosts, arrows = rungs(messages)
    numbers = len(str(len(messages)))
    left = numbers + 13
    room = _room(hosts, arrows, None if width is None else width - left)
    heads = " " * left + "".join(_head(host, room) for host in hosts)
    lines = [heads.rstrip()]
    for one in arrows:
        rung = _rung(one.label, (one.source, one.destination), len(hosts), room)
        lines.append(f"{one.number:{numbers}} {one.elapsed_s:10.3f}  {rung}".rstrip())
    return lines


def _column(end: Endpoint, split: set[str]) -> str:
    """Whose line an end stands on: its host's; its own, where a host talks to itself."""
    return str(end) if end.host in split else end.host


def _label(message: SipMessage, *, again: bool) -> str:
    start, end = sdp_span(message.frame)
    parts = [printable(message.name), "(SDP)" if end > start else "", "again" if again else ""]
    return " ".join(filter(None, [*parts, "!" if message.problem else ""]))


def _room(hosts: list[str], arrows: list[Rung], width: int | None) -> int:
    """How many columns lie between two lines."""
    wanted = max(*(len(host) + 1 for host in hosts), *(len(one.label) + 6 for one in arrows))
    room = min(max(wanted, _NARROWEST), _WIDEST)
    if width is not None:
        room = min(room, max((width - len(hosts)) // len(hosts), _NARROWEST))
    return room


def _head(host: str, room: int) -> str:
    return (host if len(host) <= room else host[: room - 1] + "…").ljust(room + 1)


def _rung(label: str, ends: tuple[int, int], count: int, room: int) -> str:
    """One arrow between two of the hosts' lines."""
    first, last = min(ends), max(ends)
    if first == last:
        return ("│" + " " * room) * first + f"│↻ {label}"
    before = ("│" + " " * room) * first
    shaft = arrow(label, (room + 1) * (last - first) - 1, to_the_right=ends[0] < ends[1])
    return before + "│" + shaft + ("│" + " " * room) * (count - last)
