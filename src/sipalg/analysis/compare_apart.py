"""Two captures that weren't taken at the same time: no message is in both, but a phone may be, with its registration.

What the same phone says in the same kind of message, once inside and once outside, shows which addresses the device
puts in, though nothing of what it loses, or changes in the rest. Only a registration tells that it is the same phone.
On a packet's way this looks at two packets that went the same way, days apart. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sipalg.analysis.pairing import BY_PHONE, Pair, is_private
from sipalg.analysis.said import Said
from sipalg.analysis.unpaired import Span

_AOR: Final = re.compile(rb"sips?:([^@<>\s\";]+@[^<>\s\";:?]+)", re.IGNORECASE)

#: A phone's message of a kind: its address of record, the method, and what the phone calls itself.
_Key = tuple[bytes, str, tuple[bytes, ...]]


def are_apart(spans: tuple[Span, Span]) -> bool:
    """Whether one capture ended before the other began, by their own clocks."""
    (began, ended), (other_began, other_ended) = spans
    return ended < other_began or other_ended < began


def pair_apart(before: Iterable[Said], after: Iterable[Said]) -> tuple[Pair, ...]:
    """Return the first request of each kind of each phone that registers in both captures, in pairs."""
    mine, theirs = _firsts(before), _firsts(after)
    return tuple(
        Pair(said, theirs[key], BY_PHONE, outward=True, forward=_is_forward(said, theirs[key]))
        for key, said in mine.items()
        if key in theirs
    )


def _is_forward(said: Said, other: Said) -> bool:
    return is_private(said.source.host) or not is_private(other.source.host)


def _firsts(messages: Iterable[Said]) -> dict[_Key, Said]:
    """Return the first request of each kind of the phones that register, sent from where they register from."""
    phones: dict[bytes, str] = {}
    found: dict[_Key, Said] = {}
    for said in messages:
        name = _aor(said, "to" if said.method == "REGISTER" else "from")
        if not said.method or not name:
            continue
        if said.method == "REGISTER":
            phones.setdefault(name, said.source.host)
        if phones.get(name) == said.source.host:
            found.setdefault((name, said.method, tuple(said.values("user-agent"))), said)
    return found


def _aor(said: Said, key: str) -> bytes:
    """Return who a message is from or to, `user@host` in lower case, b"" where no address says."""
    found = _AOR.search(b" ".join(said.values(key)))
    return found[1].lower() if found else b""
